//! Thinking: what is seen goes in, the next step and its reason come out. No I/O, no clock, no `.await`.

mod acl;
mod action;
mod balancers;
mod beginnings;
mod beside;
mod blind;
mod blocker;
mod budget;
mod by_hand;
mod connections;
mod departure;
mod doubts;
mod ending;
mod last_target;
mod leaving;
mod losses;
mod lost;
mod missing;
mod nodes;
mod outcome;
mod policy;
mod proposal;
mod reason;
mod registrations;
mod scope;
mod sight;
pub mod snapshot;
mod sources;
mod traefik;
mod twins;
mod unlisted;
mod whose;
mod words;

pub use self::acl::{AclNamespace, AclRules, sight_of};
pub use self::action::*;
pub use self::beginnings::{keeps_notes, last_written, remember};
pub use self::blocker::{Blocker, BlockerKind};
pub use self::budget::{Budget, Misfit, UNREADABLE_DELAY, guard, may_send_for, needed, our_hook};
pub use self::departure::*;
pub use self::leaving::last_heartbeat;
pub use self::losses::{Finding, Layer, Loss, foreseen_losses, ingress_forgets};
pub use self::outcome::*;
pub use self::policy::*;
pub use self::reason::*;
pub use self::sight::*;
pub use self::snapshot::*;
pub use self::traefik::{Follows, Traefik};
pub use self::twins::{Twin, set_aside};
pub use self::whose::{targets_of, whose_to_ask};
pub use self::words::{ActionKind, EffectKind};

use self::proposal::{Merged, Order, Proposal, decide_among, merge};
use self::scope::Scope;
use crate::time::Time;

/// Room for the proposals of all concerns.
const MOST_PROPOSALS: usize = 14;

/// The next step of a departure, and why.
///
/// Total: every snapshot has an answer. The concerns stand in the order of a departure; each proposes something, and
/// [`merge`](proposal::merge) says what comes of it.
#[must_use]
pub fn decide(departure: &Departure, seen: &Snapshot, policy: &Policy, now: Time) -> Decision {
    let scope = &Scope::new(departure, seen, policy);
    let budget = &Budget::of(departure, seen, policy);
    next(scope, budget, now).decision
}

/// Every reason of the decision that would be made now, its own first.
#[must_use]
pub fn reasons(departure: &Departure, seen: &Snapshot, policy: &Policy, now: Time) -> Vec<Reason> {
    let scope = &Scope::new(departure, seen, policy);
    let budget = &Budget::of(departure, seen, policy);
    let Merged { decision, mut others } = next(scope, budget, now);
    others.insert(0, decision.reason);
    others
}

/// Whether it is over, whether the instance leaves by a hook of ours, whether it is held; then the departure proper.
fn next(scope: &Scope<'_>, budget: &Budget, now: Time) -> Merged {
    let seen = scope.seen;
    if let Some(decision) = leaving::ended(scope, budget, now) {
        return decision.into();
    }
    let heartbeat = leaving::heartbeat(scope, budget, now);
    let confirmed = leaving::confirmed(scope, budget, now);
    if confirmed.is_look() {
        let first_round = merge(Order::InTurn, [confirmed, nomad_at_first(scope)]);
        return decide_among(seen, [heartbeat, first_round], now);
    }
    if !confirmed.is_settled() {
        // What a drain stops goes on stopping while Auto Scaling is out of sight.
        let (watched, news) = (blind::watched(scope, false, now), watches_nomad(seen));
        return decide_among(seen, [ending::at_the_end(scope, budget, now), confirmed, watched, news, heartbeat], now);
    }
    if leaving::which_is_not_said(scope) {
        return Decision { action: Action::End(Outcome::NotOurs), reason: Reason::WhichHook }.into();
    }
    let interrupted = matches!(scope.departure.cause, Cause::Interruption { .. });
    if !interrupted && !leaving::is_ours(scope) {
        return Decision { action: Action::End(Outcome::NotOurs), reason: Reason::NoHookOfOurs }.into();
    }
    if budget.end <= now {
        return decide_among(seen, [ending::at_the_end(scope, budget, now)], now);
    }
    let held = leaving::held(scope, budget, now);
    if !held.is_settled() {
        return decide_among(seen, [held, heartbeat], now);
    }
    let comes_back = leaving::comes_back(scope, budget);
    if !comes_back.is_settled() {
        // Since when is the one thing that the next worker has to know.
        let note = if nodes::may_write(scope) {
            let balancing = balancers::balancing(scope, budget, now);
            beginnings::write_down(scope, budget, &balancing, now)
        } else {
            Proposal::DoesNotApply
        };
        return decide_among(seen, [note, comes_back, heartbeat], now);
    }
    let sight = nodes::sight(scope, now);
    if scope.policy.refuse_without_sight {
        if let Some(why) = nodes::never_enough_sight(scope) {
            let outcome = Outcome::Refused { why: why.clone() };
            return Decision { action: Action::End(outcome), reason: Reason::NoSight(why) }.into();
        }
        if seen.nomad_sight.at().is_none() {
            return decide_among(seen, [sight, heartbeat], now);
        }
    }
    depart(scope, budget, sight, heartbeat, now)
}

