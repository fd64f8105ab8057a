//! What a run shows of its driver. Failures on a machine that was too busy count neither for nor against decamp (ADR 0024).

use serde::Serialize;

use super::is_decamp;
use super::judge::Judged;
use super::ledger::Account;
use super::plan::{LoadBalancer, Plan};

/// What a run shows of its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The refresh ended, and decamp lost no request. A baseline is expected to lose requests: its refresh ended.
    Kept,
    /// decamp lost requests that nothing else explains.
    Lost,
    /// Requests failed with decamp, and the machine was too busy to say whether decamp lost them.
    Unfair,
    /// The refresh did not end.
    Unfinished,
}

/// The facts that decide a run's verdict.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    driver: &'a str,
    /// How many requests failed.
    failed: usize,
    /// How many of the failed requests nothing explains.
    attributable: usize,
    /// Whether the refresh ended.
    ended: bool,
    /// Whether the machine was too busy.
    busy: bool,
}

impl<'a> Facts<'a> {
    /// The facts of one driver's run.
    pub(super) fn of(driver: &'a str, account: &Account, judged: &Judged, ended: Option<f64>, bottleneck: Option<&str>) -> Self {
        Self {
            driver,
            failed: account.failed,
            attributable: judged.attributable,
            ended: ended.is_some(),
            busy: bottleneck.is_some(),
        }
    }
}

impl Verdict {
    /// In the default plan decamp must lose no request. In any other it must lose none that is its own fault. Every driver's refresh must end.
    pub(super) fn of(plan: &Plan, facts: Facts<'_>) -> Self {
        let Facts { driver, failed, attributable, ended, busy } = facts;
        let cuts = plan.balancer == LoadBalancer::NetworkThatTerminates;
        let may_be_foreseen = plan.single || plan.deaf || plan.ingress_poll.is_some() || plan.chaos.is_some() || cuts;
        let lost = 0 < if may_be_foreseen { attributable } else { failed };
        match (ended, is_decamp(driver) && lost, busy) {
            (false, _, _) => Self::Unfinished,
            (true, false, _) => Self::Kept,
            (true, true, true) => Self::Unfair,
            (true, true, false) => Self::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_on_a_busy_machine_are_no_result() {
        let calm = Facts { driver: "decamp", failed: 0, attributable: 0, ended: true, busy: false };
        let lost = Facts { failed: 3, attributable: 3, ..calm };
        let foreseen = Facts { failed: 3, ..calm };
        let baseline = Facts { driver: "drain-only", ..lost };
        let of = |facts| Verdict::of(&Plan::default(), facts);
        assert_eq!(of(calm), Verdict::Kept);
        assert_eq!(of(Facts { busy: true, ..calm }), Verdict::Kept);
        assert_eq!(of(lost), Verdict::Lost);
        assert_eq!(of(Facts { busy: true, ..lost }), Verdict::Unfair);
        assert_eq!(of(Facts { ended: false, busy: true, ..lost }), Verdict::Unfinished);
        assert_eq!((of(baseline), of(Facts { ended: false, ..baseline })), (Verdict::Kept, Verdict::Unfinished));
        // decamp reports no findings in the default plan. It reports a single copy.
        assert_eq!(of(foreseen), Verdict::Lost);
        assert_eq!(Verdict::of(&Plan { single: true, ..Plan::default() }, foreseen), Verdict::Kept);
    }
}
