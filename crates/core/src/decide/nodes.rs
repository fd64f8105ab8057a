//! The Nomad node: make it ineligible, drain it in phases, resend a drain that hangs, and force what is late (ADR 0001, 0003, 0004).

use std::sync::Arc;
use std::time::Duration;

use super::balancers::{Balancing, RECENT};
use super::beginnings;
use super::case::Case;
use super::missing_node::{LOOK_FOR_NODE_EVERY, look_for_it};
use super::proposal::{Order, Proposal, look_again, merge, must_see, write};
use super::remaining::Vanished;
use super::snapshot::{DrainMeta, DrainStatus, JobKind, LastDrain, Node, Phase, Provider, TokenAccess};
use super::{Effect, EffectKind, Observed, OnCancel, Part, Reason, System, Unseen, WholeSeconds};
use super::{claims, overlap, uncertain_targets, unlisted};
use crate::time::Time;

/// The node and its allocations are read again this often, even without news from the watch: a cancelled drain changes no allocation.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How often a token that does not see enough is read again (ADR 0011).
const READ_TOKEN_EVERY: Duration = Duration::from_secs(60);
/// How old a look at the node may be when it is drained. Another worker may have drained it meanwhile.
const JUST_NOW: Duration = Duration::from_secs(1);
/// A drain hangs if two looks at least this far apart show it (ADR 0004).
const HUNG_AFTER: Duration = Duration::from_secs(2);
/// Services are drained ahead of the rest only if this much of the delay is left. Two drains close together are a risk.
const WORTH_IT: Duration = Duration::from_secs(5);
/// With less time than this, a drain stops everything at once.
const SHORTEST_DRAIN: Duration = Duration::from_secs(2);
/// Subtracted from the deadline of a resent drain, so that the deadline never moves later (ADR 0004).
const RESEND_MARGIN: Duration = Duration::from_secs(2);
/// Nomad stops system allocations a moment after it says "complete". An allocation that is still wanted after this time has landed.
const LANDED_AFTER: Duration = Duration::from_secs(5);

/// Whether the token sees enough for writes to Nomad, and what to do if not.
pub(super) fn token(case: &Case<'_>) -> Proposal {
    let seen = case.seen;
    match seen.nomad_token.now() {
        Some(TokenAccess::Full) => Proposal::Done,
        Some(TokenAccess::Insufficient(missing)) => {
            let again = seen.nomad_token.at().unwrap_or(case.now) + READ_TOKEN_EVERY;
            if again <= case.now {
                return Proposal::look(vec![Part::NomadToken], Reason::NoSight(missing.clone()));
            }
            Proposal::wait(again, Reason::NoSight(missing.clone()))
        }
        None => must_see(case, &seen.nomad_token, Part::NomadToken),
    }
}

/// Whether decamp may write to Nomad.
pub(super) fn may_write(case: &Case<'_>) -> bool {
    matches!(case.seen.nomad_token.last(), Some(TokenAccess::Full))
}

/// What the token lacks, if waiting does not help: the policies that were read are not enough, or Nomad refuses the token, even after it
/// was fetched again.
pub(super) fn token_never_suffices(case: &Case<'_>) -> Option<Arc<str>> {
    let token = &case.seen.nomad_token;
    match (token.now(), token.at(), token.blind().map(|blind| &blind.why)) {
        (Some(TokenAccess::Insufficient(missing)), ..) => Some(Arc::clone(missing)),
        (_, None, Some(Unseen::Denied(why))) => Some(Arc::clone(why)),
        _ => None,
    }
}

