//! Notifies the receivers in the settings when a departure starts, stalls and ends. Notifications never hold up a departure.
//!
//! Each receiver has a bounded queue and one task, so that its notifications are in order and a receiver that hangs delays no
//! other. A notification is tried until it is accepted, for up to an hour, so it may arrive more than once. Its id is a hash of its
//! subject and is the same on every replica and with every try. Notifications are lost when their replica is killed or the queue is
//! full.

mod notification;
mod stalls;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ring::rand::SystemRandom;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

pub use self::notification::KINDS;
pub(super) use self::notification::{Ending, Notification};
pub(super) use self::stalls::{Wait, watch_for_stalls};
use super::Service;
use super::backoff::Backoff;
use super::departures::lock;
use super::verify::hmac_signatures::standard_signature;
use crate::webhook_client::{Client, Receiver, SendError};
use decamp_config::{NotifyKind, Serve};
use decamp_core::world::World;
use decamp_live::Live;

/// The most notifications that wait for one receiver. Further ones are counted and logged, but not sent.
const MOST_WAITING: usize = 1_000;
/// The delays between two tries.
const BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(500), longest: Duration::from_mins(1), longest_asked: Duration::from_mins(1) };
/// The age at which a notification is dropped. A departure that ended an hour ago is only for the log.
const OLDEST: Duration = Duration::from_hours(1);
/// The most tries after a permanent refusal. A person may be changing the secret.
const TRIES_IF_REFUSED: u32 = 3;
/// The most departures whose sent notifications are remembered.
const MOST_REMEMBERED: usize = 20_000;

/// The results of a notification.
const ACCEPTED: &str = "accepted";
const GIVEN_UP: &str = "given-up";
const DROPPED: &str = "dropped";
/// All results.
pub(super) const RESULTS: [&str; 3] = [ACCEPTED, GIVEN_UP, DROPPED];

/// The queues of all receivers.
#[derive(Debug)]
pub(super) struct Notifier {
    /// One for each receiver; empty after `finish`.
    queues: Mutex<Vec<ReceiverQueue>>,
    /// The notifications that this replica has sent, by the mark of the departure.
    sent: Mutex<HashMap<Arc<str>, BTreeSet<Arc<str>>>>,
    /// True once delays between tries should end.
    finishing: watch::Sender<bool>,
}

#[derive(Debug)]
struct ReceiverQueue {
    name: Arc<str>,
    notes: mpsc::Sender<Queued>,
}

impl ReceiverQueue {
    /// Queues a notification if there is room. Never waits.
    fn offer(&self, note: &Arc<Notification>) -> bool {
        self.notes.try_send(Queued { note: Arc::clone(note), since: Instant::now() }).is_ok()
    }
}

/// A notification that waits for one receiver.
#[derive(Debug)]
struct Queued {
    note: Arc<Notification>,
    since: Instant,
}

/// The receiving end of a queue.
pub(super) struct Delivery {
    name: Arc<str>,
    receiver: Receiver,
    notes: mpsc::Receiver<Queued>,
}

impl Notifier {
    /// An empty queue for each receiver in the settings.
    pub(super) fn new(settings: &Serve, live: &Live) -> (Self, Vec<Delivery>) {
        let (client, store) = (Client::default(), live.store());
        let (queues, deliveries) = settings
            .notify
            .iter()
            .map(|(name, notify)| {
                let (sender, notes) = mpsc::channel(MOST_WAITING);
                let receiver = Receiver::new(notify, &client, &store);
                (ReceiverQueue { name: Arc::clone(name), notes: sender }, Delivery { name: Arc::clone(name), receiver, notes })
            })
            .unzip();
        let notifier = Self { queues: Mutex::new(queues), sent: Mutex::default(), finishing: watch::Sender::new(false) };
        (notifier, deliveries)
    }

    /// Whether there are receivers.
    pub(super) fn has_receivers(&self) -> bool {
        !lock(&self.queues).is_empty()
    }

    /// Queues a notification for all receivers, once. Never waits.
    pub(super) fn send(&self, service: &Service, note: Notification) {
        if !self.is_new(&note) {
            return;
        }
        let note = Arc::new(note);
        for queue in lock(&self.queues).iter() {
            if !queue.offer(&note) {
                service.metrics.notified(&queue.name, note.kind(), DROPPED);
                warn!(notify = &*queue.name, notification.id = &*note.id, "not sent: {MOST_WAITING} notifications wait already");
            }
        }
    }

    /// Forgets a departure that has ended here, so that another one of the same instance is notified again.
    pub(super) fn forget(&self, mark: &str) {
        lock(&self.sent).remove(mark);
    }

    fn is_new(&self, note: &Notification) -> bool {
        let mut sent = lock(&self.sent);
        if MOST_REMEMBERED <= sent.len() && !sent.contains_key(&note.mark) {
            // Notifications that are sent twice because of this have the same id.
            sent.clear();
        }
        sent.entry(Arc::clone(&note.mark)).or_default().insert(Arc::clone(&note.id))
    }

