//! The set of departures: what is taken up, let go, passed over and remembered.

use super::*;
use decamp_core::decide::LifecycleAction;
use decamp_core::time::Time;

fn departure(number: u64, hook: Option<&str>) -> Departure {
    let action = LifecycleAction { hook: hook.map(Arc::from), ..LifecycleAction::default() };
    Departure { instance: InstanceId::from_number(number), asg: "web".into(), cause: Cause::Lifecycle(action) }
}

fn take_up(set: &Departures, departure: Departure) -> TakenUp {
    let view = View::begin(&departure, "event", Time(0));
    set.take_up(departure, || view)
}

/// What a sweep looks at.
fn pass(number: u64) -> Arc<Entry> {
    let departure = departure(number, None);
    let view = View::begin(&departure, "sweep", Time(0));
    Entry::new(departure, view)
}

fn in_hand(taken: TakenUp) -> Arc<Entry> {
    match taken {
        TakenUp::InHand(entry) => entry,
        TakenUp::Over | TakenUp::Full | TakenUp::Stopping => panic!("{taken:?}"),
    }
}

#[test]
fn what_is_over_is_not_walked_again_and_pushes_nothing_out() {
    let (set, _begun) = Departures::new(10);
    let told = |number: u64, token: &str| {
        let mut told = departure(number, Some("ours"));
        if let Cause::Lifecycle(action) = &mut told.cause {
            action.token = Some(format!("{token:-<36}").parse().expect("a token"));
        }
        told
    };
    let first = in_hand(take_up(&set, told(1, "one")));
    set.finish(&first, Done::Over);
    for _ in 0..2_000 {
        assert!(matches!(take_up(&set, told(1, "one")), TakenUp::Over));
    }
    assert_eq!((set.count(), set.shown().1.len()), (0, 1));
    // The instance comes back from a warm pool and leaves again; another one has a token of its own; what was let go is not over.
    let second = in_hand(take_up(&set, told(1, "two")));
    set.finish(&second, Done::LetGo);
    in_hand(take_up(&set, told(1, "two")));
    in_hand(take_up(&set, told(2, "one")));
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
fn an_event_takes_that_place_in_a_full_set_too() {
    let (set, _begun) = Departures::new(1);
    let swept = in_hand(take_up(&set, departure(1, None)));
    assert!(matches!(take_up(&set, departure(2, Some("ours"))), TakenUp::Full));
    in_hand(take_up(&set, departure(1, Some("ours"))));
    assert!(*swept.stop.borrow());
    set.finish(&swept, Done::LetGo);
    assert!(set.is_full());
}

#[test]
fn what_comes_in_while_a_sweep_passes_over_it_ends_the_pass() {
    let (set, _begun) = Departures::new(9);
    let (passed, other) = (pass(1), pass(2));
    assert!(set.begin_pass(&passed) && set.begin_pass(&other));
    let told = in_hand(take_up(&set, departure(1, Some("ours"))));
    assert!(*passed.stop.borrow() && !*other.stop.borrow());
    drop(set.passer(&passed));
    assert!(!set.begin_pass(&pass(1)), "it is in hand");
    assert!(Arc::ptr_eq(&told, &in_hand(take_up(&set, departure(1, None)))), "nobody walks beside it");
    set.finish(&told, Done::Over);
    assert!(set.begin_pass(&pass(1)));
    set.stop();
    assert!(*other.stop.borrow() && !set.begin_pass(&pass(3)));
}

#[tokio::test]
async fn a_stopped_set_is_not_empty_while_a_sweep_passes_over_one() {
    let (set, _begun) = Departures::new(9);
    let passed = pass(1);
    assert!(set.begin_pass(&passed));
    set.stop();
    let mut empty = std::pin::pin!(set.empty());
    assert!(futures_util::poll!(empty.as_mut()).is_pending(), "a write may be under way");
    drop(set.passer(&passed));
    empty.await;
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

#[tokio::test]
async fn what_is_in_hand_of_a_task_that_panics_is_let_go() {
    let (set, _begun) = Departures::new(9);
    let set = Arc::new(set);
    let entry = in_hand(take_up(&set, departure(1, Some("ours"))));
    let passed = pass(2);
    assert!(set.begin_pass(&passed));
    let (walking_set, walking, passing) = (Arc::clone(&set), Arc::clone(&entry), Arc::clone(&passed));
    let task = tokio::spawn(async move {
        let _walker = walking_set.walker(&walking);
        let _passer = walking_set.passer(&passing);
        panic!("a defect");
    });
    assert!(task.await.is_err_and(|error| error.is_panic()));
    assert_eq!(entry.done().await, Done::LetGo, "its message goes to somebody else");
    set.empty().await;
    in_hand(take_up(&set, departure(1, Some("ours"))));
}

#[test]
fn a_walk_that_ends_says_how() {
    let (set, _begun) = Departures::new(9);
    let entry = in_hand(take_up(&set, departure(1, None)));
    set.walker(&entry).done = Done::Over;
    assert_eq!((set.count(), set.shown().1.len()), (0, 1));
}
