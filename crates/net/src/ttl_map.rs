//! A map whose entries expire, so that a process that runs for months does not fill up with old entries.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A map that keeps each value for a fixed time after it was last put.
#[derive(Debug)]
pub struct TtlMap<K, V> {
    kept: Duration,
    all: Mutex<HashMap<K, (Instant, V)>>,
}

impl<K: Eq + Hash, V> TtlMap<K, V> {
    /// An empty map that keeps each value for this long.
    pub fn with_ttl(kept: Duration) -> Self {
        Self { kept, all: Mutex::default() }
    }

    /// Puts a value. A new key also removes all expired entries.
    pub fn put(&self, key: K, value: V) {
        let now = Instant::now();
        let mut all = self.lock();
        if all.insert(key, (now, value)).is_none() {
            all.retain(|_, (put, _)| now.duration_since(*put) < self.kept);
        }
    }

    /// The value of a key, unless it has expired.
    pub fn get(&self, key: &K) -> Option<V>
    where
        V: Clone,
    {
        self.lock().get(key).filter(|(put, _)| put.elapsed() < self.kept).map(|(_, value)| value.clone())
    }

    /// Removes the value of a key and returns it, unless it has expired.
    pub fn take(&self, key: &K) -> Option<V> {
        self.lock().remove(key).filter(|(put, _)| put.elapsed() < self.kept).map(|(_, value)| value)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, (Instant, V)>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of entries, including expired ones that are not removed yet.
    pub fn held(&self) -> usize {
        self.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A_MINUTE: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_value_expires_a_fixed_time_after_it_was_last_put() {
        let recent = TtlMap::with_ttl(A_MINUTE);
        recent.put("one", 1);
        tokio::time::advance(A_MINUTE / 2).await;
        recent.put("one", 2);
        tokio::time::advance(A_MINUTE / 2).await;
        assert_eq!((recent.get(&"one"), recent.get(&"two")), (Some(2), None));
        assert_eq!((recent.take(&"one"), recent.take(&"one")), (Some(2), None));
        recent.put("one", 3);
        tokio::time::advance(A_MINUTE).await;
        assert_eq!((recent.get(&"one"), recent.take(&"one")), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_hundred_thousand_keys_only_the_latest_are_held() {
        let recent = TtlMap::with_ttl(A_MINUTE);
        for key in 0..100_000_u32 {
            recent.put(key, ());
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert_eq!(recent.held(), 600);
    }
}