/// Reads the nodes, and makes them ineligible.
pub(super) fn make_ineligible(case: &Case<'_>, may_write: bool) -> Proposal {
    let seen = case.seen;
    let Some(nomad) = seen.nomad.now() else {
        return must_see(case, &seen.nomad, Part::Nomad);
    };
    let looked = seen.nomad.at().unwrap_or(case.now);
    if nomad.nodes.is_empty() {
        return match beginnings::no_node(case) {
            // The node was there in this run, and Nomad or a person removed it. The wait for its allocations is elsewhere.
            _ if !seen.history.known.is_empty() => {
                let next = looked + LOOK_FOR_NODE_EVERY;
                match case.vanished().map(|vanished| vanished.until) {
                    Some(until) if case.now < until && next <= case.now => Proposal::look(vec![Part::Nomad], Reason::NoNodeYet),
                    Some(until) if case.now < until => Proposal::wait(next, Reason::NoNodeYet),
                    Some(_) | None => Proposal::Done,
                }
            }
            Some(since) => look_for_it(case, since, looked),
            None => Proposal::DoesNotApply,
        };
    }
    let eligible: Vec<Effect> = nomad.nodes.iter().filter(|n| n.eligible).map(|n| Effect::MakeIneligible(n.id)).collect();
    if !eligible.is_empty() && may_write {
        // Nomad has just accepted it, and a lagging server does not show it yet.
        if let Some(until) = seen.history.made_ineligible.map(|at| at + JUST_NOW).filter(|until| case.now < *until) {
            return Proposal::wait(until, Reason::MustConfirm);
        }
        return write(case, EffectKind::MakeIneligible, eligible, Reason::TakesNewWork);
    }
    if looked + LOOK_EVERY <= case.now {
        return look_again(case, &seen.nomad, Part::Nomad, Reason::MustConfirm);
    }
    if eligible.is_empty() { Proposal::Done } else { Proposal::NotYet }
}

/// Drains the nodes, as far as the load balancers allow it.
pub(super) fn draining(case: &Case<'_>, balancing: &Balancing) -> Proposal {
    let Some(nomad) = case.seen.nomad.now() else { return Proposal::NotYet };
    // One node at a time: the last that can be written to, else the first for which anything is proposed.
    let mut chosen = Proposal::Done;
    for node in nomad.nodes.iter().filter(|n| !n.status.is_lost()) {
        let one = drain_one(case, balancing, node);
        chosen = match (chosen, one) {
            (_, write @ Proposal::Write(..)) => write,
            (chosen, _) if chosen.is_something() => chosen,
            (chosen, one) => merge(Order::InTurn, [chosen, one]),
        };
    }
    chosen
}

fn drain_one(case: &Case<'_>, balancing: &Balancing, node: &Node) -> Proposal {
    let drain = Sending { case, node, release: balancing.release };
    if case.remaining(node).next().is_none() && node.drain.is_none() {
        return Proposal::Done;
    }
    let ours = ours(case, node);
    let phase = ours.and_then(|d| d.meta.as_ref()).map(|meta| meta.phase);
    let still_wanted = case.remaining(node).any(|a| a.wanted);
    if case.budget.forced_from(balancing.release) <= case.now && still_wanted && !case.policy.never_force {
        return match case.seen.history.sent(node.id, Phase::Forced) {
            Some(sent) if sent.accepted => Proposal::NotYet,
            _ if phase == Some(Phase::Forced) => Proposal::NotYet,
            Some(_) | None => drain.force(),
        };
    }
    if let Some(strategy) = &node.drain {
        // Nomad stops system jobs last anyway. Before 1.10.3, a second drain during the first one may stop too many allocations at once.
        let services_left = case.remaining(node).any(|a| a.group.kind != JobKind::System);
        let keeps = claims::keep_system_jobs(case, node);
        if phase == Some(Phase::Services) && balancing.released && !services_left && !keeps && system_jobs_wanted(case, node) {
            return drain.start(Phase::All, Reason::WorkLeft);
        }
        let may_resend = matches!(phase, Some(Phase::All | Phase::Again)) && !strategy.ignore_system_jobs;
        return if may_resend { resend_if_hung(&drain, strategy.force_deadline) } else { Proposal::NotYet };
    }
    match (phase, ours.map(|d| d.status)) {
        (Some(_), Some(DrainStatus::Canceled)) => match case.policy.on_cancel {
            OnCancel::Respect => Proposal::wait(case.now + LOOK_EVERY, Reason::DrainCancelled),
            OnCancel::DrainAgain if phase == Some(Phase::Again) => Proposal::wait(case.now + LOOK_EVERY, Reason::DrainCancelled),
            OnCancel::DrainAgain if !balancing.released => Proposal::wait(case.now + LOOK_EVERY, Reason::DrainCancelled),
            OnCancel::DrainAgain => drain.start(Phase::Again, Reason::DrainCancelled),
        },
        // The node's CSI plugins unmount the volumes, so they and all other system jobs stop after the claims are released.
        (None, _) if balancing.released && services_wanted(case, node) && claims::keep_system_jobs(case, node) => {
            drain.start(Phase::Services, Reason::WorkLeft)
        }
        (Some(Phase::Services), _)
            if balancing.released && !services_wanted(case, node) && claims::keep_system_jobs(case, node) =>
        {
            Proposal::NotYet
        }
        (None | Some(Phase::Services), _) if balancing.released && still_wanted => drain.start(Phase::All, Reason::WorkLeft),
        (None, _) if services_may_be_drained(case, balancing, node) => drain.start(Phase::Services, Reason::SafeBesideTheDelay),
        (None | Some(Phase::Services), _) => Proposal::NotYet,
        (Some(Phase::All | Phase::Resent), _) => match beginnings::landed(case, node) {
            Some(since) if !still_wanted || case.now < since + LANDED_AFTER => Proposal::NotYet,
            Some(_) if !balancing.released => Proposal::NotYet,
            Some(since) if case.seen.nomad.at().is_some_and(|looked| since + LANDED_AFTER <= looked) => {
                drain.start(Phase::Again, Reason::LandedAfterDrain)
            }
            Some(_) => look_again(case, &case.seen.nomad, Part::Nomad, Reason::MustConfirm),
            None => Proposal::NotYet,
        },
        (Some(Phase::Again | Phase::Forced), _) => Proposal::NotYet,
    }
}

