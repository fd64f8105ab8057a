//! Looks at the models ten times a second, and keeps when each instance went through which phase.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::cluster;
use super::nomad::Sights;
use decamp_core::decide::JobKind;
use decamp_core::ids::InstanceId;
use decamp_core::time::Time;
use decamp_sandbox::wire::{Shared, Stage};
use decamp_sim::auto_scaling::LifecycleState;
use decamp_sim::nomad::Life;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(100);

/// A phase of an instance's time here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It starts, until every target group sends to it.
    Arriving,
    /// It leaves its target groups: from the first deregistration until none lists it.
    Balancers,
    /// Its node drains.
    Drain,
    /// Processes on it are being stopped.
    Stopping,
    /// It has left or is leaving discovery while processes of it still run or are listed.
    Discovery,
    /// It waits in its lifecycle hook.
    Hook,
    /// Nomad is moving services off it: copies of them still run there, and wait for their turn.
    Moving,
}

impl Phase {
    /// Those that are shown, in the order of a departure.
    pub const ALL: [Self; 6] = [Self::Arriving, Self::Hook, Self::Balancers, Self::Drain, Self::Stopping, Self::Discovery];

    /// What a person calls it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Arriving => "arrives",
            Self::Balancers => "leaves load balancers",
            Self::Drain => "drains",
            Self::Stopping => "tasks stop",
            Self::Discovery => "leaves discovery",
            Self::Hook => "waits in hook",
            Self::Moving => "moves services",
        }
    }
}

/// One instance.
#[derive(Debug, Clone, Serialize)]
pub struct Strip {
    /// Which.
    pub instance: InstanceId,
    /// Its node's name.
    pub node: String,
    /// Phase, from, to: seconds since the load began. A phase may come more than once.
    pub spans: Vec<(Phase, f64, f64)>,
    /// When its machine was stopped.
    pub gone: Option<f64>,
    /// Seconds that its hook lasted; `None` if it did not leave.
    pub departure: Option<f64>,
    /// Of those, seconds that were neither the delay (or guard) of a deregistration nor the stopping of processes.
    pub above_floor: Option<f64>,
}

/// What is seen of all instances.
pub(super) type Strips = Arc<Mutex<BTreeMap<InstanceId, Strip>>>;

/// What one look showed of one instance.
struct Seen {
    instance: InstanceId,
    node: String,
    phases: Vec<Phase>,
    gone: bool,
}

/// Looks for ever: at the models, and at the nodes of a real Nomad where there is one.
pub(super) async fn observe(shared: Arc<Shared>, real: Option<watch::Receiver<Sights>>, strips: Strips, began: Instant) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut seen = shared.look(of_aws);
        match &real {
            Some(sights) => of_real_nodes(&mut seen, &sights.borrow()),
            None => shared.look(|stage| of_nodes(&mut seen, stage)),
        }
        let now = began.elapsed().as_secs_f64();
        let mut strips = strips.lock().unwrap_or_else(PoisonError::into_inner);
        for Seen { instance, node, phases, gone } in seen {
            let strip = strips.entry(instance).or_insert_with(|| Strip {
                instance,
                node: node.clone(),
                spans: Vec::new(),
                gone: None,
                departure: None,
                above_floor: None,
            });
            strip.node = node;
            if gone {
                strip.gone.get_or_insert(now);
            }
            for phase in phases {
                strip.goes_on(phase, now);
            }
        }
    }
}

/// What Auto Scaling and the load balancers show.
fn of_aws(stage: &mut dyn Stage) -> Vec<Seen> {
    let groups = cluster::target_groups();
    let (asg, elb) = stage.aws();
    asg.instances()
        .map(|instance| {
            let mut phases = Vec::new();
            let listed = groups.each_ref().map(|arn| elb.listed_until(arn, instance.id));
            let starts =
                matches!(instance.state, LifecycleState::Pending | LifecycleState::PendingWait | LifecycleState::PendingProceed);
            let arrives = starts || {
                let routed = |arn| elb.routes(arn).iter().any(|r| r.id == decamp_core::ids::TargetId::Instance(instance.id));
                instance.state == LifecycleState::InService && !groups.iter().all(routed)
            };
            if arrives {
                phases.push(Phase::Arriving);
            }
            let draining = listed.iter().any(|until| until.is_some_and(|until| until != Time::NEVER));
            if draining {
                phases.push(Phase::Balancers);
            }
            if instance.state == LifecycleState::TerminatingWait {
                phases.push(Phase::Hook);
            }
            Seen { instance: instance.id, node: String::new(), phases, gone: !instance.runs }
        })
        .collect()
}

/// What a real Nomad and a real Consul show.
fn of_real_nodes(all: &mut [Seen], sights: &Sights) {
    for seen in all {
        let Some(number) = cluster::number(seen.instance) else { continue };
        let Some(sight) = sights.get(&number) else { continue };
        seen.node = cluster::name(number);
        let phases = [
            (sight.drains, Phase::Drain),
            (sight.stops, Phase::Stopping),
            (sight.moves, Phase::Moving),
            (sight.leaves_discovery, Phase::Discovery),
        ];
        // Nobody tells a server that a machine is gone: what is known of it is old.
        let phases = phases.into_iter().filter(|(is, _)| *is && !seen.gone);
        seen.phases.extend(phases.map(|(_, phase)| phase));
    }
}

