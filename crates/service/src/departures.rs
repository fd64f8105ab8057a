//! The set of departures that this replica has in hand, bounded; those that others seem to have; and the last ones that are over.

mod over;
mod shown;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};
use tracing::error;

use self::over::Over;
use super::view::View;
use decamp_core::decide::{Cause, Departure};
use decamp_core::ids::InstanceId;

/// How many of those that are over are kept (ADR 0027).
const PAST_KEPT: usize = 1_000;

/// Which departure is meant: one instance may wait in several hooks, and be taken back by EC2 at the same time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    instance: InstanceId,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A lifecycle action; without a name: of whichever hook is ours.
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

/// How this replica came to be done with a departure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// It is over; nobody needs to do any more.
    Over,
    /// It was let go at a decision, for somebody else to go on.
    LetGo,
}

/// One departure.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) departure: Departure,
    pub(super) view: Mutex<View>,
    /// Set when this one is to be let go.
    pub(super) stop: watch::Sender<bool>,
    done: watch::Sender<Option<Done>>,
}

impl Entry {
    pub(super) fn new(departure: Departure, view: View) -> Arc<Self> {
        let (stop, done) = (watch::Sender::new(false), watch::Sender::new(None));
        Arc::new(Self { departure, view: Mutex::new(view), stop, done })
    }

    /// What is shown of it.
    pub(super) fn shown(&self) -> View {
        lock(&self.view).clone()
    }

    /// Waits until this replica is done with it.
    pub(super) async fn done(&self) -> Done {
        let mut done = self.done.subscribe();
        let done = done.wait_for(Option::is_some).await;
        // It cannot fail, as the sender is in here; it would have to be gone on with.
        done.ok().and_then(|done| *done).unwrap_or(Done::LetGo)
    }
}

/// An entry while it is walked. However the walk ends, also by a panic, the entry is out of the set then, and whoever waits for it is told.
pub(super) struct Walker<'a> {
    set: &'a Departures,
    entry: &'a Entry,
    /// How it ended; let go, as long as nothing else is said.
    pub(super) done: Done,
}

impl Drop for Walker<'_> {
    fn drop(&mut self) {
        say_if_by_a_defect(&self.entry.departure);
        self.set.finish(self.entry, self.done);
    }
}

/// An entry while a sweep passes over it. However that ends, the pass is over then.
pub(super) struct Passer<'a> {
    set: &'a Departures,
    entry: &'a Entry,
}

impl Drop for Passer<'_> {
    fn drop(&mut self) {
        say_if_by_a_defect(&self.entry.departure);
        lock(&self.set.sets).passing.remove(&self.entry.departure.instance);
        self.set.tell();
    }
}

fn say_if_by_a_defect(departure: &Departure) {
    if std::thread::panicking() {
        error!(instance.id = %departure.instance, asg.name = &*departure.asg, "its walk ended by a defect, and is let go for whoever goes on");
    }
}

/// What became of a departure that somebody told of.
#[derive(Debug, Clone)]
pub(super) enum TakenUp {
    /// It is in hand: since now, or since before.
    InHand(Arc<Entry>),
    /// It is over: it was told again.
    Over,
    /// As many are in hand as may be.
    Full,
    /// This replica was told to stop.
    Stopping,
}

/// The set.
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
    /// What a sweep makes its pass over in this moment.
    passing: BTreeMap<InstanceId, Arc<Entry>>,
    elsewhere: BTreeMap<InstanceId, View>,
    past: VecDeque<View>,
    over: Over,
    stopping: bool,
}

impl Sets {
    /// What is in hand of one instance's lifecycle actions.
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
    /// An empty set. Whatever is taken up comes out of the receiver once, to be walked; the set bounds how many wait in it.
    pub(super) fn new(most: usize) -> (Self, mpsc::UnboundedReceiver<Arc<Entry>>) {
        let (begin, begun) = mpsc::unbounded_channel();
        (Self { most, sets: Mutex::default(), changed: watch::Sender::new(0), begin }, begun)
    }

    /// Takes a departure up, unless it is in hand.
    pub(super) fn take_up(&self, departure: Departure, view: impl FnOnce() -> View) -> TakenUp {
        let key = Key::of(&departure);
        let mut sets = lock(&self.sets);
        if sets.stopping {
            return TakenUp::Stopping;
        }
        if let Some(entry) = sets.here.get(&key) {
            return TakenUp::InHand(Arc::clone(entry));
        }
        if sets.over.has(&departure) {
            return TakenUp::Over;
        }
        if key.kind == Kind::Hook(None)
            && let Some(entry) = sets.hooks_of(key.instance)
        {
            // Whoever knows the hook needs nobody beside it who does not.
            return TakenUp::InHand(Arc::clone(entry));
        }
        let nameless = match key.kind {
            Kind::Hook(Some(_)) => sets.here.get(&Key { instance: key.instance, kind: Kind::Hook(None) }),
            Kind::Hook(None) | Kind::Interruption => None,
        };
        // What takes another's place needs no place of its own.
        if nameless.is_none() && self.most <= sets.here.len() {
            return TakenUp::Full;
        }
        if let Kind::Hook(_) = key.kind
            && let Some(passed) = sets.passing.get(&key.instance)
        {
            // Two at once lose nothing, but its end would be counted and told twice.
            passed.stop.send_replace(true);
        }
        if let Some(nameless) = nameless {
            // An event knows the hook, the token and the time; a sweep did not.
            nameless.stop.send_replace(true);
        }
        let entry = Entry::new(departure, view());
        sets.elsewhere.remove(&key.instance);
        sets.here.insert(key, Arc::clone(&entry));
        drop(sets);
        // The receiver is gone only when the whole service is.
        self.begin.send(Arc::clone(&entry)).ok();
        self.tell();
        TakenUp::InHand(entry)
    }

