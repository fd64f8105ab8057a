//! The hook's part: is it really leaving, is its hook ours, does it live, and who completes it (ADR 0001, 0002, 0012, 0013).

use std::sync::Arc;
use std::time::Duration;

use super::balancers;
use super::budget::{self, Budget};
use super::proposal::{Order, Proposal, look_again, merge, must_see, write};
use super::scope::Scope;
use super::snapshot::{Lifecycle, Snapshot};
use super::{
    Action, ActionRef, Cause, Decision, Departure, Effect, EffectKind, LifecycleResult, Outcome, Part, Policy, Reason, System,
    Unseen,
};
use crate::time::Time;

/// How often a hook that has not begun is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// No departure needs more of the end of its hook than twice what a deregistration delay can be at most, an hour, and some time.
const LEAVES_WITHIN: Duration = Duration::from_hours(3);
/// How often a held group's tag is read again.
const READ_HOLD_EVERY: Duration = Duration::from_secs(60);
/// How long after the last possible moment of the hook it is believed to be over, if Auto Scaling cannot be seen.
const BELIEVED_OVER: Duration = Duration::from_secs(60);

/// Whether it is over, and how.
pub(super) fn ended(scope: &Scope<'_>, budget: &Budget, now: Time) -> Option<Decision> {
    let seen = scope.seen;
    let end = |outcome: Outcome, reason| Some(Decision { action: Action::End(outcome), reason });
    if seen.history.completed.is_some() {
        return end(seen.history.verdict.clone().unwrap_or(Outcome::TimedOut), Reason::ActionCompleted);
    }
    let interrupted = matches!(scope.departure.cause, Cause::Interruption { .. });
    if interrupted && budget.end <= now {
        // What nobody could do anything about did not end in time.
        let came_late = budget.end <= seen.history.began;
        return end(if came_late { Outcome::AlreadyPast } else { Outcome::Interrupted }, Reason::TimeIsUp);
    }
    // Heartbeats stop at `end`, so by then the hook's own default has acted.
    let surely = budget.hook_ends.min(budget.end + budget.reserve + budget.heartbeat_timeout);
    // A worker that comes late looks first: the group may have been held.
    let surely = surely.max(seen.history.began) + BELIEVED_OVER;
    if !interrupted && surely <= now {
        return end(Outcome::Expired, Reason::TimeIsUp);
    }
    match seen.lifecycle.now()? {
        Lifecycle::Gone => end(verdict_landed(scope, budget).unwrap_or(Outcome::Gone), Reason::NotListed),
        Lifecycle::Past => end(verdict_landed(scope, budget).unwrap_or(past(scope, budget)), Reason::PastItsHook),
        Lifecycle::Retained => end(Outcome::Retained, Reason::PastItsHook),
        Lifecycle::Staying(_) if interrupted => None,
        Lifecycle::Staying(state) | Lifecycle::Unknown(state) => end(Outcome::NotLeaving, Reason::InState(state.clone())),
        Lifecycle::WaitingForWarmPool if !scope.departure.action().is_some_and(|action| action.to_warm_pool) => {
            end(Outcome::NotLeaving, Reason::InState("Warmed:Pending:Wait".into()))
        }
        Lifecycle::Terminating | Lifecycle::Waiting | Lifecycle::WaitingForWarmPool | Lifecycle::ReplacingRootVolume => {
            held_by_another(scope, budget)
        }
    }
}

/// "No active lifecycle action" by token and by id, and the instance still waits: then another hook holds it (ADR 0013).
fn held_by_another(scope: &Scope<'_>, budget: &Budget) -> Option<Decision> {
    let seen = scope.seen;
    let refused = seen.history.no_active_action?;
    seen.lifecycle.fresh_at().filter(|at| refused <= *at)?;
    let ours = hook_name(scope);
    let other = seen.group.last()?.hooks.iter().find(|h| Some(&h.name) != ours.as_ref())?;
    let outcome = match verdict_landed(scope, budget) {
        Some(Outcome::Departed { .. }) => Outcome::Departed { waiting_for: Some(Arc::clone(&other.name)) },
        Some(verdict) => verdict,
        None => past(scope, budget),
    };
    Some(Decision { action: Action::End(outcome), reason: Reason::PastItsHook })
}

/// What a completion said that was not answered, if it was surely ours that let the instance go: it was seen past its hook before
/// the hook could have run out by itself. Later than that, nobody knows which of the two it was.
fn verdict_landed(scope: &Scope<'_>, budget: &Budget) -> Option<Outcome> {
    scope.seen.history.verdict.clone().filter(|_| was_completed(scope, budget))
}

