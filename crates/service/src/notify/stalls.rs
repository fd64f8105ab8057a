//! Stalls: a departure that waits for one thing for longer than it should.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use super::Notification;
use crate::Service;
use crate::departures::{Entry, lock};
use decamp_core::decide::{Blocker, Budget, Decision, Departure, Reason, ReasonKind, Snapshot};
use decamp_core::describe;
use decamp_core::time::Time;
use decamp_core::world::World;

/// The current wait of a departure. Looks and heartbeats do not end it.
#[derive(Debug, Clone)]
pub(crate) struct Wait {
    /// The reason.
    pub(crate) reason: ReasonKind,
    /// The object that blocks the departure.
    pub(crate) blocker: Blocker,
    /// The reason as a sentence.
    pub(crate) because: String,
    /// When the wait began.
    pub(crate) since: Time,
    /// Until when the wait is expected to last.
    pub(crate) due: Time,
    /// Whether the stall was reported.
    pub(crate) reported: bool,
}

impl Wait {
    /// The wait that a decision begins or continues.
    pub(crate) fn next(
        before: Option<&Self>,
        departure: &Departure,
        decision: &Decision,
        seen: &Snapshot,
        budget: &Budget,
        now: Time,
    ) -> Self {
        let (reason, blocker) = (decision.reason.kind(), Blocker::of(&decision.reason, departure, seen));
        let before = before.filter(|before| before.reason == reason && before.blocker == blocker);
        let (since, reported) = before.map_or((now, false), |before| (before.since, before.reported));
        let due = if let Reason::LoadBalancerDelay { until, .. } = decision.reason {
            until
        } else if let Reason::AllocationsLeft { .. } = decision.reason {
            // As long as the allocations' own settings allow them to take.
            since + budget.longest_stop
        } else {
            since
        };
        Self { reason, blocker, because: describe::because(decision, seen), since, due, reported }
    }

    /// Whether the wait has lasted too long.
    fn is_stall(&self, after: Duration, now: Time) -> bool {
        self.due.max(self.since + after) <= now
    }
}

/// Reports stalls until the service stops. Departures do not report their own stalls, because they may be in a long wait.
pub(crate) async fn watch_for_stalls(service: &Service) {
    let after = service.settings.serve.stalled_after;
    let every = (after / 8).clamp(Duration::from_millis(250), Duration::from_secs(10));
    let mut stopping = service.stopping.subscribe();
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = sleep(every) => {}
        }
        for entry in service.departures.in_progress() {
            notify_if_stalled(service, &entry, after);
        }
    }
}

fn notify_if_stalled(service: &Service, entry: &Arc<Entry>, after: Duration) {
    let now = service.live.now();
    let mut view = lock(&entry.view);
    let Some(wait) = view.wait.as_mut().filter(|wait| !wait.reported && wait.is_stall(after, now)) else { return };
    wait.reported = true;
    let wait = wait.clone();
    let (reason, because, blocker) = (wait.reason.word(), &wait.because, &wait.blocker.name);
    warn!(instance.id = %entry.departure.instance, asg.name = &*entry.departure.asg, action = "stalled", reason, blocker, "stalled, because {because}");
    service.metrics.stalled(reason);
    service.notify.send(service, Notification::stalled(&entry.departure, &view, &wait, now));
}

#[cfg(test)]
mod tests {
    use super::*;
    use decamp_core::decide::{Action, BlockerKind, Cause, LifecycleAction, Policy, System};
    use decamp_core::ids::InstanceId;

    fn wait(before: Option<&Wait>, reason: Reason, now: u64) -> Wait {
        let cause = Cause::Lifecycle(LifecycleAction::default());
        let departure = Departure { instance: InstanceId::from_number(1), asg: "web".into(), cause };
        let seen = Snapshot::begin(departure.instance, Time(0));
        let mut budget = Budget::of(&departure, &seen, &Policy::default());
        budget.longest_stop = Duration::from_secs(100);
        let decision = Decision { action: Action::Wait { until: Time::NEVER, watch: Vec::new() }, reason };
        Wait::next(before, &departure, &decision, &seen, &budget, Time(now))
    }

    fn left(number: u128, count: u32) -> Reason {
        Reason::AllocationsLeft { count, example: decamp_core::ids::AllocationId(number), title: "web/web".into() }
    }

    #[test]
    fn the_same_blocker_continues_the_wait_and_another_one_begins_a_new_one() {
        let after = Duration::from_secs(5);
        let first = wait(None, left(1, 3), 0);
        let on = wait(Some(&first), left(1, 2), 90_000);
        assert_eq!(on.since, Time(0), "one allocation fewer is left, and the same one blocks");
        assert!(!on.is_stall(after, Time(99_000)), "it may take 100 s to stop");
        assert!(on.is_stall(after, Time(100_000)));
        let other = wait(Some(&on), left(2, 2), 100_000);
        assert_eq!((other.since, other.is_stall(after, Time(101_000))), (Time(100_000), false));
    }

    #[test]
    fn a_running_delay_is_no_stall_and_an_unreadable_system_is_one_after_the_time_set() {
        let group =
            "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef".parse().expect("an ARN");
        let after = Duration::from_secs(5);
        let delay = wait(None, Reason::LoadBalancerDelay { group, until: Time(300_000) }, 0);
        assert!(!delay.is_stall(after, Time(299_999)) && delay.is_stall(after, Time(300_000)));
        let unreadable = wait(None, Reason::CannotSee(System::Nomad), 0);
        assert!(!unreadable.is_stall(after, Time(4_999)) && unreadable.is_stall(after, Time(5_000)));
        assert_eq!((unreadable.blocker.kind, &*unreadable.blocker.name), (BlockerKind::System, "Nomad"));
    }
}