    /// Closes the queues, and has the waiting notifications sent at once.
    pub(super) fn finish(&self) {
        lock(&self.queues).clear();
        self.finishing.send_replace(true);
    }
}

/// Starts the task of each receiver. It ends when the queue is closed and empty.
pub(super) fn deliver_all(service: &Arc<Service>, deliveries: Vec<Delivery>) -> Vec<JoinHandle<()>> {
    deliveries.into_iter().map(|delivery| spawn_local(deliver(Arc::clone(service), delivery))).collect()
}

async fn deliver(service: Arc<Service>, Delivery { name, receiver, mut notes }: Delivery) {
    let random = SystemRandom::new();
    while let Some(queued) = notes.recv().await {
        let (id, kind) = (&*queued.note.id, queued.note.kind());
        let result = match deliver_one(&service, &name, &receiver, &queued, &random).await {
            Ok(()) => {
                info!(notify = &*name, notification.id = id, notification.kind = kind, "notified");
                ACCEPTED
            }
            Err(why) => {
                warn!(notify = &*name, notification.id = id, notification.kind = kind, why = %why, "given up: {why}");
                GIVEN_UP
            }
        };
        service.metrics.notified(&name, kind, result);
    }
}

/// Tries until the notification is accepted, too old or refused permanently.
async fn deliver_one(
    service: &Service,
    name: &str,
    receiver: &Receiver,
    queued: &Queued,
    random: &SystemRandom,
) -> Result<(), SendError> {
    let mut finishing = service.notify.finishing.subscribe();
    let mut tries = 0;
    loop {
        let Err(why) = send(service, receiver, &queued.note).await else { return Ok(()) };
        tries += 1;
        service.metrics.notification_failed(name);
        let try_again = if why.is_retryable() { queued.since.elapsed() < OLDEST } else { tries < TRIES_IF_REFUSED };
        if !try_again || *finishing.borrow() {
            return Err(why);
        }
        if tries == 1 {
            warn!(notify = name, notification.id = &*queued.note.id, why = %why, "not accepted yet: {why}");
        }
        tokio::select! {
            () = sleep(BACKOFF.delay(tries, &why, random)) => {}
            // One last try, at once.
            _ = finishing.wait_for(|finishing| *finishing) => {}
        }
    }
}

async fn send(service: &Service, receiver: &Receiver, note: &Notification) -> Result<(), SendError> {
    let mut headers = vec![("webhook-id", note.id.to_string())];
    let body: Arc<[u8]> = match receiver.kind {
        NotifyKind::Slack => note.for_slack().into_bytes().into(),
        NotifyKind::Webhook => {
            let body = note.for_webhook().into_bytes();
            // The time is that of this try, because receivers reject old signatures.
            let seconds = service.live.now().0 / 1_000;
            let signature = standard_signature(&note.id, seconds, &body, &receiver.secrets().await?).ok_or_else(|| {
                SendError::Unusable("its secret is none that can sign: whsec_ and the base64 of 24 to 64 bytes".into())
            })?;
            headers.extend([("webhook-timestamp", seconds.to_string()), ("webhook-signature", signature)]);
            body.into()
        }
    };
    receiver.send(&headers, body).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::View;
    use decamp_core::decide::{Cause, Departure, LifecycleAction};
    use decamp_core::ids::InstanceId;
    use decamp_core::time::Time;

    #[test]
    fn a_full_queue_accepts_nothing_more_and_does_not_block() {
        let cause = Cause::Lifecycle(LifecycleAction::default());
        let departure = Departure { instance: InstanceId::from_number(1), asg: "web".into(), cause };
        let view = View::begin(&departure, "event", Time(0));
        let note = Arc::new(Notification::started(&departure, &view, "drain", Time(0)));
        let (notes, _task_that_hangs) = mpsc::channel(MOST_WAITING);
        let queue = ReceiverQueue { name: "team".into(), notes };
        assert_eq!((0..2 * MOST_WAITING).filter(|_| queue.offer(&note)).count(), MOST_WAITING);
    }

    #[test]
    fn the_memory_of_sent_notifications_is_bounded() {
        let notifier = Notifier { queues: Mutex::default(), sent: Mutex::default(), finishing: watch::Sender::new(false) };
        for number in 0..u64::try_from(MOST_REMEMBERED).expect("it is small") + 10 {
            let cause = Cause::Lifecycle(LifecycleAction::default());
            let departure = Departure { instance: InstanceId::from_number(number), asg: "web".into(), cause };
            let view = View::begin(&departure, "event", Time(0));
            let note = Notification::started(&departure, &view, "drain", Time(0));
            assert!(notifier.is_new(&note) && !notifier.is_new(&note), "{number}");
            assert!(lock(&notifier.sent).len() <= MOST_REMEMBERED);
        }
    }
}
