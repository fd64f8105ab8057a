//! What was told of an instance and needs Auto Scaling's word before it is a departure: whose it is, and whether it is replaced.
//!
//! Errands are a bounded set, as departures are: each is run by one task, and whoever told of one can wait until it is over.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::Service;
use super::departures::{Done, Entry, TakenUp, lock};
use super::gentle::Gentle;
use super::taking::take_up;
use decamp_core::decide::{Cause, Departure};
use decamp_core::ids::InstanceId;
use decamp_core::replacing::{Asked, Replaces, replace};
use decamp_core::time::Time;
use decamp_core::world::World;

/// Errands that are in hand at most: more warnings at once than any fleet of ours has instances.
pub(super) const MOST: usize = 1_000;
/// Between two tries: an interruption leaves two minutes in all.
const BETWEEN: Duration = Duration::from_secs(5);
/// How long an errand sleeps at a time until it is due.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// How often a replacement is asked for: a quarter of an hour. AWS's warnings come hours before what they warn of.
const MOST_TRIES: u32 = 180;

/// Something to ask Auto Scaling.
#[derive(Debug, Clone, Copy)]
pub(super) enum Errand {
    /// EC2 takes a spot instance back. The event does not say whose it is.
    Interrupted {
        instance: InstanceId,
        /// When it is gone.
        at: Time,
    },
    /// AWS warned of it, and the settings say that it is to be replaced (ADR 0014).
    Replace {
        instance: InstanceId,
        /// Not before then; `None`: at once.
        due: Option<Time>,
    },
}

/// Which errand is meant: what is told of an instance twice is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Interrupted(InstanceId),
    /// What is due at once waits behind nothing that is due later.
    Replace(InstanceId, Option<Time>),
}

impl From<Errand> for Key {
    fn from(errand: Errand) -> Self {
        match errand {
            Errand::Interrupted { instance, .. } => Self::Interrupted(instance),
            Errand::Replace { instance, due } => Self::Replace(instance, due),
        }
    }
}

/// What an errand became.
#[derive(Debug, Clone)]
enum Became {
    /// Nothing more is to be done.
    Over,
    /// A departure, which goes on.
    Departure(Arc<Entry>),
    /// Nobody asked to the end: somebody else has to.
    LetGo,
}

/// An errand in hand.
#[derive(Debug)]
pub(super) struct InHand {
    errand: Errand,
    became: watch::Sender<Option<Became>>,
}

impl InHand {
    /// Waits until this replica is done with it, and with the departure that it became.
    pub(super) async fn done(&self) -> Done {
        let mut became = self.became.subscribe();
        let became = became.wait_for(Option::is_some).await.ok().and_then(|became| became.clone());
        match became {
            Some(Became::Over) => Done::Over,
            Some(Became::Departure(entry)) => entry.done().await,
            // That nobody says anything cannot be, as the sender is in here; it would have to be done again.
            Some(Became::LetGo) | None => Done::LetGo,
        }
    }
}

/// The set of errands in hand.
#[derive(Debug)]
pub(super) struct Errands {
    here: Mutex<BTreeMap<Key, Arc<InHand>>>,
    count: watch::Sender<usize>,
    begin: mpsc::UnboundedSender<Arc<InHand>>,
}

impl Errands {
    /// An empty set. Whatever is taken up comes out of the receiver once, to be run; the set bounds how many wait in it.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Arc<InHand>>) {
        let (begin, begun) = mpsc::unbounded_channel();
        (Self { here: Mutex::default(), count: watch::Sender::new(0), begin }, begun)
    }

    /// Takes an errand up, unless it is in hand. `None`: as many are in hand as may be.
    pub(super) fn take_up(&self, errand: Errand) -> Option<Arc<InHand>> {
        let key = Key::from(errand);
        let mut here = lock(&self.here);
        if let Some(known) = here.get(&key) {
            return Some(Arc::clone(known));
        }
        if MOST <= here.len() {
            return None;
        }
        let taken = Arc::new(InHand { errand, became: watch::Sender::new(None) });
        here.insert(key, Arc::clone(&taken));
        self.count.send_replace(here.len());
        // The receiver is gone only when the whole service is.
        self.begin.send(Arc::clone(&taken)).ok();
        Some(taken)
    }

    /// Waits until none is in hand.
    pub(super) async fn empty(&self) {
        // Its sender is in here, so that it cannot fail.
        self.count.subscribe().wait_for(|count| *count == 0).await.ok();
    }

    fn finish(&self, errand: &InHand, became: Became) {
        let mut here = lock(&self.here);
        here.remove(&Key::from(errand.errand));
        self.count.send_replace(here.len());
        drop(here);
        errand.became.send_replace(Some(became));
    }
}

