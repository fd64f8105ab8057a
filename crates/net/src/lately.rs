//! What was so a moment ago, by key: forgotten after a while, so that a process that lives for months does not fill up with what is over.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Values that are kept for a while after they were last put.
#[derive(Debug)]
pub struct Lately<K, V> {
    kept: Duration,
    all: Mutex<HashMap<K, (Instant, V)>>,
}

impl<K: Eq + Hash, V> Lately<K, V> {
    /// Nothing yet; each value will be kept for so long.
    pub fn for_a(kept: Duration) -> Self {
        Self { kept, all: Mutex::default() }
    }

    /// Keeps a value from now on. A new key makes room: all that is too old goes.
    pub fn put(&self, key: K, value: V) {
        let now = Instant::now();
        let mut all = self.lock();
        if all.insert(key, (now, value)).is_none() {
            all.retain(|_, (put, _)| now.duration_since(*put) < self.kept);
        }
    }

    /// A value, as long as it is kept.
    pub fn get(&self, key: &K) -> Option<V>
    where
        V: Clone,
    {
        self.lock().get(key).filter(|(put, _)| put.elapsed() < self.kept).map(|(_, value)| value.clone())
    }

    /// The same, and it is kept no longer.
    pub fn take(&self, key: &K) -> Option<V> {
        self.lock().remove(key).filter(|(put, _)| put.elapsed() < self.kept).map(|(_, value)| value)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, (Instant, V)>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are held, also those that are too old and not gone yet.
    pub fn held(&self) -> usize {
        self.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A_MINUTE: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_value_is_there_for_a_while_after_it_was_last_put() {
        let lately = Lately::for_a(A_MINUTE);
        lately.put("one", 1);
        tokio::time::advance(A_MINUTE / 2).await;
        lately.put("one", 2);
        tokio::time::advance(A_MINUTE / 2).await;
        assert_eq!((lately.get(&"one"), lately.get(&"two")), (Some(2), None));
        assert_eq!((lately.take(&"one"), lately.take(&"one")), (Some(2), None));
        lately.put("one", 3);
        tokio::time::advance(A_MINUTE).await;
        assert_eq!((lately.get(&"one"), lately.take(&"one")), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_thousand_that_came_and_went_leave_only_the_last_behind() {
        let lately = Lately::for_a(A_MINUTE);
        for key in 0..100_000_u32 {
            lately.put(key, ());
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert_eq!(lately.held(), 600);
    }
}
