//! The process's rate limit for an API. It is lower than the account's, because others in the account call the same API.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use decamp_core::decide::Unseen;

/// The longest time that a call may wait for a token before it counts as throttled.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(6);

/// A token bucket: it allows bursts up to a bound, and then a steady rate. Tokens are reserved in the order of the requests, and no lock is
/// held during a wait, so a caller that is never polled again blocks no other.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    burst: f64,
    per_second: f64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// The tokens that are left. A negative number is reserved in advance.
    left: f64,
    as_of: Instant,
}

/// A reserved token, returned if it is dropped before its time comes.
struct Reservation<'a> {
    limiter: &'a RateLimiter,
    used: bool,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.used {
            self.limiter.with_bucket(|bucket| bucket.left += 1.0);
        }
    }
}

impl RateLimiter {
    pub(crate) fn new(burst: u32, per_second: u32) -> Self {
        let burst = f64::from(burst);
        Self { burst, per_second: f64::from(per_second), bucket: Mutex::new(Bucket { left: burst, as_of: Instant::now() }) }
    }

    /// Waits for a token for a look.
    ///
    /// # Errors
    ///
    /// The wait would be longer than [`LONGEST_WAIT`].
    pub(crate) async fn acquire_look(&self) -> Result<(), Unseen> {
        if self.acquire(LONGEST_WAIT).await { Ok(()) } else { Err(Unseen::Throttled) }
    }

    /// Waits for a token. Returns `false` at once if the wait would be longer than `longest_wait`.
    pub(crate) async fn acquire(&self, longest_wait: Duration) -> bool {
        let wait = self.with_bucket(|bucket| {
            let missing = (1.0 - bucket.left).max(0.0);
            let wait = Duration::from_secs_f64(missing / self.per_second);
            (wait <= longest_wait).then(|| {
                bucket.left -= 1.0;
                wait
            })
        });
        let Some(wait) = wait else { return false };
        let mut reservation = Reservation { limiter: self, used: wait.is_zero() };
        if !reservation.used {
            tokio::time::sleep(wait).await;
            reservation.used = true;
        }
        true
    }

    /// AWS has throttled a call: the account's bucket is empty, so the saved tokens are worthless.
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

    const LONG: Duration = Duration::from_hours(1);

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_at_once_and_the_rest_at_the_steady_rate() {
        let limiter = RateLimiter::new(20, 5);
        let start = Instant::now();
        join_all((0..20).map(|_| limiter.acquire(LONG))).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        join_all((0..50).map(|_| limiter.acquire(LONG))).await;
        let took = start.elapsed();
        assert!(took >= Duration::from_secs(10) && took < Duration::from_millis(10_100), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_would_wait_too_long_fails_at_once_and_takes_no_token() {
        let limiter = RateLimiter::new(1, 1);
        let start = Instant::now();
        assert!(limiter.acquire(Duration::ZERO).await);
        for _ in 0..1000 {
            assert!(!limiter.acquire(Duration::from_millis(900)).await);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(limiter.acquire(Duration::from_secs(2)).await);
        assert!(start.elapsed() <= Duration::from_millis(1100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reservation_that_is_dropped_is_free_again() {
        let limiter = Arc::new(RateLimiter::new(1, 1));
        assert!(limiter.acquire(LONG).await);
        for _ in 0..100 {
            let dropped = tokio::time::timeout(Duration::from_millis(1), limiter.acquire(LONG)).await;
            assert!(dropped.is_err());
        }
        let start = Instant::now();
        assert!(limiter.acquire(LONG).await);
        assert!(start.elapsed() <= Duration::from_millis(1100), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_throttled_call_no_token_is_left() {
        let limiter = RateLimiter::new(40, 10);
        limiter.throttled();
        let start = Instant::now();
        join_all((0..10).map(|_| limiter.acquire(LONG))).await;
        assert!(start.elapsed() >= Duration::from_millis(990), "{:?}", start.elapsed());
    }
}
