//! The time that a departure has, computed in one place from what was seen.

use std::time::Duration;

use serde::Serialize;

use super::snapshot::{Balancer, Hook, Known, Lifecycle, Snapshot, TargetGroup, TokenAccess};
use super::{Cause, Departure, LocalData, Policy};
use crate::time::Time;

/// The shortest heartbeat time-out that AWS allows. It is assumed while the hook cannot be read.
pub(super) const SHORTEST_HEARTBEAT: Duration = Duration::from_secs(30);
/// The deregistration delay that is assumed if it cannot be read: AWS's own default (fault 36).
pub const UNREADABLE_DELAY: Duration = Duration::from_secs(300);
/// The time for the last looks and the completion after the last stop.
pub(super) const CONFIRMATIONS: Duration = Duration::from_secs(10);
/// Nomad fires deadlines that lie within 5 s of each other at the latest of them, and batches its updates for 1 s (facts/nomad.md 3.7).
pub(super) const DEADLINE_SLACK: Duration = Duration::from_secs(7);

/// The time before the end that no force may use: for what comes after the last stop, and for Nomad's delay in acting on a deadline.
const MARGIN: Duration = Duration::from_secs(CONFIRMATIONS.as_secs() + DEADLINE_SLACK.as_secs());
/// Even if time is short, a departure goes on in order for this long after the load balancers have released the instance (ADR 0001).
const IN_ORDER: Duration = Duration::from_secs(30);

/// The least time for a departure after a hold that lasted as long as it could. Services move one copy after the other.
const IN_ORDER_AFTER_A_HOLD: Duration = Duration::from_mins(15);

/// The times of a departure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// When the instance entered its hook.
    pub began: Time,
    /// Whether that is known, or only assumed.
    pub began_is_known: bool,
    /// The hook's heartbeat time-out, or the shortest that AWS allows while it is not known.
    pub heartbeat_timeout: Duration,
    /// When the hook ends in any case.
    pub hook_ends: Time,
    /// The longest time that a load balancer may send to the instance after its deregistration.
    pub balancers: Duration,
    /// The longest time that one of its allocations may take to stop.
    pub longest_stop: Duration,
    /// The drain's deadline, at which Nomad stops the remaining allocations.
    pub until: Time,
    /// When a drain that has not stopped everything is forced, by what is known of the release.
    pub force_at: Time,
    /// When a drain is forced if the instance was released long ago: in time for the longest stop.
    fits_by: Time,
    /// When the remaining allocations are forced, released or not. Only the margin is left before the end.
    pub last_force: Time,
    /// Whether a drain is never forced, not even by its own deadline.
    never_force: bool,
    /// Whether EC2 takes the instance back. Then allocations are stopped in time even if the load balancers have not released it (ADR
    /// 0014).
    interrupted: bool,
    /// When decamp completes the action itself, even if allocations still run (ADR 0001).
    pub end: Time,
    /// The time kept free before the hook ends, so that the completion still succeeds.
    pub reserve: Duration,
}

impl Budget {
    /// The budget of a departure, by what is known now.
    #[must_use]
    pub fn of(departure: &Departure, seen: &Snapshot, policy: &Policy) -> Self {
        let hook = our_hook(departure, seen, policy);
        let heartbeat_timeout = hook.map_or(SHORTEST_HEARTBEAT, |h| h.heartbeat_timeout);
        let (began, began_is_known) = began(departure, seen, policy, heartbeat_timeout);
        let hook_ends = match &departure.cause {
            Cause::Lifecycle(_) => hook.map_or(Time::NEVER, |h| began + h.global_timeout),
            Cause::Interruption { at } => *at,
        };
        let claimed_stop = claimed_stop(seen, policy);
        let longest_stop = claimed_stop.max(longest_seen_stop(seen, policy));
        let reserve = match &departure.cause {
            Cause::Lifecycle(_) => policy.reserve,
            // An interruption leaves two minutes. Five seconds of them are kept for the last look.
            Cause::Interruption { .. } => Duration::from_secs(5),
        };
        let balancers = balancers(seen, policy);
        let clock = match &departure.cause {
            Cause::Lifecycle(_) => own_clock(departure, seen, policy, began, needed(balancers, claimed_stop, reserve)),
            Cause::Interruption { .. } => began + policy.max_departure,
        };
        let end = clock.min(hook_ends) - reserve;
        let last_force = end - MARGIN;
        let fits_by = last_force - longest_stop;
        let mut budget = Self {
            began,
            began_is_known,
            heartbeat_timeout,
            hook_ends,
            balancers,
            longest_stop,
            until: end,
            force_at: last_force,
            fits_by,
            last_force,
            never_force: policy.never_force,
            interrupted: matches!(departure.cause, Cause::Interruption { .. }),
            end,
            reserve,
        };
        let released = released_by(seen, policy);
        budget.force_at = budget.forced_from(released);
        budget.until = budget.drained_by(released);
        budget
    }

