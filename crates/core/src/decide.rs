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
mod last_target;
mod leaving;
mod losses;
mod lost;
mod missing;
mod nodes;
mod outcome;
mod policy;
mod reason;
mod registrations;
mod scope;
mod sight;
pub mod snapshot;
mod sources;
mod step;
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

use self::scope::Scope;
use self::step::{Step, decide_among};
use crate::time::Time;
use std::time::Duration;

/// Room for the wishes of all concerns.
const MOST_STEPS: usize = 14;
/// How old the last look at the load balancers may be: a registration that is waited for long may outlast it.
const STALE: Duration = Duration::from_secs(60);
/// Right before completion the node is read once more, unless Nomad answered this recently: work that landed late would show.
const LAST_ANSWER: Duration = Duration::from_secs(1);
/// At the end of the time all is read once more that is older.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// The next step of a departure, and why.
///
/// Total: every snapshot has an answer. The concerns stand in the order of a departure; each says what it wants, all writes
/// together come before all looks, and those before the shortest wait.
#[must_use]
pub fn decide(departure: &Departure, seen: &Snapshot, policy: &Policy, now: Time) -> Decision {
    let scope = &Scope::new(departure, seen, policy);
    let budget = &Budget::of(departure, seen, policy);
    if let Some(decision) = leaving::ended(scope, budget, now) {
        return decision;
    }
    let heartbeat = leaving::heartbeat(scope, budget, now);
    let confirmed = leaving::confirmed(scope, budget, now);
    if let Step::Look(mut parts, reason) = confirmed {
        // The first round of looks: Nomad does not depend on what Auto Scaling answers.
        if seen.nomad.at().is_none() && seen.nomad.blind().is_none() {
            parts.extend([Part::Nomad, Part::NomadSight]);
        }
        return among(seen, [heartbeat, Step::Look(parts, reason)], now);
    }
    if !confirmed.is_satisfied() {
        // What a drain stops goes on stopping while Auto Scaling is out of sight.
        let (watched, news) = (blind::watched(scope, false, now), watches_nomad(seen));
        return among(seen, [at_the_end(scope, budget, now), confirmed, watched, news, heartbeat], now);
    }
    if leaving::which_is_not_said(scope) {
        return Decision { action: Action::End(Outcome::NotOurs), reason: Reason::WhichHook };
    }
    let interrupted = matches!(departure.cause, Cause::Interruption { .. });
    if !interrupted && !leaving::is_ours(scope) {
        return Decision { action: Action::End(Outcome::NotOurs), reason: Reason::NoHookOfOurs };
    }
    if budget.end <= now {
        return among(seen, [at_the_end(scope, budget, now)], now);
    }
    let held = leaving::held(scope, budget, now);
    if !held.is_satisfied() {
        return among(seen, [held, heartbeat], now);
    }
    let comes_back = leaving::comes_back(scope, budget);
    if !comes_back.is_satisfied() {
        // Since when is the one thing that the next worker has to know.
        let may_write = matches!(seen.nomad_sight.last(), Some(NomadSight::Full));
        let balancing = balancers::balancing(scope, budget, now);
        let note = if may_write { beginnings::write_down(scope, budget, &balancing, now) } else { Step::Satisfied };
        return among(seen, [note, comes_back, heartbeat], now);
    }
    walk_out(scope, budget, heartbeat, now)
}

