//! Nomad's part: keep new work off, drain in phases, shake a hung drain loose, force what is late (ADR 0001, 0003, 0004).

use std::sync::Arc;
use std::time::Duration;

use super::balancers::{Balancing, RECENT};
use super::beginnings;
use super::budget::Budget;
use super::missing::{LOOK_FOR_NODE_EVERY, look_for_it};
use super::proposal::{Order, Proposal, look_again, merge, must_see, write};
use super::scope::{Scope, Vanished};
use super::snapshot::{DrainMeta, DrainStatus, JobKind, LastDrain, Node, NomadSight, Phase, Provider};
use super::{Effect, EffectKind, OnCancel, Part, Reason, Sight, System, Unseen, WholeSeconds};
use super::{beside, doubts, unlisted};
use crate::time::Time;

/// A look at the node and its allocations is repeated this often even if no watch woke us: a cancelled drain changes no allocation.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How often a token without sight is read again (ADR 0011).
const READ_TOKEN_EVERY: Duration = Duration::from_secs(60);
/// How old a look at the node may be when it is drained: another worker may have done so meanwhile.
const JUST_NOW: Duration = Duration::from_secs(1);
/// A drain is hung when two looks at least this far apart agree (ADR 0004).
const HUNG_AFTER: Duration = Duration::from_secs(2);
/// Services are drained ahead of the rest only if there is this much of the delay left: two drains close together are a risk.
const WORTH_IT: Duration = Duration::from_secs(5);
/// A drain with less time than this stops everything at once.
const SHORTEST_DRAIN: Duration = Duration::from_secs(2);
/// Subtracted from a deadline that is sent again, so that it never moves later (ADR 0004).
const RESEND_MARGIN: Duration = Duration::from_secs(2);
/// Nomad tells system allocations to stop a moment after it says "complete"; what is still wanted later than this has landed.
const LANDED_AFTER: Duration = Duration::from_secs(5);

/// Whether the Nomad side may be written to, and what to do if not.
pub(super) fn sight(scope: &Scope<'_>, now: Time) -> Proposal {
    let seen = scope.seen;
    match seen.nomad_sight.now() {
        Some(NomadSight::Full) => Proposal::Done,
        Some(NomadSight::Short(missing)) => {
            let again = seen.nomad_sight.at().unwrap_or(now) + READ_TOKEN_EVERY;
            if again <= now {
                return Proposal::look(vec![Part::NomadSight], Reason::NoSight(missing.clone()));
            }
            Proposal::wait(again, Reason::NoSight(missing.clone()))
        }
        None => must_see(&seen.nomad_sight, Part::NomadSight, System::Nomad, now),
    }
}

/// Whether Nomad's part may be written to.
pub(super) fn may_write(scope: &Scope<'_>) -> bool {
    matches!(scope.seen.nomad_sight.last(), Some(NomadSight::Full))
}

/// What the token lacks, where waiting does not help: it was read, or Nomad refuses it. One that is refused was fetched anew as well.
pub(super) fn never_enough_sight(scope: &Scope<'_>) -> Option<Arc<str>> {
    let sight = &scope.seen.nomad_sight;
    match (sight.now(), sight.at(), sight.blind().map(|blind| &blind.why)) {
        (Some(NomadSight::Short(missing)), ..) => Some(Arc::clone(missing)),
        (_, None, Some(Unseen::Denied(why))) => Some(Arc::clone(why)),
        _ => None,
    }
}