    /// When a drain is forced if the load balancers release the instance at this time: late enough for some time in order, and early enough
    /// for the longest stop, if both are possible (ADR 0001). A job's claims cannot make it earlier than that.
    #[must_use]
    pub fn forced_from(&self, released: Time) -> Time {
        if self.interrupted { self.fits_by } else { self.fits_by.max(released + IN_ORDER).min(self.last_force) }
    }

    /// The deadline of a drain of that departure. If nothing may be forced, it is the end: Nomad forces at a deadline too.
    #[must_use]
    pub fn drained_by(&self, released: Time) -> Time {
        if self.never_force { self.end } else { self.forced_from(released) - DEADLINE_SLACK }
    }

    /// When a hold ends at the latest. After that the instance is drained in order, before the hook ends by itself (ADR 0015).
    #[must_use]
    pub fn held_until(&self) -> Time {
        if self.interrupted {
            return self.hook_ends;
        }
        let in_order = (needed(self.balancers, self.longest_stop, self.reserve) * 2).max(IN_ORDER_AFTER_A_HOLD);
        self.leaving_half(self.hook_ends, in_order)
    }

    /// The latest time to leave load balancers that may send for this long, so that everything after it goes in order. Half of the time is
    /// left for waiting before it.
    pub(super) fn in_order_from(&self, may_send: Duration) -> Time {
        self.leaving_half(self.forced_from(Time(0)) - may_send, IN_ORDER_AFTER_A_HOLD)
    }

    /// This long before the given time, but not in the first half of the time until then.
    fn leaving_half(&self, latest: Time, before: Duration) -> Time {
        latest - before.min(latest.since(self.began) / 2)
    }

    /// How often a heartbeat is sent: every third of the time-out.
    #[must_use]
    pub fn heartbeat_every(&self) -> Duration {
        self.heartbeat_timeout / 3
    }

    /// Why the departure does not fit. `None` if it fits.
    #[must_use]
    pub fn misfit(&self) -> Option<Misfit> {
        let needed = needed(self.balancers, self.longest_stop, self.reserve);
        let there = self.end.since(self.began) + self.reserve;
        let sentence = || {
            format!(
                "a departure needs at least {} (load balancers {}, longest stop {}, confirmations and reserve {}), but has {}: \
                 raise the hook's heartbeat_timeout or DECAMP_MAX_DEPARTURE",
                crate::time::plain(needed),
                crate::time::plain(self.balancers),
                crate::time::plain(self.longest_stop),
                crate::time::plain(needed.saturating_sub(self.balancers + self.longest_stop)),
                crate::time::plain(there),
            )
        };
        (there < needed).then(|| Misfit { needed, there, sentence: sentence() })
    }
}

/// A departure that needs more time than it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The least that it needs, from its entry into the hook to the hook's end.
    pub needed: Duration,
    /// The time that it has between the two.
    pub there: Duration,
    /// Both, and the setting to change, as a sentence.
    pub sentence: String,
}

/// The least time that a departure needs, from its entry into the hook to the hook's end.
#[must_use]
pub fn needed(balancers: Duration, longest_stop: Duration, reserve: Duration) -> Duration {
    balancers + longest_stop + CONFIRMATIONS + DEADLINE_SLACK * 2 + reserve
}

/// The hook in which the instance waits for us: the one that the event named, else the only one that is ours.
#[must_use]
pub fn our_hook<'a>(departure: &Departure, seen: &'a Snapshot, policy: &Policy) -> Option<&'a Hook> {
    let group = seen.group.last()?;
    let named = departure.action().and_then(|action| action.hook.as_ref());
    if let Some(name) = named {
        return group.hooks.iter().find(|h| h.name == *name);
    }
    let mut ours = group.hooks.iter().filter(|h| policy.hooks.is_empty() || policy.hooks.contains(&h.name));
    let first = ours.next()?;
    match ours.next() {
        Some(_) => None,
        None => Some(first),
    }
}

/// When the instance entered its hook (ADR 0002): the event's time, else the activity's. Otherwise a heartbeat time-out before this run, or
/// before the first run that left a note or a drain.
fn began(departure: &Departure, seen: &Snapshot, policy: &Policy, heartbeat_timeout: Duration) -> (Time, bool) {
    let reported = match &departure.cause {
        // A refused token belongs to an earlier action, and so does the time in the same event. There is an exception: if the instance has
        // no action any more, or is past its hook after a completion of this run, the token was that of the action that has just ended.
        Cause::Lifecycle(action) => {
            let is_past = matches!(seen.lifecycle.last(), Some(Lifecycle::Past | Lifecycle::Gone));
            let has_ended = seen.history.no_active_action.is_some() || (is_past && seen.history.verdict.is_some());
            action.began.filter(|_| !seen.history.token_refused || has_ended)
        }
        Cause::Interruption { at } => Some(*at - Duration::from_secs(120)),
    };
    let known = reported.or_else(|| seen.group.last().and_then(|group| group.activity_began));
    match known {
        Some(at) => (at, true),
        None => {
            // An assumed beginning takes at most half of the time. Otherwise it could end the departure before it was tried.
            let unseen = heartbeat_timeout.min(policy.max_departure / 2);
            let assumed = seen.history.began - unseen;
            let left = super::beginnings::departure(departure, seen, policy, unseen);
            (left.map_or(assumed, |left| left.min(assumed)), false)
        }
    }
}

