//! The floor of a departure: the time that load balancers, stops and copies of disks took with any driver. The time above the floor is decamp's.

use std::time::Duration;

use crate::faults::{Fault, Faults};
use crate::world::SimWorld;
use decamp_core::decide::{LocalData, Outcome, Policy};
use decamp_core::time::Time;

/// Within this time Nomad notices that an agent is dead, and makes the last write that follows from it.
const NOTICED: Duration = Duration::from_secs(40);

/// How much longer the departure took than the load balancers' delay and the stops. Overlapping times count once.
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
    let mut spans: Vec<(Time, Time)> = oracle.copies(&world.nomad).chain(oracle.releases(&world.nomad, &world.subject)).collect();
    if !balancers.is_zero() {
        let from = oracle.first_deregistered.unwrap_or(started);
        spans.push((from, from + balancers));
    }
    if let (Some(first), Some(last)) = (oracle.first_drain, oracle.last_drain) {
        if let Some(over) = oracle.last_over_before_last_drain {
            spans.push((first, over));
        }
        if let Some(over) = oracle.last_over {
            spans.push((if oracle.stops_continue { first } else { last }, over));
        }
    }
    Some(ended.since(started).saturating_sub(covered(spans, started, ended)))
}

/// Whether a fault causes a wait whose length the settings say. A missing node does not: where other systems contradict it, decamp waits
/// for it to the end (ADR 0007).
pub(super) fn is_waited_out(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::AgentDead | Fault::LeftoverRegistration | Fault::CsiVolumes | Fault::VolumesDenied | Fault::HostVolumes
    )
}

/// When the last wait is over that such faults and the cluster itself cause with any driver (ADR 0002).
pub(super) fn waited_out(world: &SimWorld, faults: Faults, policy: &Policy, started: Time, balancers: Duration) -> Time {
    let oracle = &world.oracle;
    let released = oracle.first_deregistered.unwrap_or(started) + balancers;
    let over = oracle.last_over.unwrap_or(started);
    // While the node's services pass, decamp waits for a lost agent to the end (ADR 0005).
    let dead = |died: Time| (died + NOTICED + policy.agent_dead_wait).max(started + policy.max_departure);
    let dead = oracle.agent_died.filter(|_| faults.has(Fault::AgentDead)).map(dead);
    let left = faults.has(Fault::LeftoverRegistration).then(|| over + policy.leftover_wait);
    let nowhere = faults.has(Fault::NoNode).then(|| started + policy.no_node_wait);
    // A disk that nobody copies, or a claim that is never released, is waited for to the end.
    let left_by = oracle.copies(&world.nomad).chain(oracle.releases(&world.nomad, &world.subject));
    // A hold for local data stops decamp's clock until nothing uses the data.
    let holds_data = faults.has(Fault::HostVolumes) && policy.local_data == LocalData::Hold;
    let end = if holds_data { over.max(started) } else { started } + policy.max_departure;
    let copied = left_by.map(|(_, copied)| copied.min(end)).max();
    [Some(released), Some(over), dead, left, nowhere, copied].into_iter().flatten().max().unwrap_or(started)
}

/// How much of the time from `from` to `to` the spans cover together.
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
    fn overlapping_spans_count_once() {
        let spans = vec![(Time(0), Time(3_000)), (Time(1_000), Time(2_000)), (Time(5_000), Time(9_000))];
        assert_eq!(covered(spans, Time(1_000), Time(6_000)), Duration::from_secs(3));
    }
}
