//! The judge: checks the invariants at every effect and every event, against the true state of the models.

mod addresses;
mod at_the_end;
mod calls;
mod capacity;
mod comparison;
mod consul_outages;
mod deadlines;
mod departed;
mod discovery;
mod disks;
mod lost_agents;
mod notes;
mod promises;
mod stops;
mod volumes;

use std::net::IpAddr;
use std::time::Duration;

pub use self::promises::Bounds;
use super::auto_scaling::{AutoScaling, Ending, InstanceEvent};
use super::consul::Consul;
use super::event::{AllocationNumber, Event, EventKind};
use super::load_balancers::LoadBalancers;
use super::nomad::{Life, Nomad};
use super::traffic::Traffic;
use super::world::{Intervention, Subject};
use decamp_core::decide::{Departure, Effect, LifecycleResult, Outcome, Phase};
use decamp_core::ids::{InstanceId, NodeId, TargetGroupArn};
use decamp_core::time::Time;

/// How much later than decamp's first deadline another of its deadlines may be: a call's time-out, and a second for rounding (ADR 0003).
const DEADLINE_TOLERANCE: Duration = Duration::from_secs(6);

/// The sum of the age that a look at the load balancers may have when decamp stops something, a call's time-out, and the longest routing
/// lag. A target that another worker deregistered in this time is in no list, and still gets requests.
const LOOK_AGE: Duration = Duration::from_secs(190);
/// How old the last look at the node may be when decamp completes the action.
const LAST_LOOK: Duration = Duration::from_secs(5);
/// After the release, allocations always get this long to stop in order (ADR 0001), so that such a deadline may come too late.
const IN_ORDER: Duration = Duration::from_secs(30);
/// The name of decamp's hook in every scenario.
const OUR_HOOK: &str = "decamp";
/// Workers decide two drains this close together without seeing each other's.
const RACE: Duration = Duration::from_secs(2);

/// An invariant that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When it was broken.
    pub at: Time,
    /// The invariant: `S1`, `L2`, …
    pub rule: &'static str,
    /// How it was broken.
    pub what: String,
}

/// What the judge has seen so far.
#[derive(Debug, Clone, Default)]
pub struct Oracle {
    /// The invariants that were broken.
    pub violations: Vec<Violation>,
    /// When the machine stopped.
    pub machine_stopped: Option<Time>,
    /// Whether another party ended the machine.
    pub machine_died: bool,
    /// Whether an operator stopped or purged a job, or purged the node.
    pub work_stopped_by_operator: bool,
    /// When another party last registered the instance again.
    pub registered_again: Option<Time>,
    /// When an operator purged the node, or purged a job before a worker looked.
    pub purged: Option<Time>,
    /// When a worker first looked at Nomad with full read access.
    pub looked_at: Option<Time>,
    /// When a worker first looked at the Auto Scaling group.
    pub group_looked_at: Option<Time>,
    /// When each outage of Consul for the ingress began.
    pub consul_outages_began: Vec<Time>,
    /// When decamp first drained.
    pub first_drain: Option<Time>,
    /// When decamp last drained.
    pub last_drain: Option<Time>,
    /// When decamp made each drain that stops services.
    pub drain_times: Vec<Time>,
    /// Whether EC2 takes the instance back.
    pub interrupted: bool,
    /// How many heartbeats were sent.
    heartbeats: u32,
    /// Whether two workers drained at the same moment without seeing each other's drain.
    pub raced: bool,
    /// When decamp first sent a force.
    pub forced: Option<Time>,
    /// When an operator drained the node.
    pub operator_drained: Option<Time>,
    /// When the node's Consul agent died.
    pub consul_agent_died: Option<Time>,
    /// Whether an operator raised a deregistration delay, which then may differ from the one with which the instance was deregistered.
    pub delay_raised: bool,
    /// When an operator deleted a hook.
    pub hook_deleted: Option<Time>,
    /// When the node's Nomad agent died.
    pub agent_died: Option<Time>,
    /// When the instance last began to wait in decamp's hook.
    hook_began: Option<Time>,
    /// When and how the action ended.
    pub action_ended: Option<(Time, Ending)>,
    /// When decamp's accepted completion was sent, and its outcome.
    pub verdict: Option<(Time, Outcome)>,
    /// The end of the last time in which no worker worked on the departure.
    pub unattended_until: Time,
    /// When decamp first deregistered a target.
    pub first_deregistered: Option<Time>,
    /// The target groups that decamp deregistered the instance from.
    pub left: Vec<TargetGroupArn>,
    /// Whether stops of an earlier drain continued through the last drain.
    pub stops_continue: bool,
    /// When the last process before decamp's last drain ended.
    pub last_over_before_last_drain: Option<Time>,
    /// When the last process on the node ended.
    pub last_over: Option<Time>,
    /// Whether the policy waits for services that were registered by hand.
    pub waits_for_by_hand: bool,
    /// The last task group that was drained although Consul lists none of its services, and when.
    stopped_unlisted: Option<(Time, String)>,
    /// Whether the policy leaves system jobs running.
    pub leaves_system_jobs: bool,
    /// How much longer than usual the answers of one system take. For this long workers may not see each other's writes.
    pub slowness: Duration,
    /// The bounds of the departure.
    pub bounds: Bounds,
    /// The first deadline of decamp's drains.
    pub deadline: Option<Time>,
    /// The earliest deadline that any of decamp's drains has had. Of two concurrent drains the later deadline may apply.
    earliest_deadline: Option<Time>,
    /// When the acting worker first looked at Nomad with full read access.
    pub actor_looked_at: Option<Time>,
    deadlines: Vec<(NodeId, Time)>,
    landed: Option<Time>,
    job_purged: Option<Time>,
    /// How many workers have started.
    pub workers: u64,
    /// The number of the acting worker.
    pub actor: u64,
    notes: notes::Notes,
    /// When a worker first saw the instance registered by an address.
    by_address: Option<Time>,
    held: bool,
    /// When a hold ended.
    unheld: Option<Time>,
    agent_last_died: Option<Time>,
    agent_back: Option<Time>,
    /// The number of the worker whose completion was accepted.
    completed_by: Option<u64>,
    caught_up: Option<Time>,
    detached: Option<Time>,
    consul_outages: consul_outages::ConsulOutages,
    /// Allocations of the instance with a migrating disk that a drain moved, and whether decamp had drained by then.
    disks: Vec<(AllocationNumber, bool)>,
    registrations: comparison::Registrations,
    volumes: volumes::Volumes,
}