/// What the models of Nomad and Consul show.
fn of_nodes(all: &mut [Seen], stage: &mut dyn Stage) {
    let Some(cluster) = stage.cluster() else { return };
    for seen in all {
        let Some((_, node)) = cluster.nomad.nodes().find(|(_, node)| node.spec.instance == Some(seen.instance)) else { continue };
        seen.node = node.spec.name.to_string();
        if node.drain.is_some() {
            seen.phases.push(Phase::Drain);
        }
        if seen.gone {
            continue;
        }
        let of = node.allocations.iter().map(|n| cluster.nomad.allocation(*n));
        let stops = of.clone().any(|allocation| allocation.life == Life::Stopping);
        if stops {
            seen.phases.push(Phase::Stopping);
        }
        let kind = |group: decamp_sim::nomad::GroupNumber| cluster.nomad.groups()[group.index()].spec.group.kind;
        if node.drain.is_some() && of.clone().any(|a| a.is_alive() && kind(a.group) == JobKind::Service) {
            seen.phases.push(Phase::Moving);
        }
        let leaves = of.clone().any(|allocation| !allocation.wanted);
        let consul = node.spec.consul.as_ref().map(|(number, _)| cluster.consul.node(*number));
        let is_listed = consul.is_some_and(|node| node.entries().any(decamp_sim::consul::Entry::is_listed));
        if leaves && is_listed {
            seen.phases.push(Phase::Discovery);
        }
    }
}

impl Strip {
    /// A phase is seen at this moment: the span that was seen a moment ago goes on, or a new one begins.
    fn goes_on(&mut self, phase: Phase, now: f64) {
        let step = EVERY.as_secs_f64();
        let open = self.spans.iter_mut().rev().find(|(known, ..)| *known == phase).filter(|(.., to)| now - *to < 4.0 * step);
        match open {
            Some((.., to)) => *to = now + step / 2.0,
            None => self.spans.push((phase, now - step / 2.0, now + step / 2.0)),
        }
    }

    /// What it is doing now, in words.
    #[must_use]
    pub fn phases_at(&self, now: f64) -> Vec<Phase> {
        let step = EVERY.as_secs_f64();
        Phase::ALL.into_iter().filter(|phase| self.spans.iter().any(|(p, _, to)| p == phase && now - to < 3.0 * step)).collect()
    }

    /// Reckons how long it waited in its hook, and how much of that was above the floor (ADR 0024): the time that was neither the
    /// delay or guard after a deregistration (`wait`), nor the stopping of processes, one after another as Nomad moves them.
    pub(super) fn reckon(&mut self, wait: Duration) {
        let of = |phase: Phase| self.spans.iter().filter(move |(p, ..)| *p == phase).map(|(_, from, to)| (*from, *to));
        let (Some(from), Some(to)) = (
            of(Phase::Hook).map(|(from, _)| from).min_by(f64::total_cmp),
            of(Phase::Hook).map(|(_, to)| to).max_by(f64::total_cmp),
        ) else {
            return;
        };
        let wait = wait.as_secs_f64();
        let mut floor: Vec<(f64, f64)> = of(Phase::Stopping).chain(of(Phase::Moving)).collect();
        // Auto Scaling deregisters from an attached group before the hook begins: part of that delay is over by then.
        floor.extend(of(Phase::Balancers).map(|(begins, _)| (begins, begins + wait)));
        floor.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (mut covered, mut reached) = (0.0, from);
        for (begins, ends) in floor {
            let (begins, ends) = (begins.max(reached), ends.min(to));
            if begins < ends {
                covered += ends - begins;
                reached = ends;
            }
        }
        self.departure = Some(to - from);
        self.above_floor = Some((to - from - covered).max(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(spans: &[(Phase, f64, f64)]) -> Strip {
        let spans = spans.to_vec();
        let instance = InstanceId::from_number(1);
        Strip { instance, node: String::new(), spans, gone: None, departure: None, above_floor: None }
    }

    #[test]
    fn the_floor_is_the_delay_and_the_stops_and_what_overlaps_counts_once() {
        let mut strip = strip(&[
            (Phase::Balancers, 1.0, 6.0),
            (Phase::Hook, 10.0, 30.0),
            (Phase::Balancers, 11.0, 16.0),
            (Phase::Stopping, 12.0, 18.0),
            (Phase::Stopping, 20.0, 25.0),
        ]);
        strip.reckon(Duration::from_secs(5));
        assert_eq!((strip.departure, strip.above_floor), (Some(20.0), Some(8.0)));
    }

    #[test]
    fn a_phase_that_was_seen_a_moment_ago_goes_on_and_one_long_past_begins_anew() {
        let mut strip = strip(&[]);
        for now in [1.0, 1.1, 1.2, 5.0] {
            strip.goes_on(Phase::Drain, now);
        }
        assert_eq!(strip.spans.len(), 2);
        assert_eq!(strip.phases_at(5.1), [Phase::Drain]);
        assert_eq!(strip.phases_at(6.0), []);
    }
}
