//! The steps of a departure, one after another: each wait or action, with its begin and end.

use serde::Serialize;
use utoipa::ToSchema;

use decamp_core::decide::{ActionKind, EffectKind, ReasonKind};
use decamp_core::time::Time;

/// The most steps that are kept of one departure. A calm departure has about ten.
const MOST: usize = 100;

/// A part of a departure in which it did one thing for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Step {
    /// The action: `look`, `wait`, or the word of a write.
    #[schema(value_type = String)]
    pub(crate) action: ActionKind,
    /// The reason, as a word.
    #[schema(value_type = String)]
    pub(crate) reason: ReasonKind,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) from: Time,
    /// When it ended; `null` while it lasts.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) to: Option<Time>,
}

impl Step {
    /// Whether it is only a look or a heartbeat between other steps.
    fn is_in_between(&self) -> bool {
        matches!(self.action, ActionKind::Look | ActionKind::Write(EffectKind::Heartbeat))
    }

    fn is_continued_by(&self, next: &Self) -> bool {
        self.is_in_between() && next.is_in_between() || (self.action, self.reason) == (next.action, next.reason)
    }
}

/// The steps in order. Each begins when the one before ends.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Steps(Vec<Step>);

impl Steps {
    /// In order.
    pub(crate) fn all(&self) -> &[Step] {
        &self.0
    }

    /// Begins a step, or continues the last one. A wait continues across the looks and heartbeats in it.
    pub(crate) fn next(&mut self, action: ActionKind, reason: ReasonKind, now: Time) {
        let next = Step { action, reason, from: now, to: None };
        match &mut self.0[..] {
            [.., last] if last.is_continued_by(&next) => last.to = None,
            [.., before, last] if last.is_in_between() && before.is_continued_by(&next) => {
                before.to = None;
                self.0.pop();
            }
            _ => {
                self.end(now);
                self.0.push(next);
                self.bound();
            }
        }
    }

    /// Ends the last step.
    pub(crate) fn end(&mut self, now: Time) {
        if let Some(last) = self.0.last_mut() {
            last.to.get_or_insert(now);
        }
    }

    /// Merges the shortest step into the one before it if there are too many.
    fn bound(&mut self) {
        if self.0.len() <= MOST {
            return;
        }
        let span = |step: &Step| step.to.unwrap_or(Time::NEVER).since(step.from);
        let shortest = (1..self.0.len()).min_by_key(|place| self.0.get(*place).map(span));
        if let Some(place) = shortest {
            let removed = self.0.remove(place);
            if let Some(before) = self.0.get_mut(place - 1) {
                before.to = removed.to;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: ActionKind = ActionKind::Look;
    const WAIT: ActionKind = ActionKind::Wait;
    const DEREGISTER: ActionKind = ActionKind::Write(EffectKind::Deregister);
    const HEARTBEAT: ActionKind = ActionKind::Write(EffectKind::Heartbeat);

    fn step(action: ActionKind, reason: ReasonKind, from: u64, to: Option<u64>) -> Step {
        Step { action, reason, from: Time(from), to: to.map(Time) }
    }

    #[test]
    fn a_wait_continues_across_looks_and_heartbeats_and_each_step_begins_where_the_last_one_ended() {
        let mut steps = Steps::default();
        for (action, reason, now) in [
            (LOOK, ReasonKind::NotKnownYet, 0),
            (LOOK, ReasonKind::MustConfirm, 5),
            (DEREGISTER, ReasonKind::TakesRequests, 10),
            (WAIT, ReasonKind::LoadBalancerDelay, 20),
            (LOOK, ReasonKind::NotKnownYet, 30),
            (HEARTBEAT, ReasonKind::HeartbeatDue, 31),
            (WAIT, ReasonKind::LoadBalancerDelay, 32),
            (LOOK, ReasonKind::NotKnownYet, 40),
            (WAIT, ReasonKind::AllocationsLeft, 41),
        ] {
            steps.next(action, reason, Time(now));
        }
        let begun = [
            step(LOOK, ReasonKind::NotKnownYet, 0, Some(10)),
            step(DEREGISTER, ReasonKind::TakesRequests, 10, Some(20)),
            step(WAIT, ReasonKind::LoadBalancerDelay, 20, Some(40)),
            step(LOOK, ReasonKind::NotKnownYet, 40, Some(41)),
        ];
        assert_eq!(steps.all(), [&begun[..], &[step(WAIT, ReasonKind::AllocationsLeft, 41, None)]].concat());
        steps.end(Time(50));
        steps.end(Time(60));
        assert_eq!(steps.all(), [&begun[..], &[step(WAIT, ReasonKind::AllocationsLeft, 41, Some(50))]].concat());
    }

    #[test]
    fn of_too_many_steps_the_long_ones_are_kept_and_no_time_is_lost() {
        let mut steps = Steps::default();
        let words = [ReasonKind::AllocationsLeft, ReasonKind::CannotSee];
        let mut now = 0;
        for number in 0..10_000_u64 {
            steps.next(WAIT, words[usize::try_from(number % 2).expect("it is small")], Time(now));
            now += if number == 77 { 1_000_000 } else { 10 };
        }
        assert_eq!(steps.all().len(), MOST);
        assert!(steps.all().iter().any(|step| 1_000_000 <= step.to.unwrap_or_default().since(step.from).as_millis()));
        assert!(steps.all().windows(2).all(|pair| pair[0].to == Some(pair[1].from)), "{:?}", steps.all());
    }
}
