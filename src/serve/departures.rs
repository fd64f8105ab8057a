//! The set of departures that this replica has in hand, bounded; those that others seem to have; and the last ones that are over.

mod shown;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};

use super::view::View;
use crate::decide::{Cause, Departure};
use crate::ids::InstanceId;

/// How many of those that are over are kept (D23).
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
        // Whoever held it is gone without a word: somebody else has to go on.
        done.ok().and_then(|done| *done).unwrap_or(Done::LetGo)
    }
}

/// What became of a departure that somebody told of.
#[derive(Debug, Clone)]
pub(super) enum TakenUp {
    /// It is in hand: since now, or since before.
    InHand(Arc<Entry>),
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
        if key.kind == Kind::Hook(None)
            && let Some(entry) = sets.hooks_of(key.instance)
        {
            // Whoever knows the hook needs nobody beside it who does not.
            return TakenUp::InHand(Arc::clone(entry));
        }
        if self.most <= sets.here.len() {
            return TakenUp::Full;
        }
        if let Kind::Hook(_) = key.kind
            && let Some(passed) = sets.passing.get(&key.instance)
        {
            // Two at once lose nothing, but its end would be counted and told twice.
            passed.stop.send_replace(true);
        }
        if let Kind::Hook(Some(_)) = key.kind
            && let Some(nameless) = sets.here.get(&Key { instance: key.instance, kind: Kind::Hook(None) })
        {
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

    /// The pass over this one is over.
    pub(super) fn end_pass(&self, entry: &Entry) {
        lock(&self.sets).passing.remove(&entry.departure.instance);
    }

    /// Lets an entry go from the set; it is kept among the past if it is over.
    pub(super) fn finish(&self, entry: &Entry, done: Done) {
        let mut sets = lock(&self.sets);
        sets.here.remove(&Key::of(&entry.departure));
        if done == Done::Over {
            sets.remember(entry.shown());
        }
        drop(sets);
        entry.done.send_replace(Some(done));
        self.tell();
    }

    /// Keeps one that was over within a sweep among the past.
    pub(super) fn remember(&self, entry: &Entry) {
        lock(&self.sets).remember(entry.shown());
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

    /// Waits until nothing is in hand.
    pub(super) async fn empty(&self) {
        let mut changed = self.changed.subscribe();
        while 0 < self.count() {
            if changed.changed().await.is_err() {
                return;
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::LifecycleAction;
    use crate::time::Time;

    fn departure(number: u64, hook: Option<&str>) -> Departure {
        let action = LifecycleAction { hook: hook.map(Arc::from), ..LifecycleAction::default() };
        Departure { instance: InstanceId::from_number(number), asg: "web".into(), cause: Cause::Lifecycle(action) }
    }

    fn take_up(set: &Departures, departure: Departure) -> TakenUp {
        let view = View::begin(&departure, "event", Time(0));
        set.take_up(departure, || view)
    }

    fn in_hand(taken: TakenUp) -> Arc<Entry> {
        match taken {
            TakenUp::InHand(entry) => entry,
            TakenUp::Full | TakenUp::Stopping => panic!("{taken:?}"),
        }
    }

    #[test]
    fn what_is_told_twice_is_walked_once() {
        let (set, mut begun) = Departures::new(9);
        let first = in_hand(take_up(&set, departure(1, Some("ours"))));
        let again = in_hand(take_up(&set, departure(1, Some("ours"))));
        assert!(Arc::ptr_eq(&first, &again));
        assert!(begun.try_recv().is_ok() && begun.try_recv().is_err());
    }

    #[test]
    fn the_set_is_bounded_and_has_room_again_when_one_is_over() {
        let (set, _begun) = Departures::new(2);
        let first = in_hand(take_up(&set, departure(1, None)));
        in_hand(take_up(&set, departure(2, None)));
        assert!(matches!(take_up(&set, departure(3, None)), TakenUp::Full));
        assert!(set.is_full());
        set.finish(&first, Done::Over);
        in_hand(take_up(&set, departure(3, None)));
    }

    #[test]
    fn an_event_takes_the_place_of_what_a_sweep_took_up() {
        let (set, _begun) = Departures::new(9);
        let swept = in_hand(take_up(&set, departure(1, None)));
        in_hand(take_up(&set, departure(1, Some("ours"))));
        assert!(*swept.stop.borrow());
    }

    #[test]
    fn what_comes_in_while_a_sweep_passes_over_it_ends_the_pass() {
        let (set, _begun) = Departures::new(9);
        let pass = |number: u64| {
            let departure = departure(number, None);
            let view = View::begin(&departure, "sweep", Time(0));
            Entry::new(departure, view)
        };
        let (passed, other) = (pass(1), pass(2));
        assert!(set.begin_pass(&passed) && set.begin_pass(&other));
        let told = in_hand(take_up(&set, departure(1, Some("ours"))));
        assert!(*passed.stop.borrow() && !*other.stop.borrow());
        set.end_pass(&passed);
        assert!(!set.begin_pass(&pass(1)), "it is in hand");
        assert!(Arc::ptr_eq(&told, &in_hand(take_up(&set, departure(1, None)))), "nobody walks beside it");
        set.finish(&told, Done::Over);
        assert!(set.begin_pass(&pass(1)));
        set.stop();
        assert!(*other.stop.borrow() && !set.begin_pass(&pass(3)));
    }

    #[tokio::test]
    async fn a_stopped_set_takes_nothing_up_and_lets_everything_go() {
        let (set, _begun) = Departures::new(9);
        let entry = in_hand(take_up(&set, departure(1, None)));
        set.stop();
        assert!(*entry.stop.borrow());
        assert!(matches!(take_up(&set, departure(2, None)), TakenUp::Stopping));
        set.finish(&entry, Done::LetGo);
        set.empty().await;
        assert_eq!(entry.done().await, Done::LetGo);
        assert_eq!(set.shown().1.len(), 0, "what was let go is not over");
    }

    #[test]
    fn the_past_is_bounded() {
        let (set, _begun) = Departures::new(9);
        for number in 0..1_005 {
            let entry = in_hand(take_up(&set, departure(number, None)));
            set.finish(&entry, Done::Over);
        }
        let (here, past) = set.shown();
        assert_eq!((here.len(), past.len()), (0, PAST_KEPT));
        assert_eq!(past[0].instance, InstanceId::from_number(1_004).to_string());
        assert!(set.of(InstanceId::from_number(2)).is_none() && set.of(InstanceId::from_number(900)).is_some());
    }
}
