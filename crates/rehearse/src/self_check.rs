//! Whether the rehearsal itself was the bottleneck. If so, the failures may be this machine's fault and not the driver's (ADR 0024).

use super::judge::Judged;
use super::ledger::Account;

/// A machine that keeps up sends requests at most this many milliseconds after their due time (p99).
pub(super) const IN_TIME: f64 = 5.0;

/// Why the failures may be this machine's fault. `None` if it kept up.
pub(super) fn bottleneck(account: &Account, judged: &Judged) -> Option<String> {
    let mut signs = Vec::new();
    if IN_TIME < account.late_p99 {
        signs.push(format!("requests were sent up to {:.0} ms late, p99", account.late_p99));
    }
    if 0 < judged.rig {
        signs.push(format!("{} requests did not reach the load balancer", judged.rig));
    }
    (!signs.is_empty()).then(|| format!("this machine was too busy ({}), so failures may be its fault", signs.join("; ")))
}
