//! The hook's part: is it really leaving, is its hook ours, does it live, and who completes it (ADR 0001, 0002, 0012, 0013).

use std::sync::Arc;
use std::time::Duration;

use super::balancers;
use super::budget::{self, Budget};
use super::case::Case;
use super::proposal::{Order, Proposal, look_again, merge, must_see, write};
use super::snapshot::{Lifecycle, Snapshot};
use super::{
    Action, ActionRef, Cause, Decision, Departure, Effect, EffectKind, LifecycleResult, Outcome, Part, Policy, Reason, Unseen,
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
pub(super) fn ended(case: &Case<'_>) -> Option<Decision> {
    let seen = case.seen;
    let end = |outcome: Outcome, reason| Some(Decision { action: Action::End(outcome), reason });
    if seen.history.completed.is_some() {
        return end(seen.history.verdict.clone().unwrap_or(Outcome::TimedOut), Reason::ActionCompleted);
    }
    let interrupted = matches!(case.departure.cause, Cause::Interruption { .. });
    if interrupted && case.budget.end <= case.now {
        // What nobody could do anything about did not end in time.
        let came_late = case.budget.end <= seen.history.began;
        return end(if came_late { Outcome::AlreadyPast } else { Outcome::Interrupted }, Reason::TimeIsUp);
    }
    // Heartbeats stop at `end`, so by then the hook's own default has acted.
    let surely = case.budget.hook_ends.min(case.budget.end + case.budget.reserve + case.budget.heartbeat_timeout);
    // A worker that comes late looks first: the group may have been held.
    let surely = surely.max(seen.history.began) + BELIEVED_OVER;
    if !interrupted && surely <= case.now {
        return end(Outcome::Expired, Reason::TimeIsUp);
    }
    match seen.lifecycle.now()? {
        Lifecycle::Gone => end(verdict_landed(case).unwrap_or(Outcome::Gone), Reason::NotListed),
        Lifecycle::Past => end(verdict_landed(case).unwrap_or(past(case)), Reason::PastItsHook),
        Lifecycle::Retained => end(Outcome::Retained, Reason::PastItsHook),
        Lifecycle::Staying(_) if interrupted => None,
        Lifecycle::Staying(state) | Lifecycle::Unknown(state) => end(Outcome::NotLeaving, Reason::InState(state.clone())),
        Lifecycle::WaitingForWarmPool if !case.departure.action().is_some_and(|action| action.to_warm_pool) => {
            end(Outcome::NotLeaving, Reason::InState("Warmed:Pending:Wait".into()))
        }
        Lifecycle::Terminating | Lifecycle::Waiting | Lifecycle::WaitingForWarmPool | Lifecycle::ReplacingRootVolume => {
            held_by_another(case)
        }
    }
}

/// "No active lifecycle action" by token and by id, and the instance still waits: then another hook holds it (ADR 0013).
fn held_by_another(case: &Case<'_>) -> Option<Decision> {
    let seen = case.seen;
    let refused = seen.history.no_active_action?;
    seen.lifecycle.fresh_at().filter(|at| refused <= *at)?;
    let ours = hook_name(case);
    let other = seen.group.last()?.hooks.iter().find(|h| Some(&h.name) != ours.as_ref())?;
    let outcome = match verdict_landed(case) {
        Some(Outcome::Departed { .. }) => Outcome::Departed { waiting_for: Some(Arc::clone(&other.name)) },
        Some(verdict) => verdict,
        None => past(case),
    };
    Some(Decision { action: Action::End(outcome), reason: Reason::PastItsHook })
}

/// What a completion said that was not answered, if it was surely ours that let the instance go: it was seen past its hook before
/// the hook could have run out by itself. Later than that, nobody knows which of the two it was.
fn verdict_landed(case: &Case<'_>) -> Option<Outcome> {
    case.seen.history.verdict.clone().filter(|_| was_completed(case))
}

/// Whether it was seen to be over before its hook could have run out by itself.
fn was_completed(case: &Case<'_>) -> bool {
    let history = &case.seen.history;
    let alive = history.heartbeat.max(Some(case.budget.began).filter(|_| case.budget.began_is_known));
    let runs_out = (alive.unwrap_or(Time(0)) + case.budget.heartbeat_timeout).min(case.budget.hook_ends);
    let over_by = case.seen.lifecycle.at().into_iter().chain(history.no_active_action).min();
    over_by.is_some_and(|over_by| over_by < runs_out)
}

/// It is past its hook without us: before we came, or while we worked.
fn past(case: &Case<'_>) -> Outcome {
    let seen = case.seen;
    let worked = seen.history.heartbeat.is_some()
        || seen.history.failures(EffectKind::Complete).is_some()
        || !seen.history.drains.is_empty()
        || seen.balancers.iter().any(|b| b.deregistered.is_some());
    match (worked, was_completed(case)) {
        (false, _) => Outcome::AlreadyPast,
        (true, true) => Outcome::Overtaken,
        (true, false) => Outcome::Expired,
    }
}

/// Confirms that it is leaving by a hook of ours; nothing is written before.
pub(super) fn confirmed(case: &Case<'_>) -> Proposal {
    let seen = case.seen;
    let with_activity = case.departure.action().is_some_and(|action| action.began.is_none());
    let group = must_see(case, &seen.group, Part::Group { with_activity });
    let Some(lifecycle) = seen.lifecycle.now() else {
        let shown = must_see(case, &seen.lifecycle, Part::Lifecycle);
        return merge(Order::InTurn, [shown, group]);
    };
    if !group.is_settled() && seen.group.at().is_none() {
        return group;
    }
    if *lifecycle == Lifecycle::Terminating {
        let next = seen.lifecycle.at().unwrap_or(case.now) + LOOK_EVERY;
        if next <= case.now {
            return look_again(case, &seen.lifecycle, Part::Lifecycle, Reason::HookNotBegun);
        }
        return Proposal::wait(next, Reason::HookNotBegun);
    }
    // A worker that was frozen wakes with old knowledge (fault 12): either a look or a heartbeat must be recent.
    let validated = seen.lifecycle.at().max(seen.history.heartbeat).unwrap_or(Time(0));
    let refused = seen.history.no_active_action.is_some_and(|at| seen.lifecycle.at() < Some(at));
    if refused || validated + case.budget.heartbeat_timeout / 2 < case.now {
        return look_again(case, &seen.lifecycle, Part::Lifecycle, Reason::MustConfirm);
    }
    Proposal::Done
}

/// The name of the hook that is completed: the event's, or our only one.
pub(super) fn hook_name(case: &Case<'_>) -> Option<Arc<str>> {
    let told = case.departure.action().and_then(|action| action.hook.clone());
    told.or_else(|| budget::our_hook(case.departure, case.seen, case.policy).map(|h| Arc::clone(&h.name)))
}

/// Whether the hook is one that we may touch: by the allow-list, and as soon as the group was seen, by being one of its hooks.
/// A hook that is deleted while we work stays ours; one that was gone before we came names no target groups any more.
pub(super) fn is_ours(case: &Case<'_>) -> bool {
    let Some(name) = hook_name(case) else { return false };
    let allowed = case.policy.hooks.is_empty() || case.policy.hooks.contains(&name);
    let there = case.seen.group.last().is_none_or(|group| group.hooks.iter().any(|hook| hook.name == name));
    allowed && there
}

/// Whether nobody has said which of several hooks is ours: then what another tool waits for must not be completed (ADR 0013).
pub(super) fn which_is_not_said(case: &Case<'_>) -> bool {
    case.policy.hooks.is_empty() && case.seen.group.last().is_some_and(|group| 1 < group.hooks.len())
}

/// Whether nobody has said which hook is ours, and Auto Scaling, which would tell whether there are several, is away. One that refuses to
/// tell will go on refusing.
pub(super) fn which_is_not_seen(case: &Case<'_>) -> bool {
    let group = &case.seen.group;
    let is_denied = || matches!(group.blind().map(|blind| &blind.why), Some(Unseen::Denied(_)));
    case.policy.hooks.is_empty() && group.last().is_none() && !is_denied()
}

/// Names our action to Auto Scaling: by its token until that is refused.
fn action_ref(case: &Case<'_>) -> Option<ActionRef> {
    let token = case.departure.action()?.token.clone().filter(|_| !case.seen.history.token_refused);
    Some(ActionRef { hook: hook_name(case)?, token })
}

/// A heartbeat at a third of the time-out, from the first moment, on the event's word alone (ADR 0012).
pub(super) fn heartbeat(case: &Case<'_>) -> Proposal {
    let ours = is_ours(case) && !which_is_not_said(case);
    let Some(of) = action_ref(case).filter(|_| ours && case.now < case.budget.end) else { return Proposal::DoesNotApply };
    let history = &case.seen.history;
    let due = match (history.heartbeat, &history.sweep) {
        (Some(sent), _) => sent + case.budget.heartbeat_every(),
        // Sweeps share them out: what another sweep sends is not this one's to send.
        (None, Some(sweep)) if sweep.heartbeats(case.departure.instance, case.budget.heartbeat_timeout) => case.now,
        (None, Some(_)) => return Proposal::DoesNotApply,
        (None, None) => Some(case.budget.began)
            .filter(|_| case.budget.began_is_known)
            .map_or(case.now, |at| at + case.budget.heartbeat_every()),
    };
    if case.now < due {
        return Proposal::wait(due, Reason::HeartbeatDue);
    }
    let refused = case.seen.history.no_active_action.is_some_and(|at| case.seen.lifecycle.fresh_at() < Some(at));
    if refused {
        return Proposal::NotYet;
    }
    write(case, EffectKind::Heartbeat, vec![Effect::Heartbeat(of)], Reason::HeartbeatDue)
}

/// The heartbeat that a worker sends last when it lets go of a departure that goes on: whoever comes next then has a whole time-out
/// to come. `None` where the action is over, where neither a look nor a token says that there is one, and past decamp's own end, so
/// that the hook's default can act.
#[must_use]
pub fn last_heartbeat(departure: &Departure, seen: &Snapshot, policy: &Policy, now: Time) -> Option<Effect> {
    let case = &Case::new(departure, seen, policy, now);
    let of = action_ref(case).filter(|_| is_ours(case) && !which_is_not_said(case))?;
    let over = seen.history.completed.is_some() || seen.history.no_active_action.is_some();
    let shown = matches!(
        seen.lifecycle.last(),
        Some(Lifecycle::Waiting | Lifecycle::WaitingForWarmPool | Lifecycle::ReplacingRootVolume)
    );
    let waits = shown || of.token.is_some();
    (!over && waits && case.now < Budget::of(departure, seen, policy).end).then_some(Effect::Heartbeat(of))
}

/// A held group is left alone, for as long as its hook leaves the time to walk the instance out in order afterwards (ADR 0015).
pub(super) fn held(case: &Case<'_>) -> Proposal {
    let seen = case.seen;
    let until = case.budget.held_until();
    if until <= case.now || !seen.group.last().is_some_and(|group| group.held) {
        return Proposal::DoesNotApply;
    }
    // Before the first look that showed it, it may have been held since the instance came.
    let first = seen.history.held.map_or(case.now, |(since, _)| since);
    let since = if seen.history.held_from_the_first { case.budget.began } else { first };
    let held = || Reason::Held { since, until };
    let next = seen.group.at().unwrap_or(case.now) + READ_HOLD_EVERY;
    if next <= case.now {
        return look_again(case, &seen.group, Part::Group { with_activity: false }, held());
    }
    if case.budget.hook_ends <= case.now + LEAVES_WITHIN {
        // How long load balancers may still send says how much time has to be left.
        let look = balancers::known_once(case);
        if !look.is_settled() {
            return look;
        }
    }
    Proposal::wait(next.min(until), held())
}

/// An instance whose root volume is to be replaced comes back with its node's identity. Nothing here can undo a drain yet, so that it
/// is only kept alive, and a person has until the end to empty it.
pub(super) fn comes_back(case: &Case<'_>) -> Proposal {
    match case.seen.lifecycle.now() {
        Some(Lifecycle::ReplacingRootVolume) => Proposal::wait(case.budget.end, Reason::RootVolume),
        _ => Proposal::DoesNotApply,
    }
}

/// Completes the action, as the last of all writes.
pub(super) fn complete(case: &Case<'_>, result: LifecycleResult, verdict: Outcome, reason: Reason) -> Proposal {
    if matches!(case.departure.cause, Cause::Interruption { .. }) {
        return Proposal::DoesNotApply;
    }
    let Some(of) = action_ref(case) else { return Proposal::DoesNotApply };
    let retains = case.seen.group.last().is_some_and(|group| group.retains);
    let verdict = match result {
        LifecycleResult::Abandon if retains => Outcome::Retained,
        LifecycleResult::Abandon | LifecycleResult::Continue => verdict,
    };
    write(case, EffectKind::Complete, vec![Effect::Complete { of, result, verdict }], reason)
}