/// The departure proper: everything that is done for an instance that is leaving by a hook of ours.
fn walk_out(scope: &Scope<'_>, budget: &Budget, heartbeat: Step, now: Time) -> Decision {
    let seen = scope.seen;
    let sight = nodes::sight(scope, now);
    if scope.policy.refuse_without_sight {
        if let Some(NomadSight::Short(missing)) = seen.nomad_sight.now() {
            let outcome = Outcome::Refused { why: missing.clone() };
            return Decision { action: Action::End(outcome), reason: Reason::NoSight(missing.clone()) };
        }
        if seen.nomad_sight.at().is_none() {
            // A token that Nomad refuses, fetched anew as well, will not see more by waiting.
            if let Some(Unseen::Denied(why)) = seen.nomad_sight.blind().map(|blind| &blind.why) {
                let outcome = Outcome::Refused { why: why.clone() };
                return Decision { action: Action::End(outcome), reason: Reason::NoSight(why.clone()) };
            }
            return among(seen, [sight, heartbeat], now);
        }
    }
    let may_write = matches!(seen.nomad_sight.last(), Some(NomadSight::Full));
    let mut balancing = balancers::balancing(scope, budget, now);
    let kept_off = nodes::keep_work_off(scope, budget, may_write, now);
    let mut steps = Vec::with_capacity(MOST_STEPS);
    let settled = kept_off.is_satisfied() && sight.is_satisfied();
    steps.extend([std::mem::replace(&mut balancing.step, Step::Satisfied), kept_off, sight]);
    // A round of looks lasts as long as its slowest: one at Consul must not hold up a deregistration, which does not need it.
    let leaving_balancers = matches!(steps.first(), Some(Step::Look(..) | Step::Do(..)));
    if seen.consul.at().is_none() && !leaving_balancers {
        // The control look (ADR 0011): what is registered is seen before anything is stopped.
        steps.push(nodes::discovery_out_of_sight(scope, false, now));
        // Behind another worker's drain a purge may have taken what declares its services, and left what it had registered: one look
        // tells, if it can be had.
        let tried = seen.consul.blind().is_some() || scope.declares(Provider::Consul);
        if scope.policy.consul && !tried && scope.was_drained_before_us() {
            steps.push(Step::Look(vec![Part::Consul], Reason::MustLook));
        }
    }
    let no_node = missing::no_node(scope, budget);
    let mut over = no_node;
    if may_write && !no_node {
        let draining = nodes::draining(scope, budget, &balancing, now);
        steps.push(draining);
        let begun = !seen.history.drains.is_empty() || scope.nodes().iter().any(|node| node.drain.is_some());
        if balancing.released || begun {
            let left = nodes::over(scope, budget, now);
            over = left.is_satisfied();
            steps.push(left);
        }
        // A drain that is complete is not shown to the next worker as one that has begun, and what it told to stop may still be stopping.
        // Where all is over, the last look of all is at Consul too.
        let watched = blind::watched(scope, !(over && balancing.released && settled), now);
        // That it cannot be seen names the wait, whatever else is waited for; but for Nomad, which would tell what stops.
        let names_it = seen.consul.blind().is_some() && seen.nomad.blind().is_none();
        let place = if names_it { 0 } else { steps.len() };
        steps.insert(place, watched);
        let force_at = budget.forced_from(balancing.release);
        if now < force_at {
            steps.push(Step::wait(force_at, Reason::TimeIsShort));
        }
    }
    // Last, so that a step is named by what it does and a wait by what it waits for.
    if may_write {
        steps.push(beginnings::write_down(scope, budget, &balancing, now));
    }
    steps.push(heartbeat);
    steps.extend([watches_nomad(seen), Step::wait(budget.end, Reason::TimeIsUp)]);
    let satisfied = steps.iter().all(|step| !matches!(step, Step::Do(..) | Step::Look(..)));
    if !(satisfied && balancing.released) {
        return among(seen, steps, now);
    }
    if let Some(until) = nodes::agent_dead_until(scope, budget).filter(|_| scope.all_left().next().is_some()) {
        // First, so that a wait is named by what it waits for.
        steps.insert(0, lost::given_up(scope, budget, until, now));
        return among(seen, steps, now);
    }
    if settled && over {
        let finish = finish(scope, budget, balancing.release, no_node, now);
        if finish.is_satisfied() {
            let reason = if no_node { Reason::NoNodeYet } else { Reason::NothingLeft };
            return Decision { action: Action::End(Outcome::Interrupted), reason };
        }
        // First, so that a wait is named by what is left to see.
        steps.insert(0, finish);
    }
    among(seen, steps, now)
}

