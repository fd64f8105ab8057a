//! What a run shows. A machine that was too busy shows nothing of a driver that lost requests there (ADR 0024).

use serde::Serialize;

use super::is_decamp;
use super::plan::{LoadBalancer, Plan};

/// What a run shows of its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The refresh ended, and decamp lost nothing. Of a baseline, which is expected to lose requests: the refresh ended.
    Kept,
    /// decamp lost requests that nothing else explains.
    Lost,
    /// Requests failed with decamp, and the machine was too busy to say whose fault that is.
    Unfair,
    /// The refresh did not end.
    Unfinished,
}

/// What is known of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) driver: &'a str,
    /// Requests that failed.
    pub(super) failed: usize,
    /// Those of them that nothing explains.
    pub(super) attributable: usize,
    /// Whether the refresh ended.
    pub(super) ended: bool,
    /// Whether the machine was too busy.
    pub(super) busy: bool,
}

impl Verdict {
    /// decamp loses nothing in the default plan, and nothing that is its own in any other; every driver comes to an end.
    pub(super) fn of(plan: &Plan, facts: Facts<'_>) -> Self {
        let Facts { driver, failed, attributable, ended, busy } = facts;
        let cuts = plan.balancer == LoadBalancer::NetworkThatTerminates;
        let may_be_foreseen = plan.single || plan.ingress_poll.is_some() || plan.chaos.is_some() || cuts;
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
    use std::time::Duration;

    use super::*;

    /// The default plan.
    fn plan() -> Plan {
        Plan {
            nodes: 4,
            services: 5,
            rate: 300,
            seed: 1,
            port: 8089,
            single: false,
            ingress_poll: None,
            balancer: LoadBalancer::Application,
            chaos: None,
            consul: None,
            nomad: None,
            traefik: None,
            calm: Duration::from_secs(15),
            rounds: 1,
        }
    }

    #[test]
    fn what_a_busy_machine_may_have_lost_is_not_put_down_to_decamp_and_is_no_success_either() {
        let calm = Facts { driver: "decamp", failed: 0, attributable: 0, ended: true, busy: false };
        let lost = Facts { failed: 3, attributable: 3, ..calm };
        let foreseen = Facts { failed: 3, ..calm };
        let baseline = Facts { driver: "drain-only", ..lost };
        let of = |facts| Verdict::of(&plan(), facts);
        assert_eq!(of(calm), Verdict::Kept);
        assert_eq!(of(Facts { busy: true, ..calm }), Verdict::Kept);
        assert_eq!(of(lost), Verdict::Lost);
        assert_eq!(of(Facts { busy: true, ..lost }), Verdict::Unfair);
        assert_eq!(of(Facts { ended: false, busy: true, ..lost }), Verdict::Unfinished);
        assert_eq!((of(baseline), of(Facts { ended: false, ..baseline })), (Verdict::Kept, Verdict::Unfinished));
        // Nothing is foreseen in the default plan; a single copy is.
        assert_eq!(of(foreseen), Verdict::Lost);
        assert_eq!(Verdict::of(&Plan { single: true, ..plan() }, foreseen), Verdict::Kept);
    }
}