/// Whether it was seen to be over before its hook could have run out by itself.
fn was_completed(scope: &Scope<'_>, budget: &Budget) -> bool {
    let history = &scope.seen.history;
    let alive = history.heartbeat.max(Some(budget.began).filter(|_| budget.began_is_known));
    let runs_out = (alive.unwrap_or(Time(0)) + budget.heartbeat_timeout).min(budget.hook_ends);
    let over_by = scope.seen.lifecycle.at().into_iter().chain(history.no_active_action).min();
    over_by.is_some_and(|over_by| over_by < runs_out)
}

/// It is past its hook without us: before we came, or while we worked.
fn past(scope: &Scope<'_>, budget: &Budget) -> Outcome {
    let seen = scope.seen;
    let worked = seen.history.heartbeat.is_some()
        || seen.history.failures(EffectKind::Complete).is_some()
        || !seen.history.drains.is_empty()
        || seen.balancers.iter().any(|b| b.deregistered.is_some());
    match (worked, was_completed(scope, budget)) {
        (false, _) => Outcome::AlreadyPast,
        (true, true) => Outcome::Overtaken,
        (true, false) => Outcome::Expired,
    }
}

/// Confirms that it is leaving by a hook of ours; nothing is written before.
pub(super) fn confirmed(scope: &Scope<'_>, budget: &Budget, now: Time) -> Proposal {
    let seen = scope.seen;
    let with_activity = scope.departure.action().is_some_and(|action| action.began.is_none());
    let group = must_see(&seen.group, Part::Group { with_activity }, System::AutoScaling, now);
    let Some(lifecycle) = seen.lifecycle.now() else {
        let shown = must_see(&seen.lifecycle, Part::Lifecycle, System::AutoScaling, now);
        return merge(Order::InTurn, [shown, group]);
    };
    if !group.is_settled() && seen.group.at().is_none() {
        return group;
    }
    if *lifecycle == Lifecycle::Terminating {
        let next = seen.lifecycle.at().unwrap_or(now) + LOOK_EVERY;
        if next <= now {
            return look_again(&seen.lifecycle, Part::Lifecycle, System::AutoScaling, now, Reason::HookNotBegun);
        }
        return Proposal::wait(next, Reason::HookNotBegun);
    }
    // A worker that was frozen wakes with old knowledge (fault 12): either a look or a heartbeat must be recent.
    let validated = seen.lifecycle.at().max(seen.history.heartbeat).unwrap_or(Time(0));
    let refused = seen.history.no_active_action.is_some_and(|at| seen.lifecycle.at() < Some(at));
    if refused || validated + budget.heartbeat_timeout / 2 < now {
        return look_again(&seen.lifecycle, Part::Lifecycle, System::AutoScaling, now, Reason::MustConfirm);
    }
    Proposal::Done
}

/// The name of the hook that is completed: the event's, or our only one.
pub(super) fn hook_name(scope: &Scope<'_>) -> Option<Arc<str>> {
    let told = scope.departure.action().and_then(|action| action.hook.clone());
    told.or_else(|| budget::our_hook(scope.departure, scope.seen, scope.policy).map(|h| Arc::clone(&h.name)))
}

/// Whether the hook is one that we may touch: by the allow-list, and as soon as the group was seen, by being one of its hooks.
/// A hook that is deleted while we work stays ours; one that was gone before we came names no target groups any more.
pub(super) fn is_ours(scope: &Scope<'_>) -> bool {
    let Some(name) = hook_name(scope) else { return false };
    let allowed = scope.policy.hooks.is_empty() || scope.policy.hooks.contains(&name);
    let there = scope.seen.group.last().is_none_or(|group| group.hooks.iter().any(|hook| hook.name == name));
    allowed && there
}

/// Whether nobody has said which of several hooks is ours: then what another tool waits for must not be completed (ADR 0013).
pub(super) fn which_is_not_said(scope: &Scope<'_>) -> bool {
    scope.policy.hooks.is_empty() && scope.seen.group.last().is_some_and(|group| 1 < group.hooks.len())
}

/// Whether nobody has said which hook is ours, and Auto Scaling, which would tell whether there are several, is away. One that refuses to
/// tell will go on refusing.
pub(super) fn which_is_not_seen(scope: &Scope<'_>) -> bool {
    let group = &scope.seen.group;
    let is_denied = || matches!(group.blind().map(|blind| &blind.why), Some(Unseen::Denied(_)));
    scope.policy.hooks.is_empty() && group.last().is_none() && !is_denied()
}

/// Names our action to Auto Scaling: by its token until that is refused.
fn action_ref(scope: &Scope<'_>) -> Option<ActionRef> {
    let token = scope.departure.action()?.token.clone().filter(|_| !scope.seen.history.token_refused);
    Some(ActionRef { hook: hook_name(scope)?, token })
}

