//! The departures in flight in this process. The more there are, the longer their requests wait for each other.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use decamp_core::ids::InstanceId;

/// How long the first of several requests waits for the others. It is short compared with a second above the floor, and long compared
/// with one turn of the executor.
const WINDOW: Duration = Duration::from_millis(25);
/// The time that each departure adds to the spacing of two calls about the same key.
const SPACING_PER_DEPARTURE: Duration = Duration::from_millis(20);
/// The longest spacing of two calls, which is also the longest delay that other departures cause.
pub(super) const LONGEST_SPACING: Duration = Duration::from_secs(2);
/// A departure that made no request for this long has ended, or another worker has it.
const EXPIRES_AFTER: Duration = Duration::from_mins(10);

/// The departures in flight, with the time of their last request.
#[derive(Debug, Default)]
pub struct InFlight {
    last_request: Mutex<HashMap<InstanceId, Instant>>,
}

impl InFlight {
    /// Notes a request of this departure.
    pub fn note(&self, instance: InstanceId) {
        let now = Instant::now();
        let mut last_request = self.last_request.lock().unwrap_or_else(PoisonError::into_inner);
        if last_request.insert(instance, now).is_none() {
            last_request.retain(|_, at| now.duration_since(*at) < EXPIRES_AFTER);
        }
    }

    /// Removes a departure that has ended.
    pub fn remove(&self, instance: InstanceId) {
        self.last_request.lock().unwrap_or_else(PoisonError::into_inner).remove(&instance);
    }

    /// How long a request waits for others to join it. Zero for a single departure.
    pub fn window(&self) -> Duration {
        if self.others() == 0 { Duration::ZERO } else { WINDOW }
    }

    /// The least time between two calls about the same key. Zero for a single departure.
    pub fn spacing(&self) -> Duration {
        SPACING_PER_DEPARTURE.saturating_mul(self.others()).min(LONGEST_SPACING)
    }

    fn others(&self) -> u32 {
        let all = self.last_request.lock().unwrap_or_else(PoisonError::into_inner).len();
        u32::try_from(all.saturating_sub(1)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_departure_does_not_wait_and_a_thousand_wait_at_most_two_seconds() {
        let in_flight = InFlight::default();
        assert_eq!(in_flight.spacing(), Duration::ZERO);
        in_flight.note(InstanceId::from_number(0));
        in_flight.note(InstanceId::from_number(0));
        assert_eq!((in_flight.window(), in_flight.spacing()), (Duration::ZERO, Duration::ZERO));
        for n in 1..1000 {
            in_flight.note(InstanceId::from_number(n));
        }
        assert_eq!((in_flight.window(), in_flight.spacing()), (WINDOW, LONGEST_SPACING));
        for n in 1..1000 {
            in_flight.remove(InstanceId::from_number(n));
        }
        assert_eq!(in_flight.spacing(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_departure_that_makes_no_more_requests_expires() {
        let in_flight = InFlight::default();
        for n in 0..100 {
            in_flight.note(InstanceId::from_number(n));
        }
        tokio::time::advance(EXPIRES_AFTER).await;
        in_flight.note(InstanceId::from_number(100));
        assert_eq!(in_flight.spacing(), Duration::ZERO);
    }
}
