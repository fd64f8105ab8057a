//! Notifications: told when a departure starts, stalls and ends, to whoever the settings name; never in a departure's way.
//!
//! Each receiver has a bounded queue and one worker, so that what it gets is in order, and one that hangs delays nobody else. A
//! notification is tried until it is accepted, for an hour, so that it may come more than once: its id is a hash of what it tells of, the
//! same on every replica and with every try. What waits when a replica is killed is lost, as is what comes when a queue is full.

mod note;
mod stalls;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ring::rand::SystemRandom;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

pub use self::note::KINDS;
pub(super) use self::note::{Ending, Note};
pub(super) use self::stalls::{Wait, watching};
use super::Service;
use super::departures::lock;
use super::pauses::Pauses;
use super::verify::hmacs::standard_signature;
use crate::receivers::{Post, Receiver, Unsent};
use decamp_config::{NotifyKind, Serve};
use decamp_core::world::World;
use decamp_live::Live;

/// What waits for one receiver at most; beyond that it is counted, logged, and not sent.
const MOST_WAITING: usize = 1_000;
/// Between two tries.
const PAUSES: Pauses =
    Pauses { first: Duration::from_millis(500), longest: Duration::from_mins(1), longest_asked: Duration::from_mins(1) };
/// After this long it is given up: a departure that was over an hour ago is for the log.
const OLDEST: Duration = Duration::from_hours(1);
/// Tries of what was refused for good: a person may be changing the secret.
const TRIES_IF_REFUSED: u32 = 3;
/// Departures of which it is known what was told.
const MOST_TOLD: usize = 20_000;

/// What becomes of a notification.
const ACCEPTED: &str = "accepted";
const GIVEN_UP: &str = "given-up";
const DROPPED: &str = "dropped";
/// All of that.
pub(super) const RESULTS: [&str; 3] = [ACCEPTED, GIVEN_UP, DROPPED];

/// Who is told.
#[derive(Debug)]
pub(super) struct Notifier {
    /// One for each receiver; none once no more may be told.
    queues: Mutex<Vec<Queue>>,
    /// What this replica has told, by the mark of the departure.
    told: Mutex<HashMap<Arc<str>, BTreeSet<Arc<str>>>>,
    /// True once nobody should pause any more.
    hurry: watch::Sender<bool>,
}

#[derive(Debug)]
struct Queue {
    name: Arc<str>,
    notes: mpsc::Sender<Waiting>,
}

impl Queue {
    /// Puts a notification in line, if there is room. Never waits.
    fn offer(&self, note: &Arc<Note>) -> bool {
        self.notes.try_send(Waiting { note: Arc::clone(note), told: Instant::now() }).is_ok()
    }
}

/// A notification that waits for one receiver.
#[derive(Debug)]
struct Waiting {
    note: Arc<Note>,
    told: Instant,
}

/// The other end of a queue.
pub(super) struct Delivery {
    name: Arc<str>,
    receiver: Receiver,
    notes: mpsc::Receiver<Waiting>,
}

impl Notifier {
    /// The receivers that are set, each with an empty queue.
    pub(super) fn new(settings: &Serve, live: &Live) -> (Self, Vec<Delivery>) {
        let (post, store) = (Post::default(), live.store());
        let (queues, deliveries) = settings
            .notify
            .iter()
            .map(|(name, notify)| {
                let (sender, notes) = mpsc::channel(MOST_WAITING);
                let receiver = Receiver::new(notify, &post, &store);
                (Queue { name: Arc::clone(name), notes: sender }, Delivery { name: Arc::clone(name), receiver, notes })
            })
            .unzip();
        let notifier = Self { queues: Mutex::new(queues), told: Mutex::default(), hurry: watch::Sender::new(false) };
        (notifier, deliveries)
    }

    /// Whether anybody is to be told.
    pub(super) fn is_anybody(&self) -> bool {
        !lock(&self.queues).is_empty()
    }

    /// Tells all receivers, once: whoever waits for nobody cannot be held up by them.
    pub(super) fn tell(&self, service: &Service, note: Note) {
        if !self.is_new(&note) {
            return;
        }
        let note = Arc::new(note);
        for queue in lock(&self.queues).iter() {
            if !queue.offer(&note) {
                service.numbers.notified(&queue.name, note.kind(), DROPPED);
                warn!(notify = &*queue.name, notification.id = &*note.id, "not sent: {MOST_WAITING} notifications wait already");
            }
        }
    }

    /// A departure is over here: another one of the same instance is told of again.
    pub(super) fn forget(&self, mark: &str) {
        lock(&self.told).remove(mark);
    }