/// Sees the nodes, and keeps new work off them.
pub(super) fn keep_work_off(scope: &Scope<'_>, budget: &Budget, may_write: bool, now: Time) -> Proposal {
    let seen = scope.seen;
    let Some(nomad) = seen.nomad.now() else {
        return must_see(&seen.nomad, Part::Nomad, System::Nomad, now);
    };
    let looked = seen.nomad.at().unwrap_or(now);
    if nomad.nodes.is_empty() {
        return match beginnings::no_node(scope, budget) {
            // It was there in this run: collected by Nomad, or purged by somebody. What vanished with it is waited for elsewhere.
            _ if !seen.history.known.is_empty() => {
                let next = looked + LOOK_FOR_NODE_EVERY;
                match scope.vanished().map(|vanished| vanished.until) {
                    Some(until) if now < until && next <= now => Proposal::look(vec![Part::Nomad], Reason::NoNodeYet),
                    Some(until) if now < until => Proposal::wait(next, Reason::NoNodeYet),
                    Some(_) | None => Proposal::Done,
                }
            }
            Some(since) => look_for_it(scope, budget, since, looked, now),
            None => Proposal::DoesNotApply,
        };
    }
    let eligible: Vec<Effect> = nomad.nodes.iter().filter(|n| n.eligible).map(|n| Effect::MakeIneligible(n.id)).collect();
    if !eligible.is_empty() && may_write {
        // Accepted a moment ago, and a lagging server does not know it yet.
        if let Some(until) = seen.history.made_ineligible.map(|at| at + JUST_NOW).filter(|until| now < *until) {
            return Proposal::wait(until, Reason::MustConfirm);
        }
        return write(seen, EffectKind::MakeIneligible, eligible, Reason::StillInService, now);
    }
    if looked + LOOK_EVERY <= now {
        return look_again(&seen.nomad, Part::Nomad, System::Nomad, now, Reason::MustConfirm);
    }
    if eligible.is_empty() { Proposal::Done } else { Proposal::NotYet }
}

/// Drains every node, as far as the load balancers allow it.
pub(super) fn draining(scope: &Scope<'_>, budget: &Budget, balancing: &Balancing, now: Time) -> Proposal {
    let Some(nomad) = scope.seen.nomad.now() else { return Proposal::NotYet };
    // One node at a time: one that can be written to, else the first for which anything is proposed.
    let mut chosen = Proposal::Done;
    for node in nomad.nodes.iter().filter(|n| !n.status.is_lost()) {
        let one = drain_one(scope, budget, balancing, node, now);
        chosen = match (chosen, one) {
            (_, write @ Proposal::Write(..)) => write,
            (chosen, _) if chosen.is_something() => chosen,
            (chosen, one) => merge(Order::InTurn, [chosen, one]),
        };
    }
    chosen
}

fn drain_one(scope: &Scope<'_>, budget: &Budget, balancing: &Balancing, node: &Node, now: Time) -> Proposal {
    let drain = Sending { scope, budget, node, release: balancing.release, now };
    if scope.left(node).next().is_none() && node.drain.is_none() {
        return Proposal::Done;
    }
    let ours = ours(scope, budget, node);
    let phase = ours.and_then(|d| d.meta.as_ref()).map(|meta| meta.phase);
    let still_wanted = scope.left(node).any(|a| a.wanted);
    if budget.forced_from(balancing.release) <= now && still_wanted && !scope.policy.never_force {
        return match scope.seen.history.sent(node.id, Phase::Forced) {
            Some(sent) if sent.accepted => Proposal::NotYet,
            _ if phase == Some(Phase::Forced) => Proposal::NotYet,
            Some(_) | None => drain.force(),
        };
    }
    if let Some(strategy) = &node.drain {
        // Nomad stops system jobs last anyway, and before 1.10.3 a drain that meets one under way may mark too many at once.
        let services_left = scope.left(node).any(|a| a.group.kind != JobKind::System);
        if phase == Some(Phase::Services) && balancing.released && !services_left && system_jobs_wanted(scope, node) {
            return drain.start(Phase::All, Reason::WorkLeft);
        }
        let may_resend = matches!(phase, Some(Phase::All | Phase::Again)) && !strategy.ignore_system_jobs;
        return if may_resend { shake_loose(&drain, strategy.force_deadline) } else { Proposal::NotYet };
    }
    match (phase, ours.map(|d| d.status)) {
        (Some(_), Some(DrainStatus::Canceled)) => match scope.policy.on_cancel {
            OnCancel::Respect => Proposal::wait(now + LOOK_EVERY, Reason::DrainCancelled),
            OnCancel::DrainAgain if phase == Some(Phase::Again) => Proposal::wait(now + LOOK_EVERY, Reason::DrainCancelled),
            OnCancel::DrainAgain if !balancing.released => Proposal::wait(now + LOOK_EVERY, Reason::DrainCancelled),
            OnCancel::DrainAgain => drain.start(Phase::Again, Reason::DrainCancelled),
        },
        (None | Some(Phase::Services), _) if balancing.released && still_wanted => drain.start(Phase::All, Reason::WorkLeft),
        (None, _) if services_may_go(scope, balancing, node, now) => drain.start(Phase::Services, Reason::SafeBesideTheDelay),
        (None | Some(Phase::Services), _) => Proposal::NotYet,
        (Some(Phase::All | Phase::Resent), _) => match beginnings::landed(scope, node) {
            Some(since) if !still_wanted || now < since + LANDED_AFTER => Proposal::NotYet,
            Some(_) if !balancing.released => Proposal::NotYet,
            Some(since) if scope.seen.nomad.at().is_some_and(|looked| since + LANDED_AFTER <= looked) => {
                drain.start(Phase::Again, Reason::LandedAfterDrain)
            }
            Some(_) => look_again(&scope.seen.nomad, Part::Nomad, System::Nomad, now, Reason::MustConfirm),
            None => Proposal::NotYet,
        },
        (Some(Phase::Again | Phase::Forced), _) => Proposal::NotYet,
    }
}

