//! The floor of a departure as it went: the time that load balancers and stops took, whatever decamp did. What is above it is ours.

use std::time::Duration;

use crate::faults::{Fault, Faults};
use crate::world::SimWorld;
use decamp_core::decide::{Outcome, Policy};
use decamp_core::time::Time;

/// Nomad notices within this that an agent is dead, and writes for the last time what that changes.
const NOTICED: Duration = Duration::from_secs(40);

/// How much longer it took than the load balancers' delay and the stops, each counted once where they overlap.
pub(super) fn above_floor(
    world: &SimWorld,
    started: Time,
    ended: Time,
    balancers: Duration,
    outcome: Option<&Outcome>,
) -> Option<Duration> {
    if !matches!(outcome, Some(Outcome::Departed { .. } | Outcome::Unconfirmed { .. })) {
        return None;
    }
    let oracle = &world.oracle;
    let mut spans = vec![];
    if !balancers.is_zero() {
        let from = oracle.first_deregistered.unwrap_or(started);
        spans.push((from, from + balancers));
    }
    if let (Some(first), Some(last)) = (oracle.first_drain, oracle.last_drain) {
        if let Some(over) = oracle.over_before_last_drain {
            spans.push((first, over));
        }
        if let Some(over) = oracle.last_over {
            spans.push((if oracle.stops_through { first } else { last }, over));
        }
    }
    Some(ended.since(started).saturating_sub(covered(spans, started, ended)))
}

/// Whether a fault leaves something that is waited for, for a time that the settings say. A node that is missing is not: where it
/// is a contradiction it is waited for to the end (ADR 0007).
pub(super) fn is_waited_out(fault: Fault) -> bool {
    matches!(fault, Fault::AgentDead | Fault::LeftoverRegistration)
}

/// When the last of the waits is over that such faults and the cluster itself bring, whoever waits (ADR 0002).
pub(super) fn waited_out(world: &SimWorld, faults: Faults, policy: &Policy, started: Time, balancers: Duration) -> Time {
    let oracle = &world.oracle;
    let released = oracle.first_deregistered.unwrap_or(started) + balancers;
    let over = oracle.last_over.unwrap_or(started);
    // While its services pass, a lost agent is waited for to the end (ADR 0005).
    let dead = |died: Time| (died + NOTICED + policy.agent_dead_wait).max(started + policy.max_departure);
    let dead = oracle.agent_died.filter(|_| faults.has(Fault::AgentDead)).map(dead);
    let left = faults.has(Fault::LeftoverRegistration).then(|| over + policy.leftover_wait);
    let nowhere = faults.has(Fault::NoNode).then(|| started + policy.no_node_wait);
    [Some(released), Some(over), dead, left, nowhere].into_iter().flatten().max().unwrap_or(started)
}

/// How much of a stretch of time the spans cover together.
fn covered(mut spans: Vec<(Time, Time)>, from: Time, to: Time) -> Duration {
    spans.sort();
    let (mut reached, mut sum) = (from, Duration::ZERO);
    for (begin, end) in spans {
        let (begin, end) = (begin.max(reached), end.min(to));
        sum += end.since(begin);
        reached = reached.max(end);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_is_counted_once() {
        let spans = vec![(Time(0), Time(3_000)), (Time(1_000), Time(2_000)), (Time(5_000), Time(9_000))];
        assert_eq!(covered(spans, Time(1_000), Time(6_000)), Duration::from_secs(3));
    }
}
