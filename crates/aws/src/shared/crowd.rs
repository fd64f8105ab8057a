//! How many departures are under way in this process: the more there are, the longer their questions wait for one another.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use decamp_core::ids::InstanceId;

/// How long the first of several to ask waits for the others. Short against a second above the floor, long against one turn of
/// the loop.
const WINDOW: Duration = Duration::from_millis(25);
/// What each departure adds to the time between two calls about the same thing.
const EACH: Duration = Duration::from_millis(20);
/// The longest time between two calls: what a departure may lose to the others.
pub(super) const LONGEST_SPACING: Duration = Duration::from_secs(2);
/// A departure that was not heard of for this long is over, or somebody else's.
const FORGOTTEN: Duration = Duration::from_mins(10);

/// The departures that were heard of lately.
#[derive(Debug, Default)]
pub struct Crowd {
    heard: Mutex<HashMap<InstanceId, Instant>>,
}

impl Crowd {
    /// This departure is under way.
    pub fn hear(&self, instance: InstanceId) {
        let now = Instant::now();
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.insert(instance, now).is_none() {
            heard.retain(|_, at| now.duration_since(*at) < FORGOTTEN);
        }
    }

    /// This departure is over.
    pub fn leave(&self, instance: InstanceId) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).remove(&instance);
    }

    /// How long a question waits for others like it. One departure alone waits for nobody.
    pub fn window(&self) -> Duration {
        if self.others() == 0 { Duration::ZERO } else { WINDOW }
    }

    /// The time between two calls about the same thing. None for one departure alone.
    pub fn spacing(&self) -> Duration {
        EACH.saturating_mul(self.others()).min(LONGEST_SPACING)
    }

    fn others(&self) -> u32 {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner).len();
        u32::try_from(heard.saturating_sub(1)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_departure_waits_for_nobody_and_a_thousand_for_no_more_than_two_seconds() {
        let crowd = Crowd::default();
        assert_eq!(crowd.spacing(), Duration::ZERO);
        crowd.hear(InstanceId::from_number(0));
        crowd.hear(InstanceId::from_number(0));
        assert_eq!((crowd.window(), crowd.spacing()), (Duration::ZERO, Duration::ZERO));
        for n in 1..1000 {
            crowd.hear(InstanceId::from_number(n));
        }
        assert_eq!((crowd.window(), crowd.spacing()), (WINDOW, LONGEST_SPACING));
        for n in 1..1000 {
            crowd.leave(InstanceId::from_number(n));
        }
        assert_eq!(crowd.spacing(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_departure_that_stopped_without_a_word_is_forgotten() {
        let crowd = Crowd::default();
        for n in 0..100 {
            crowd.hear(InstanceId::from_number(n));
        }
        tokio::time::advance(FORGOTTEN).await;
        crowd.hear(InstanceId::from_number(100));
        assert_eq!(crowd.spacing(), Duration::ZERO);
    }
}