/// The last drain, if it belongs to this action.
fn ours<'n>(case: &Case<'_>, node: &'n Node) -> Option<&'n LastDrain> {
    node.last_drain.as_ref().filter(|last| {
        // An instance that came back from a warm pool carries the marker of its last departure, whose end is long past.
        last.meta.as_ref().is_some_and(|meta| case.budget.began < meta.until && meta.action == *case.drain_marker())
    })
}

fn services_wanted(case: &Case<'_>, node: &Node) -> bool {
    case.remaining(node).any(|a| a.group.kind != JobKind::System && a.wanted)
}

fn system_jobs_wanted(case: &Case<'_>, node: &Node) -> bool {
    case.remaining(node).any(|a| a.group.kind == JobKind::System && a.wanted)
}

/// Whether the services may be drained beside the delay: only if that stops nothing too early. [`Sending::start`] also checks discovery, as
/// for every drain, because an ingress that does not hear of a stop goes on sending.
fn services_may_be_drained(case: &Case<'_>, balancing: &Balancing, node: &Node) -> bool {
    balancing.deregistered
        && !balancing.doubtful
        && unlisted::unlisted(case).next().is_none()
        && case.now + WORTH_IT <= balancing.release
        && services_wanted(case, node)
        && overlap::may_drain_beside_the_delay(case, balancing.release)
}

/// Resends a drain that hangs with the time that is left, once (ADR 0004).
fn resend_if_hung(drain: &Sending<'_>, force_deadline: Option<Time>) -> Proposal {
    let case = drain.case;
    if !system_jobs_wanted(case, drain.node) || case.seen.history.sent(drain.node.id, Phase::Resent).is_some() {
        return Proposal::NotYet;
    }
    let Some(since) = beginnings::settled(case, drain.node) else { return Proposal::NotYet };
    let looked = case.seen.nomad.at().unwrap_or(since);
    if looked < since + HUNG_AFTER {
        if case.now < since + HUNG_AFTER {
            // Most drains look like this for a moment. Two looks apart show the difference.
            return Proposal::wait(since + HUNG_AFTER, Reason::MustConfirm);
        }
        return look_again(case, &case.seen.nomad, Part::Nomad, Reason::DrainHangs);
    }
    let until = drain.until();
    let left = force_deadline.map_or(until, |deadline| deadline.min(until)).since(case.now + RESEND_MARGIN);
    if left < Duration::from_secs(1) {
        return Proposal::NotYet;
    }
    drain.send(Phase::Resent, WholeSeconds::at_most(left), Reason::DrainHangs)
}