/// Another worker's drain is seen as soon as it begins, whatever this one waits for: what it stops is to be watched.
fn watches_nomad(seen: &Snapshot) -> Step {
    if seen.nomad.now().is_none_or(|nomad| nomad.nodes.is_empty()) {
        return Step::Satisfied;
    }
    Step::Wait { until: Time::NEVER, watch: vec![Part::Nomad], reason: Reason::TimeIsUp }
}

/// Everything is over: discovery, one last look at all of it, and the completion.
fn finish(scope: &Scope<'_>, budget: &Budget, release: Time, no_node: bool, now: Time) -> Step {
    let seen = scope.seen;
    let vanished = scope.vanished().map(|vanished| vanished.until);
    let over_at = seen.history.nomad_changed.max(vanished).unwrap_or(Time(0));
    let discovery = registrations::discovery(scope, over_at, now);
    let mut parts = Vec::new();
    let stale = balancers::seen_before(scope, over_at.max(release).max(now - STALE));
    if !stale.is_empty() {
        parts.push(Part::TargetGroups { groups: stale, attributes_again: false });
    }
    match discovery.step {
        Step::Satisfied => {}
        Step::Look(more, _) => parts.extend(more),
        waiting @ (Step::Wait { .. } | Step::Do(..)) if parts.is_empty() => return waiting,
        Step::Wait { .. } | Step::Do(..) => {}
    }
    // Other systems may answer seconds after Nomad: then it is asked again, alone.
    let heard = seen.history.nomad_heard.filter(|_| seen.nomad.fresh_at().is_some());
    if heard.is_none_or(|at| at + LAST_ANSWER < now) {
        parts.push(Part::Nomad);
    }
    if !parts.is_empty() {
        return Step::Look(parts, Reason::MustConfirm);
    }
    if matches!(scope.departure.cause, Cause::Interruption { .. }) {
        return Step::Satisfied;
    }
    let proved = discovery.proved && is_proved(scope, budget);
    let (verdict, reason) = verdict(scope, no_node, proved, blind::stopped_unseen(scope, budget, now));
    leaving::complete(scope, LifecycleResult::Continue, verdict, reason, now)
}

/// Whether nothing that was seen, now or by an earlier run, speaks against what is not seen any more (ADR 0011, 0009).
fn is_proved(scope: &Scope<'_>, budget: &Budget) -> bool {
    let in_groups =
        scope.unknown_targets().next().is_none() && !doubts::lists_nothing(scope, budget) && sources::are_all_handled(scope);
    in_groups && unlisted::never_listed(scope).next().is_none() && !unlisted::was_noted(scope)
}

/// How a departure ends in which nothing is left, and what is said of that: nobody says that what could not be seen is gone.
fn verdict(scope: &Scope<'_>, no_node: bool, proved: bool, unseen: Option<StoppedUnseen>) -> (Outcome, Reason) {
    if no_node {
        (Outcome::NoNode, Reason::NoNodeYet)
    } else if !proved || unseen.is_some() || scope.row_is_gone() {
        (Outcome::Unconfirmed { unseen, cut: was_forced(scope) }, Reason::NoneKnownToRun)
    } else if was_forced(scope) {
        (Outcome::Forced, Reason::NothingLeft)
    } else {
        (Outcome::Departed { waiting_for: None }, Reason::NothingLeft)
    }
}

/// A drain's deadline is counted in whole seconds, and may so come this much earlier.
const WHOLE_SECONDS: Duration = Duration::from_secs(1);

/// Whether allocations were cut short: by a deadline that was seen to pass, or by a forced drain of ours. A worker that comes later learns
/// the first from its drain's mark and from what Nomad tells of the tasks that were stopped then.
fn was_forced(scope: &Scope<'_>) -> bool {
    let told = || scope.nodes().iter().flat_map(|node| node.allocations.iter()).filter_map(|allocation| allocation.told).max();
    let cut = |meta: &DrainMeta| told().is_some_and(|told| meta.until <= told + WHOLE_SECONDS);
    scope.seen.history.cut_by_deadline
        || scope.seen.history.has_forced()
        || scope.own_marks().any(|meta| meta.phase == Phase::Forced || cut(meta))
}

