//! A bucket of our own, smaller than the account's: others in the account call the same APIs.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::PATIENCE;
use decamp_core::decide::Unseen;

/// Lets calls through in bursts up to a bound, and then at a steady rate. It is reserved in order of asking, and nothing is
/// held while a caller waits: one that is never polled again holds up nobody.
#[derive(Debug)]
pub(crate) struct Limiter {
    burst: f64,
    per_second: f64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// What is left; below zero, what is reserved ahead of time.
    left: f64,
    as_of: Instant,
}

/// A reserved place, given back if it is dropped before its time comes.
struct Place<'a> {
    limiter: &'a Limiter,
    used: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.used {
            self.limiter.with_bucket(|bucket| bucket.left += 1.0);
        }
    }
}

impl Limiter {
    pub(crate) fn new(burst: u32, per_second: u32) -> Self {
        let burst = f64::from(burst);
        Self { burst, per_second: f64::from(per_second), bucket: Mutex::new(Bucket { left: burst, as_of: Instant::now() }) }
    }

    /// Waits for a place for a look, as long as looks wait.
    ///
    /// # Errors
    ///
    /// None is free in time.
    pub(crate) async fn look(&self) -> Result<(), Unseen> {
        if self.enter(PATIENCE).await { Ok(()) } else { Err(Unseen::Throttled) }
    }

    /// Waits for a place. `false`, at once: none is free within `patience`.
    pub(crate) async fn enter(&self, patience: Duration) -> bool {
        let wait = self.with_bucket(|bucket| {
            let short = (1.0 - bucket.left).max(0.0);
            let wait = Duration::from_secs_f64(short / self.per_second);
            (wait <= patience).then(|| {
                bucket.left -= 1.0;
                wait
            })
        });
        let Some(wait) = wait else { return false };
        let mut place = Place { limiter: self, used: wait.is_zero() };
        if !place.used {
            tokio::time::sleep(wait).await;
            place.used = true;
        }
        true
    }

    /// AWS said "too many": what was saved up is gone there as well.
    pub(crate) fn throttled(&self) {
        self.with_bucket(|bucket| bucket.left = bucket.left.min(0.0));
    }

    fn with_bucket<T>(&self, change: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        bucket.left = (bucket.left + now.duration_since(bucket.as_of).as_secs_f64() * self.per_second).min(self.burst);
        bucket.as_of = now;
        change(&mut bucket)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::future::join_all;

    use super::*;

    const PATIENT: Duration = Duration::from_hours(1);

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_at_once_and_the_rest_at_the_steady_rate() {
        let limiter = Limiter::new(20, 5);
        let start = Instant::now();
        join_all((0..20).map(|_| limiter.enter(PATIENT))).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        join_all((0..50).map(|_| limiter.enter(PATIENT))).await;
        let took = start.elapsed();
        assert!(took >= Duration::from_secs(10) && took < Duration::from_millis(10_100), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_would_wait_too_long_is_told_at_once_and_takes_no_place() {
        let limiter = Limiter::new(1, 1);
        let start = Instant::now();
        assert!(limiter.enter(Duration::ZERO).await);
        for _ in 0..1000 {
            assert!(!limiter.enter(Duration::from_millis(900)).await);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(limiter.enter(Duration::from_secs(2)).await);
        assert!(start.elapsed() <= Duration::from_millis(1100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_given_up_is_free_again() {
        let limiter = Arc::new(Limiter::new(1, 1));
        assert!(limiter.enter(PATIENT).await);
        for _ in 0..100 {
            let given_up = tokio::time::timeout(Duration::from_millis(1), limiter.enter(PATIENT)).await;
            assert!(given_up.is_err());
        }
        let start = Instant::now();
        assert!(limiter.enter(PATIENT).await);
        assert!(start.elapsed() <= Duration::from_millis(1100), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_throttle_nothing_is_saved_up() {
        let limiter = Limiter::new(40, 10);
        limiter.throttled();
        let start = Instant::now();
        join_all((0..10).map(|_| limiter.enter(PATIENT))).await;
        assert!(start.elapsed() >= Duration::from_millis(990), "{:?}", start.elapsed());
    }
}
