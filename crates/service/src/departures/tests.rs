//! Tests of the set of departures: admission, release, passes and memory.

use super::*;
use decamp_core::decide::LifecycleAction;
use decamp_core::time::Time;

fn departure(number: u64, hook: Option<&str>) -> Departure {
    let action = LifecycleAction { hook: hook.map(Arc::from), ..LifecycleAction::default() };
    Departure { instance: InstanceId::from_number(number), asg: "web".into(), cause: Cause::Lifecycle(action) }
}

fn admit(set: &Departures, departure: Departure) -> Admission {
    let view = View::begin(&departure, "event", Time(0));
    set.admit(departure, || view)
}

/// The entry of a sweep's pass.
fn pass(number: u64) -> Arc<Entry> {
    let departure = departure(number, None);
    let view = View::begin(&departure, "sweep", Time(0));
    Entry::new(departure, view)
}

fn in_progress(taken: Admission) -> Arc<Entry> {
    match taken {
        Admission::InProgress(entry) => entry,
        Admission::Finished | Admission::Full | Admission::Stopping => panic!("{taken:?}"),
    }
}

#[test]
fn an_ended_departure_is_not_run_again_and_pushes_nothing_out() {
    let (set, _begun) = Departures::new(10);
    let reported = |number: u64, token: &str| {
        let mut reported = departure(number, Some("ours"));
        if let Cause::Lifecycle(action) = &mut reported.cause {
            action.token = Some(format!("{token:-<36}").parse().expect("a token"));
        }
        reported
    };
    let first = in_progress(admit(&set, reported(1, "one")));
    set.finish(&first, Done::Finished);
    for _ in 0..2_000 {
        assert!(matches!(admit(&set, reported(1, "one")), Admission::Finished));
    }
    assert_eq!((set.count(), set.shown().1.len()), (0, 1));
    // The instance comes back from a warm pool and leaves again. Another instance has its own token. A released departure has not
    // ended.
    let second = in_progress(admit(&set, reported(1, "two")));
    set.finish(&second, Done::Released);
    in_progress(admit(&set, reported(1, "two")));
    in_progress(admit(&set, reported(2, "one")));
}

#[test]
fn a_departure_that_is_reported_twice_is_run_once() {
    let (set, mut begun) = Departures::new(9);
    let first = in_progress(admit(&set, departure(1, Some("ours"))));
    let again = in_progress(admit(&set, departure(1, Some("ours"))));
    assert!(Arc::ptr_eq(&first, &again));
    assert!(begun.try_recv().is_ok() && begun.try_recv().is_err());
}

#[test]
fn the_set_is_bounded_and_has_room_again_when_a_departure_ends() {
    let (set, _begun) = Departures::new(2);
    let first = in_progress(admit(&set, departure(1, None)));
    in_progress(admit(&set, departure(2, None)));
    assert!(matches!(admit(&set, departure(3, None)), Admission::Full));
    assert!(set.is_full());
    set.finish(&first, Done::Finished);
    in_progress(admit(&set, departure(3, None)));
}

#[test]
fn an_event_replaces_the_departure_that_a_sweep_admitted() {
    let (set, _begun) = Departures::new(9);
    let swept = in_progress(admit(&set, departure(1, None)));
    in_progress(admit(&set, departure(1, Some("ours"))));
    assert!(*swept.stop.borrow());
}

#[test]
fn an_event_replaces_it_in_a_full_set_too() {
    let (set, _begun) = Departures::new(1);
    let swept = in_progress(admit(&set, departure(1, None)));
    assert!(matches!(admit(&set, departure(2, Some("ours"))), Admission::Full));
    in_progress(admit(&set, departure(1, Some("ours"))));
    assert!(*swept.stop.borrow());
    set.finish(&swept, Done::Released);
    assert!(set.is_full());
}

#[test]
fn an_event_during_a_sweeps_pass_over_its_instance_ends_the_pass() {
    let (set, _begun) = Departures::new(9);
    let (passed, other) = (pass(1), pass(2));
    assert!(set.begin_pass(&passed) && set.begin_pass(&other));
    let reported = in_progress(admit(&set, departure(1, Some("ours"))));
    assert!(*passed.stop.borrow() && !*other.stop.borrow());
    drop(set.pass_guard(&passed));
    assert!(!set.begin_pass(&pass(1)), "it is in progress");
    assert!(Arc::ptr_eq(&reported, &in_progress(admit(&set, departure(1, None)))), "there is no second run beside it");
    set.finish(&reported, Done::Finished);
    assert!(set.begin_pass(&pass(1)));
    set.stop();
    assert!(*other.stop.borrow() && !set.begin_pass(&pass(3)));
}

#[tokio::test]
async fn a_stopped_set_is_not_empty_while_a_pass_is_running() {
    let (set, _begun) = Departures::new(9);
    let passed = pass(1);
    assert!(set.begin_pass(&passed));
    set.stop();
    let mut empty = std::pin::pin!(set.empty());
    assert!(futures_util::poll!(empty.as_mut()).is_pending(), "a write may be in flight");
    drop(set.pass_guard(&passed));
    empty.await;
}

#[tokio::test]
async fn a_stopped_set_admits_nothing_and_releases_everything() {
    let (set, _begun) = Departures::new(9);
    let entry = in_progress(admit(&set, departure(1, None)));
    set.stop();
    assert!(*entry.stop.borrow());
    assert!(matches!(admit(&set, departure(2, None)), Admission::Stopping));
    set.finish(&entry, Done::Released);
    set.empty().await;
    assert_eq!(entry.done().await, Done::Released);
    assert_eq!(set.shown().1.len(), 0, "a released departure has not ended");
}

#[test]
fn the_past_is_bounded() {
    let (set, _begun) = Departures::new(9);
    for number in 0..1_005 {
        let entry = in_progress(admit(&set, departure(number, None)));
        set.finish(&entry, Done::Finished);
    }
    let (here, past) = set.shown();
    assert_eq!((here.len(), past.len()), (0, PAST_KEPT));
    assert_eq!(past[0].instance, InstanceId::from_number(1_004).to_string());
    assert!(set.of(InstanceId::from_number(2)).is_none() && set.of(InstanceId::from_number(900)).is_some());
}

#[tokio::test]
async fn the_departure_of_a_task_that_panics_is_released() {
    let (set, _begun) = Departures::new(9);
    let set = Arc::new(set);
    let entry = in_progress(admit(&set, departure(1, Some("ours"))));
    let passed = pass(2);
    assert!(set.begin_pass(&passed));
    let (set_of_task, running, passing) = (Arc::clone(&set), Arc::clone(&entry), Arc::clone(&passed));
    let task = tokio::spawn(async move {
        let _run = set_of_task.run_guard(&running);
        let _pass = set_of_task.pass_guard(&passing);
        panic!("a defect");
    });
    assert!(task.await.is_err_and(|error| error.is_panic()));
    assert_eq!(entry.done().await, Done::Released, "another worker gets its message");
    set.empty().await;
    in_progress(admit(&set, departure(1, Some("ours"))));
}

#[test]
fn a_run_that_ends_says_how() {
    let (set, _begun) = Departures::new(9);
    let entry = in_progress(admit(&set, departure(1, None)));
    set.run_guard(&entry).done = Done::Finished;
    assert_eq!((set.count(), set.shown().1.len()), (0, 1));
}
