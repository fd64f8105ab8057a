//! The departures that this replica has in progress (bounded), those that other replicas seem to have, and the last ones that
//! ended.

mod finished;
#[cfg(test)]
mod tests;
mod views;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};
use tracing::error;

use self::finished::Finished;
use super::look_back::PendingLookBack;
use super::view::View;
use decamp_core::decide::{Cause, Compared, Departure};
use decamp_core::ids::InstanceId;

/// How many ended departures are kept (ADR 0027).
const PAST_KEPT: usize = 1_000;

/// Identifies a departure: one instance may wait in several hooks, and EC2 may take it back at the same time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    instance: InstanceId,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A lifecycle action, with the name of its hook if it is known.
    Hook(Option<Arc<str>>),
    /// A spot interruption.
    Interruption,
}

impl Key {
    fn of(departure: &Departure) -> Self {
        let kind = match &departure.cause {
            Cause::Lifecycle(action) => Kind::Hook(action.hook.clone()),
            Cause::Interruption { .. } => Kind::Interruption,
        };
        Self { instance: departure.instance, kind }
    }
}

/// How this replica's work on a departure ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// The departure has ended. Nothing is left to do.
    Finished,
    /// This replica released it at a decision. Another worker has to continue.
    Released,
}

/// One departure.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) departure: Departure,
    pub(super) view: Mutex<View>,
    /// True once this departure is to be released.
    pub(super) stop: watch::Sender<bool>,
    done: watch::Sender<Option<Done>>,
    /// What to look back at once it is over.
    pub(super) look_back: Mutex<Option<PendingLookBack>>,
}

impl Entry {
    pub(super) fn new(departure: Departure, view: View) -> Arc<Self> {
        let (stop, done) = (watch::Sender::new(false), watch::Sender::new(None));
        Arc::new(Self { departure, view: Mutex::new(view), stop, done, look_back: Mutex::default() })
    }

    /// Its current view.
    pub(super) fn shown(&self) -> View {
        lock(&self.view).clone()
    }

    /// Waits until this replica has finished or released it.
    pub(super) async fn done(&self) -> Done {
        let mut done = self.done.subscribe();
        let done = done.wait_for(Option::is_some).await;
        // This cannot fail, because `self` holds the sender. If it did, another worker would have to continue.
        done.ok().and_then(|done| *done).unwrap_or(Done::Released)
    }
}

/// Guards an entry during its run. However the run ends, even by a panic, the entry leaves the set and its waiters are notified.
pub(super) struct RunGuard<'a> {
    set: &'a Departures,
    entry: &'a Entry,
    /// How the run ended; `Released` until it is set.
    pub(super) done: Done,
}

impl Drop for RunGuard<'_> {
    fn drop(&mut self) {
        log_if_panicking(&self.entry.departure);
        self.set.finish(self.entry, self.done);
    }
}

/// Guards an entry during a sweep's pass. However the pass ends, even by a panic, it is removed from the set.
pub(super) struct PassGuard<'a> {
    set: &'a Departures,
    entry: &'a Entry,
}

impl Drop for PassGuard<'_> {
    fn drop(&mut self) {
        log_if_panicking(&self.entry.departure);
        lock(&self.set.sets).passing.remove(&self.entry.departure.instance);
        self.set.notify_watchers();
    }
}

fn log_if_panicking(departure: &Departure) {
    if std::thread::panicking() {
        error!(instance.id = %departure.instance, asg.name = &*departure.asg, "its run ended by a defect; another worker continues");
    }
}

/// What became of a reported departure.
#[derive(Debug, Clone)]
pub(super) enum Admission {
    /// It is in progress, newly or already.
    InProgress(Arc<Entry>),
    /// It has ended and was reported again.
    Finished,
    /// This replica is at its limit.
    Full,
    /// This replica was told to stop.
    Stopping,
}

/// The set of departures.
#[derive(Debug)]
pub(super) struct Departures {
    most: usize,
    sets: Mutex<Sets>,
    changed: watch::Sender<u64>,
    begin: mpsc::UnboundedSender<Arc<Entry>>,
}