/// The common part of the drains that this run sends to a node.
struct Sending<'a> {
    case: &'a Case<'a>,
    node: &'a Node,
    release: Time,
}

impl Sending<'_> {
    /// The end that all drains of this departure share, as the first of them set it (ADR 0003).
    fn until(&self) -> Time {
        let noted = ours(self.case, self.node).and_then(|d| d.meta.as_ref()).map(|meta| meta.until);
        let until = self.case.budget.drained_by(self.release);
        noted.map_or(until, |noted| noted.min(until))
    }

    /// Starts a phase with all the time that is left, once discovery has been read.
    fn start(&self, phase: Phase, reason: Reason) -> Proposal {
        if self.case.now < self.until() {
            let confirming = self.confirming(phase);
            if !confirming.is_settled() {
                return confirming;
            }
        }
        let left = self.until().since(self.case.now);
        if left < SHORTEST_DRAIN {
            // A drain with no more than one second left is a force, and is called one.
            return if self.case.policy.never_force { Proposal::NotYet } else { self.force() };
        }
        self.send(phase, WholeSeconds::at_most(left), reason)
    }

    /// Forces the remaining allocations to stop. Targets that were last read long ago are read again first, because they may have been
    /// registered again.
    /// A part that cannot be read holds up nothing.
    fn force(&self) -> Proposal {
        let recent = self.case.now - RECENT;
        let old = super::balancers::last_read_before(
            self.case,
            if self.release <= self.case.now { recent.max(self.release) } else { recent },
        );
        let blind = super::balancers::unreadable_until(self.case, &old).is_some();
        if !old.is_empty() && !blind {
            let part = Part::TargetGroups { groups: old, attributes_again: false };
            return Proposal::look(vec![part], Reason::MustConfirm);
        }
        self.send(Phase::Forced, WholeSeconds::ONE, Reason::TimeIsShort)
    }

    /// Reads everything that a drain depends on once more, in one round: discovery; the load balancers, because a target may have been
    /// registered again (fault 33); and the node, because another worker may have drained it.
    fn confirming(&self, phase: Phase) -> Proposal {
        let node_is_old = !node_is_recent(self.case);
        let again = node_is_old || unlisted::is_unasked(self.case);
        let discovery = read_discovery(self.case, again);
        let looks_at_it = discovery.is_look();
        let registering = if looks_at_it { Proposal::NotYet } else { unlisted::waiting_for_registrations(self.case) };
        let round = merge(Order::OneRound, [discovery, registering, self.confirming_targets(phase)]);
        let node_is_old = node_is_old || !looks_at_it && unlisted::is_unconfirmed(self.case);
        let node =
            if node_is_old || round.is_look() { Proposal::look(vec![Part::Nomad], Reason::MustConfirm) } else { Proposal::Done };
        merge(Order::OneRound, [round, node]).look_because(Reason::MustConfirm)
    }

    /// The load balancers' part of that round.
    fn confirming_targets(&self, phase: Phase) -> Proposal {
        let old = match phase {
            // Right after our own deregistration there is nothing to see yet.
            Phase::Services if self.case.now < self.release => {
                super::balancers::untouched_since(self.case, self.case.now - RECENT)
            }
            // What served our targets has stopped. A look could not save any request.
            Phase::Services | Phase::All if !overlap::something_serves_still(self.case) => Vec::new(),
            Phase::Services | Phase::All | Phase::Again | Phase::Resent | Phase::Forced => {
                super::balancers::last_read_before(self.case, (self.case.now - RECENT).max(self.release))
            }
        };
        if let Some(until) = super::balancers::unreadable_until(self.case, &old).filter(|until| self.case.now < *until) {
            return Proposal::wait(until, Reason::CannotSee(System::LoadBalancers));
        }
        super::balancers::look_at(old, Reason::MustConfirm)
    }

    /// How many allocations Nomad lists, and how many left the list before anybody saw them over. The next worker then knows of them (ADR
    /// 0002).
    fn allocations(&self) -> u32 {
        let vanished = self.case.seen.history.known.iter().filter(|known| !known.listed && !known.over).count();
        let noted = ours(self.case, self.node).and_then(|d| d.meta.as_ref()).map_or(0, |meta| meta.allocations);
        u32::try_from(self.node.allocations.len() + vanished).unwrap_or(u32::MAX).max(noted)
    }

    fn send(&self, phase: Phase, deadline: WholeSeconds, reason: Reason) -> Proposal {
        let meta = DrainMeta {
            action: Arc::clone(self.case.drain_marker()),
            phase,
            until: self.until(),
            longest_stop: self.case.budget.longest_stop,
            allocations: self.allocations(),
            warm: self.case.departure.action().is_some_and(|action| action.to_warm_pool),
            unproved: unlisted::never_listed(self.case).next().is_some()
                || unlisted::was_noted(self.case)
                || uncertain_targets::lists_nothing(self.case),
        };
        let effect = Effect::Drain {
            node: self.node.id,
            deadline,
            ignore_system_jobs: phase == Phase::Services || self.case.leaves_system_jobs(),
            meta,
        };
        write(self.case, EffectKind::Drain, vec![effect], reason)
    }
}