/// The last drain, if it is one of this action's.
fn ours<'n>(scope: &Scope<'_>, budget: &Budget, node: &'n Node) -> Option<&'n LastDrain> {
    node.last_drain.as_ref().filter(|last| {
        // An instance back from a warm pool carries the mark of its last departure; that one's end is long past.
        last.meta.as_ref().is_some_and(|meta| budget.began < meta.until && meta.action == *scope.mark())
    })
}

fn system_jobs_wanted(scope: &Scope<'_>, node: &Node) -> bool {
    scope.left(node).any(|a| a.group.kind == JobKind::System && a.wanted)
}

/// Whether the services may be drained beside the delay: only if that stops nothing too early. Discovery has to be in sight as well,
/// because an ingress that does not hear of a stop goes on sending: [`Sending::start`] sees to that for every drain.
fn services_may_go(scope: &Scope<'_>, balancing: &Balancing, node: &Node, now: Time) -> bool {
    balancing.deregistered
        && !balancing.doubtful
        && unlisted::unlisted(scope).next().is_none()
        && now + WORTH_IT <= balancing.release
        && scope.left(node).any(|a| a.group.kind != JobKind::System && a.wanted)
        && beside::may_drain_beside_the_delay(scope, balancing.release, now)
}

/// Sends a hung drain again with the time that is left, once (ADR 0004).
fn shake_loose(drain: &Sending<'_>, force_deadline: Option<Time>) -> Proposal {
    let (scope, now) = (drain.scope, drain.now);
    if !system_jobs_wanted(scope, drain.node) || scope.seen.history.sent(drain.node.id, Phase::Resent).is_some() {
        return Proposal::NotYet;
    }
    let Some(since) = beginnings::settled(scope, drain.node) else { return Proposal::NotYet };
    let looked = scope.seen.nomad.at().unwrap_or(since);
    if looked < since + HUNG_AFTER {
        if now < since + HUNG_AFTER {
            // Most drains look so for a moment; two looks apart tell.
            return Proposal::wait(since + HUNG_AFTER, Reason::MustConfirm);
        }
        return look_again(&scope.seen.nomad, Part::Nomad, System::Nomad, now, Reason::DrainHangs);
    }
    let until = drain.until();
    let left = force_deadline.map_or(until, |deadline| deadline.min(until)).since(now + RESEND_MARGIN);
    if left < Duration::from_secs(1) {
        return Proposal::NotYet;
    }
    drain.send(Phase::Resent, WholeSeconds::at_most(left), Reason::DrainHangs)
}

