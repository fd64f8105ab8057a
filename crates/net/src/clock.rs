//! The time by AWS's own clock, learnt from the `Date` of its answers, because AWS enforces the deadlines by that clock.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use decamp_core::time::Time;

/// Smaller differences come from the network and from `Date`, which has whole seconds.
const TOLERANCE: Duration = Duration::from_secs(2);

/// This machine's clock as read at the start, advanced by a monotonic clock and corrected by the servers' `Date`.
#[derive(Debug)]
pub struct Clock {
    base: Mutex<Base>,
    began: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Base {
    at: Instant,
    shows: Time,
}

impl Base {
    fn read() -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { at: Instant::now(), shows: Time(0) + wall }
    }

    fn now(self) -> Time {
        self.shows + self.at.elapsed()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self { base: Mutex::new(Base::read()), began: Instant::now() }
    }
}

impl Clock {
    /// The time, as corrected by the servers so far.
    #[must_use]
    pub fn now(&self) -> Time {
        self.lock().now()
    }

    /// How long this clock has been running. Corrections do not change it.
    #[must_use]
    pub fn steady(&self) -> Duration {
        self.began.elapsed()
    }

    /// The instant at which this clock reaches a time; now if it has passed.
    #[must_use]
    pub fn when(&self, time: Time) -> Instant {
        let left = time.since(self.now());
        Instant::now().checked_add(left).unwrap_or_else(|| Instant::now() + Duration::from_hours(24 * 365))
    }

    /// Reads this machine's clock again. For a process that was frozen, whose monotonic clock stood still meanwhile.
    pub fn start_again(&self) {
        *self.lock() = Base::read();
    }

    /// Corrects this clock by the `Date` of an answer to a request that was sent at `sent` and answered at `received`, both by this
    /// clock.
    ///
    /// A server writes its `Date` between the two, cut to the whole second. This clock is wrong only if the `Date` lies outside by
    /// more than the tolerance.
    pub fn hear(&self, date: Time, sent: Time, received: Time) {
        let second = Duration::from_secs(1);
        let behind = received + TOLERANCE < date;
        let ahead = date + second < sent - TOLERANCE;
        if !behind && !ahead {
            return;
        }
        let shows = date + second / 2;
        tracing::warn!(server = %shows, here = %received, "this machine's clock differs from the server's; the server's is used");
        *self.lock() = Base { at: Instant::now(), shows };
    }

    fn lock(&self) -> MutexGuard<'_, Base> {
        self.base.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_date_between_request_and_answer_changes_nothing() {
        let clock = Clock::default();
        let sent = clock.now();
        tokio::time::advance(Duration::from_secs(9)).await;
        let received = clock.now();
        for date in [sent - TOLERANCE, sent + Duration::from_secs(4), received + TOLERANCE] {
            clock.hear(date, sent, received);
            assert_eq!(clock.now(), received);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_wrong_by_minutes_is_corrected_in_both_directions() {
        for wrong in [false, true] {
            let clock = Clock::default();
            let here = clock.now();
            let minutes = Duration::from_mins(7);
            let server = if wrong { here + minutes } else { here - minutes };
            clock.hear(server, here, here);
            assert_eq!(clock.now(), server + Duration::from_millis(500));
            tokio::time::advance(Duration::from_secs(3)).await;
            assert_eq!(clock.now(), server + Duration::from_millis(3500));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_that_never_comes_does_not_overflow() {
        let clock = Clock::default();
        assert!(Instant::now() < clock.when(Time::NEVER));
        assert_eq!(clock.when(Time(0)), Instant::now());
    }
}
