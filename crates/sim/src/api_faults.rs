//! Faults of the APIs: which system is away, throttles or denies calls, and until when. Also how long an answer takes.

use std::time::Duration;

use super::rng::Rng;
use decamp_core::decide::{EffectKind, System, Unseen};
use decamp_core::time::Time;

/// The result of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// The call is answered.
    Answered,
    /// The call never arrives.
    Lost,
    /// The call takes effect, and its answer is lost.
    AnswerLost,
    /// The call is throttled.
    Throttled,
    /// The call is denied.
    Denied,
}

/// The faults that the calls of all workers meet.
#[derive(Debug, Clone, Default)]
pub struct ApiFaults {
    /// Outages of the same system may overlap. The system is back when the last of them is over.
    away: [Vec<Period>; 4],
    throttled: [Period; 4],
    denied: [Period; 4],
    heartbeats_refused: Period,
    /// Auto Scaling throttles reads and no write.
    reads_refused: Period,
    /// Kinds of writes that are denied for good.
    pub denied_writes: Vec<EffectKind>,
    /// From when Auto Scaling denies `DescribeAutoScalingInstances` for good, and no other call.
    pub instances_denied_from: Option<Time>,
    /// Kinds of writes that lose an answer. Each entry loses one.
    pub lose_answers: Vec<EffectKind>,
    /// How long after the first drain Consul goes away, and for how long.
    pub consul_vanishes: Option<(Duration, Duration)>,
    /// One answer in this many is garbage; 0 means none.
    pub nonsense_one_in: u64,
    /// How much longer than usual an answer of each system takes.
    slow: [Duration; 4],
}

#[derive(Debug, Clone, Copy, Default)]
struct Period {
    from: Time,
    to: Time,
}

impl Period {
    fn contains(self, at: Time) -> bool {
        self.from <= at && at < self.to
    }
}

fn index(system: System) -> usize {
    match system {
        System::AutoScaling => 0,
        System::LoadBalancers => 1,
        System::Nomad => 2,
        System::Consul => 3,
    }
}

impl ApiFaults {
    /// The system answers nobody from `from` to `to`.
    pub fn add_outage(&mut self, system: System, from: Time, to: Time) {
        self.away[index(system)].push(Period { from, to });
    }

    /// The system throttles every call from `from` to `to`.
    pub fn throttle(&mut self, system: System, from: Time, to: Time) {
        self.throttled[index(system)] = Period { from, to };
    }

    /// The system denies every call from `from` to `to`.
    pub fn deny(&mut self, system: System, from: Time, to: Time) {
        self.denied[index(system)] = Period { from, to };
    }

    /// Each answer of the system takes this much longer.
    pub fn slow_down(&mut self, system: System, by: Duration) {
        self.slow[index(system)] = by;
    }

    /// How much longer than usual an answer of this system takes.
    #[must_use]
    pub fn slowness(&self, system: System) -> Duration {
        self.slow[index(system)]
    }

    /// Auto Scaling throttles heartbeats and no other call.
    pub fn throttle_heartbeats(&mut self, from: Time, to: Time) {
        self.heartbeats_refused = Period { from, to };
    }

    /// Whether Auto Scaling throttles heartbeats at this time.
    #[must_use]
    pub fn throttles_heartbeats(&self, at: Time) -> bool {
        self.heartbeats_refused.contains(at)
    }

    /// Auto Scaling throttles reads and no write.
    pub fn throttle_reads(&mut self, from: Time, to: Time) {
        self.reads_refused = Period { from, to };
    }

    /// Whether the system is away at this time.
    #[must_use]
    pub fn is_away(&self, system: System, at: Time) -> bool {
        self.away[index(system)].iter().any(|period| period.contains(at))
    }

    /// Whether the system denies every call at this time.
    #[must_use]
    pub fn denies(&self, system: System, at: Time) -> bool {
        self.denied[index(system)].contains(at)
    }

    /// Whether Auto Scaling refused calls at some time from `from` to `to`.
    #[must_use]
    pub fn auto_scaling_failed(&self, from: Time, to: Time) -> bool {
        let index = index(System::AutoScaling);
        let others = [self.throttled[index], self.denied[index], self.heartbeats_refused, self.reads_refused];
        let refuses = [EffectKind::Heartbeat, EffectKind::Complete].iter().any(|kind| self.denied_writes.contains(kind));
        refuses || self.denies_instances(to) || self.away[index].iter().chain(&others).any(|s| s.from <= to && from < s.to)
    }

    /// Whether Auto Scaling denies `DescribeAutoScalingInstances` at this time.
    #[must_use]
    pub fn denies_instances(&self, at: Time) -> bool {
        self.instances_denied_from.is_some_and(|from| from <= at)
    }

    /// When the last of all faults ends.
    #[must_use]
    pub fn last_end(&self) -> Time {
        let periods = self
            .away
            .iter()
            .flatten()
            .chain(&self.throttled)
            .chain(&self.denied)
            .chain([&self.heartbeats_refused, &self.reads_refused]);
        periods.map(|s| s.to).max().unwrap_or_default()
    }

    /// The result of a call that arrives at this time.
    pub fn call_outcome(&mut self, system: System, write: Option<EffectKind>, at: Time, rng: &mut Rng) -> CallOutcome {
        let index = index(system);
        if self.is_away(system, at) {
            return CallOutcome::Lost;
        }
        let refused = match write {
            Some(EffectKind::Heartbeat) => self.heartbeats_refused.contains(at),
            None => system == System::AutoScaling && self.reads_refused.contains(at),
            Some(_) => false,
        };
        if refused || self.throttled[index].contains(at) {
            return CallOutcome::Throttled;
        }
        if self.denied[index].contains(at) || write.is_some_and(|kind| self.denied_writes.contains(&kind)) {
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
pub fn one_way_time(system: System, rng: &mut Rng) -> Duration {
    let (least, most) = match system {
        System::AutoScaling | System::LoadBalancers => (10, 60),
        System::Nomad | System::Consul => (1, 8),
    };
    rng.span(Duration::from_millis(least), Duration::from_millis(most))
}

/// What a look reports when its call failed with this result.
#[must_use]
pub fn unseen(outcome: CallOutcome) -> Unseen {
    match outcome {
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
        api_faults.add_outage(System::Consul, Time(10_000), Time(60_000));
        api_faults.add_outage(System::Consul, Time(20_000), Time(30_000));
        let away = |at| api_faults.is_away(System::Consul, Time(at));
        assert_eq!([9_999, 10_000, 30_000, 59_999, 60_000].map(away), [false, true, true, true, false]);
        assert!(!api_faults.is_away(System::Nomad, Time(25_000)), "another system is not away for that");
    }
}
