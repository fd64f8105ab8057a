//! The queue between Auto Scaling's events and decamp. Events arrive late, out of order, twice or never. Received messages have a
//! visibility time-out.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::plan::{ACCOUNT, REGION};
use decamp_sim::rng::Rng;

/// How long a received message stays hidden, unless its receiver changes that.
pub(super) const VISIBILITY: Duration = Duration::from_secs(20);
/// The longest delay of an event.
const LATE: Duration = Duration::from_millis(1_500);
/// The longest time from the first delivery of an event to its second one.
const AGAIN: Duration = Duration::from_secs(6);

/// How unreliable the delivery of events is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivery {
    /// One event in this many arrives twice.
    pub(super) twice: u64,
    /// One event in this many never arrives.
    pub(super) lost: u64,
}

impl Delivery {
    /// Without chaos.
    pub(super) const USUAL: Self = Self { twice: 3, lost: 32 };
    /// Under chaos.
    pub(super) const CHAOS: Self = Self { twice: 2, lost: 4 };
}

/// A received message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    number: u64,
    /// It changes with every receive, so that an old receipt is no longer valid.
    receives: u32,
    body: String,
}

impl Received {
    /// The event.
    pub(super) fn body(&self) -> &str {
        &self.body
    }

    /// The receipt handle in the batch.
    pub(super) fn receipt(&self) -> String {
        format!("receipt-{}-{}", self.number, self.receives)
    }

    /// The payload with which SQS would invoke a Lambda function.
    pub(super) fn batch(&self) -> Value {
        json!({ "Records": [{
            "messageId": format!("00000000-0000-4000-8000-{:012}", self.number),
            "receiptHandle": self.receipt(),
            "body": self.body,
            "attributes": { "ApproximateReceiveCount": self.receives.to_string() },
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": format!("arn:aws:sqs:{REGION}:{ACCOUNT}:decamp"),
            "awsRegion": REGION,
        }] })
    }
}

struct Message {
    number: u64,
    body: String,
    visible: Instant,
    receives: u32,
}

struct Inner {
    messages: Vec<Message>,
    sent: u64,
    rng: Rng,
}

/// The queue of events.
pub(super) struct EventQueue {
    inner: Mutex<Inner>,
    changed: Notify,
    delivery: Delivery,
}

impl EventQueue {
    pub(super) fn new(seed: u64, delivery: Delivery) -> Self {
        let inner = Inner { messages: Vec::new(), sent: 0, rng: Rng::new(seed ^ 0x5109) };
        Self { inner: Mutex::new(inner), changed: Notify::new(), delivery }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends an event.
    pub(super) fn send(&self, event: &Value) {
        let mut inner = self.lock();
        if inner.rng.one_in(self.delivery.lost) {
            return;
        }
        let copies = if inner.rng.one_in(self.delivery.twice) { 2 } else { 1 };
        let mut visible = Instant::now() + inner.rng.span(Duration::ZERO, LATE);
        for _ in 0..copies {
            inner.sent += 1;
            let number = inner.sent;
            inner.messages.push(Message { number, body: event.to_string(), visible, receives: 0 });
            visible += inner.rng.span(Duration::ZERO, AGAIN);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Waits for the next visible message and hides it.
    pub(super) async fn receive(&self) -> Received {
        loop {
            let next = {
                let mut inner = self.lock();
                let now = Instant::now();
                match inner.messages.iter_mut().min_by_key(|message| message.visible) {
                    Some(message) if message.visible <= now => {
                        message.receives += 1;
                        message.visible = now + VISIBILITY;
                        let Message { number, receives, .. } = *message;
                        return Received { number, receives, body: message.body.clone() };
                    }
                    Some(message) => Some(message.visible),
                    None => None,
                }
            };
            let visible = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = visible => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Deletes a message that was handled.
    pub(super) fn delete(&self, received: &Received) {
        self.lock().messages.retain(|message| message.number != received.number || message.receives != received.receives);
    }

    /// Hides a message for this long from now.
    pub(super) fn hide(&self, received: &Received, span: Duration) {
        let mut inner = self.lock();
        let message = inner.messages.iter_mut().find(|m| m.number == received.number && m.receives == received.receives);
        if let Some(message) = message {
            message.visible = Instant::now() + span;
        }
        drop(inner);
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTAIN: Delivery = Delivery { twice: u64::MAX, lost: u64::MAX };

    #[tokio::test(start_paused = true)]
    async fn a_received_message_is_hidden_and_comes_back_with_another_receipt_until_it_is_deleted() {
        let queue = EventQueue::new(1, CERTAIN);
        queue.send(&json!({}));
        let first = queue.receive().await;
        let began = Instant::now();
        let second = queue.receive().await;
        assert_eq!(began.elapsed().as_secs(), VISIBILITY.as_secs());
        assert_ne!(first.receipt(), second.receipt());
        queue.delete(&first);
        queue.hide(&second, Duration::from_secs(3));
        let third = queue.receive().await;
        assert_eq!(began.elapsed().as_secs(), VISIBILITY.as_secs() + 3);
        queue.delete(&third);
        assert!(tokio::time::timeout(Duration::from_secs(999), queue.receive()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_events_some_come_twice_and_some_never() {
        let queue = EventQueue::new(7, Delivery::CHAOS);
        (0..400).for_each(|number| queue.send(&json!({ "number": number })));
        let mut bodies = Vec::new();
        while let Ok(received) = tokio::time::timeout(LATE + AGAIN, queue.receive()).await {
            queue.delete(&received);
            bodies.push(received.body);
        }
        let all = bodies.len();
        let ordered = bodies.is_sorted();
        bodies.sort_unstable();
        bodies.dedup();
        assert!(bodies.len() < 400, "none was lost");
        assert!(bodies.len() < all, "none came twice");
        assert!(!ordered, "all came in order");
    }
}