/// Whether the node was read just now, or together with what has just been answered. An answer to an earlier question, for which the worker
/// did not wait, or from before the process was suspended, does not show that another worker has drained it since.
fn node_is_recent(case: &Case<'_>) -> bool {
    let history = &case.seen.history;
    let Some(asked) = case.seen.nomad.fresh_at() else { return false };
    let in_last_round = || history.asked_in_last_round(asked) && is_recent(case, &case.seen.nomad);
    case.now <= asked + JUST_NOW || case.now <= asked + RECENT && in_last_round()
}

/// Whether it was read just now, or in the round of looks that has just ended.
fn is_recent<T>(case: &Case<'_>, sight: &Observed<T>) -> bool {
    sight.fresh_at().is_some_and(|at| case.seen.history.is_recent(at, JUST_NOW, case.now))
}

/// Reads discovery before anything is stopped: without Consul, an ingress goes on sending to what is gone. If `again`, even if it was read
/// just now.
pub(super) fn read_discovery(case: &Case<'_>, again: bool) -> Proposal {
    let seen = case.seen;
    // No allocation declares what was registered by hand. So Consul is read once in any case, if it can be.
    let unasked = seen.consul.at().is_none() && seen.consul.blind().is_none() && case.has_consul_agent();
    let matters = case.policy.consul && (unasked || case.declares(Provider::Consul));
    if !matters {
        return Proposal::DoesNotApply;
    }
    if again || !is_recent(case, &seen.consul) {
        let reason = if seen.consul.at().is_some() { Reason::MustConfirm } else { Reason::NotKnownYet };
        return look_again(case, &seen.consul, Part::Consul, reason);
    }
    Proposal::Done
}

/// Watches the allocations that are not over, until they are.
pub(super) fn all_stopped(case: &Case<'_>) -> Proposal {
    let seen = case.seen;
    let Some(looked) = seen.nomad.fresh_at() else {
        return must_see(case, &seen.nomad, Part::Nomad);
    };
    let mut left = case.all_remaining().peekable();
    if let Some(first) = left.peek() {
        let (example, title) = (first.id, first.group.title());
        let count = u32::try_from(left.count()).unwrap_or(u32::MAX);
        let reason = match agent_dead_until(case) {
            Some(until) => super::lost_agent::reason(case, until),
            None => Reason::AllocationsLeft { count, example, title: title.into() },
        };
        // A second look soon after the first shows whether work has landed or the drain hangs.
        let doubtful = seen.history.landed_since.map(|since| since + LANDED_AFTER).filter(|at| case.now < *at);
        let until = doubtful.unwrap_or(looked + LOOK_EVERY).max(case.now + Duration::from_secs(1));
        return Proposal::watch(until, Part::Nomad, reason);
    }
    if let Some(Vanished { until, allocation, .. }) = case.vanished()
        && case.now < until
    {
        return Proposal::wait(until, Reason::Vanished { allocation, until });
    }
    Proposal::Done
}

/// Until when a dead agent is waited for, if every node of the instance is lost (ADR 0005).
pub(super) fn agent_dead_until(case: &Case<'_>) -> Option<Time> {
    let since = beginnings::agents_dead(case)?;
    Some(since + case.policy.agent_dead_wait.max(case.budget.longest_stop))
}