/// The first round of looks: Nomad does not depend on what Auto Scaling answers.
fn nomad_at_first(scope: &Scope<'_>) -> Proposal {
    let nomad = &scope.seen.nomad;
    if nomad.at().is_some() || nomad.blind().is_some() {
        return Proposal::DoesNotApply;
    }
    Proposal::look(vec![Part::Nomad, Part::NomadSight], Reason::MustLook)
}

/// The departure proper: everything that is done for an instance that leaves by a hook of ours.
fn depart(scope: &Scope<'_>, budget: &Budget, sight: Proposal, heartbeat: Proposal, now: Time) -> Merged {
    let seen = scope.seen;
    let may_write = nodes::may_write(scope);
    let mut balancing = balancers::balancing(scope, budget, now);
    let kept_off = nodes::keep_work_off(scope, budget, may_write, now);
    let settled = kept_off.is_settled() && sight.is_settled();
    let mut proposals = Vec::with_capacity(MOST_PROPOSALS);
    proposals.extend([std::mem::replace(&mut balancing.proposal, Proposal::DoesNotApply), kept_off, sight]);
    // A round of looks lasts as long as its slowest: one at Consul must not hold up a deregistration, which does not need it.
    let leaving_balancers = matches!(proposals.first(), Some(Proposal::Look(..) | Proposal::Write(..)));
    if seen.consul.at().is_none() && !leaving_balancers {
        proposals.extend(control_look(scope, now));
    }
    let no_node = missing::no_node(scope, budget);
    let mut over = no_node;
    if may_write && !no_node {
        proposals.push(nodes::draining(scope, budget, &balancing, now));
        let begun = !seen.history.drains.is_empty() || scope.nodes().iter().any(|node| node.drain.is_some());
        if balancing.released || begun {
            let left = nodes::over(scope, budget, now);
            over = left.is_settled();
            proposals.push(left);
        }
        // A drain that is complete is not shown to the next worker as one that has begun, and what it told to stop may still be stopping.
        // Where all is over, the last look of all is at Consul too.
        let watched = blind::watched(scope, !(over && balancing.released && settled), now);
        // That it cannot be seen names the wait, whatever else is waited for; but for Nomad, which would tell what stops.
        let names_it = seen.consul.blind().is_some() && seen.nomad.blind().is_none();
        let place = if names_it { 0 } else { proposals.len() };
        proposals.insert(place, watched);
        let force_at = budget.forced_from(balancing.release);
        if now < force_at {
            proposals.push(Proposal::wait(force_at, Reason::TimeIsShort));
        }
    }
    // Last, so that a step is named by what it does and a wait by what it waits for.
    if may_write {
        proposals.push(beginnings::write_down(scope, budget, &balancing, now));
    }
    proposals.extend([heartbeat, watches_nomad(seen), Proposal::wait(budget.end, Reason::TimeIsUp)]);
    let only_waits = proposals.iter().all(|proposal| !matches!(proposal, Proposal::Write(..) | Proposal::Look(..)));
    if only_waits && balancing.released {
        // First, so that a wait is named by what is left to see.
        if let Some(until) = nodes::agent_dead_until(scope, budget).filter(|_| scope.all_left().next().is_some()) {
            proposals.insert(0, lost::given_up(scope, budget, until, now));
        } else if settled && over {
            let finish = ending::finish(scope, budget, balancing.release, no_node, now);
            if finish == Proposal::Done {
                let reason = if no_node { Reason::NoNodeYet } else { Reason::NothingLeft };
                return Decision { action: Action::End(Outcome::Interrupted), reason }.into();
            }
            proposals.insert(0, finish);
        }
    }
    decide_among(seen, proposals, now)
}

/// The control look at Consul (ADR 0011): what is registered is seen before anything is stopped.
fn control_look(scope: &Scope<'_>, now: Time) -> [Proposal; 2] {
    let discovery = nodes::discovery_out_of_sight(scope, false, now);
    // Behind another worker's drain a purge may have taken what declares its services, and left what it had registered: one look
    // tells, if it can be had.
    let tried = scope.seen.consul.blind().is_some() || scope.declares(Provider::Consul);
    let once = scope.policy.consul && !tried && scope.was_drained_before_us();
    [discovery, if once { Proposal::look(vec![Part::Consul], Reason::MustLook) } else { Proposal::DoesNotApply }]
}

/// Another worker's drain is seen as soon as it begins, whatever this one waits for: what it stops is to be watched.
fn watches_nomad(seen: &Snapshot) -> Proposal {
    if seen.nomad.now().is_none_or(|nomad| nomad.nodes.is_empty()) {
        return Proposal::DoesNotApply;
    }
    Proposal::watch(Time::NEVER, Part::Nomad, Reason::TimeIsUp)
}
