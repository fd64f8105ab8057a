//! Lookups that Auto Scaling has to answer before an event becomes a departure: which group an instance is in, and whether it is
//! replaced.
//!
//! Lookups are a bounded set, as departures are. One task runs each, and its sender can wait until it is done.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::Service;
use super::departures::{Admission, Done, Entry, lock};
use super::graceful::Graceful;
use super::intake::admit;
use decamp_core::decide::{Cause, Departure};
use decamp_core::ids::InstanceId;
use decamp_core::proactive_replacement::{Asked, Replaces, replace};
use decamp_core::time::Time;
use decamp_core::world::World;

/// The most pending lookups. No fleet gets this many warnings at once.
pub(super) const MOST: usize = 1_000;
/// The pause between two tries. An interruption leaves two minutes in all.
const BETWEEN: Duration = Duration::from_secs(5);
/// How long a lookup sleeps at a time until it is due.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// The most tries to get a replacement: a quarter of an hour. AWS warns hours before a change.
const MOST_TRIES: u32 = 180;

/// A question for Auto Scaling.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lookup {
    /// EC2 takes a spot instance back. The event does not name its group.
    Interrupted {
        instance: InstanceId,
        /// When it is gone.
        at: Time,
    },
    /// AWS sent a warning, and the settings say to replace the instance (ADR 0014).
    Replace {
        instance: InstanceId,
        /// The earliest time; `None`: at once.
        due: Option<Time>,
    },
}

/// Identifies a lookup: two equal events about an instance are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Interrupted(InstanceId),
    /// With the time, so that an urgent replacement does not wait for a later one.
    Replace(InstanceId, Option<Time>),
}

impl From<Lookup> for Key {
    fn from(lookup: Lookup) -> Self {
        match lookup {
            Lookup::Interrupted { instance, .. } => Self::Interrupted(instance),
            Lookup::Replace { instance, due } => Self::Replace(instance, due),
        }
    }
}

/// The result of a lookup.
#[derive(Debug, Clone)]
enum LookupResult {
    /// Nothing more is to be done.
    Finished,
    /// It became a departure, which continues.
    Departure(Arc<Entry>),
    /// It was not completed. Another worker has to do it again.
    Released,
}

/// A lookup that is not done yet.
#[derive(Debug)]
pub(super) struct PendingLookup {
    lookup: Lookup,
    result: watch::Sender<Option<LookupResult>>,
}

impl PendingLookup {
    /// Waits until this replica is done with it, and with the departure that it became.
    pub(super) async fn done(&self) -> Done {
        let mut result = self.result.subscribe();
        let result = result.wait_for(Option::is_some).await.ok().and_then(|result| result.clone());
        match result {
            Some(LookupResult::Finished) => Done::Finished,
            Some(LookupResult::Departure(entry)) => entry.done().await,
            // `None` cannot happen, because `self` holds the sender. If it did, the lookup would have to be done again.
            Some(LookupResult::Released) | None => Done::Released,
        }
    }
}

/// The set of pending lookups.
#[derive(Debug)]
pub(super) struct PendingLookups {
    here: Mutex<BTreeMap<Key, Arc<PendingLookup>>>,
    count: watch::Sender<usize>,
    begin: mpsc::UnboundedSender<Arc<PendingLookup>>,
}

impl PendingLookups {
    /// An empty set. Each added lookup comes out of the receiver once, to be run. The set's limit also bounds the channel.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Arc<PendingLookup>>) {
        let (begin, begun) = mpsc::unbounded_channel();
        (Self { here: Mutex::default(), count: watch::Sender::new(0), begin }, begun)
    }

    /// Adds a lookup, unless it is pending already. `None`: the set is full.
    pub(super) fn add(&self, lookup: Lookup) -> Option<Arc<PendingLookup>> {
        let key = Key::from(lookup);
        let mut here = lock(&self.here);
        if let Some(known) = here.get(&key) {
            return Some(Arc::clone(known));
        }
        if MOST <= here.len() {
            return None;
        }
        let taken = Arc::new(PendingLookup { lookup, result: watch::Sender::new(None) });
        here.insert(key, Arc::clone(&taken));
        self.count.send_replace(here.len());
        // The receiver lives as long as the service.
        self.begin.send(Arc::clone(&taken)).ok();
        Some(taken)
    }

    /// Waits until none is pending.
    pub(super) async fn empty(&self) {
        // This cannot fail, because `self` holds the sender.
        self.count.subscribe().wait_for(|count| *count == 0).await.ok();
    }

    fn finish(&self, pending: &PendingLookup, result: LookupResult) {
        let mut here = lock(&self.here);
        here.remove(&Key::from(pending.lookup));
        self.count.send_replace(here.len());
        drop(here);
        pending.result.send_replace(Some(result));
    }
}