#[derive(Debug, Default)]
struct Sets {
    here: BTreeMap<Key, Arc<Entry>>,
    /// The entries that a sweep's passes are running over.
    passing: BTreeMap<InstanceId, Arc<Entry>>,
    elsewhere: BTreeMap<InstanceId, View>,
    past: VecDeque<View>,
    finished: Finished,
    stopping: bool,
}

impl Sets {
    /// The entry in progress for a lifecycle action of this instance, if there is one.
    fn hooks_of(&self, instance: InstanceId) -> Option<&Arc<Entry>> {
        let of = |(key, _): &(&Key, &Arc<Entry>)| key.instance == instance && matches!(key.kind, Kind::Hook(_));
        self.here.iter().find(of).map(|(_, entry)| entry)
    }

    fn remember(&mut self, view: View) {
        if self.past.len() == PAST_KEPT {
            self.past.pop_front();
        }
        self.past.push_back(view);
    }
}

impl Departures {
    /// An empty set. Each admitted departure comes out of the receiver once, to be run. The set's limit also bounds the channel.
    pub(super) fn new(most: usize) -> (Self, mpsc::UnboundedReceiver<Arc<Entry>>) {
        let (begin, begun) = mpsc::unbounded_channel();
        (Self { most, sets: Mutex::default(), changed: watch::Sender::new(0), begin }, begun)
    }

    /// Admits a departure, unless it is in progress already.
    pub(super) fn admit(&self, departure: Departure, view: impl FnOnce() -> View) -> Admission {
        let key = Key::of(&departure);
        let mut sets = lock(&self.sets);
        if sets.stopping {
            return Admission::Stopping;
        }
        if let Some(entry) = sets.here.get(&key) {
            return Admission::InProgress(Arc::clone(entry));
        }
        if sets.finished.contains(&departure) {
            return Admission::Finished;
        }
        if key.kind == Kind::Hook(None)
            && let Some(entry) = sets.hooks_of(key.instance)
        {
            // A run that knows the hook is in progress. It needs no second one that does not.
            return Admission::InProgress(Arc::clone(entry));
        }
        let nameless = match key.kind {
            Kind::Hook(Some(_)) => sets.here.get(&Key { instance: key.instance, kind: Kind::Hook(None) }),
            Kind::Hook(None) | Kind::Interruption => None,
        };
        // A replacement does not count against the limit.
        if nameless.is_none() && self.most <= sets.here.len() {
            return Admission::Full;
        }
        if let Kind::Hook(_) = key.kind
            && let Some(passed) = sets.passing.get(&key.instance)
        {
            // Two runs at once would lose nothing, but the end would be counted and notified twice.
            passed.stop.send_replace(true);
        }
        if let Some(nameless) = nameless {
            // The event knows the hook, the token and the time. The sweep did not.
            nameless.stop.send_replace(true);
        }
        let entry = Entry::new(departure, view());
        sets.elsewhere.remove(&key.instance);
        sets.here.insert(key, Arc::clone(&entry));
        drop(sets);
        // The receiver lives as long as the service.
        self.begin.send(Arc::clone(&entry)).ok();
        self.notify_watchers();
        Admission::InProgress(entry)
    }

    /// Whether a departure of this instance is in progress.
    pub(super) fn has(&self, instance: InstanceId) -> bool {
        lock(&self.sets).here.keys().any(|key| key.instance == instance)
    }

    /// Begins a sweep's pass over an entry, unless its instance is in progress. If the departure is admitted meanwhile, the pass
    /// ends.
    pub(super) fn begin_pass(&self, entry: &Arc<Entry>) -> bool {
        let instance = entry.departure.instance;
        let mut sets = lock(&self.sets);
        let free = !sets.stopping && sets.here.keys().all(|key| key.instance != instance);
        if free {
            sets.passing.insert(instance, Arc::clone(entry));
        }
        free
    }

    /// The guard of a pass over this entry.
    pub(super) fn pass_guard<'a>(&'a self, entry: &'a Entry) -> PassGuard<'a> {
        PassGuard { set: self, entry }
    }

