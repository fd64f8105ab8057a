//! Whether the rehearsal itself was the bottleneck: then what failed may be this machine's fault, and no driver's (ADR 0024).

use super::judge::Judged;
use super::ledger::Account;

/// Requests leave within this of when they were due (p99), in milliseconds.
pub(super) const IN_TIME: f64 = 5.0;

/// Why what failed may be this machine's fault; `None` if it kept up.
pub(super) fn bottleneck(account: &Account, judged: &Judged) -> Option<String> {
    let mut signs = Vec::new();
    if IN_TIME < account.late_p99 {
        signs.push(format!("requests left up to {:.0} ms late, p99", account.late_p99));
    }
    if 0 < judged.rig {
        signs.push(format!("{} did not even reach the load balancer", judged.rig));
    }
    (!signs.is_empty()).then(|| format!("this machine was too busy ({}): what failed may be its fault", signs.join("; ")))
}
