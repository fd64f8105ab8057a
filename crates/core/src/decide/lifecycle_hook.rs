//! The lifecycle hook: whether the instance is leaving, whether the hook is ours, heartbeats, and the completion (ADR 0001, 0002, 0012,
//! 0013).

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

/// How often decamp checks whether the hook has begun.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// No departure needs more time before the end of its hook than twice the longest deregistration delay, which is an hour, and some more.
pub(super) const LEAVES_WITHIN: Duration = Duration::from_hours(3);
/// How often a held group's tag is read again.
const READ_HOLD_EVERY: Duration = Duration::from_secs(60);
/// If Auto Scaling cannot be read, the hook counts as over this long after its last possible moment.
const BELIEVED_OVER: Duration = Duration::from_secs(60);

/// Whether the departure has ended, and how.
pub(super) fn ended(case: &Case<'_>) -> Option<Decision> {
    let seen = case.seen;
    let end = |outcome: Outcome, reason| Some(Decision { action: Action::End(outcome), reason });
    if seen.history.completed.is_some() {
        return end(seen.history.verdict.clone().unwrap_or(Outcome::TimedOut), Reason::ActionCompleted);
    }
    let interrupted = matches!(case.departure.cause, Cause::Interruption { .. });
    if interrupted && case.budget.end <= case.now {
        // Nobody could have done anything, so it was not a departure that failed to end in time.
        let came_late = case.budget.end <= seen.history.began;
        return end(if came_late { Outcome::AlreadyPast } else { Outcome::Interrupted }, Reason::TimeIsUp);
    }
    // Heartbeats stop at `end`, so the hook's default has acted by then.
    let surely = case.budget.hook_ends.min(case.budget.end + case.budget.reserve + case.budget.heartbeat_timeout);
    // A late worker looks first, because the group may have been held.
    let surely = surely.max(seen.history.began) + BELIEVED_OVER;
    if !interrupted && surely <= case.now {
        return end(Outcome::Expired, Reason::TimeIsUp);
    }
    if is_over_unseen(case) {
        return end(verdict_landed(case).unwrap_or(past(case)), Reason::PastItsHook);
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

/// "No active lifecycle action" by token and by id, and since then Auto Scaling denies looks at the instance. No later look will show that
/// the action is over. Without a token the hook may not have begun.
fn is_over_unseen(case: &Case<'_>) -> bool {
    let history = &case.seen.history;
    let refused = history.no_active_action.filter(|_| history.token_refused);
    let denied = case.seen.lifecycle.blind().filter(|blind| matches!(blind.why, Unseen::Denied(_)));
    refused.zip(denied).is_some_and(|(refused, blind)| refused <= blind.tried)
}

/// "No active lifecycle action" by token and by id, and the instance still waits: another hook holds it (ADR 0013).
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

/// The verdict of a completion without an answer, if it must have been ours: the instance was past its hook before the hook could have
/// ended by itself. Later than that, nobody can tell the two apart.
fn verdict_landed(case: &Case<'_>) -> Option<Outcome> {
    case.seen.history.verdict.clone().filter(|_| was_completed(case))
}

/// Whether the action was over before its hook could have ended by itself.
fn was_completed(case: &Case<'_>) -> bool {
    let history = &case.seen.history;
    let alive = history.heartbeat.max(Some(case.budget.began).filter(|_| case.budget.began_is_known));
    let runs_out = (alive.unwrap_or(Time(0)) + case.budget.heartbeat_timeout).min(case.budget.hook_ends);
    let over_by = case.seen.lifecycle.fresh_at().into_iter().chain(history.no_active_action).min();
    over_by.is_some_and(|over_by| over_by < runs_out)
}

/// The instance is past its hook without our completion: before this run, or during it.
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

/// Confirms that the instance is leaving by a hook of ours. Nothing is written before that.
pub(super) fn confirmed(case: &Case<'_>) -> Proposal {
    let seen = case.seen;
    let with_activity = case.departure.action().is_some_and(|action| action.began.is_none());
    let group = must_see(case, &seen.group, Part::Group { with_activity });
    let Some(lifecycle) = seen.lifecycle.now() else {
        let shown = must_see(case, &seen.lifecycle, Part::Lifecycle);
        // A hold that is over no longer keeps the departure from its end.
        let is_due = seen.group.last().is_some_and(|group| group.held) && hold_is_read_at(case) <= case.now;
        let hold = if is_due {
            look_again(case, &seen.group, Part::Group { with_activity: false }, Reason::MustConfirm)
        } else {
            Proposal::DoesNotApply
        };
        return merge(Order::Together, [merge(Order::InTurn, [shown, group]), hold]);
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
    // A worker that was frozen wakes up with old knowledge (fault 12). A look or a heartbeat must be recent.
    let validated = seen.lifecycle.at().max(seen.history.heartbeat).unwrap_or(Time(0));
    let refused = seen.history.no_active_action.is_some_and(|at| seen.lifecycle.at() < Some(at));
    if refused || validated + case.budget.heartbeat_timeout / 2 < case.now {
        return look_again(case, &seen.lifecycle, Part::Lifecycle, Reason::MustConfirm);
    }
    Proposal::Done
}

/// The name of the hook to complete: the event's, or our only one.
pub(super) fn hook_name(case: &Case<'_>) -> Option<Arc<str>> {
    let named = case.departure.action().and_then(|action| action.hook.clone());
    named.or_else(|| budget::our_hook(case.departure, case.seen, case.policy).map(|h| Arc::clone(&h.name)))
}

/// Whether decamp may act on the hook: the settings allow it, and the group has it, once the group was read. A hook that is deleted during
/// the run stays ours. One that was deleted before the run names no target groups any more.
pub(super) fn is_ours(case: &Case<'_>) -> bool {
    let Some(name) = hook_name(case) else { return false };
    let allowed = case.policy.hooks.is_empty() || case.policy.hooks.contains(&name);
    let there = case.seen.group.last().is_none_or(|group| group.hooks.iter().any(|hook| hook.name == name));
    allowed && there
}

/// Whether the group has several hooks and the settings do not say which is ours. Another tool may be waiting in one of them, which must
/// not be completed (ADR 0013).
pub(super) fn hook_is_ambiguous(case: &Case<'_>) -> bool {
    case.policy.hooks.is_empty() && case.seen.group.last().is_some_and(|group| 1 < group.hooks.len())
}

/// Whether the action is another tool's, or may be, as far as this run has read the group.
pub(super) fn is_another_tools(case: &Case<'_>) -> bool {
    hook_is_ambiguous(case) || matches!(case.departure.cause, Cause::Lifecycle(_)) && !is_ours(case)
}

/// Whether this run has not read the group and may still do so. Then it does not know whether the group is held, or, if the settings name
/// no hook, whether there are several. If Auto Scaling denies access, it will go on denying it.
pub(super) fn group_may_be_known_later(case: &Case<'_>) -> bool {
    let group = &case.seen.group;
    let is_denied = || matches!(group.blind().map(|blind| &blind.why), Some(Unseen::Denied(_)));
    group.last().is_none() && !is_denied()
}

/// The reference to our action: by token until the token is refused.
fn action_ref(case: &Case<'_>) -> Option<ActionRef> {
    let token = case.departure.action()?.token.clone().filter(|_| !case.seen.history.token_refused);
    Some(ActionRef { hook: hook_name(case)?, token })
}

/// A heartbeat at a third of the time-out, from the first moment, on the event's word alone (ADR 0012).
pub(super) fn heartbeat(case: &Case<'_>) -> Proposal {
    let ours = is_ours(case) && !hook_is_ambiguous(case);
    let Some(of) = action_ref(case).filter(|_| ours && case.now < case.budget.end) else { return Proposal::DoesNotApply };
    let history = &case.seen.history;
    let due = match (history.heartbeat, &history.sweep) {
        (Some(sent), _) => sent + case.budget.heartbeat_every(),
        // Sweeps divide the heartbeats among them. This one is another sweep's.
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

/// The last heartbeat of a worker that hands a departure back, so that the next worker has a whole time-out to take over. `None` if the
/// action is over, if neither a look nor a token shows that there is one, or after decamp's own end, so that the hook's default can act.
#[must_use]
pub fn last_heartbeat(departure: &Departure, seen: &Snapshot, policy: &Policy, now: Time) -> Option<Effect> {
    let case = &Case::new(departure, seen, policy, now);
    let of = action_ref(case).filter(|_| is_ours(case) && !hook_is_ambiguous(case))?;
    let over = seen.history.completed.is_some() || seen.history.no_active_action.is_some();
    let shown = matches!(
        seen.lifecycle.last(),
        Some(Lifecycle::Waiting | Lifecycle::WaitingForWarmPool | Lifecycle::ReplacingRootVolume)
    );
    let waits = shown || of.token.is_some();
    (!over && waits && case.now < Budget::of(departure, seen, policy).end).then_some(Effect::Heartbeat(of))
}

/// When the tag of a held group is read again.
fn hold_is_read_at(case: &Case<'_>) -> Time {
    case.seen.group.at().unwrap_or(case.now) + READ_HOLD_EVERY
}

/// A held group is left alone, as long as the hook leaves time to drain the instance in order afterwards (ADR 0015).
pub(super) fn held(case: &Case<'_>) -> Proposal {
    let seen = case.seen;
    let until = case.budget.held_until();
    if until <= case.now || !seen.group.last().is_some_and(|group| group.held) {
        return Proposal::DoesNotApply;
    }
    // The group may have been held before the first look that showed it.
    let first = seen.history.held.map_or(case.now, |(since, _)| since);
    let since = if seen.history.held_from_the_first { case.budget.began } else { first };
    let held = || Reason::Held { since, until };
    let next = hold_is_read_at(case);
    if next <= case.now {
        return look_again(case, &seen.group, Part::Group { with_activity: false }, held());
    }
    if case.budget.hook_ends <= case.now + LEAVES_WITHIN {
        // The time that must be left depends on how long load balancers may still send.
        let look = balancers::read_all_once(case);
        if !look.is_settled() {
            return look;
        }
    }
    Proposal::wait(next.min(until), held())
}

/// An instance whose root volume is to be replaced comes back with its node's identity. decamp cannot undo a drain yet, so it only keeps
/// the instance alive, and a person has until the end to empty it.
pub(super) fn replaces_root_volume(case: &Case<'_>) -> Proposal {
    match case.seen.lifecycle.now() {
        Some(Lifecycle::ReplacingRootVolume) => Proposal::wait(case.budget.end, Reason::RootVolume),
        _ => Proposal::DoesNotApply,
    }
}

/// Completes the action, as the last write.
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
