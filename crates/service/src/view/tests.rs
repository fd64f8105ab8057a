//! Tests of the view: which waits count as decamp's own, and what its timeline keeps.

use super::*;
use decamp_core::decide::{ActionRef, EffectKind, LifecycleAction, Reason};
use decamp_core::ids::InstanceId;

#[test]
fn a_wait_that_another_worker_began_does_not_count_as_ours() {
    let cause = Cause::Lifecycle(LifecycleAction::default());
    let departure = Departure { instance: InstanceId::from_number(1), asg: "web".into(), cause };
    let mut view = View::begin(&departure, "sweep", Time(0));
    assert!(view.saw_the_floor_begin());
    for (reason, what) in [(ReasonKind::LoadBalancerDelay, DELAY), (ReasonKind::AllocationsLeft, STOPPING)] {
        view.steps.next(ActionKind::Wait, reason, Time(5_000));
        assert!(!view.saw_the_floor_begin(), "nobody knows when it began");
        view.floor.push(Stretch { what, from: Time(6_000), to: Time(9_000) });
        assert!(!view.saw_the_floor_begin(), "we waited before the begin that we know");
        view.floor.push(Stretch { what, from: Time(5_000), to: Time(9_000) });
        assert!(view.saw_the_floor_begin());
    }
}

#[test]
fn writes_of_a_sweeps_pass_are_shown_and_do_not_count_as_ours() {
    let cause = Cause::Lifecycle(LifecycleAction::default());
    let departure = Departure { instance: InstanceId::from_number(1), asg: "web".into(), cause };
    let mut pass = View::begin(&departure, "sweep", Time(1_000));
    let deregister = ActionKind::Write(EffectKind::Deregister);
    pass.steps.next(deregister, ReasonKind::TakesRequests, Time(1_100));
    let moment = |at, what: &str| Moment { at: Time(at), what: what.to_owned(), heartbeat: what == "heartbeat", refused: None };
    pass.timeline = vec![moment(1_200, "heartbeat"), moment(1_300, "deregister 1 of web")];
    let view = View::begin(&departure, "sweep", Time(2_000)).continue_from(pass, Time(2_000));
    assert_eq!((view.taken_up, view.timeline.len(), view.includes_a_pass), (Time(1_000), 2, true));
    assert_eq!(view.steps.all().first().map(|step| (step.action, step.to)), Some((deregister, Some(Time(2_000)))));
    let mut told = View::begin(&departure, "event", Time(1_250));
    told.timeline = vec![moment(1_260, "make node n ineligible")];
    told.add_writes(vec![moment(1_200, "heartbeat")]);
    assert!(!told.includes_a_pass, "a heartbeat begins nothing");
    told.add_writes(vec![moment(1_255, "deregister 1 of web")]);
    let shown: Vec<u64> = told.timeline.iter().map(|moment| moment.at.0).collect();
    assert_eq!((shown, told.includes_a_pass), (vec![1_200, 1_255, 1_260], true));
}

#[test]
fn the_view_names_a_trace_if_there_is_one() {
    let cause = Cause::Lifecycle(LifecycleAction::default());
    let departure = Departure { instance: InstanceId::from_number(1), asg: "web".into(), cause };
    let view = View::begin(&departure, "event", Time(0));
    let shown = |view: &View| serde_json::to_value(view).expect("it is JSON");
    assert!(shown(&view).get("trace_id").is_none());
    assert_eq!(shown(&View { trace_id: Some("0f".to_owned()), ..view })["trace_id"], "0f");
}

#[test]
fn a_departure_that_is_kept_alive_forever_has_a_bounded_timeline() {
    let cause = Cause::Lifecycle(LifecycleAction::default());
    let departure = Departure { instance: InstanceId::from_number(1), asg: "web".into(), cause };
    let mut view = View::begin(&departure, "event", Time(0));
    let beat = Effect::Heartbeat(ActionRef { hook: "ours".into(), token: None });
    for time in 0..1_500 {
        view.wrote(&beat, &Ok(()), Time(time));
    }
    assert_eq!((view.timeline.len(), view.timeline[0].at), (MOST_MOMENTS, Time(500)), "the latest are kept");
}

#[test]
fn the_title_of_a_wait_names_its_end_and_does_not_count_down() {
    let cause = Cause::Lifecycle(LifecycleAction::default());
    let departure = Departure { instance: InstanceId::from_number(1), asg: "web".into(), cause };
    let (mut view, policy, until) = (View::begin(&departure, "event", Time(0)), Policy::default(), Time(60_000));
    let seen = Snapshot::begin(departure.instance, Time(0));
    for now in [Time(1_000), Time(6_000)] {
        let decision = Decision { action: Action::Wait { until, watch: Vec::new() }, reason: Reason::NothingLeft };
        view.decided(&departure, &decision, &seen, &policy, now);
        assert_eq!(view.title, format!("wait until {until}"), "at {now}");
    }
}