/// What every drain that we send to a node has in common.
struct Sending<'a> {
    scope: &'a Scope<'a>,
    budget: &'a Budget,
    node: &'a Node,
    release: Time,
    now: Time,
}

impl Sending<'_> {
    /// The end that all drains of this departure share: what the first of them said, whoever sent it (ADR 0003).
    fn until(&self) -> Time {
        let noted = ours(self.scope, self.budget, self.node).and_then(|d| d.meta.as_ref()).map(|meta| meta.until);
        let until = self.budget.drained_by(self.release);
        noted.map_or(until, |noted| noted.min(until))
    }

    /// A phase, with all the time that is left; once discovery is in sight.
    fn start(&self, phase: Phase, reason: Reason) -> Proposal {
        if self.now < self.until() {
            let confirming = self.confirming(phase);
            if !confirming.is_settled() {
                return confirming;
            }
        }
        let left = self.until().since(self.now);
        if left < SHORTEST_DRAIN {
            // In whole seconds no more than one: a drain that begins when there is no time left is a force, and is called one.
            return if self.scope.policy.never_force { Proposal::NotYet } else { self.force() };
        }
        self.send(phase, WholeSeconds::at_most(left), reason)
    }

    /// Stops what is left, in time. What was registered again long after our last look is seen first; what cannot be seen holds up nothing.
    fn force(&self) -> Proposal {
        let recent = self.now - RECENT;
        let old =
            super::balancers::seen_before(self.scope, if self.release <= self.now { recent.max(self.release) } else { recent });
        let blind = super::balancers::blind_until(self.scope, &old).is_some();
        if !old.is_empty() && !blind {
            let part = Part::TargetGroups { groups: old, attributes_again: false };
            return Proposal::look(vec![part], Reason::MustConfirm);
        }
        self.send(Phase::Forced, WholeSeconds::ONE, Reason::TimeIsShort)
    }

    /// What is about to be concluded is looked at once more, all in one round: discovery; the load balancers, because what was
    /// released long ago may have been registered again (fault 33); and the node, because another worker may have drained it.
    fn confirming(&self, phase: Phase) -> Proposal {
        let node_is_old = !is_recent(self.scope, &self.scope.seen.nomad, self.now);
        let again = node_is_old || unlisted::is_unasked(self.scope);
        let discovery = discovery_out_of_sight(self.scope, again, self.now);
        let looks_at_it = discovery.is_look();
        let registering = if looks_at_it { Proposal::NotYet } else { unlisted::waiting_for_registrations(self.scope, self.now) };
        let round = merge(Order::OneRound, [discovery, registering, self.confirming_targets(phase)]);
        let node_is_old = node_is_old || !looks_at_it && unlisted::is_unconfirmed(self.scope);
        let node =
            if node_is_old || round.is_look() { Proposal::look(vec![Part::Nomad], Reason::MustConfirm) } else { Proposal::Done };
        merge(Order::OneRound, [round, node]).look_because(Reason::MustConfirm)
    }

    /// The load balancers' part of that round.
    fn confirming_targets(&self, phase: Phase) -> Proposal {
        let old = match phase {
            // Right after our own deregistration there is nothing to see yet.
            Phase::Services => super::balancers::left_alone_since(self.scope, self.now - RECENT),
            // What served our targets has been stopped: nothing can be lost any more that a look could save.
            Phase::All if !beside::something_serves_still(self.scope) => Vec::new(),
            Phase::All | Phase::Again | Phase::Resent | Phase::Forced => {
                super::balancers::seen_before(self.scope, (self.now - RECENT).max(self.release))
            }
        };
        if let Some(until) = super::balancers::blind_until(self.scope, &old).filter(|until| self.now < *until) {
            return Proposal::wait(until, Reason::CannotSee(System::LoadBalancers));
        }
        super::balancers::look_at(old, Reason::MustConfirm)
    }

    /// How many allocations Nomad lists, and how many it listed before and lists no more although nobody saw them over: whoever
    /// comes next then knows of them (ADR 0002).
    fn allocations(&self) -> u32 {
        let vanished = self.scope.seen.history.known.iter().filter(|known| !known.listed && !known.over).count();
        let noted = ours(self.scope, self.budget, self.node).and_then(|d| d.meta.as_ref()).map_or(0, |meta| meta.allocations);
        u32::try_from(self.node.allocations.len() + vanished).unwrap_or(u32::MAX).max(noted)
    }

    fn send(&self, phase: Phase, deadline: WholeSeconds, reason: Reason) -> Proposal {
        let meta = DrainMeta {
            action: Arc::clone(self.scope.mark()),
            phase,
            until: self.until(),
            longest_stop: self.budget.longest_stop,
            allocations: self.allocations(),
            warm: self.scope.departure.action().is_some_and(|action| action.to_warm_pool),
            unproved: unlisted::never_listed(self.scope).next().is_some()
                || unlisted::was_noted(self.scope)
                || doubts::lists_nothing(self.scope, self.budget),
        };
        let effect = Effect::Drain {
            node: self.node.id,
            deadline,
            ignore_system_jobs: phase == Phase::Services || self.scope.leaves_system_jobs(),
            meta,
        };
        write(self.scope.seen, EffectKind::Drain, vec![effect], reason, self.now)
    }
}