/// An errand while it is run. However that ends, also by a panic, it is out of the set then, and whoever waits for it is told.
struct Running<'a> {
    set: &'a Errands,
    errand: &'a InHand,
    became: Became,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.set.finish(self.errand, self.became.clone());
    }
}

/// Asks until Auto Scaling has answered, it is no use any more, or this replica is told to stop: then what was asked is still answered.
pub(super) async fn run(service: &Service, errand: &InHand) {
    let mut running = Running { set: &service.errands, errand, became: Became::LetGo };
    let world = Gentle::new(&service.live);
    let asking = async {
        match errand.errand {
            Errand::Interrupted { instance, at } => interrupted(service, instance, at).await,
            Errand::Replace { instance, due } => {
                // In short sleeps: the clock may be set meanwhile.
                while let Some(due) = due.filter(|due| service.live.now() < *due) {
                    sleep(due.since(service.live.now()).min(LONGEST_SLEEP)).await;
                }
                replaced(service, &world, instance).await
            }
        }
    };
    running.became = tokio::select! {
        biased;
        became = asking => became,
        () = world.left(service.stopping.subscribe()) => {
            info!(errand = ?errand.errand, "let go: this replica was told to stop");
            Became::LetGo
        }
    };
}

/// Takes a spot instance out if it is one of ours.
async fn interrupted(service: &Service, instance: InstanceId, at: Time) -> Became {
    while service.live.now() < at {
        match service.live.group_of(instance).await {
            Ok(Some(asg)) if service.settings.allowed.group(&asg) => {
                let departure = Departure { instance, asg, cause: Cause::Interruption { at } };
                match take_up(service, departure, "event") {
                    TakenUp::InHand(entry) => return Became::Departure(entry),
                    TakenUp::Over => return Became::Over,
                    TakenUp::Full => {
                        error!(instance.id = %instance, event = "interruption", "not taken up yet: as many departures are in hand as may be");
                    }
                    TakenUp::Stopping => return Became::LetGo,
                }
            }
            Ok(_) => {
                info!(instance.id = %instance, event = "interruption", "EC2 takes back an instance that is in no group of ours");
                return Became::Over;
            }
            Err(unseen) => {
                warn!(instance.id = %instance, event = "interruption", why = %unseen, "Auto Scaling cannot be seen: {unseen}");
            }
        }
        sleep(BETWEEN).await;
    }
    info!(instance.id = %instance, event = "interruption", "EC2 has taken the instance back already");
    Became::Over
}

/// Has Auto Scaling replace an instance.
async fn replaced(service: &Service, world: &impl Replaces, instance: InstanceId) -> Became {
    for _ in 0..MOST_TRIES {
        let settings = &service.settings;
        match replace(world, |asg| settings.allowed.group(asg), settings.only_observes(), instance).await {
            Asked::Replaced => {
                service.numbers.replaced();
                return Became::Over;
            }
            Asked::Refused => {
                service.numbers.rejected("replacement");
                return Became::Over;
            }
            Asked::LeftAlone => return Became::Over,
            Asked::Again => sleep(BETWEEN).await,
        }
    }
    error!(instance.id = %instance, action = "replace", "given up: Auto Scaling did not answer; ask it by `aws autoscaling set-instance-health`");
    Became::Over
}