impl Oracle {
    fn broke(&mut self, at: Time, rule: &'static str, what: String) {
        self.violations.push(Violation { at, rule, what });
    }

    /// Called for everything that happens in Auto Scaling.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the judge remembers only the departure's own action")]
    pub fn auto_scaling(&mut self, at: Time, subject: &Subject, event: &InstanceEvent) {
        // decamp does not complete another terminating hook of the group.
        let is_ours = |instance: &InstanceId, hook: &str| *instance == subject.instance && *hook == *OUR_HOOK;
        match event {
            InstanceEvent::ActionBegan { instance, hook } if is_ours(instance, hook) => self.hook_began = Some(at),
            InstanceEvent::ActionEnded { instance, hook, ending } if is_ours(instance, hook) => {
                self.action_ended = Some((at, *ending));
            }
            _ => {}
        }
    }

    /// Called when the machine stops.
    pub fn machine_stops(&mut self, at: Time) {
        self.machine_stopped = Some(at);
    }

    /// Called for each intervention of another party.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the judge remembers only the interventions that it needs")]
    pub fn intervention(&mut self, at: Time, intervention: &Intervention) {
        match intervention {
            Intervention::MachineDies => self.machine_died = true,
            Intervention::Hold(held) => {
                // A hold that no worker saw did not stop a worker's clock.
                self.unheld = Some(at).filter(|_| self.held && !*held && self.group_looked_at.is_some());
                self.held = *held;
            }
            Intervention::Detach => self.detached = self.detached.or(Some(at)),
            Intervention::PurgeJob | Intervention::StopJob | Intervention::PurgeNode => {
                self.work_stopped_by_operator = true;
                if *intervention == Intervention::PurgeNode || *intervention == Intervention::PurgeJob && self.looked_at.is_none()
                {
                    self.purged = self.purged.or(Some(at));
                }
                if *intervention == Intervention::PurgeJob {
                    self.job_purged = self.job_purged.or(Some(at));
                }
            }
            Intervention::Register(_) => self.registered_again = Some(at),
            Intervention::LandOn(_) => self.landed = self.landed.or(Some(at)),
            Intervention::Lag(false) => self.caught_up = Some(at),
            Intervention::IngressLosesConsul(away) => self.consul_goes_or_returns(at, *away),
            Intervention::Drain(..) => self.operator_drained = self.operator_drained.or(Some(at)),
            Intervention::KillConsulAgent => self.consul_agent_died = self.consul_agent_died.or(Some(at)),
            Intervention::RaiseDelay(..) => self.delay_raised = true,
            Intervention::KillAgent => {
                self.agent_died = self.agent_died.or(Some(at));
                self.agent_last_died = Some(at);
            }
            Intervention::ReviveAgent => self.agent_back = Some(at),
            Intervention::DeleteHook(_) => self.hook_deleted = self.hook_deleted.or(Some(at)),
            _ => {}
        }
    }