    fn is_new(&self, note: &Note) -> bool {
        let mut told = lock(&self.told);
        if MOST_TOLD <= told.len() && !told.contains_key(&note.mark) {
            // What is told twice by this has the same id.
            told.clear();
        }
        told.entry(Arc::clone(&note.mark)).or_default().insert(Arc::clone(&note.id))
    }

    /// Takes nothing more, and has what waits sent at once.
    pub(super) fn finish(&self) {
        lock(&self.queues).clear();
        self.hurry.send_replace(true);
    }
}

/// Starts the worker of each receiver. It ends when the notifier has finished, and its queue is empty.
pub(super) fn deliver_all(service: &Arc<Service>, deliveries: Vec<Delivery>) -> Vec<JoinHandle<()>> {
    deliveries.into_iter().map(|delivery| spawn_local(deliver(Arc::clone(service), delivery))).collect()
}

async fn deliver(service: Arc<Service>, Delivery { name, receiver, mut notes }: Delivery) {
    let random = SystemRandom::new();
    while let Some(waiting) = notes.recv().await {
        let (id, kind) = (&*waiting.note.id, waiting.note.kind());
        let result = match deliver_one(&service, &name, &receiver, &waiting, &random).await {
            Ok(()) => {
                info!(notify = &*name, notification.id = id, notification.kind = kind, "notified");
                ACCEPTED
            }
            Err(why) => {
                warn!(notify = &*name, notification.id = id, notification.kind = kind, why = %why, "given up: {why}");
                GIVEN_UP
            }
        };
        service.numbers.notified(&name, kind, result);
    }
}

/// Tries until it is accepted, or too old, or refused for good.
async fn deliver_one(
    service: &Service,
    name: &str,
    receiver: &Receiver,
    waiting: &Waiting,
    random: &SystemRandom,
) -> Result<(), Unsent> {
    let mut hurry = service.notify.hurry.subscribe();
    let mut tries = 0;
    loop {
        let Err(why) = send(service, receiver, &waiting.note).await else { return Ok(()) };
        tries += 1;
        service.numbers.not_notified(name);
        let told_again = if why.may_pass() { waiting.told.elapsed() < OLDEST } else { tries < TRIES_IF_REFUSED };
        if !told_again || *hurry.borrow() {
            return Err(why);
        }
        if tries == 1 {
            warn!(notify = name, notification.id = &*waiting.note.id, why = %why, "not accepted yet: {why}");
        }
        tokio::select! {
            () = sleep(PAUSES.after(tries, &why, random)) => {}
            // One last try, at once.
            _ = hurry.wait_for(|hurry| *hurry) => {}
        }
    }
}

async fn send(service: &Service, receiver: &Receiver, note: &Note) -> Result<(), Unsent> {
    let mut headers = vec![("webhook-id", note.id.to_string())];
    let body: Arc<[u8]> = match receiver.kind {
        NotifyKind::Slack => note.for_slack().into_bytes().into(),
        NotifyKind::Webhook => {
            let body = note.for_webhook().into_bytes();
            // The time is that of the try: what was signed long ago is not believed.
            let seconds = service.live.now().0 / 1_000;
            let signature = standard_signature(&note.id, seconds, &body, &receiver.secrets().await?).ok_or_else(|| {
                Unsent::NotSet("its secret is none that can sign: whsec_ and the base64 of 24 to 64 bytes".into())
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
    fn a_full_queue_takes_nothing_more_and_holds_nobody_up() {
        let cause = Cause::Lifecycle(LifecycleAction::default());
        let departure = Departure { instance: InstanceId::from_number(1), asg: "web".into(), cause };
        let view = View::begin(&departure, "event", Time(0));
        let note = Arc::new(Note::started(&departure, &view, "drain", Time(0)));
        let (notes, _worker_that_hangs) = mpsc::channel(MOST_WAITING);
        let queue = Queue { name: "team".into(), notes };
        assert_eq!((0..2 * MOST_WAITING).filter(|_| queue.offer(&note)).count(), MOST_WAITING);
    }

    #[test]
    fn what_was_told_is_remembered_within_bounds() {
        let notifier = Notifier { queues: Mutex::default(), told: Mutex::default(), hurry: watch::Sender::new(false) };
        for number in 0..u64::try_from(MOST_TOLD).expect("it is small") + 10 {
            let cause = Cause::Lifecycle(LifecycleAction::default());
            let departure = Departure { instance: InstanceId::from_number(number), asg: "web".into(), cause };
            let view = View::begin(&departure, "event", Time(0));
            let note = Note::started(&departure, &view, "drain", Time(0));
            assert!(notifier.is_new(&note) && !notifier.is_new(&note), "{number}");
            assert!(lock(&notifier.told).len() <= MOST_TOLD);
        }
    }
}