/// Whether it was looked at just now, or in the round of looks that ended just now.
fn is_recent<T>(scope: &Scope<'_>, sight: &Sight<T>, now: Time) -> bool {
    sight.fresh_at().is_some_and(|at| scope.seen.history.is_recent(at, JUST_NOW, now))
}

/// Discovery must be in sight before anything is stopped: while it is away, an ingress goes on sending to what is gone. With `again` it is
/// looked at even if that was just now.
pub(super) fn discovery_out_of_sight(scope: &Scope<'_>, again: bool, now: Time) -> Proposal {
    let seen = scope.seen;
    // What was registered by hand no allocation declares: it is looked for once, as far as that can be seen.
    let unasked = seen.consul.at().is_none() && seen.consul.blind().is_none() && scope.has_consul_agent();
    let matters = scope.policy.consul && (unasked || scope.declares(Provider::Consul));
    if !matters {
        return Proposal::DoesNotApply;
    }
    if again || !is_recent(scope, &seen.consul, now) {
        let reason = if seen.consul.at().is_some() { Reason::MustConfirm } else { Reason::MustLook };
        return look_again(&seen.consul, Part::Consul, System::Consul, now, reason);
    }
    Proposal::Done
}

/// Allocations that are not over are waited for, watched.
pub(super) fn over(scope: &Scope<'_>, budget: &Budget, now: Time) -> Proposal {
    let seen = scope.seen;
    let Some(looked) = seen.nomad.fresh_at() else {
        return must_see(&seen.nomad, Part::Nomad, System::Nomad, now);
    };
    let mut left = scope.all_left().peekable();
    if let Some(first) = left.peek() {
        let (example, title) = (first.id, first.group.title());
        let count = u32::try_from(left.count()).unwrap_or(u32::MAX);
        let reason = match agent_dead_until(scope, budget) {
            Some(until) => super::lost::reason(scope, budget, until),
            None => Reason::AllocationsLeft { count, example, title: title.into() },
        };
        // What has landed, or hangs, shows by a second look soon after the first.
        let doubtful = seen.history.landed_since.map(|since| since + LANDED_AFTER).filter(|at| now < *at);
        let until = doubtful.unwrap_or(looked + LOOK_EVERY).max(now + Duration::from_secs(1));
        return Proposal::watch(until, Part::Nomad, reason);
    }
    if let Some(Vanished { until, allocation, .. }) = scope.vanished()
        && now < until
    {
        return Proposal::wait(until, Reason::Vanished { allocation, until });
    }
    Proposal::Done
}

/// Until when a dead agent is waited for: only if every node of the instance is lost (ADR 0005).
pub(super) fn agent_dead_until(scope: &Scope<'_>, budget: &Budget) -> Option<Time> {
    let since = beginnings::agents_dead(scope)?;
    Some(since + scope.policy.agent_dead_wait.max(budget.longest_stop))
}