/// How long after its deregistration a target of this group may still receive requests, or hold some (ADR 0008).
#[must_use]
pub fn may_send_for(group: &TargetGroup, policy: &Policy) -> Duration {
    group.delay.unwrap_or(UNREADABLE_DELAY).max(guard(group, policy))
}

/// How long routing may lag behind a deregistration.
#[must_use]
pub fn guard(group: &TargetGroup, policy: &Policy) -> Duration {
    match group.kind {
        super::BalancerKind::Alb | super::BalancerKind::Classic => policy.guard_alb,
        super::BalancerKind::Nlb => policy.guard_nlb,
    }
}

/// The end of the time that decamp allows a departure, whatever the hook allows. A hold stops this clock, which goes on after the hold (ADR
/// 0015). A worker that finds a departure that nobody has begun has at least the time that one needs.
fn own_clock(departure: &Departure, seen: &Snapshot, policy: &Policy, began: Time, needed: Duration) -> Time {
    // What a node holds counts as held until it is known.
    let holds_data = policy.local_data == LocalData::Hold;
    let holds_data_now = holds_data && (seen.nomad.last().is_none() || seen.local_data().next().is_some());
    if holds_data_now || seen.group.last().is_some_and(|group| group.held) {
        return Time::NEVER;
    }
    let clock = began + policy.max_departure;
    let held = [seen.history.held, seen.history.local_data.filter(|_| holds_data)].into_iter().flatten();
    let held = held.map(|(_, last)| last + policy.max_departure).max().unwrap_or(clock);
    // Not if nobody will begin it: the token does not see enough, or the instance comes back.
    let leaves = matches!(seen.lifecycle.last(), Some(Lifecycle::Waiting | Lifecycle::WaitingForWarmPool));
    // Nor while the group cannot be read. Each pass would find the departure untouched again, and it would never end.
    let sees = leaves && seen.group.now().is_some() && matches!(seen.nomad_token.last(), Some(TokenAccess::Full));
    let found_late = seen.history.untouched.filter(|at| sees && began + policy.max_departure / 2 <= *at);
    let untouched = found_late.map_or(clock, |at| at + needed * 2);
    // The drain of an earlier worker after a hold says until when.
    let mark =
        seen.nomad.last().into_iter().flat_map(|nomad| &nomad.nodes).filter_map(|node| node.last_drain.as_ref()?.meta.as_ref());
    let ours = mark.filter(|meta| clock < meta.until && meta.action == departure.mark());
    let drained = ours.map(|meta| meta.until + needed).max().unwrap_or(clock);
    clock.max(held).max(untouched).max(drained)
}

/// The longest time that a load balancer may send to the instance after its deregistration.
fn balancers(seen: &Snapshot, policy: &Policy) -> Duration {
    let groups = seen.balancers.iter().filter_map(|b| b.sight.last()).filter(|group| group.targets.is_some());
    groups.map(|group| may_send_for(group, policy)).max().unwrap_or_default()
}

/// When the load balancers release the instance, as far as that can be computed.
fn released_by(seen: &Snapshot, policy: &Policy) -> Time {
    let release = |balancer: &Balancer| {
        let group = balancer.sight.last().filter(|group| group.targets.is_some())?;
        Some(balancer.deregistered.or(balancer.first_look)? + may_send_for(group, policy))
    };
    seen.balancers.iter().filter_map(release).max().unwrap_or(Time(0))
}

/// The longest time that an allocation of this run took to stop so far, up to what its job claims without the cap. A client's cap may be
/// higher than the setting, and an allocation that takes longer to stop shows that.
fn longest_seen_stop(seen: &Snapshot, policy: &Policy) -> Duration {
    let took = |known: &Known| known.stopped_for().min(known.group.longest_stop(policy.poststop, Duration::MAX));
    seen.history.known.iter().filter(|k| !k.group.csi_plugin).map(took).max().unwrap_or_default()
}

/// The longest time that an allocation of this run may take to stop, by its job and the cap, or that an earlier worker noted on the drain.
/// Unlike a stop that goes on, it does not grow, so that no end moves away with it.
fn claimed_stop(seen: &Snapshot, policy: &Policy) -> Duration {
    let known = seen.history.known.iter().filter(|k| !k.group.csi_plugin).map(|known| policy.longest_stop(&known.group));
    let noted = seen.history.drain_metas.iter().map(|(_, meta)| meta.longest_stop);
    known.chain(noted).max().unwrap_or_default()
}
