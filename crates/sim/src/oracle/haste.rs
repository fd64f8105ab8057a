//! Haste: nothing is forced while there is time to go on in order, and no deadline is shorter than it has to be (ADR 0001).

use std::time::Duration;

use super::promises::longest_stop;
use super::{IN_ORDER, LOOK_AGE, OUR_HOOK, Oracle};
use crate::auto_scaling::AutoScaling;
use crate::load_balancers::LoadBalancers;
use crate::nomad::Nomad;
use crate::scenario::BEGIN;
use crate::world::Subject;
use decamp_core::decide::{Cause, Departure, Effect, Phase};
use decamp_core::ids::TargetId;
use decamp_core::time::{Time, plain};

/// What no force may use before the end, and what a call and a clock may be off.
const MARGIN: Duration = Duration::from_secs(20);
/// How much earlier than its hook an activity may have begun.
const UNTOLD: Duration = Duration::from_mins(10);
/// What poststop tasks, slack, and stops of what is over already may take of a deadline beside the longest stop.
const SPARE: Duration = Duration::from_mins(4);

impl Oracle {
    /// S1 and L2 for drains: what serves a target that is still sent to is forced only at the very end, and a deadline takes no more
    /// from everybody than the longest stop needs.
    #[expect(clippy::too_many_arguments, reason = "the judge sees everything")]
    pub(super) fn hurried(
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
        // Behind an agent that was away, what was told to stop seems to have been stopping ever since: a stop that is seen to last needs
        // as long, whatever the cap (ADR 0001).
        let stops = nomad.allocations().iter().any(|a| nomad.node(a.node).spec.id == *node && !a.wanted);
        let seen_stopping = if stops { at.since(BEGIN) } else { Duration::ZERO };
        let needs = longest_stop(nomad, *node).max(seen_stopping) + SPARE;
        if !forces && IN_ORDER < deadline.span() && force + needs < end && !self.drained_before(meta.phase) {
            self.broke(at, "L2", format!("its deadline comes {} before the end", plain(end.since(force))));
        }
    }

    /// The earliest end that any worker may reckon with.
    pub(super) fn earliest_end(&self, departure: &Departure, auto_scaling: &AutoScaling, subject: &Subject) -> Option<Time> {
        let instance = auto_scaling.instance(subject.instance)?;
        let action = instance.actions.iter().find(|action| action.is_open() && *action.hook == *OUR_HOOK)?;
        // Whom no event told counts from the activity, or from a heartbeat time-out before it came (ADR 0002).
        let told = self.workers <= 1 && departure.action().is_some_and(|action| action.began.is_some());
        let activity = instance.activity.as_ref().map_or(action.began, |activity| activity.began.min(action.began));
        let began = if told { action.began } else { activity - self.bounds.heartbeat_timeout - UNTOLD };
        // The hook's own end is reckoned from the entry as well.
        let ends = if told { action.ends } else { action.ends - action.began.since(activity) };
        Some((began + self.bounds.shortest).min(ends) - self.bounds.reserve)
    }

    /// Whether a load balancer sends to the instance, and no look could have missed it.
    fn is_sent_to(&self, at: Time, balancers: &LoadBalancers, subject: &Subject) -> bool {
        let again = self.registered_again.is_some_and(|again| at.since(again) < LOOK_AGE);
        let routed = |arn| balancers.routes(arn).iter().any(|route| route.id == TargetId::Instance(subject.instance));
        !again && !self.delay_unknown() && subject.fronts.iter().any(routed)
    }

    /// Whether the deadline was an earlier drain's, which later ones share.
    fn drained_before(&self, phase: Phase) -> bool {
        phase != Phase::Services && self.deadline.is_some() || self.operator_drained.is_some()
    }
}
