//! Questions that many departures ask at the same time are asked of AWS once.

mod crowd;
mod limiter;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::time::Instant;

pub use self::crowd::Crowd;
use self::crowd::LONGEST_SPACING;
pub(super) use self::limiter::Limiter;
use decamp_core::decide::{Refusal, Unseen};

/// The longest that a call may wait for a place before it counts as throttled.
pub(super) const PATIENCE: Duration = Duration::from_secs(6);

/// An error that says "too many requests", by our own measure or AWS's.
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

/// How a gathered call is made.
type MakeCall<K, I, T, E> = Box<dyn Fn(K, Vec<I>) -> Answer<T, E> + Send + Sync>;

/// Gathers what is asked about the same thing into one call.
///
/// A caller joins a call only while that has not been sent: its answer is then newer than the question, and than everything that
/// the caller did before. A call for what does not change ([`Gather::of_what_lasts`]) may be joined until it is answered.
///
/// No task is spawned. The callers that wait for the answer drive the call. When none of them waits any more, the call is given up, with
/// all that was gathered for it.
pub(super) struct Gather<K, I, T: Clone, E: Clone> {
    shared: Arc<Inner<K, I, T, E>>,
    /// Whether an answer to an earlier question is as good.
    lasts: bool,
}

struct Inner<K, I, T: Clone, E: Clone> {
    send: MakeCall<K, I, T, E>,
    /// The most that one call may carry.
    most: usize,
    limiter: Arc<Limiter>,
    crowd: Arc<Crowd>,
    lines: Mutex<HashMap<K, Line<I, T, E>>>,
}

/// What is asked about one thing.
struct Line<I, T: Clone, E: Clone> {
    /// When a call about it was last sent.
    sent: Option<Instant>,
    open: Option<Open<I, T, E>>,
}

impl<I, T: Clone, E: Clone> Line<I, T, E> {
    /// Whether somebody may still join its call, or has to wait because of the last one.
    fn matters(&self) -> bool {
        let is_open = self.open.as_ref().is_some_and(|open| open.answer.upgrade().is_some());
        is_open || self.sent.is_some_and(|sent| sent.elapsed() < LONGEST_SPACING)
    }
}

/// A call that is not sent yet.
struct Open<I, T: Clone, E: Clone> {
    items: Items<I>,
    answer: WeakShared<Answer<T, E>>,
}

/// What a call is to carry; `None` once it is sent.
type Items<I> = Arc<Mutex<Option<Vec<I>>>>;

impl<K, I, T, E> Gather<K, I, T, E>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    I: PartialEq + Send + 'static,
    T: Clone + Send + Sync + 'static,
    E: Clone + Throttled + Send + Sync + 'static,
{
    /// `send` makes one call about one thing, for at most `most` items.
    pub(super) fn new<F>(
        most: usize,
        limiter: &Arc<Limiter>,
        crowd: &Arc<Crowd>,
        send: impl Fn(K, Vec<I>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let send: MakeCall<K, I, T, E> = Box::new(move |key, items| send(key, items).boxed());
        let (limiter, crowd) = (Arc::clone(limiter), Arc::clone(crowd));
        Self { shared: Arc::new(Inner { send, most, limiter, crowd, lines: Mutex::default() }), lasts: false }
    }

    /// For what does not change between a question and its answer: who asks while a call is under way waits for that one.
    pub(super) fn of_what_lasts(self) -> Self {
        Self { lasts: true, ..self }
    }

    /// Asks about `key`, and answers what a call shows that is sent from now on.
    pub(super) async fn ask(&self, key: K, item: I) -> Result<T, E> {
        self.join(key, item).await
    }

    /// How many things are remembered.
    #[cfg(test)]
    pub(super) fn lines(&self) -> usize {
        lock(&self.shared.lines).len()
    }

    fn join(&self, key: K, item: I) -> Shared<Answer<T, E>> {
        let mut lines = lock(&self.shared.lines);
        if !lines.contains_key(&key) {
            // Names that were asked about once, by a group that is deleted or an event that was wrong, would stay for ever.
            lines.retain(|_, line| line.matters());
        }
        let line = lines.entry(key.clone()).or_insert_with(|| Line { sent: None, open: None });
        if let Some(open) = &line.open
            && let Some(answer) = open.answer.upgrade()
        {
            if self.lasts {
                return answer;
            }
            if let Some(items) = lock(&open.items).as_mut() {
                if items.contains(&item) {
                    return answer;
                }
                if items.len() < self.shared.most {
                    items.push(item);
                    return answer;
                }
            }
        }
        let items: Items<I> = Arc::new(Mutex::new(Some(vec![item])));
        let answer = call(Arc::clone(&self.shared), key, Arc::clone(&items)).boxed().shared();
        line.open = answer.downgrade().map(|answer| Open { items, answer });
        answer
    }
}

/// Waits until the call is due and lets it through; only then is it closed, so that all who came meanwhile share it.
async fn call<K, I, T, E>(inner: Arc<Inner<K, I, T, E>>, key: K, items: Items<I>) -> Result<T, E>
where
    K: Clone + Eq + Hash,
    T: Clone,
    E: Clone + Throttled,
{
    let asked = Instant::now();
    // Whoever asks in the same turn of the loop is heard of first: only then it shows whether anybody is alone.
    tokio::task::yield_now().await;
    let sent = lock(&inner.lines).get(&key).and_then(|line| line.sent);
    let due = (asked + inner.crowd.window()).max(sent.map_or(asked, |sent| sent + inner.crowd.spacing()));
    if Instant::now() < due {
        tokio::time::sleep_until(due).await;
    }
    let entered = inner.limiter.enter(PATIENCE).await;
    let carried = lock(&items).take().unwrap_or_default();
    if !entered {
        return Err(E::THROTTLED);
    }
    if let Some(line) = lock(&inner.lines).get_mut(&key) {
        line.sent = Some(Instant::now());
    }
    (inner.send)(key, carried).await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
