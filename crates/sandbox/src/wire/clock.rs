//! The clock of the simulated world: real time or a multiple of it, from a start that the caller chooses.

use std::time::{Duration, Instant, SystemTime};

use decamp_core::time::Time;

/// The clock that all models of a world share.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Time,
    began: Instant,
    speed: u32,
}

impl Clock {
    /// A clock that shows the machine's time.
    #[must_use]
    pub fn real() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::starting(Time(0) + since, 1)
    }

    /// A clock that shows `start` now and runs at `speed` times real time.
    #[must_use]
    pub fn starting(start: Time, speed: u32) -> Self {
        Self { start, began: Instant::now(), speed }
    }

    /// The time that it shows.
    #[must_use]
    pub fn now(&self) -> Time {
        self.start + self.began.elapsed() * self.speed
    }

    /// The time that it shows, in the format of a `Date` header.
    #[must_use]
    pub fn http_date(&self) -> String {
        let milliseconds = i64::try_from(self.now().0).unwrap_or(i64::MAX);
        let stamp = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        stamp.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    /// How much real time passes until it shows `then`.
    #[must_use]
    pub fn until(&self, then: Time) -> Duration {
        then.since(self.now()) / self.speed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_header_has_the_format_that_clients_read() {
        let clock = Clock::starting(Time(1_767_225_600_000), 1);
        assert!(clock.http_date().starts_with("Thu, 01 Jan 2026 00:00:0"), "{}", clock.http_date());
    }
}
