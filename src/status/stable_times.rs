//! Keeps the times that `status --watch` shows stable from look to look while the wait stays the same.
//!
//! Each look starts without a memory. If the live systems do not show when a wait began, it would seem to begin anew with each look.

use std::collections::BTreeMap;

use decamp_core::decide::{Action, Budget, Decision, Reason};
use decamp_core::ids::InstanceId;
use decamp_core::time::Time;

/// The times that were last shown of each instance.
#[derive(Debug, Default)]
pub(crate) struct StableTimes(BTreeMap<InstanceId, Shown>);

#[derive(Debug)]
struct Shown {
    began: Time,
    reason: Reason,
}

impl StableTimes {
    /// Replaces times of the decision and the budget by those that were shown before, where nothing else changed.
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

/// The end of the wait that the earlier of two looks showed, if both looks wait for the same and the later look has a later end.
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

    fn look(times: &mut StableTimes, now: u64) -> (Time, Time, Reason) {
        let (instance, now) = (InstanceId::from_number(1), Time(now));
        let cause = Cause::Lifecycle(LifecycleAction::default());
        let departure = Departure { instance, asg: "web".into(), cause };
        let mut budget = Budget::of(&departure, &Snapshot::begin(instance, now), &Policy::default());
        let until = Time(now.0 + 36_000);
        let mut decision = Decision { action: Action::Wait { until, watch: Vec::new() }, reason: Reason::AgentDead { until } };
        times.hold(instance, &mut decision, &mut budget, now);
        let Action::Wait { until: ends, .. } = decision.action else { panic!("it waits") };
        (budget.end, ends, decision.reason)
    }

    #[test]
    fn the_end_of_a_wait_stays_the_same_from_look_to_look() {
        let mut times = StableTimes::default();
        let first = look(&mut times, 10_000_000);
        for now in [10_005_000, 10_010_000, 10_045_000 - 10_000] {
            assert_eq!(look(&mut times, now), first, "{now}");
        }
        let (end, ends, _) = look(&mut times, 10_050_000);
        assert_eq!((end, ends), (first.0, Time(10_086_000)), "that wait has ended, and another begins");
    }
}
