//! Looks at the models ten times a second and records the phases of each instance.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::cluster;
use super::nomad::NodeStates;
use decamp_core::decide::JobKind;
use decamp_core::ids::InstanceId;
use decamp_core::time::Time;
use decamp_sandbox::wire::{Models, Shared};
use decamp_sim::auto_scaling::LifecycleState;
use decamp_sim::nomad::Life;

/// The time between two looks.
const EVERY: Duration = Duration::from_millis(100);

/// A phase in the life of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It starts. This phase ends when every target group sends to it.
    Arriving,
    /// It leaves its target groups, from the first deregistration until no group lists it.
    Balancers,
    /// Its node drains.
    Drain,
    /// Processes on it are stopping.
    Stopping,
    /// It is leaving discovery: some of its processes are to stop, and some are still listed.
    Discovery,
    /// It waits in its lifecycle hook.
    Hook,
    /// Nomad is moving services off it. Some copies still run there and wait for their turn.
    Moving,
}

impl Phase {
    /// The phases that are shown, in the order of a departure.
    pub const ALL: [Self; 6] = [Self::Arriving, Self::Hook, Self::Balancers, Self::Drain, Self::Stopping, Self::Discovery];

    /// The words for a person.
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

/// The phases of one instance.
#[derive(Debug, Clone, Serialize)]
pub struct Strip {
    /// The instance.
    pub instance: InstanceId,
    /// The name of its node.
    pub node: String,
    /// Each phase with its beginning and end, in seconds since the load began. A phase may occur more than once.
    pub spans: Vec<(Phase, f64, f64)>,
    /// When its machine was stopped.
    pub gone: Option<f64>,
    /// How many seconds its hook lasted. `None` if it did not leave.
    pub departure: Option<f64>,
    /// How many of those seconds were neither the delay (or guard) after a deregistration nor the stopping of processes.
    pub above_floor: Option<f64>,
}

/// The phases of all instances.
pub(super) type Strips = Arc<Mutex<BTreeMap<InstanceId, Strip>>>;

/// One look at one instance.
struct InstanceLook {
    instance: InstanceId,
    node: String,
    phases: Vec<Phase>,
    gone: bool,
}

/// Looks until the task is aborted: at the models, and at the nodes of a real Nomad if there is one.
pub(super) async fn observe(shared: Arc<Shared>, real: Option<watch::Receiver<NodeStates>>, strips: Strips, began: Instant) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut looks = shared.look(look_at_aws);
        match &real {
            Some(node_states) => look_at_real_nodes(&mut looks, &node_states.borrow()),
            None => shared.look(|models| look_at_simulated_nodes(&mut looks, models)),
        }
        let now = began.elapsed().as_secs_f64();
        let mut strips = strips.lock().unwrap_or_else(PoisonError::into_inner);
        for InstanceLook { instance, node, phases, gone } in looks {
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
                strip.extend(phase, now);
            }
        }
    }
}

/// What Auto Scaling and the load balancers show.
fn look_at_aws(models: &mut dyn Models) -> Vec<InstanceLook> {
    let groups = cluster::target_groups();
    let (asg, elb) = models.aws();
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
            InstanceLook { instance: instance.id, node: String::new(), phases, gone: !instance.runs }
        })
        .collect()
}

/// What a real Nomad and a real Consul show.
fn look_at_real_nodes(all: &mut [InstanceLook], node_states: &NodeStates) {
    for look in all {
        let Some(number) = cluster::number(look.instance) else { continue };
        let Some(state) = node_states.get(&number) else { continue };
        look.node = cluster::name(number);
        let phases = [
            (state.drains, Phase::Drain),
            (state.stops, Phase::Stopping),
            (state.moves, Phase::Moving),
            (state.leaves_discovery, Phase::Discovery),
        ];
        // Nomad's servers do not learn at once that a machine is gone, so their state of it is old.
        let phases = phases.into_iter().filter(|(is, _)| *is && !look.gone);
        look.phases.extend(phases.map(|(_, phase)| phase));
    }
}