/// A heartbeat at a third of the time-out, from the first moment, on the event's word alone (ADR 0012).
pub(super) fn heartbeat(scope: &Scope<'_>, budget: &Budget, now: Time) -> Proposal {
    let ours = is_ours(scope) && !which_is_not_said(scope);
    let Some(of) = action_ref(scope).filter(|_| ours && now < budget.end) else { return Proposal::DoesNotApply };
    let history = &scope.seen.history;
    let due = match (history.heartbeat, &history.sweep) {
        (Some(sent), _) => sent + budget.heartbeat_every(),
        // Sweeps share them out: what another sweep sends is not this one's to send.
        (None, Some(sweep)) if sweep.heartbeats(scope.departure.instance, budget.heartbeat_timeout) => now,
        (None, Some(_)) => return Proposal::DoesNotApply,
        (None, None) => Some(budget.began).filter(|_| budget.began_is_known).map_or(now, |at| at + budget.heartbeat_every()),
    };
    if now < due {
        return Proposal::wait(due, Reason::HeartbeatDue);
    }
    let refused = scope.seen.history.no_active_action.is_some_and(|at| scope.seen.lifecycle.fresh_at() < Some(at));
    if refused {
        return Proposal::NotYet;
    }
    write(scope.seen, EffectKind::Heartbeat, vec![Effect::Heartbeat(of)], Reason::HeartbeatDue, now)
}

/// The heartbeat that a worker sends last when it lets go of a departure that goes on: whoever comes next then has a whole time-out
/// to come. `None` where the action is over, where neither a look nor a token says that there is one, and past decamp's own end, so
/// that the hook's default can act.
#[must_use]
pub fn last_heartbeat(departure: &Departure, seen: &Snapshot, policy: &Policy, now: Time) -> Option<Effect> {
    let scope = &Scope::new(departure, seen, policy);
    let of = action_ref(scope).filter(|_| is_ours(scope) && !which_is_not_said(scope))?;
    let over = seen.history.completed.is_some() || seen.history.no_active_action.is_some();
    let shown = matches!(
        seen.lifecycle.last(),
        Some(Lifecycle::Waiting | Lifecycle::WaitingForWarmPool | Lifecycle::ReplacingRootVolume)
    );
    let waits = shown || of.token.is_some();
    (!over && waits && now < Budget::of(departure, seen, policy).end).then_some(Effect::Heartbeat(of))
}

/// A held group is left alone, for as long as its hook leaves the time to walk the instance out in order afterwards (ADR 0015).
pub(super) fn held(scope: &Scope<'_>, budget: &Budget, now: Time) -> Proposal {
    let seen = scope.seen;
    let until = budget.held_until();
    if until <= now || !seen.group.last().is_some_and(|group| group.held) {
        return Proposal::DoesNotApply;
    }
    // Before the first look that showed it, it may have been held since the instance came.
    let first = seen.history.held.map_or(now, |(since, _)| since);
    let since = if seen.history.held_from_the_first { budget.began } else { first };
    let held = || Reason::Held { since, until };
    let next = seen.group.at().unwrap_or(now) + READ_HOLD_EVERY;
    if next <= now {
        return look_again(&seen.group, Part::Group { with_activity: false }, System::AutoScaling, now, held());
    }
    if budget.hook_ends <= now + LEAVES_WITHIN {
        // How long load balancers may still send says how much time has to be left.
        let look = balancers::known_once(scope, now);
        if !look.is_settled() {
            return look;
        }
    }
    Proposal::wait(next.min(until), held())
}

/// An instance whose root volume is to be replaced comes back with its node's identity. Nothing here can undo a drain yet, so that it
/// is only kept alive, and a person has until the end to empty it.
pub(super) fn comes_back(scope: &Scope<'_>, budget: &Budget) -> Proposal {
    match scope.seen.lifecycle.now() {
        Some(Lifecycle::ReplacingRootVolume) => Proposal::wait(budget.end, Reason::RootVolume),
        _ => Proposal::DoesNotApply,
    }
}

/// Completes the action, as the last of all writes.
pub(super) fn complete(scope: &Scope<'_>, result: LifecycleResult, verdict: Outcome, reason: Reason, now: Time) -> Proposal {
    if matches!(scope.departure.cause, Cause::Interruption { .. }) {
        return Proposal::DoesNotApply;
    }
    let Some(of) = action_ref(scope) else { return Proposal::DoesNotApply };
    let retains = scope.seen.group.last().is_some_and(|group| group.retains);
    let verdict = match result {
        LifecycleResult::Abandon if retains => Outcome::Retained,
        LifecycleResult::Abandon | LifecycleResult::Continue => verdict,
    };
    write(scope.seen, EffectKind::Complete, vec![Effect::Complete { of, result, verdict }], reason, now)
}