    /// Whether anything of this instance is in hand.
    pub(super) fn has(&self, instance: InstanceId) -> bool {
        lock(&self.sets).here.keys().any(|key| key.instance == instance)
    }

    /// Notes that a sweep makes its pass over this one, unless it is in hand. Whoever takes it up meanwhile ends the pass.
    pub(super) fn begin_pass(&self, entry: &Arc<Entry>) -> bool {
        let instance = entry.departure.instance;
        let mut sets = lock(&self.sets);
        let free = !sets.stopping && sets.here.keys().all(|key| key.instance != instance);
        if free {
            sets.passing.insert(instance, Arc::clone(entry));
        }
        free
    }

    /// Whoever passes over this one.
    pub(super) fn passer<'a>(&'a self, entry: &'a Entry) -> Passer<'a> {
        Passer { set: self, entry }
    }

    /// Whoever walks this one.
    pub(super) fn walker<'a>(&'a self, entry: &'a Entry) -> Walker<'a> {
        Walker { set: self, entry, done: Done::LetGo }
    }

    /// Lets an entry go from the set; it is kept among the past if it is over.
    pub(super) fn finish(&self, entry: &Entry, done: Done) {
        let mut sets = lock(&self.sets);
        sets.here.remove(&Key::of(&entry.departure));
        if done == Done::Over {
            sets.remember(entry.shown());
            sets.over.remember(&entry.departure);
        }
        drop(sets);
        entry.done.send_replace(Some(done));
        self.tell();
    }

    /// Keeps one that was over within a sweep among the past.
    pub(super) fn remember(&self, entry: &Entry) {
        lock(&self.sets).remember(entry.shown());
    }

    /// Shows what a sweep's pass over an instance wrote with what is in hand of its lifecycle actions.
    pub(super) fn add_writes(&self, pass: &Entry) {
        let writes = pass.shown().timeline;
        let entry = lock(&self.sets).hooks_of(pass.departure.instance).cloned();
        if let Some(entry) = entry.filter(|_| !writes.is_empty()) {
            lock(&entry.view).add_writes(writes);
            self.tell();
        }
    }

    /// What a sweep saw of departures that are not in hand here.
    pub(super) fn see_elsewhere(&self, seen: Vec<(InstanceId, View)>) {
        lock(&self.sets).elsewhere = seen.into_iter().collect();
        self.tell();
    }

    /// Takes nothing up any more, and lets go of all that is in hand.
    pub(super) fn stop(&self) {
        let mut sets = lock(&self.sets);
        sets.stopping = true;
        for entry in sets.here.values().chain(sets.passing.values()) {
            entry.stop.send_replace(true);
        }
    }

    /// Waits until nothing is in hand, and no sweep passes over anything.
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

    /// How many are in hand.
    pub(super) fn count(&self) -> usize {
        lock(&self.sets).here.len()
    }

    /// All that are in hand.
    pub(super) fn in_hand(&self) -> Vec<Arc<Entry>> {
        lock(&self.sets).here.values().cloned().collect()
    }

    /// Whether another one would be refused.
    pub(super) fn is_full(&self) -> bool {
        self.most <= self.count()
    }

    /// Everything that is under way, this replica's first; then the past, the latest first.
    pub(super) fn shown(&self) -> (Vec<View>, Vec<View>) {
        let sets = lock(&self.sets);
        let here = sets.here.values().map(|entry| entry.shown());
        let here: Vec<View> = here.chain(sets.elsewhere.values().cloned()).collect();
        (here, sets.past.iter().rev().cloned().collect())
    }

    /// What is shown of one instance: under way, else its last departure.
    pub(super) fn of(&self, instance: InstanceId) -> Option<View> {
        let sets = lock(&self.sets);
        let here = sets.here.iter().find(|(key, _)| key.instance == instance).map(|(_, entry)| entry.shown());
        let name = instance.to_string();
        here.or_else(|| sets.elsewhere.get(&instance).cloned())
            .or_else(|| sets.past.iter().rev().find(|view| view.instance == name).cloned())
    }

    /// Tells everybody who watches that something is shown otherwise.
    pub(super) fn tell(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// Tells when something is shown otherwise.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