/// What the models of Nomad and Consul show.
fn look_at_simulated_nodes(all: &mut [InstanceLook], models: &mut dyn Models) {
    let Some(cluster) = models.cluster() else { return };
    for look in all {
        let Some((_, node)) = cluster.nomad.nodes().find(|(_, node)| node.spec.instance == Some(look.instance)) else { continue };
        look.node = node.spec.name.to_string();
        if node.drain.is_some() {
            look.phases.push(Phase::Drain);
        }
        if look.gone {
            continue;
        }
        let of = node.allocations.iter().map(|n| cluster.nomad.allocation(*n));
        let stops = of.clone().any(|allocation| allocation.life == Life::Stopping);
        if stops {
            look.phases.push(Phase::Stopping);
        }
        let kind = |group: decamp_sim::nomad::GroupNumber| cluster.nomad.groups()[group.index()].spec.group.kind;
        if node.drain.is_some() && of.clone().any(|a| a.is_alive() && kind(a.group) == JobKind::Service) {
            look.phases.push(Phase::Moving);
        }
        let leaves = of.clone().any(|allocation| !allocation.wanted);
        let consul = node.spec.consul.as_ref().map(|(number, _)| cluster.consul.node(*number));
        let is_listed = consul.is_some_and(|node| node.entries().any(decamp_sim::consul::Entry::is_listed));
        if leaves && is_listed {
            look.phases.push(Phase::Discovery);
        }
    }
}

impl Strip {
    /// Adds a look at a phase. It extends the span of a moment ago, or begins a new one.
    fn extend(&mut self, phase: Phase, now: f64) {
        let step = EVERY.as_secs_f64();
        let open = self.spans.iter_mut().rev().find(|(known, ..)| *known == phase).filter(|(.., to)| now - *to < 4.0 * step);
        match open {
            Some((.., to)) => *to = now + step / 2.0,
            None => self.spans.push((phase, now - step / 2.0, now + step / 2.0)),
        }
    }

    /// The phases at this time.
    #[must_use]
    pub fn phases_at(&self, now: f64) -> Vec<Phase> {
        let step = EVERY.as_secs_f64();
        Phase::ALL.into_iter().filter(|phase| self.spans.iter().any(|(p, _, to)| p == phase && now - to < 3.0 * step)).collect()
    }

    /// Computes how long the instance waited in its hook, and how much of that was above the floor (ADR 0024). The floor is the delay or
    /// guard after a deregistration (`wait`) and the stopping of processes, one after another as Nomad moves them.
    pub(super) fn measure(&mut self, wait: Duration) {
        let of = |phase: Phase| self.spans.iter().filter(move |(p, ..)| *p == phase).map(|(_, from, to)| (*from, *to));
        let (Some(from), Some(to)) = (
            of(Phase::Hook).map(|(from, _)| from).min_by(f64::total_cmp),
            of(Phase::Hook).map(|(_, to)| to).max_by(f64::total_cmp),
        ) else {
            return;
        };
        let wait = wait.as_secs_f64();
        let mut floor: Vec<(f64, f64)> = of(Phase::Stopping).chain(of(Phase::Moving)).collect();
        // Auto Scaling deregisters from an attached group before the hook begins, so part of that delay is over by then.
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
    fn the_floor_is_the_delay_and_the_stops_and_overlapping_time_counts_once() {
        let mut strip = strip(&[
            (Phase::Balancers, 1.0, 6.0),
            (Phase::Hook, 10.0, 30.0),
            (Phase::Balancers, 11.0, 16.0),
            (Phase::Stopping, 12.0, 18.0),
            (Phase::Stopping, 20.0, 25.0),
        ]);
        strip.measure(Duration::from_secs(5));
        assert_eq!((strip.departure, strip.above_floor), (Some(20.0), Some(8.0)));
    }

    #[test]
    fn a_phase_seen_a_moment_ago_is_extended_and_an_older_one_begins_again() {
        let mut strip = strip(&[]);
        for now in [1.0, 1.1, 1.2, 5.0] {
            strip.extend(Phase::Drain, now);
        }
        assert_eq!(strip.spans.len(), 2);
        assert_eq!(strip.phases_at(5.1), [Phase::Drain]);
        assert_eq!(strip.phases_at(6.0), []);
    }
}
