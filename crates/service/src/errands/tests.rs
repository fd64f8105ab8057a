//! The set of errands: one an instance and kind, bounded, and never held by nobody.

use super::*;
use crate::view::View;
use decamp_core::decide::LifecycleAction;

fn interrupted(number: u64) -> Errand {
    Errand::Interrupted { instance: InstanceId::from_number(number), at: Time(120_000) }
}

#[test]
fn what_is_told_twice_is_one_and_another_kind_is_another() {
    let (set, mut begun) = Errands::new();
    let first = set.take_up(interrupted(1)).expect("there is room");
    let again = set.take_up(interrupted(1)).expect("it is in hand");
    assert!(Arc::ptr_eq(&first, &again));
    let other = set.take_up(Errand::Replace { instance: InstanceId::from_number(1), due: None }).expect("there is room");
    assert!(!Arc::ptr_eq(&first, &other));
    let later = Errand::Replace { instance: InstanceId::from_number(1), due: Some(Time(9)) };
    assert!(!Arc::ptr_eq(&other, &set.take_up(later).expect("there is room")), "what is due at once does not wait for it");
    let run = std::iter::from_fn(|| begun.try_recv().ok()).count();
    assert_eq!(run, 3, "each is run once");
}

#[test]
fn the_set_is_bounded_and_has_room_again_when_one_is_over() {
    let (set, _begun) = Errands::new();
    let taken: Vec<_> = (0..).map_while(|number| set.take_up(interrupted(number))).collect();
    assert_eq!(taken.len(), MOST);
    assert!(set.take_up(interrupted(5)).is_some(), "it is in hand");
    set.finish(&taken[7], Became::Over);
    assert!(set.take_up(interrupted(9_999)).is_some() && set.take_up(interrupted(9_998)).is_none());
}

#[tokio::test]
async fn whoever_told_of_it_waits_for_the_departure_that_it_became() {
    let (set, _begun) = Errands::new();
    let errand = set.take_up(interrupted(1)).expect("there is room");
    let cause = Cause::Lifecycle(LifecycleAction::default());
    let departure = Departure { instance: InstanceId::from_number(1), asg: "web".into(), cause };
    let view = View::begin(&departure, "event", Time(0));
    let entry = Entry::new(departure, view);
    set.finish(&errand, Became::Departure(Arc::clone(&entry)));
    set.empty().await;
    let mut done = std::pin::pin!(errand.done());
    assert!(futures_util::poll!(done.as_mut()).is_pending(), "it is walked");
    let (departures, _begun) = crate::departures::Departures::new(9);
    departures.finish(&entry, Done::Over);
    assert_eq!(done.await, Done::Over);
}

#[tokio::test]
async fn one_whose_task_panics_is_let_go() {
    let (set, _begun) = Errands::new();
    let set = Arc::new(set);
    let errand = set.take_up(interrupted(1)).expect("there is room");
    let (running_set, running) = (Arc::clone(&set), Arc::clone(&errand));
    let task = tokio::spawn(async move {
        let _running = Running { set: &running_set, errand: &running, became: Became::LetGo };
        panic!("a defect");
    });
    assert!(task.await.is_err_and(|error| error.is_panic()));
    assert_eq!(errand.done().await, Done::LetGo);
    set.empty().await;
}
