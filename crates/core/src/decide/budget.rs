//! The time that a departure has, computed in one place from what the looks showed.

use std::time::Duration;

use serde::Serialize;

use super::snapshot::{Hook, Snapshot, TargetGroup};
use super::{Cause, Departure, Policy};
use crate::time::Time;

/// The shortest heartbeat time-out that AWS allows: what is assumed while the hook cannot be seen.
pub(super) const SHORTEST_HEARTBEAT: Duration = Duration::from_secs(30);
/// What is assumed of a deregistration delay that cannot be read: AWS's own default (fault 36).
pub(super) const UNREADABLE_DELAY: Duration = Duration::from_secs(300);
/// What the looks and the completion after the last stop may take.
pub(super) const CONFIRMATIONS: Duration = Duration::from_secs(10);
/// Nomad fires deadlines that lie within 5 s of each other at the latest of them, and batches marks for 1 s (facts, section 2.1).
pub(super) const DEADLINE_SLACK: Duration = Duration::from_secs(7);

/// When what must have happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// When the instance entered its hook.
    pub began: Time,
    /// Whether that is known, or only assumed.
    pub began_is_known: bool,
    /// The hook's heartbeat time-out; the shortest that AWS allows while it is not known.
    pub heartbeat_timeout: Duration,
    /// When the hook ends, whatever is done.
    pub hook_ends: Time,
    /// The longest that a load balancer may still send to the instance, after its deregistration.
    pub balancers: Duration,
    /// The longest that one of its allocations may take to stop.
    pub longest_stop: Duration,
    /// When a drain's deadline tells everything that is left to stop.
    pub until: Time,
    /// When a drain that did not do so is forced.
    pub force_at: Time,
    /// When decamp itself completes the action, whatever is left (D1).
    pub end: Time,
    /// Kept free before the hook ends, so that the completion still lands.
    pub reserve: Duration,
}

impl Budget {
    /// The budget of a departure as far as it can be known now.
    #[must_use]
    pub fn of(departure: &Departure, seen: &Snapshot, policy: &Policy) -> Self {
        let hook = our_hook(departure, seen, policy);
        let heartbeat_timeout = hook.map_or(SHORTEST_HEARTBEAT, |h| h.heartbeat_timeout);
        let (began, began_is_known) = began(departure, seen, policy, heartbeat_timeout);
        let hook_ends = match &departure.cause {
            Cause::Lifecycle(_) => hook.map_or(Time::NEVER, |h| began + h.global_timeout),
            Cause::Interruption { at } => *at,
        };
        let longest_stop = longest_stop(seen, policy);
        let reserve = match &departure.cause {
            Cause::Lifecycle(_) => policy.reserve,
            // Two minutes are all there is: five seconds are kept for the last look.
            Cause::Interruption { .. } => Duration::from_secs(5),
        };
        let end = (began + policy.max_departure).min(hook_ends) - reserve;
        let force_at = end - longest_stop - CONFIRMATIONS - DEADLINE_SLACK;
        let until = force_at - DEADLINE_SLACK;
        let balancers = seen
            .balancers
            .iter()
            .filter_map(|b| b.sight.last())
            .filter(|group| group.targets.is_some())
            .map(|group| may_send_for(group, policy))
            .max()
            .unwrap_or_default();
        Self { began, began_is_known, heartbeat_timeout, hook_ends, balancers, longest_stop, until, force_at, end, reserve }
    }

    /// How often a heartbeat is sent: at a third of the time-out.
    #[must_use]
    pub fn heartbeat_every(&self) -> Duration {
        self.heartbeat_timeout / 3
    }

    /// What does not fit, as sentences that say what to change. Empty when everything fits.
    #[must_use]
    pub fn misfits(&self) -> Vec<String> {
        let needed = needed(self.balancers, self.longest_stop, self.reserve);
        let there = self.end.since(self.began) + self.reserve;
        let mut sentences = Vec::new();
        if needed > there {
            sentences.push(format!(
                "a departure needs at least {} (load balancers {}, longest stop {}, confirmations and reserve {}), but has {}: \
                 raise the hook's heartbeat_timeout or DECAMP_MAX_DEPARTURE",
                crate::time::plain(needed),
                crate::time::plain(self.balancers),
                crate::time::plain(self.longest_stop),
                crate::time::plain(needed.saturating_sub(self.balancers + self.longest_stop)),
                crate::time::plain(there),
            ));
        }
        sentences
    }
}

/// The least that a departure needs, from its entry into the hook to the hook's end.
#[must_use]
pub fn needed(balancers: Duration, longest_stop: Duration, reserve: Duration) -> Duration {
    balancers + longest_stop + CONFIRMATIONS + DEADLINE_SLACK * 2 + reserve
}

/// The hook that holds the instance for us: the one that the event named, or else the only one that is ours.
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

/// When the instance entered its hook (D2): the event's time, else its activity's, else a heartbeat time-out before the first run
/// that left a trace of itself, or before this one.
fn began(departure: &Departure, seen: &Snapshot, policy: &Policy, heartbeat_timeout: Duration) -> (Time, bool) {
    let told = match &departure.cause {
        // A refused token is of an earlier action, and so is the time that came with it.
        Cause::Lifecycle(action) => action.began.filter(|_| !seen.history.token_refused),
        Cause::Interruption { at } => Some(*at - Duration::from_secs(120)),
    };
    let known = told.or_else(|| seen.group.last().and_then(|group| group.activity_began));
    match known {
        Some(at) => (at, true),
        None => {
            // What is only assumed takes no more than half of the time: it would end the departure before it was tried.
            let unseen = heartbeat_timeout.min(policy.max_departure / 2);
            let assumed = seen.history.began - unseen;
            let left = super::beginnings::departure(departure, seen, policy, unseen);
            (left.map_or(assumed, |left| left.min(assumed)), false)
        }
    }
}

/// How long after its deregistration a target of this group may still be sent requests, or hold some (D7).
#[must_use]
pub(super) fn may_send_for(group: &TargetGroup, policy: &Policy) -> Duration {
    group.delay.unwrap_or(UNREADABLE_DELAY).max(guard(group, policy))
}

/// How long routing may lag a deregistration.
#[must_use]
pub(super) fn guard(group: &TargetGroup, policy: &Policy) -> Duration {
    match group.kind {
        super::BalancerKind::Alb => policy.guard_alb,
        super::BalancerKind::Nlb => policy.guard_nlb,
    }
}

/// The longest that an allocation ever seen not over in this run may take to stop, or that an earlier worker noted on the drain.
fn longest_stop(seen: &Snapshot, policy: &Policy) -> Duration {
    let known = seen.history.known.iter().filter(|k| !k.group.csi_plugin).map(|k| k.group.longest_stop(policy.poststop));
    let noted = seen
        .nomad
        .last()
        .into_iter()
        .flat_map(|nomad| &nomad.nodes)
        .filter_map(|node| node.last_drain.as_ref().and_then(|d| d.meta.as_ref()))
        .map(|meta| meta.longest_stop);
    known.chain(noted).max().unwrap_or_default()
}
