//! The judge: what must hold whatever happens, checked at every effect and every event against the truth.

mod blind;
mod calls;
mod capacity;
mod departed;
mod discovery;
mod disks;
mod haste;
mod life;
mod promises;
mod whole;
mod whose;

use std::net::IpAddr;
use std::time::Duration;

pub use self::promises::Bounds;
use super::auto_scaling::{AutoScaling, Ending, Happening};
use super::consul::Consul;
use super::event::{AllocationNumber, Event, What};
use super::load_balancers::LoadBalancers;
use super::nomad::{Life, Nomad};
use super::traffic::Traffic;
use super::world::{Intervention, Subject};
use decamp_core::decide::{Departure, Effect, LifecycleResult, Outcome, Phase};
use decamp_core::ids::{NodeId, TargetGroupArn};
use decamp_core::time::Time;

/// A call's time-out and a second for rounding: how much later than the first of our deadlines another may be (ADR 0003).
const DEADLINE_TOLERANCE: Duration = Duration::from_secs(6);

/// How old a look at the load balancers may be when something is stopped, a call's time-out, and the longest that routing lags: what
/// another worker deregistered meanwhile is gone from every list, and still routed to.
const LOOK_AGE: Duration = Duration::from_secs(190);
/// How old the last look at the node may be when the action is completed.
const LAST_LOOK: Duration = Duration::from_secs(5);
/// However little time there is, what is released may go on in order for this long (ADR 0001): such a deadline may come too late.
const IN_ORDER: Duration = Duration::from_secs(30);
/// The hook that is decamp's, in every setting.
const OUR_HOOK: &str = "decamp";
/// Two drains this close together were decided without knowing of each other.
const RACE: Duration = Duration::from_secs(2);

/// An invariant that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Time,
    /// Which: `S1`, `L2`, …
    pub rule: &'static str,
    /// How.
    pub what: String,
}

/// What the judge has seen.
#[derive(Debug, Clone, Default)]
pub struct Oracle {
    /// What was broken.
    pub violations: Vec<Violation>,
    /// When the machine stopped.
    pub machine_stopped: Option<Time>,
    /// Whether somebody else ended the machine.
    pub machine_died: bool,
    /// Allocations' groups that an operator stopped or purged.
    pub meddled: bool,
    /// When somebody last registered the instance again.
    pub registered_again: Option<Time>,
    /// When an operator purged the node, or a job before we looked.
    pub purged: Option<Time>,
    /// When a worker first looked at Nomad with a token that sees.
    pub looked_at: Option<Time>,
    /// When a worker first looked at the Auto Scaling group.
    pub group_looked_at: Option<Time>,
    /// When the ingress went deaf, each time.
    pub went_deaf: Vec<Time>,
    /// When decamp first told Nomad to stop something.
    pub first_drain: Option<Time>,
    /// When decamp last told Nomad to stop something.
    pub last_drain: Option<Time>,
    /// When decamp told Nomad to stop services, each time.
    pub drain_times: Vec<Time>,
    /// Whether EC2 takes the instance back.
    pub interrupted: bool,
    /// How many heartbeats were sent.
    heartbeats: u32,
    /// Whether two drains met that did not know of one another.
    pub raced: bool,
    /// When decamp first forced.
    pub forced: Option<Time>,
    /// When an operator drained.
    pub operator_drained: Option<Time>,
    /// When the node's Consul agent died.
    pub consul_agent_died: Option<Time>,
    /// Whether an operator raised a deregistration delay.
    pub delay_raised: bool,
    /// When an operator deleted a hook.
    pub hook_deleted: Option<Time>,
    /// When Nomad's agent died.
    pub agent_died: Option<Time>,
    /// How the action ended.
    pub action_ended: Option<(Time, Ending)>,
    /// What decamp's accepted completion said.
    pub verdict: Option<(Time, Outcome)>,
    /// Until when nobody attended to the departure, last.
    pub unattended_until: Time,
    /// When decamp first deregistered a target.
    pub first_deregistered: Option<Time>,
    /// The groups that decamp asked to be taken out of.
    pub left: Vec<TargetGroupArn>,
    /// Whether the stops of an earlier drain went on through the last one.
    pub stops_through: bool,
    /// When the last process had ended that ended before decamp's last drain.
    pub over_before_last_drain: Option<Time>,
    /// When the last process on the node ended.
    pub last_over: Option<Time>,
    /// Whether what is registered by hand is waited for by policy.
    pub waits_for_by_hand: bool,
    /// What ran and was drained although the Consul that is asked lists none of it, and when last.
    stopped_unlisted: Option<(Time, String)>,
    /// Whether system jobs stay by policy.
    pub leaves_system_jobs: bool,
    /// How much longer than usual the answers of one system take: for so long workers do not know of one another.
    pub slowness: Duration,
    /// What the departure was given.
    pub bounds: Bounds,
    /// The first deadline of our drains.
    pub deadline: Option<Time>,
    /// The earliest deadline that a drain of ours has had: of two that met the later one may hold.
    earliest_deadline: Option<Time>,
    /// When the worker that acts now first looked at Nomad with a token that sees.
    pub actor_looked_at: Option<Time>,
    deadlines: Vec<(NodeId, Time)>,
    landed: Option<Time>,
    job_purged: Option<Time>,
    /// How many workers there were.
    pub workers: u64,
    /// Which of them acts now.
    pub actor: u64,
    /// When a worker last deregistered a target, and which.
    last_deregistered: Option<(Time, u64)>,
    /// When a worker first saw it registered by an address.
    by_address: Option<Time>,
    held: bool,
    /// When a hold ended.
    unheld: Option<Time>,
    agent_last_died: Option<Time>,
    agent_back: Option<Time>,
    /// Which worker's completion was effective.
    completed_by: Option<u64>,
    caught_up: Option<Time>,
    detached: Option<Time>,
    blindness: blind::Blindness,
    /// Allocations with a disk that migrates, and until when their replacements copy it.
    copying: Vec<(AllocationNumber, Time)>,
}