    /// Called for each event of a process. S1: decamp stops nothing to which a load balancer may still send. `unreported` is an address at
    /// which the instance is a target and which no system reports.
    #[expect(clippy::too_many_arguments, reason = "the judge sees everything")]
    pub fn process(
        &mut self,
        at: Time,
        event: Event,
        ours: bool,
        unreported: Option<IpAddr>,
        nomad: &Nomad,
        traffic: &Traffic,
        balancers: &LoadBalancers,
    ) {
        if !ours {
            return;
        }
        match event.kind {
            EventKind::Over => {
                self.last_over = Some(at);
                self.see_disk(event.allocation, nomad);
                self.registrations.over(event.allocation, nomad);
            }
            EventKind::Ended { .. } => self.last_over = Some(at),
            EventKind::Signalled => {
                let by_us = self.first_drain.is_some()
                    && self.forced.is_none()
                    && self.machine_stopped.is_none()
                    && !self.work_stopped_by_operator
                    && self.agent_died.is_none()
                    // Two minutes may be too short for the delay. Then a finding foresees what is cut (ADR 0014).
                    && !self.interrupted
                    && !self.just_registered_again()
                    && !self.is_misled()
                    && !self.delay_raised
                    && self.operator_drained.is_none();
                let waited_out = unreported.filter(|_| self.waited_for_addresses(at));
                if by_us && let Some((target, port)) = traffic.routed_backend(event.allocation, balancers, waited_out) {
                    let group = nomad.allocation(event.allocation).group;
                    let title = nomad.groups()[group.index()].spec.group.title();
                    self.broke(at, "S1", format!("{title} was stopped while {target}:{port} was still routed to"));
                }
            }
            EventKind::StopRequested => self.check_capacity(at, event, nomad),
            EventKind::LeftDiscovery { .. } => self.registrations.left(event.allocation),
            EventKind::Serving | EventKind::InDiscovery { .. } => {}
        }
    }

