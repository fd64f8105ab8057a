//! Deadlines and forces: decamp forces nothing while there is time to stop in order, and no deadline is shorter than necessary (ADR 0001).

use std::time::Duration;

use super::promises::{longest_stop, longest_stop_of};
use super::{IN_ORDER, LOOK_AGE, OUR_HOOK, Oracle, RACE};
use crate::auto_scaling::AutoScaling;
use crate::load_balancers::LoadBalancers;
use crate::nomad::Nomad;
use crate::scenario::BEGIN;
use crate::world::Subject;
use decamp_core::decide::{Cause, Departure, Effect, Phase};
use decamp_core::ids::{InstanceId, TargetId};
use decamp_core::time::{Time, plain};

/// The time before the end that no force may use, and the error of a call and a clock.
const MARGIN: Duration = Duration::from_secs(20);
/// How much earlier than the hook an activity may have begun.
const ACTIVITY_EARLIER: Duration = Duration::from_mins(10);
/// How much time a deadline may reserve in addition to the longest stop: for poststop tasks, slack, and stops that are already over.
const SPARE: Duration = Duration::from_mins(4);

impl Oracle {
    /// When the last of an instance's hooks ends, if a worker can know that. During a hold no worker notes the entry on the node. If no
    /// activity shows it either, a second worker cannot know it.
    pub(super) fn knowable_end(&self, auto_scaling: &AutoScaling, instance: InstanceId) -> Option<Time> {
        let was_held = self.held || self.unheld.is_some() || self.bounds.holds_local_data;
        let entry_is_known = !self.bounds.entry_is_unreported || self.workers <= 1 || !was_held;
        auto_scaling.instance(instance).filter(|_| entry_is_known)?.actions.iter().map(|action| action.ends).max()
    }

    /// S1 and L2 for drains: decamp forces processes behind a target that still gets requests only at the very end, and a deadline comes
    /// no earlier than the longest stop requires.
    #[expect(clippy::too_many_arguments, reason = "the judge sees everything")]
    pub(super) fn check_haste(
        &mut self,
        at: Time,
        departure: &Departure,
        effect: &Effect,
        auto_scaling: &AutoScaling,
        nomad: &Nomad,
        balancers: &LoadBalancers,
        subject: &Subject,
    ) {
        let Effect::Drain { node, deadline, meta, .. } = effect else { return };
        if matches!(departure.cause, Cause::Interruption { .. }) || self.bounds.entry_is_wrong {
            return;
        }
        let Some(end) = self.earliest_end(departure, auto_scaling, subject) else { return };
        let force = at + deadline.span();
        if self.bounds.never_force && (meta.phase == Phase::Forced || force + MARGIN < end) {
            self.broke(at, "L2", format!("nothing may be forced, and what is left is after {}", plain(deadline.span())));
        }
        let forces = meta.phase == Phase::Forced || deadline.span() <= Duration::from_secs(1);
        if forces && at + MARGIN < end && self.is_sent_to(at, balancers, subject) {
            self.broke(at, "S1", format!("it forces while a load balancer sends to it, {} before the end", plain(end.since(at))));
        }
        // If an agent was away, an allocation seems to have been stopping since the request. A stop that is seen to last so long needs
        // that long, in spite of the cap (ADR 0001).
        let stops = nomad.allocations().iter().any(|a| nomad.node(a.node).spec.id == *node && !a.wanted);
        let seen_stopping = if stops { at.since(BEGIN) } else { Duration::ZERO };
        let needs = claimed_stop(nomad, subject).max(longest_stop(nomad, *node)).max(seen_stopping) + SPARE;
        if !forces && IN_ORDER < deadline.span() && force + needs < end && !self.drained_before(meta.phase) {
            self.broke(at, "L2", format!("its deadline comes {} before the end", plain(end.since(force))));
        }
    }

    /// The earliest end that any worker may assume.
    pub(super) fn earliest_end(&self, departure: &Departure, auto_scaling: &AutoScaling, subject: &Subject) -> Option<Time> {
        let instance = auto_scaling.instance(subject.instance)?;
        let action = instance.actions.iter().find(|action| action.is_open() && *action.hook == *OUR_HOOK)?;
        // A worker without an event counts from the activity, or from a heartbeat time-out before it started (ADR 0002).
        let has_event = self.workers <= 1 && departure.action().is_some_and(|action| action.began.is_some());
        let activity = instance.activity.as_ref().map_or(action.began, |activity| activity.began.min(action.began));
        let began = if has_event { action.began } else { activity - self.bounds.heartbeat_timeout - ACTIVITY_EARLIER };
        // The hook's own end is computed from the entry as well.
        let ends = if has_event { action.ends } else { action.ends - action.began.since(activity) };
        Some((began + self.bounds.shortest).min(ends) - self.bounds.reserve)
    }

    /// Whether a lagging server may have answered a look right before: one that lags now, or did until a moment ago.
    pub(super) fn lagged(&self, at: Time, nomad: &Nomad) -> bool {
        let just_caught_up = self.caught_up.is_some_and(|caught_up| at.since(caught_up) < RACE);
        just_caught_up || nomad.lags_since(crate::nomad::Read::Stale).is_some()
    }

    /// Whether a load balancer sends to the instance, and every look must have shown it.
    fn is_sent_to(&self, at: Time, balancers: &LoadBalancers, subject: &Subject) -> bool {
        let again = self.registered_again.is_some_and(|again| at.since(again) < LOOK_AGE);
        let routed = |arn| balancers.routes(arn).iter().any(|route| route.id == TargetId::Instance(subject.instance));
        !again && !self.delay_raised && subject.fronts.iter().any(routed)
    }

    /// Whether an earlier drain set the deadline, which later drains share.
    fn drained_before(&self, phase: Phase) -> bool {
        phase != Phase::Services && self.deadline.is_some() || self.operator_drained.is_some()
    }
}

/// The longest stop of what Nomad lists as not over on any node with the instance's id. That a process is gone may be known to nobody.
fn claimed_stop(nomad: &Nomad, subject: &Subject) -> Duration {
    longest_stop_of(nomad, |a| nomad.node(a.node).spec.instance == Some(subject.instance) && !a.client.is_over())
}