/// The one end (ADR 0001): decamp itself completes the action, by `on_timeout`.
fn at_the_end(scope: &Scope<'_>, budget: &Budget, now: Time) -> Step {
    // What may be another tool's is not completed on a guess: the hook's own end comes if Auto Scaling does not (ADR 0013).
    if now < budget.end || leaving::which_is_not_seen(scope) {
        return Step::Satisfied;
    }
    let confirming = confirming_the_end(scope, budget, now);
    if !confirming.is_satisfied() {
        return confirming;
    }
    // A list is a proof only to a token that could have seen more (ADR 0011).
    let over = matches!(scope.seen.nomad_sight.last(), Some(NomadSight::Full))
        && scope.seen.nomad.now().is_some_and(|nomad| !nomad.nodes.is_empty())
        && scope.all_left().next().is_none()
        && scope.vanished().is_none_or(|vanished| vanished.until <= now);
    // Which load balancers there are is the group's to say.
    let released = scope.seen.group.last().is_some() && balancers::balancing(scope, budget, now).released;
    // What may still be sent to is not nothing (ADR 0009).
    let unseen = blind::stopped_unseen(scope, budget, now);
    let proved = is_proved(scope, budget) && unseen.is_none();
    let verdict = match (over && released, proved && was_forced(scope)) {
        _ if missing::is_nowhere(scope) && released => Outcome::NoNode,
        (true, true) => Outcome::Forced,
        (true, false) => Outcome::Unconfirmed { unseen, cut: was_forced(scope) },
        // Nobody could stop its processes, or watch them.
        (false, _) if scope.seen.history.agents_dead_since.is_some() && scope.all_left().next().is_some() => Outcome::AgentDead,
        (false, _) => Outcome::TimedOut,
    };
    leaving::complete(scope, scope.policy.on_timeout, verdict, Reason::TimeIsUp, now)
}

/// What an outcome says is looked at once more right before it is said, whatever the outcome is. What cannot be seen holds up nothing.
fn confirming_the_end(scope: &Scope<'_>, budget: &Budget, now: Time) -> Step {
    fn is_old<T>(sight: &Sight<T>, time: Time) -> bool {
        let tried = sight.blind().map(|blind| blind.tried);
        sight.fresh_at().max(tried) < Some(time)
    }
    let seen = scope.seen;
    let recent = now - LAST_LOOK;
    // Once: the answers may be slow, and the completion has to land.
    if budget.end + LAST_LOOK < now || seen.history.failures(EffectKind::Complete).is_some() {
        return Step::Satisfied;
    }
    let mut parts = Vec::new();
    if is_old(&seen.nomad, recent) {
        parts.push(Part::Nomad);
    }
    if scope.policy.consul && scope.declares(Provider::Consul) && is_old(&seen.consul, recent) {
        parts.push(Part::Consul);
    }
    let mut old = balancers::seen_before(scope, recent);
    old.retain(|(arn, _)| seen.balancers.iter().any(|b| b.arn == *arn && is_old(&b.sight, recent)));
    if !old.is_empty() {
        parts.push(Part::TargetGroups { groups: old, attributes_again: false });
    }
    if parts.is_empty() { Step::Satisfied } else { Step::Look(parts, Reason::MustConfirm) }
}

/// The concerns' wishes as one decision. If none has any, something has to be seen again.
fn among(seen: &Snapshot, steps: impl IntoIterator<Item = Step>, now: Time) -> Decision {
    let decision = decide_among(&seen.late, steps);
    decision.unwrap_or(Decision {
        action: Action::Wait { until: now + Duration::from_secs(5), watch: Vec::new() },
        reason: Reason::MustLook,
    })
}
