//! Tests of the set of pending lookups: one for each instance and kind, bounded, and never left without a task.

use super::*;
use crate::view::View;
use decamp_core::decide::LifecycleAction;

fn interrupted(number: u64) -> Lookup {
    Lookup::Interrupted { instance: InstanceId::from_number(number), at: Time(120_000) }
}

#[test]
fn two_equal_events_are_one_lookup_and_another_kind_is_another() {
    let (set, mut begun) = PendingLookups::new();
    let first = set.add(interrupted(1)).expect("there is room");
    let again = set.add(interrupted(1)).expect("it is pending");
    assert!(Arc::ptr_eq(&first, &again));
    let other = set.add(Lookup::Replace { instance: InstanceId::from_number(1), due: None }).expect("there is room");
    assert!(!Arc::ptr_eq(&first, &other));
    let later = Lookup::Replace { instance: InstanceId::from_number(1), due: Some(Time(9)) };
    assert!(!Arc::ptr_eq(&other, &set.add(later).expect("there is room")), "an urgent replacement does not wait for a later one");
    let run = std::iter::from_fn(|| begun.try_recv().ok()).count();
    assert_eq!(run, 3, "each is run once");
}

#[test]
fn the_set_is_bounded_and_has_room_again_when_one_is_done() {
    let (set, _begun) = PendingLookups::new();
    let taken: Vec<_> = (0..).map_while(|number| set.add(interrupted(number))).collect();
    assert_eq!(taken.len(), MOST);
    assert!(set.add(interrupted(5)).is_some(), "it is pending");
    set.finish(&taken[7], LookupResult::Finished);
    assert!(set.add(interrupted(9_999)).is_some() && set.add(interrupted(9_998)).is_none());
}

#[tokio::test]
async fn the_sender_waits_for_the_departure_that_its_event_became() {
    let (set, _begun) = PendingLookups::new();
    let pending = set.add(interrupted(1)).expect("there is room");
    let cause = Cause::Lifecycle(LifecycleAction::default());
    let departure = Departure { instance: InstanceId::from_number(1), asg: "web".into(), cause };
    let view = View::begin(&departure, "event", Time(0));
    let entry = Entry::new(departure, view);
    set.finish(&pending, LookupResult::Departure(Arc::clone(&entry)));
    set.empty().await;
    let mut done = std::pin::pin!(pending.done());
    assert!(futures_util::poll!(done.as_mut()).is_pending(), "its departure is in progress");
    let (departures, _begun) = crate::departures::Departures::new(9);
    departures.finish(&entry, Done::Finished);
    assert_eq!(done.await, Done::Finished);
}

#[tokio::test]
async fn a_lookup_whose_task_panics_is_released() {
    let (set, _begun) = PendingLookups::new();
    let set = Arc::new(set);
    let pending = set.add(interrupted(1)).expect("there is room");
    let (running_set, running) = (Arc::clone(&set), Arc::clone(&pending));
    let task = tokio::spawn(async move {
        let _running = Running { set: &running_set, pending: &running, result: LookupResult::Released };
        panic!("a defect");
    });
    assert!(task.await.is_err_and(|error| error.is_panic()));
    assert_eq!(pending.done().await, Done::Released);
    set.empty().await;
}
