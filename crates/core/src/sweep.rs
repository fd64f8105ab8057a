//! Which waiting instances a sweep sends heartbeats for, and in which order it visits them. It is fair without storing anything (ADR 0018).

use std::time::Duration;

use serde::Serialize;

use crate::ids::{InstanceId, hash};
use crate::time::Time;

/// Up to this many instances are all visited at once.
const AT_ONCE: u64 = 20;
/// The longest pause between two instances. A sweep over few instances need not take its whole pass.
const WIDEST: Duration = Duration::from_millis(250);
/// The fractional part of the golden ratio, times 2^64. Its multiples are spread more evenly than those of any other number.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// One sweep. All processes that sweep in the same period give it the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sweep {
    /// The number of periods since 1970.
    number: u64,
    /// The time between two sweeps.
    #[serde(skip)]
    period: Duration,
    /// How many instances wait.
    waiting: u64,
    /// How many heartbeats a sweep may send at the process's rate.
    most: u64,
}

impl Sweep {
    /// The sweep that begins now over this many instances. `per_second` is the most calls that this process makes to Auto Scaling.
    #[must_use]
    pub fn begin(now: Time, period: Duration, waiting: usize, per_second: u32) -> Self {
        let period = period.max(Duration::from_secs(1));
        let seconds = period.as_secs();
        // A quarter of the calls is kept for looks.
        let most = seconds.saturating_mul(u64::from(per_second)) * 3 / 4;
        Self { number: now.0 / 1_000 / seconds, period, waiting: waiting as u64, most: most.max(1) }
    }

    /// Whether this sweep sends a heartbeat for an instance whose hook has this time-out.
    ///
    /// The instances are divided by their hashes among all sweeps that fit into a third of the time-out. If each sweep then had more
    /// heartbeats than it may send, they are divided among all sweeps that fit into half of the time-out: a late heartbeat is better than a
    /// rejected one.
    #[must_use]
    pub fn heartbeats(&self, instance: InstanceId, timeout: Duration) -> bool {
        let fit = |span: Duration| (span.as_secs() / self.period.as_secs().max(1)).max(1);
        let planned = fit(timeout / 3);
        let shared_by = if self.waiting <= planned.saturating_mul(self.most) { planned } else { fit(timeout / 2).max(planned) };
        spread(instance) % shared_by == self.number % shared_by
    }

    /// The instance's place in the order. The order turns with each sweep by the golden ratio of a full turn. An instance that came last,
    /// and was cut off by the end of the sweep, is therefore far from the last place at its next heartbeat, be that in the next sweep or in
    /// the sixtieth.
    #[must_use]
    pub fn place(&self, instance: InstanceId) -> u64 {
        spread(instance).wrapping_add(self.number.wrapping_mul(GOLDEN_RATIO))
    }

    /// How long after the first instance the one at this place is visited, in a pass of this length.
    #[must_use]
    pub fn starts_after(&self, place: usize, pass: Duration) -> Duration {
        if self.waiting <= AT_ONCE {
            return Duration::ZERO;
        }
        let all = u32::try_from(self.waiting).unwrap_or(u32::MAX);
        (pass / all).min(WIDEST).saturating_mul(u32::try_from(place).unwrap_or(u32::MAX)).min(pass)
    }
}

/// A number that spreads instances evenly. Every process computes the same.
fn spread(instance: InstanceId) -> u64 {
    let bytes = hash(&[&instance.to_string()]);
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const TIMEOUT: Duration = Duration::from_mins(15);

    fn sweeps(waiting: usize, many: u64) -> impl Iterator<Item = Sweep> {
        (0..many).map(move |number| Sweep::begin(Time(1_800_000_000_000 + number * 60_000), MINUTE, waiting, 15))
    }

    #[test]
    fn each_instance_gets_one_heartbeat_in_a_third_of_its_time_out() {
        for instance in (0..500).map(InstanceId::from_number) {
            let due: Vec<bool> = sweeps(500, 20).map(|sweep| sweep.heartbeats(instance, TIMEOUT)).collect();
            assert!(due.chunks(5).all(|third| third.iter().filter(|due| **due).count() == 1), "{instance}: {due:?}");
        }
    }

    #[test]
    fn a_sweep_may_begin_at_any_moment_of_its_minute() {
        let instance = InstanceId::from_number(7);
        for millis in [0, 1, 30_000, 59_999] {
            let at = |number: u64| Sweep::begin(Time(1_800_000_000_000 + number * 60_000 + millis), MINUTE, 1, 15);
            let due: Vec<bool> = (0..5).map(|number| at(number).heartbeats(instance, TIMEOUT)).collect();
            assert_eq!(due, sweeps(1, 5).map(|sweep| sweep.heartbeats(instance, TIMEOUT)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_short_hook_is_heartbeaten_by_every_sweep() {
        let instance = InstanceId::from_number(7);
        assert!(sweeps(1, 10).all(|sweep| sweep.heartbeats(instance, Duration::from_secs(180))));
    }

    #[test]
    fn with_too_many_instances_each_still_gets_a_heartbeat_in_half_of_its_time_out() {
        for instance in (0..500).map(InstanceId::from_number) {
            let due: Vec<bool> = sweeps(5_000, 21).map(|sweep| sweep.heartbeats(instance, TIMEOUT)).collect();
            assert!(due.chunks(7).all(|half| half.iter().filter(|due| **due).count() == 1), "{instance}: {due:?}");
        }
    }

    #[test]
    fn no_instance_is_cut_off_twice_in_a_row() {
        // For each hook, how many of the last of 1,000 instances a sweep does not reach.
        let all: Vec<InstanceId> = (0..1_000).map(InstanceId::from_number).collect();
        let cut_off = |sweep: &Sweep, last: usize| -> std::collections::BTreeSet<InstanceId> {
            let mut order = all.clone();
            order.sort_by_cached_key(|instance| sweep.place(*instance));
            order.into_iter().rev().take(last).collect()
        };
        for (minutes, last) in [(3, 50), (15, 50), (60, 10), (120, 5)] {
            let timeout = Duration::from_mins(minutes);
            let mut before = std::collections::BTreeMap::new();
            for sweep in sweeps(1_000, 130) {
                let late = cut_off(&sweep, last);
                for instance in all.iter().filter(|instance| sweep.heartbeats(**instance, timeout)) {
                    let again = before.insert(*instance, late.contains(instance)) == Some(true) && late.contains(instance);
                    assert!(!again, "{instance} is cut off in two of its turns in a row, with a hook of {minutes} min");
                }
            }
        }
    }

    #[test]
    fn a_pass_is_spread_evenly_and_few_instances_are_visited_at_once() {
        let [few, some, many] = [20, 40, 5_000].map(|waiting| Sweep::begin(Time(1_800_000_000_000), MINUTE, waiting, 15));
        let pass = Duration::from_secs(50);
        assert_eq!(few.starts_after(19, pass), Duration::ZERO);
        assert_eq!(some.starts_after(9, pass), WIDEST * 9);
        assert_eq!(many.starts_after(2_500, pass), pass / 2);
        assert!(many.starts_after(4_999, pass) < pass);
    }
}
