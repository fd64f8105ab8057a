//! The stages of a departure, so that a person sees its progress at a glance.

use decamp_core::decide::{Departure, Lifecycle, Policy, Reason, ReasonClass, Snapshot, may_send_for, targets_of};
use decamp_core::time::Time;

/// The state of one stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Stage {
    /// Still to come.
    #[default]
    ToCome,
    /// In progress.
    Now,
    /// Done.
    Done,
}

/// The stages of every departure, in order. Several may be in progress at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stages([Stage; 6]);

const NAMES: [&str; 6] = ["hook", "load balancers", "drain", "stopping", "discovery", "done"];

impl Stages {
    /// The stages of a snapshot.
    pub(crate) fn of(departure: &Departure, seen: &Snapshot, policy: &Policy, waits_for: &Reason, now: Time) -> Self {
        use Stage::{Done, Now, ToCome};
        let waits = matches!(seen.lifecycle.last(), Some(Lifecycle::Waiting | Lifecycle::ReplacingRootVolume));
        let nodes = seen.nomad.last().map_or(&[][..], |nomad| &nomad.nodes);
        let drained = nodes.iter().any(|node| node.last_drain.as_ref().is_some_and(|last| last.meta.is_some()));
        let drain = match (nodes.iter().any(|node| node.drain.is_some()), drained) {
            (true, _) => Now,
            (false, true) => Done,
            (false, false) => ToCome,
        };
        let known = &seen.history.known;
        let stopping = match (known.iter().all(|known| known.over), known.iter().any(|known| known.told.is_some())) {
            (true, _) if drained && seen.nomad.last().is_some() => Done,
            (false, true) => Now,
            (true | false, _) => ToCome,
        };
        let left = |services: usize| if services == 0 { Done } else { Now };
        let registered = seen.consul.last().into_iter().chain(seen.nomad_services.last()).map(|all| all.services.len()).sum();
        let discovery = if stopping == Done { left(registered) } else { ToCome };
        let balancers = balancers(departure, seen, policy, waits_for, now);
        Self([if waits { Done } else { Now }, balancers, drain, stopping, discovery, ToCome])
    }

    /// The stages of a departure that has ended, whatever its outcome.
    pub(crate) fn over() -> Self {
        Self([Stage::Done; 6])
    }

    /// Each with its name.
    pub(crate) fn each(self) -> impl Iterator<Item = (&'static str, Stage)> {
        NAMES.into_iter().zip(self.0)
    }
}

fn balancers(departure: &Departure, seen: &Snapshot, policy: &Policy, waits_for: &Reason, now: Time) -> Stage {
    if seen.balancers.is_empty() {
        return if seen.group.last().is_some() && seen.nomad.last().is_some() { Stage::Done } else { Stage::ToCome };
    }
    let groups = seen.balancers.iter().filter_map(|balancer| Some((balancer, balancer.sight.last()?)));
    let mut registered = false;
    let mut sends = waits_for.kind().class() == ReasonClass::Delay;
    for (balancer, group) in groups {
        registered |= targets_of(departure, seen, group).iter().any(|target| target.health.is_registered());
        sends |= balancer.deregistered.is_some_and(|at| now < at + may_send_for(group, policy));
    }
    let begun = seen.balancers.iter().any(|balancer| balancer.deregistered.is_some());
    match (registered, sends) {
        (true, _) if !begun => Stage::ToCome,
        (true, _) | (false, true) => Stage::Now,
        (false, false) => Stage::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decamp_core::decide::{Cause, LifecycleAction, Nomad, Observation};
    use decamp_core::ids::InstanceId;

    fn stages(change: impl FnOnce(&mut Snapshot)) -> [Stage; 6] {
        let instance = InstanceId::from_number(1);
        let departure = Departure { instance, asg: "web".into(), cause: Cause::Lifecycle(LifecycleAction::default()) };
        let mut seen = Snapshot::begin(instance, Time(0));
        change(&mut seen);
        Stages::of(&departure, &seen, &Policy::default(), &Reason::NotKnownYet, Time(1_000)).0
    }

    #[test]
    fn a_stage_that_was_not_seen_is_neither_done_nor_in_progress() {
        use Stage::{Done, Now, ToCome};
        assert_eq!(stages(|_| {}), [Now, ToCome, ToCome, ToCome, ToCome, ToCome]);
        assert_eq!(stages(|seen| seen.take(Time(0), Observation::Lifecycle(Ok(Lifecycle::Waiting))))[0], Done);
        let empty = Nomad { nodes: Vec::new(), set_aside: Vec::new() };
        assert_eq!(
            stages(|seen| seen.take(Time(0), Observation::Nomad(Ok(empty))))[3],
            ToCome,
            "no drain was seen to stop anything"
        );
    }

    #[test]
    fn every_stage_of_an_ended_departure_is_done() {
        assert!(Stages::over().each().all(|(_, stage)| stage == Stage::Done));
    }
}