impl Oracle {
    fn broke(&mut self, at: Time, rule: &'static str, what: String) {
        self.violations.push(Violation { at, rule, what });
    }

    /// Something happened in Auto Scaling.
    pub fn auto_scaling(&mut self, at: Time, subject: &Subject, happening: &Happening) {
        // Another terminating hook of the group is somebody else's to complete.
        if let Happening::ActionEnded { instance, hook, ending } = happening
            && *instance == subject.instance
            && **hook == *OUR_HOOK
        {
            self.action_ended = Some((at, *ending));
        }
    }

    /// The machine is about to stop.
    pub fn machine_stops(&mut self, at: Time) {
        self.machine_stopped = Some(at);
    }

    /// Somebody else does something.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the judge remembers only the interventions that it needs")]
    pub fn intervention(&mut self, at: Time, intervention: &Intervention) {
        match intervention {
            Intervention::MachineDies => self.machine_died = true,
            Intervention::Hold(held) => {
                // A hold that nobody saw stopped nobody's clock.
                self.unheld = Some(at).filter(|_| self.held && !*held && self.group_looked_at.is_some());
                self.held = *held;
            }
            Intervention::Detach => self.detached = self.detached.or(Some(at)),
            Intervention::PurgeJob | Intervention::StopJob | Intervention::PurgeNode => {
                self.meddled = true;
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
            Intervention::DeafIngress(deaf) => self.goes_deaf(at, *deaf),
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

    /// Something happened to a process. S1: nothing that a load balancer may still send to is stopped by us.
    /// `untold` is the address at which it is a target and which nothing tells.
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
        match event.what {
            What::Over => {
                self.last_over = Some(at);
                self.disk_is_left(at, event.allocation, nomad);
            }
            What::Ended { .. } => self.last_over = Some(at),
            What::Signalled => {
                let by_us = self.first_drain.is_some()
                    && self.forced.is_none()
                    && self.machine_stopped.is_none()
                    && !self.meddled
                    && self.agent_died.is_none()
                    // Two minutes may be too short for the delay: then what is cut is foreseen by name (ADR 0014).
                    && !self.interrupted
                    && !self.just_registered_again()
                    && !self.delay_unknown()
                    && self.operator_drained.is_none();
                let waited_out = unreported.filter(|_| self.waited_for_addresses(at));
                if by_us && let Some((target, port)) = traffic.routed_backend(event.allocation, balancers, waited_out) {
                    let group = nomad.allocation(event.allocation).group;
                    let title = nomad.groups()[group.index()].spec.group.title();
                    self.broke(at, "S1", format!("{title} was stopped while {target}:{port} was still routed to"));
                }
            }
            What::ToldToStop => self.capacity(at, event, nomad),
            What::Serving | What::InDiscovery { .. } | What::LeftDiscovery { .. } => {}
        }
    }

    /// An effect of ours arrives. S3, S4, S5, S10.
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
        self.promised(at, effect, auto_scaling, nomad, subject);
        self.hurried(at, departure, effect, auto_scaling, nomad, balancers, subject);
        match effect {
            Effect::Heartbeat(_) => self.heartbeats += 1,
            Effect::MakeIneligible(node) | Effect::Note { node, .. } => self.own_node(at, *node, nomad, subject),
            Effect::Deregister { group, targets } => {
                if let Some(foreign) = targets.iter().find(|t| !subject.owns(&t.id)) {
                    self.broke(at, "S5", format!("{} in {} is not ours", foreign.id, group.name()));
                }
                self.first_deregistered.get_or_insert(at);
                self.left.push(group.clone());
                self.last_deregistered = Some((at, self.actor));
            }
            Effect::Drain { node, deadline, meta, .. } => {
                self.own_node(at, *node, nomad, subject);
                self.drains_in_sight(at, meta.phase, nomad, subject);
                if self.first_drain.is_some() {
                    let stopping = nomad.allocations().iter().any(|a| Some(a.node) == subject.node && a.life == Life::Stopping);
                    // What the first drain stops may go on stopping through the second.
                    self.over_before_last_drain = if stopping { None } else { self.last_over };
                    self.stops_through = stopping;
                }
                self.first_drain.get_or_insert(at);
                let before = self.last_drain.replace(at);
                // One that is sent again stops system jobs alone (ADR 0004).
                if meta.phase != Phase::Resent {
                    self.drain_times.push(at);
                }
                self.interrupted |= matches!(departure.cause, decamp_core::decide::Cause::Interruption { .. });
                // A drain that begins when there is no time left is a force by another name.
                if meta.phase == Phase::Forced || deadline.span() <= Duration::from_secs(1) {
                    self.forced.get_or_insert(at);
                }
                let force = at + deadline.span();
                self.earliest_deadline = Some(self.earliest_deadline.map_or(force, |earliest| earliest.min(force)));
                let raced = before.is_some_and(|before| at.since(before) < RACE + self.slowness);
                self.raced |= raced;
                let known = self.deadlines.iter().find(|(of, _)| of == node).map(|(_, first)| *first);
                let first = known.map_or(force, |first| if raced { first.max(force) } else { first });
                // Without a leader it is refused, and sets none.
                if nomad.has_leader() {
                    self.deadlines.retain(|(of, _)| of != node);
                    self.deadlines.push((*node, first));
                }
                self.deadline = self.deadlines.iter().map(|(_, first)| *first).min();
                // Two workers that drain at the same moment cannot know of one another; a force comes when a deadline did not act.
                let exempt = raced
                    || self.lagged(at, nomad)
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
                let mut actions = auto_scaling.instance(departure.instance).into_iter().flat_map(|i| &i.actions);
                // One with another action's token is refused: it completes nothing.
                let named = |token: &decamp_core::ids::ActionToken| of.token.as_ref().is_none_or(|of| of == token);
                let open = actions.any(|a| a.is_open() && a.hook == of.hook && named(&a.token));
                // Whoever may think that the time is up has none to give.
                let in_time = self.earliest_end(departure, auto_scaling, subject).is_some_and(|end| at + LAST_LOOK < end);
                if open {
                    self.completed_by = Some(self.actor);
                    if *verdict == Outcome::AgentDead && in_time {
                        self.gives_up_no_agent_early(at);
                    }
                }
                if *result == LifecycleResult::Continue && open {
                    self.verdict = Some((at, verdict.clone()));
                    self.complete_implies_drained(at, verdict, nomad, consul, balancers, subject);
                    self.saw_what_is_gone(at, verdict, consul, balancers, subject);
                    if matches!(verdict, Outcome::Unconfirmed { .. }) && in_time {
                        self.gives_up_no_leftover(at, consul, nomad, subject);
                    }
                    self.lets_nothing_alive_go(at, departure, verdict, auto_scaling, nomad, consul, subject);
                }
            }
        }
    }

    /// Whether a look right before may have been answered by a server that lags, or did until a moment ago.
    fn lagged(&self, at: Time, nomad: &Nomad) -> bool {
        let just_caught_up = self.caught_up.is_some_and(|caught_up| at.since(caught_up) < RACE);
        just_caught_up || nomad.lags(crate::nomad::Read::Stale)
    }

    /// Whether the delay that reads now may not be the one that the instance was deregistered with.
    #[must_use]
    pub fn delay_unknown(&self) -> bool {
        self.delay_raised
    }

    /// Whether somebody registered the instance again so shortly before a drain that no look could show it, or after it.
    #[must_use]
    pub fn just_registered_again(&self) -> bool {
        self.registered_again.is_some_and(|again| self.first_drain.is_some_and(|drain| drain.since(again) < LOOK_AGE))
    }

    /// Whether an allocation landed so late that no look before the completion showed it.
    #[must_use]
    pub fn landed_unseen(&self) -> bool {
        self.landed.zip(self.verdict.as_ref()).is_some_and(|(landed, (verdict, _))| *verdict < landed + LAST_LOOK)
    }

    fn own_node(&mut self, at: Time, node: NodeId, nomad: &Nomad, subject: &Subject) {
        let instance = nomad.nodes().find(|(_, n)| n.spec.id == node).and_then(|(_, n)| n.spec.instance);
        if instance.is_some_and(|i| i != subject.instance) {
            self.broke(at, "S5", format!("node {node} is not ours"));
        }
    }
}
