//! What `status --watch` remembers from look to look, so that a time that it shows stands still while what is waited for does not change.
//!
//! Each look begins with nothing: a wait whose beginning the world does not show would begin anew with it.

use std::collections::BTreeMap;

use decamp_core::decide::{Action, Budget, Decision, Reason};
use decamp_core::ids::InstanceId;
use decamp_core::time::Time;

/// What was shown of each instance last.
#[derive(Debug, Default)]
pub(crate) struct Steady(BTreeMap<InstanceId, Shown>);

#[derive(Debug)]
struct Shown {
    began: Time,
    reason: Reason,
}

impl Steady {
    /// The same decision and budget, with the times that were shown before where nothing else changed.
    pub(super) fn hold(&mut self, instance: InstanceId, decision: &mut Decision, budget: &mut Budget, now: Time) {
        if let Some(before) = self.0.get(&instance) {
            if !budget.began_is_known && before.began < budget.began {
                let slid = budget.began.since(before.began);
                budget.began = before.began;
                budget.end = budget.end - slid;
            }
            if let Some(until) = same_wait(&before.reason, &decision.reason).filter(|until| now < *until) {
                decision.reason.clone_from(&before.reason);
                if let Action::Wait { until: ends, .. } = &mut decision.action {
                    *ends = until.min(*ends);
                }
            }
        }
        self.0.insert(instance, Shown { began: budget.began, reason: decision.reason.clone() });
    }
}

/// Until when the earlier of two looks said that it is waited, if both wait for the same and the later look said a later time.
fn same_wait(before: &Reason, after: &Reason) -> Option<Time> {
    let (earlier, later) = match (before, after) {
        (Reason::LoadBalancerDelay { group, until }, Reason::LoadBalancerDelay { group: other, until: later })
            if group == other =>
        {
            (*until, *later)
        }
        (Reason::AgentDead { until }, Reason::AgentDead { until: later }) => (*until, *later),
        (Reason::Vanished { allocation, until }, Reason::Vanished { allocation: other, until: later }) if allocation == other => {
            (*until, *later)
        }
        _ => return None,
    };
    (earlier < later).then_some(earlier)
}

#[cfg(test)]
mod tests {
    use super::*;
    use decamp_core::decide::{Cause, Departure, LifecycleAction, Policy, Snapshot};

    fn look(steady: &mut Steady, now: u64) -> (Time, Time, Reason) {
        let (instance, now) = (InstanceId::from_number(1), Time(now));
        let cause = Cause::Lifecycle(LifecycleAction::default());
        let departure = Departure { instance, asg: "web".into(), cause };
        let mut budget = Budget::of(&departure, &Snapshot::begin(instance, now), &Policy::default());
        let until = Time(now.0 + 36_000);
        let mut decision = Decision { action: Action::Wait { until, watch: Vec::new() }, reason: Reason::AgentDead { until } };
        steady.hold(instance, &mut decision, &mut budget, now);
        let Action::Wait { until: ends, .. } = decision.action else { panic!("it waits") };
        (budget.end, ends, decision.reason)
    }

    #[test]
    fn times_stand_still_and_what_is_left_counts_down() {
        let mut steady = Steady::default();
        let first = look(&mut steady, 10_000_000);
        for now in [10_005_000, 10_010_000, 10_045_000 - 10_000] {
            assert_eq!(look(&mut steady, now), first, "{now}");
        }
        let (end, ends, _) = look(&mut steady, 10_050_000);
        assert_eq!((end, ends), (first.0, Time(10_086_000)), "that wait is over, and it is waited on");
    }
}
