//! How many connections fit into this process's limit of open files. A process without a free file cannot call AWS or Nomad either.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The most connections of one listener.
const MOST: usize = 1_024;
/// The wanted limit of open files: both listeners, and everything else.
const WANTED: u64 = 4_096;
/// Files other than incoming connections: outgoing ones (Nomad, Consul, AWS, webhook receivers: 32 each), logs, certificates.
const OTHER_FILES: u64 = 256;
/// The fewest connections that make a listener useful.
const FEWEST: usize = 16;

/// How many connections each of the two listeners may have. It raises the soft limit to the wanted one, or as far as the hard limit allows.
pub(super) fn most_connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    let wanted = WANTED.min(hard);
    let raised = soft < wanted && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }).is_ok();
    let most = connections_within(if raised { wanted } else { soft });
    if most < MOST {
        tracing::warn!(
            files = if raised { wanted } else { soft },
            connections = most,
            "each listener accepts {most} connections instead of {MOST}, because the limit of open files is low; raise it (ulimit -n, \
             LimitNOFILE)"
        );
    }
    most
}

fn connections_within(files: u64) -> usize {
    // Of a small limit, incoming connections have one half and departures the other.
    let left = files.saturating_sub(OTHER_FILES).max(files / 2);
    usize::try_from(left / 2).unwrap_or(MOST).clamp(FEWEST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_listeners_leave_files_for_departures() {
        for (files, most) in [(20_000, MOST), (4_096, MOST), (1_024, 384), (256, 64), (64, 16), (0, FEWEST)] {
            assert_eq!(connections_within(files), most, "{files}");
        }
    }
}
