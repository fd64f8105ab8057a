//! Coalesces the requests of many departures: those that ask for the same at the same time share one call of AWS.

mod in_flight;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::time::Instant;

pub use self::in_flight::InFlight;
use self::in_flight::LONGEST_SPACING;
use super::rate_limiter::{LONGEST_WAIT, RateLimiter};
use decamp_core::decide::{Refusal, Unseen};

/// An error type with a value for "too many requests", by the process's own limit or AWS's.
pub(super) trait Throttled {
    const THROTTLED: Self;
}

impl Throttled for Unseen {
    const THROTTLED: Self = Self::Throttled;
}

impl Throttled for Refusal {
    const THROTTLED: Self = Self::Throttled;
}

type Answer<T, E> = BoxFuture<'static, Result<T, E>>;

/// Makes one call for the coalesced requests.
type MakeCall<K, I, T, E> = Box<dyn Fn(K, Vec<I>) -> Answer<T, E> + Send + Sync>;

/// Combines requests about the same key into one call.
///
/// A caller joins a call only before it is sent, so that the answer is newer than the request and than everything that the caller did
/// before. A call for facts that do not change ([`Coalescer::for_stable_facts`]) may be joined until it is answered.
///
/// No task is spawned: the callers that wait for the answer drive the call. When all of them have stopped waiting, the call is dropped
/// with the requests in it.
pub(super) struct Coalescer<K, I, T: Clone, E: Clone> {
    inner: Arc<Inner<K, I, T, E>>,
    /// Whether the answer to an earlier request is as good.
    stable: bool,
}

struct Inner<K, I, T: Clone, E: Clone> {
    send: MakeCall<K, I, T, E>,
    /// The most items in one call.
    most: usize,
    limiter: Arc<RateLimiter>,
    in_flight: Arc<InFlight>,
    keys: Mutex<HashMap<K, KeyState<I, T, E>>>,
}

/// The calls about one key.
struct KeyState<I, T: Clone, E: Clone> {
    /// When a call about it was last sent.
    sent: Option<Instant>,
    current: Option<PendingCall<I, T, E>>,
}

impl<I, T: Clone, E: Clone> KeyState<I, T, E> {
    /// Whether a caller may still join the call, or has to wait because of the last one.
    fn is_needed(&self) -> bool {
        let can_be_joined = self.current.as_ref().is_some_and(|call| call.answer.upgrade().is_some());
        can_be_joined || self.sent.is_some_and(|sent| sent.elapsed() < LONGEST_SPACING)
    }
}

/// A call that has not been answered.
struct PendingCall<I, T: Clone, E: Clone> {
    items: Items<I>,
    answer: WeakShared<Answer<T, E>>,
}

/// The items of a call; `None` once it is sent.
type Items<I> = Arc<Mutex<Option<Vec<I>>>>;

impl<K, I, T, E> Coalescer<K, I, T, E>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    I: PartialEq + Send + 'static,
    T: Clone + Send + Sync + 'static,
    E: Clone + Throttled + Send + Sync + 'static,
{
    /// `send` makes one call about one key, for at most `most` items.
    pub(super) fn new<F>(
        most: usize,
        limiter: &Arc<RateLimiter>,
        in_flight: &Arc<InFlight>,
        send: impl Fn(K, Vec<I>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let send: MakeCall<K, I, T, E> = Box::new(move |key, items| send(key, items).boxed());
        let (limiter, in_flight) = (Arc::clone(limiter), Arc::clone(in_flight));
        Self { inner: Arc::new(Inner { send, most, limiter, in_flight, keys: Mutex::default() }), stable: false }
    }

    /// For facts that do not change between a request and its answer: a request during a call waits for that call.
    pub(super) fn for_stable_facts(self) -> Self {
        Self { stable: true, ..self }
    }

    /// Requests the facts about `key`. Returns the answer to a call that is sent from now on.
    pub(super) async fn ask(&self, key: K, item: I) -> Result<T, E> {
        self.join(key, item).await
    }

    /// How many keys are remembered.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        lock(&self.inner.keys).len()
    }

    fn join(&self, key: K, item: I) -> Shared<Answer<T, E>> {
        let mut keys = lock(&self.inner.keys);
        if !keys.contains_key(&key) {
            // A key that is requested only once, such as a deleted group or a wrong name in an event, would stay forever.
            keys.retain(|_, state| state.is_needed());
        }
        let state = keys.entry(key.clone()).or_insert_with(|| KeyState { sent: None, current: None });
        if let Some(current) = &state.current
            && let Some(answer) = current.answer.upgrade()
        {
            if self.stable {
                return answer;
            }
            if let Some(items) = lock(&current.items).as_mut() {
                if items.contains(&item) {
                    return answer;
                }
                if items.len() < self.inner.most {
                    items.push(item);
                    return answer;
                }
            }
        }
        let items: Items<I> = Arc::new(Mutex::new(Some(vec![item])));
        let answer = call(Arc::clone(&self.inner), key, Arc::clone(&items)).boxed().shared();
        state.current = answer.downgrade().map(|answer| PendingCall { items, answer });
        answer
    }
}

/// Waits until the call is due, then sends it. Until it is sent, further callers can join it.
async fn call<K, I, T, E>(inner: Arc<Inner<K, I, T, E>>, key: K, items: Items<I>) -> Result<T, E>
where
    K: Clone + Eq + Hash,
    T: Clone,
    E: Clone + Throttled,
{
    let requested = Instant::now();
    // Other departures may ask in the same turn of the executor. Only after it, the number of departures in flight is known.
    tokio::task::yield_now().await;
    let sent = lock(&inner.keys).get(&key).and_then(|state| state.sent);
    let due = (requested + inner.in_flight.window()).max(sent.map_or(requested, |sent| sent + inner.in_flight.spacing()));
    if Instant::now() < due {
        tokio::time::sleep_until(due).await;
    }
    let acquired = inner.limiter.acquire(LONGEST_WAIT).await;
    let items = lock(&items).take().unwrap_or_default();
    if !acquired {
        return Err(E::THROTTLED);
    }
    if let Some(state) = lock(&inner.keys).get_mut(&key) {
        state.sent = Some(Instant::now());
    }
    (inner.send)(key, items).await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