    /// Called when a worker's effect arrives at its system. S3, S4, S5, S10.
    #[expect(clippy::too_many_arguments, reason = "the judge sees everything")]
    pub fn effect(
        &mut self,
        at: Time,
        departure: &Departure,
        effect: &Effect,
        auto_scaling: &AutoScaling,
        nomad: &Nomad,
        consul: &Consul,
        balancers: &LoadBalancers,
        subject: &Subject,
    ) {
        self.check_promises(at, effect, auto_scaling, nomad, subject);
        self.check_haste(at, departure, effect, auto_scaling, nomad, balancers, subject);
        self.see_volumes(at, departure, effect, auto_scaling, nomad, subject);
        match effect {
            Effect::Heartbeat(_) => self.heartbeats += 1,
            Effect::MakeIneligible(node) | Effect::Note { node, .. } => self.check_own_node(at, *node, nomad, subject),
            Effect::Deregister { group, targets } => {
                if let Some(foreign) = targets.iter().find(|t| !subject.owns(&t.id)) {
                    self.broke(at, "S5", format!("{} in {} is not ours", foreign.id, group.name()));
                }
                self.first_deregistered.get_or_insert(at);
                self.left.push(group.clone());
            }
            Effect::Drain { node, deadline, meta, .. } => {
                self.check_own_node(at, *node, nomad, subject);
                self.check_unlisted_services(at, meta.phase, nomad, subject);
                if self.first_drain.is_some() {
                    let stopping = nomad.allocations().iter().any(|a| Some(a.node) == subject.node && a.life == Life::Stopping);
                    // The stops of the first drain may continue through the second.
                    self.last_over_before_last_drain = if stopping { None } else { self.last_over };
                    self.stops_continue = stopping;
                }
                self.first_drain.get_or_insert(at);
                let before = self.last_drain.replace(at);
                // A drain that is sent again stops only system jobs (ADR 0004).
                if meta.phase != Phase::Resent {
                    self.drain_times.push(at);
                }
                self.interrupted |= matches!(departure.cause, decamp_core::decide::Cause::Interruption { .. });
                // A drain without time for its deadline is a force.
                if meta.phase == Phase::Forced || deadline.span() <= Duration::from_secs(1) {
                    self.forced.get_or_insert(at);
                }
                let force = at + deadline.span();
                self.earliest_deadline = Some(self.earliest_deadline.map_or(force, |earliest| earliest.min(force)));
                let raced = before.is_some_and(|before| at.since(before) < self.race());
                self.raced |= raced;
                let known = self.deadlines.iter().find(|(of, _)| of == node).map(|(_, first)| *first);
                // Two workers that drain at the same moment cannot see each other's drain. Nor can one that reads a server that lags. The later
                // drain's note replaces the earlier one, and later phases follow it.
                let unaware = raced || self.lagged(at, nomad);
                let first = known.map_or(force, |first| if unaware { first.max(force) } else { first });
                // Without a leader Nomad refuses the drain.
                if nomad.has_leader() {
                    self.deadlines.retain(|(of, _)| of != node);
                    self.deadlines.push((*node, first));
                }
                self.deadline = self.deadlines.iter().map(|(_, first)| *first).min();
                // A force follows a deadline that did not work.
                let exempt = unaware
                    || self.purged.is_some()
                    || self.operator_drained.is_some()
                    || meta.phase == Phase::Forced
                    || deadline.span() <= Duration::from_secs(1);
                if !exempt && first + DEADLINE_TOLERANCE < force {
                    self.broke(
                        at,
                        "S4",
                        format!("{:?} moves the deadline {} later", meta.phase, decamp_core::time::plain(force.since(first))),
                    );
                }
                if let Some(ends) = self.knowable_end(auto_scaling, departure.instance)
                    && IN_ORDER < deadline.span()
                    && !self.bounds.never_force
                    && ends < force + meta.longest_stop
                {
                    self.broke(at, "S10", "the deadline and the longest stop do not fit before the hook ends".to_owned());
                }
            }
            Effect::Complete { of, result, verdict } => {
                let verdict = &self.bounds.as_judged(verdict).clone();
                let mut actions = auto_scaling.instance(departure.instance).into_iter().flat_map(|i| &i.actions);
                // Auto Scaling refuses a completion with the token of another action.
                let named = |token: &decamp_core::ids::ActionToken| of.token.as_ref().is_none_or(|of| of == token);
                let open = actions.any(|a| a.is_open() && a.hook == of.hook && named(&a.token));
                // A worker that may believe that the time is up need not wait longer.
                let in_time = self.earliest_end(departure, auto_scaling, subject).is_some_and(|end| at + LAST_LOOK < end);
                if open {
                    self.completed_by = Some(self.actor);
                    if *verdict == Outcome::AgentDead && in_time {
                        self.check_dead_agent_wait(at);
                    }
                }
                if *result == LifecycleResult::Continue && open {
                    self.verdict = Some((at, verdict.clone()));
                    self.check_drained(at, verdict, nomad, consul, balancers, subject);
                    self.check_disks_left(at, verdict, in_time, nomad);
                    self.check_volumes_left(at, verdict, in_time, nomad, subject);
                    self.check_evidence(at, verdict, consul, balancers, subject);
                    if matches!(verdict, Outcome::Unconfirmed { .. }) && in_time {
                        self.check_leftovers(at, consul, nomad, subject);
                    }
                    self.check_lost_agent(at, departure, verdict, auto_scaling, nomad, consul, subject);
                }
            }
        }
    }

    /// Whether another party registered the instance again after a drain, or so shortly before it that no look could show it.
    #[must_use]
    pub fn just_registered_again(&self) -> bool {
        self.registered_again.is_some_and(|again| self.first_drain.is_some_and(|drain| drain.since(again) < LOOK_AGE))
    }

    fn check_own_node(&mut self, at: Time, node: NodeId, nomad: &Nomad, subject: &Subject) {
        let instance = nomad.nodes().find(|(_, n)| n.spec.id == node).and_then(|(_, n)| n.spec.instance);
        if instance.is_some_and(|i| i != subject.instance) {
            self.broke(at, "S5", format!("node {node} is not ours"));
        }
    }
}