    /// The guard of a run of this entry.
    pub(super) fn run_guard<'a>(&'a self, entry: &'a Entry) -> RunGuard<'a> {
        RunGuard { set: self, entry, done: Done::Released }
    }

    /// Removes an entry from the set, and keeps its view if it has ended.
    pub(super) fn finish(&self, entry: &Entry, done: Done) {
        let mut sets = lock(&self.sets);
        sets.here.remove(&Key::of(&entry.departure));
        if done == Done::Finished {
            sets.remember(entry.shown());
            sets.finished.remember(&entry.departure);
        }
        drop(sets);
        entry.done.send_replace(Some(done));
        self.notify_watchers();
    }

    /// Keeps the view of a departure that ended within a sweep's pass.
    pub(super) fn remember(&self, entry: &Entry) {
        lock(&self.sets).remember(entry.shown());
    }

    /// Replaces the comparison in the view of a departure that has ended.
    pub(super) fn compare_again(&self, entry: &Entry, compared: &[Compared]) {
        let shown = entry.shown();
        let ended = |view: &View| view.outcome.as_ref().map(|ended| ended.at);
        let mut sets = lock(&self.sets);
        let past = sets.past.iter_mut().rev().find(|view| view.instance == shown.instance && ended(view) == ended(&shown));
        if let Some(view) = past {
            view.compare(compared);
        }
        drop(sets);
        self.notify_watchers();
    }

    /// Adds the writes of a sweep's pass to the view of the instance's entry in progress.
    pub(super) fn add_writes(&self, pass: &Entry) {
        let writes = pass.shown().timeline;
        let entry = lock(&self.sets).hooks_of(pass.departure.instance).cloned();
        if let Some(entry) = entry.filter(|_| !writes.is_empty()) {
            lock(&entry.view).add_writes(writes);
            self.notify_watchers();
        }
    }

    /// Replaces the views of departures that other replicas have, as a sweep saw them.
    pub(super) fn see_elsewhere(&self, seen: Vec<(InstanceId, View)>) {
        lock(&self.sets).elsewhere = seen.into_iter().collect();
        self.notify_watchers();
    }

    /// Admits nothing more and releases everything in progress.
    pub(super) fn stop(&self) {
        let mut sets = lock(&self.sets);
        sets.stopping = true;
        for entry in sets.here.values().chain(sets.passing.values()) {
            entry.stop.send_replace(true);
        }
    }

    /// Waits until nothing is in progress and no pass is running.
    pub(super) async fn empty(&self) {
        let mut changed = self.changed.subscribe();
        while !self.is_empty() {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    fn is_empty(&self) -> bool {
        let sets = lock(&self.sets);
        sets.here.is_empty() && sets.passing.is_empty()
    }

    /// How many are in progress.
    pub(super) fn count(&self) -> usize {
        lock(&self.sets).here.len()
    }

    /// All that are in progress.
    pub(super) fn in_progress(&self) -> Vec<Arc<Entry>> {
        lock(&self.sets).here.values().cloned().collect()
    }

    /// Whether the limit is reached.
    pub(super) fn is_full(&self) -> bool {
        self.most <= self.count()
    }

    /// The views of everything in progress, this replica's first, and of the ended departures, the latest first.
    pub(super) fn shown(&self) -> (Vec<View>, Vec<View>) {
        let sets = lock(&self.sets);
        let here = sets.here.values().map(|entry| entry.shown());
        let here: Vec<View> = here.chain(sets.elsewhere.values().cloned()).collect();
        (here, sets.past.iter().rev().cloned().collect())
    }

    /// The view of one instance: in progress, else its last departure.
    pub(super) fn of(&self, instance: InstanceId) -> Option<View> {
        let sets = lock(&self.sets);
        let here = sets.here.iter().find(|(key, _)| key.instance == instance).map(|(_, entry)| entry.shown());
        let name = instance.to_string();
        here.or_else(|| sets.elsewhere.get(&instance).cloned())
            .or_else(|| sets.past.iter().rev().find(|view| view.instance == name).cloned())
    }

    /// Notifies all watchers that a view has changed.
    pub(super) fn notify_watchers(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// Changes whenever a view changes.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
