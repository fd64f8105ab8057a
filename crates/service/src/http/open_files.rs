//! How many connections fit into the open files that this process may have: one that has none left cannot call anybody either.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections of one listener at most.
const MOST: usize = 1_024;
/// Files that are wanted: both listeners, and what is beside them.
const WANTED: u64 = 4_096;
/// Files beside connections that come in: those that go out (Nomad, Consul, AWS, receivers: 32 each), logs, certificates.
const BESIDE: u64 = 256;
/// Fewer connections than these serve nobody.
const FEWEST: usize = 16;

/// How many connections each of two listeners may have. The soft limit is raised as far as is wanted and may be.
pub(super) fn most_connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    let wanted = WANTED.min(hard);
    let raised = soft < wanted && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }).is_ok();
    let most = of(if raised { wanted } else { soft });
    if most < MOST {
        tracing::warn!(
            files = if raised { wanted } else { soft },
            connections = most,
            "each listener takes {most} connections instead of {MOST}, because the limit of open files is low; raise it (ulimit -n, \
             LimitNOFILE)"
        );
    }
    most
}

fn of(files: u64) -> usize {
    // Small limits are shared in halves: one for strangers, one for the work.
    let left = files.saturating_sub(BESIDE).max(files / 2);
    usize::try_from(left / 2).unwrap_or(MOST).clamp(FEWEST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_listeners_leave_files_for_the_work() {
        for (files, most) in [(20_000, MOST), (4_096, MOST), (1_024, 384), (256, 64), (64, 16), (0, FEWEST)] {
            assert_eq!(of(files), most, "{files}");
        }
    }
}
