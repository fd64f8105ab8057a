//! How calls fare: who is away, who throttles, who denies, and until when; and how long an answer takes.

use std::time::Duration;

use super::rng::Rng;
use decamp_core::decide::{EffectKind, System, Unseen};
use decamp_core::time::Time;

/// What comes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// It is answered.
    Answered,
    /// It never arrives.
    Lost,
    /// It works, and its answer is lost.
    AnswerLost,
    /// It is throttled.
    Throttled,
    /// It is denied.
    Denied,
}

/// The calls of all workers.
#[derive(Debug, Clone, Default)]
pub struct ApiFaults {
    /// Several faults may take the same system away: none of them brings it back while another lasts.
    away: [Vec<Span>; 4],
    throttled: [Span; 4],
    denied: [Span; 4],
    heartbeats_refused: Span,
    /// Answers to lose: each once, of this kind of write.
    pub lose_answers: Vec<EffectKind>,
    /// So long after the first drain Consul goes away, and for how long.
    pub consul_vanishes: Option<(Duration, Duration)>,
    /// One answer in so many is garbage; 0 is none.
    pub nonsense_one_in: u64,
    /// How much longer than usual each answer of a system takes.
    slow: [Duration; 4],
}

#[derive(Debug, Clone, Copy, Default)]
struct Span {
    from: Time,
    to: Time,
}

impl Span {
    fn holds(self, at: Time) -> bool {
        self.from <= at && at < self.to
    }
}

fn place(system: System) -> usize {
    match system {
        System::AutoScaling => 0,
        System::LoadBalancers => 1,
        System::Nomad => 2,
        System::Consul => 3,
    }
}

impl ApiFaults {
    /// Nobody hears from this system.
    pub fn away(&mut self, system: System, from: Time, to: Time) {
        self.away[place(system)].push(Span { from, to });
    }

    /// This system throttles everything.
    pub fn throttled(&mut self, system: System, from: Time, to: Time) {
        self.throttled[place(system)] = Span { from, to };
    }

    /// This system denies everything.
    pub fn denied(&mut self, system: System, from: Time, to: Time) {
        self.denied[place(system)] = Span { from, to };
    }

    /// Each answer of this system takes so much longer.
    pub fn slow(&mut self, system: System, by: Duration) {
        self.slow[place(system)] = by;
    }

    /// How much longer than usual an answer of this system takes.
    #[must_use]
    pub fn slowness(&self, system: System) -> Duration {
        self.slow[place(system)]
    }

    /// Heartbeats are throttled, nothing else is.
    pub fn heartbeats_refused(&mut self, from: Time, to: Time) {
        self.heartbeats_refused = Span { from, to };
    }

    /// Whether this system hears nobody now.
    #[must_use]
    pub fn is_away(&self, system: System, at: Time) -> bool {
        self.away[place(system)].iter().any(|span| span.holds(at))
    }

    /// Whether anything of Auto Scaling was refused at some time in this stretch.
    #[must_use]
    pub fn auto_scaling_failed(&self, from: Time, to: Time) -> bool {
        let place = place(System::AutoScaling);
        let others = [self.throttled[place], self.denied[place], self.heartbeats_refused];
        self.away[place].iter().chain(&others).any(|s| s.from <= to && from < s.to)
    }

    /// When the last of all spans ends.
    #[must_use]
    pub fn clears(&self) -> Time {
        let spans = self.away.iter().flatten().chain(&self.throttled).chain(&self.denied).chain([&self.heartbeats_refused]);
        spans.map(|s| s.to).max().unwrap_or_default()
    }

    /// What comes of a call that arrives now.
    pub fn fate(&mut self, system: System, write: Option<EffectKind>, at: Time, rng: &mut Rng) -> CallOutcome {
        let place = place(system);
        if self.is_away(system, at) {
            return CallOutcome::Lost;
        }
        if self.throttled[place].holds(at) || write == Some(EffectKind::Heartbeat) && self.heartbeats_refused.holds(at) {
            return CallOutcome::Throttled;
        }
        if self.denied[place].holds(at) {
            return CallOutcome::Denied;
        }
        if let Some(kind) = write
            && let Some(found) = self.lose_answers.iter().position(|k| *k == kind)
        {
            self.lose_answers.swap_remove(found);
            return CallOutcome::AnswerLost;
        }
        if 0 < self.nonsense_one_in && rng.one_in(self.nonsense_one_in) {
            return if rng.one_in(2) { CallOutcome::Lost } else { CallOutcome::AnswerLost };
        }
        CallOutcome::Answered
    }
}

/// How long a call takes one way.
pub fn one_way(system: System, rng: &mut Rng) -> Duration {
    let (least, most) = match system {
        System::AutoScaling | System::LoadBalancers => (10, 60),
        System::Nomad | System::Consul => (1, 8),
    };
    rng.span(Duration::from_millis(least), Duration::from_millis(most))
}

/// What a failed call looks like to a look.
#[must_use]
pub fn unseen(fate: CallOutcome) -> Unseen {
    match fate {
        CallOutcome::Throttled => Unseen::Throttled,
        CallOutcome::Denied => Unseen::Denied("denied".into()),
        CallOutcome::Answered | CallOutcome::Lost | CallOutcome::AnswerLost => Unseen::Away("no answer".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_back_when_the_last_of_its_outages_is_over() {
        let mut api_faults = ApiFaults::default();
        api_faults.away(System::Consul, Time(10_000), Time(60_000));
        api_faults.away(System::Consul, Time(20_000), Time(30_000));
        let away = |at| api_faults.is_away(System::Consul, Time(at));
        assert_eq!([9_999, 10_000, 30_000, 59_999, 60_000].map(away), [false, true, true, true, false]);
        assert!(!api_faults.is_away(System::Nomad, Time(25_000)), "another system is not away for that");
    }
}