/// Guards a lookup while it runs. However it ends, even by a panic, it leaves the set and its waiters are notified.
struct Running<'a> {
    set: &'a PendingLookups,
    pending: &'a PendingLookup,
    result: LookupResult,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.set.finish(self.pending, self.result.clone());
    }
}

/// Asks until Auto Scaling has answered, the answer is too late, or this replica is told to stop. A call in flight is still
/// answered then.
pub(super) async fn run(service: &Service, pending: &PendingLookup) {
    let mut running = Running { set: &service.lookups, pending, result: LookupResult::Released };
    let world = Graceful::new(&service.live);
    let asking = async {
        match pending.lookup {
            Lookup::Interrupted { instance, at } => interrupted(service, instance, at).await,
            Lookup::Replace { instance, due } => {
                // In short sleeps, because the clock may be corrected meanwhile.
                while let Some(due) = due.filter(|due| service.live.now() < *due) {
                    sleep(due.since(service.live.now()).min(LONGEST_SLEEP)).await;
                }
                replaced(service, &world, instance).await
            }
        }
    };
    running.result = tokio::select! {
        biased;
        result = asking => result,
        () = world.stopped(service.stopping.subscribe()) => {
            info!(errand = ?pending.lookup, "released: this replica was told to stop");
            LookupResult::Released
        }
    };
}

/// Starts the departure of a spot instance if it is in an allowed group.
async fn interrupted(service: &Service, instance: InstanceId, at: Time) -> LookupResult {
    while service.live.now() < at {
        match service.live.group_of(instance).await {
            Ok(Some(asg)) if service.settings.allowed.group(&asg) => {
                let departure = Departure { instance, asg, cause: Cause::Interruption { at } };
                match admit(service, departure, "event") {
                    Admission::InProgress(entry) => return LookupResult::Departure(entry),
                    Admission::Finished => return LookupResult::Finished,
                    Admission::Full => {
                        error!(instance.id = %instance, event = "interruption", "not admitted yet: this replica is at its limit of departures");
                    }
                    Admission::Stopping => return LookupResult::Released,
                }
            }
            Ok(_) => {
                info!(instance.id = %instance, event = "interruption", "EC2 takes back an instance that is in no allowed group");
                return LookupResult::Finished;
            }
            Err(unseen) => {
                warn!(instance.id = %instance, event = "interruption", why = %unseen, "Auto Scaling cannot be seen: {unseen}");
            }
        }
        sleep(BETWEEN).await;
    }
    info!(instance.id = %instance, event = "interruption", "EC2 has taken the instance back already");
    LookupResult::Finished
}

/// Asks Auto Scaling to replace an instance.
async fn replaced(service: &Service, world: &impl Replaces, instance: InstanceId) -> LookupResult {
    for _ in 0..MOST_TRIES {
        let settings = &service.settings;
        match replace(world, |asg| settings.allowed.group(asg), settings.only_observes(), instance).await {
            Asked::Replaced => {
                service.metrics.replaced();
                return LookupResult::Finished;
            }
            Asked::Refused => {
                service.metrics.rejected("replacement");
                return LookupResult::Finished;
            }
            Asked::LeftAlone => return LookupResult::Finished,
            Asked::Again => sleep(BETWEEN).await,
        }
    }
    error!(instance.id = %instance, action = "replace", "given up: Auto Scaling did not answer; replace the instance with `aws autoscaling set-instance-health`");
    LookupResult::Finished
}
