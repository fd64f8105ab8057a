//! The force: never before the load balancers have released the instance, and in order as long as there is time. (ADR 0001.)

use decamp_core::decide::{EffectKind, Outcome, Phase, Refusal, Snapshot};

use crate::decisions::{completion, drain, writes};
use crate::facts::{API, secs};
use crate::scene::{Scene, calm_and_seen, draining, over, released};

/// Its deregistration is denied for good.
fn denied_until(when: impl Fn(&Scene) -> decamp_core::time::Time) -> Scene {
    let mut scene = calm_and_seen();
    let decision = scene.next();
    assert!(writes(&decision, EffectKind::Deregister), "{decision:?}");
    scene.refuse(&decision, &Refusal::Denied("no".into()));
    scene.now = when(&scene);
    scene
}

#[test]
fn what_serves_a_target_that_is_not_released_is_not_forced_before_the_very_end() {
    let mut scene = denied_until(|scene| scene.budget().last_force - secs(1));
    let decision = scene.next();
    assert!(!writes(&decision, EffectKind::Drain), "{decision:?}");
}

#[test]
fn at_the_very_end_everything_is_forced() {
    let mut scene = denied_until(|scene| scene.budget().last_force);
    let (deadline, _, meta) = drain(&scene.until_it_writes(EffectKind::Drain));
    assert_eq!((deadline, meta.phase), (1, Phase::Forced));
}

#[test]
fn a_job_that_claims_hours_does_not_shorten_the_deadline_of_others() {
    let claims = |seconds: u64| {
        let mut scene = released(|scene| scene.task_group(API, |group| group.tasks[0].kill_timeout = secs(seconds)));
        drain(&scene.until_it_writes(EffectKind::Drain))
    };
    let (as_capped, hours) = (claims(30), claims(7200));
    assert_eq!((hours.0, hours.2.phase), (as_capped.0, Phase::All));
}

#[test]
fn what_does_not_fit_is_drained_in_order_all_the_same() {
    let mut scene = released(|scene| scene.policy.max_departure = secs(130));
    let (deadline, _, meta) = drain(&scene.until_it_writes(EffectKind::Drain));
    assert_eq!(meta.phase, Phase::All);
    assert!((20..=30).contains(&deadline), "{deadline} s");
}

#[test]
fn without_a_force_the_deadline_is_all_the_time_that_is_left() {
    let mut scene = released(|scene| scene.policy.never_force = true);
    let decision = scene.until_it_writes(EffectKind::Drain);
    assert_eq!(drain(&decision).0, scene.budget().end.since(scene.now).as_secs());
}

#[test]
fn without_a_force_nothing_is_drained_when_no_time_is_left() {
    let mut scene = released(|scene| scene.policy.never_force = true);
    scene.now = scene.budget().end - secs(1);
    let decision = scene.until_no_heartbeat();
    assert!(!writes(&decision, EffectKind::Drain), "{decision:?}");
}

#[test]
fn a_drain_under_way_is_forced_a_margin_before_the_end_and_not_before_its_stops_would_fit() {
    let mut scene = draining(|_| ());
    scene.allocation(API, |a| a.wanted = true);
    scene.news_from_nomad();
    scene.now = scene.budget().end - secs(17 + 30);
    assert!(writes(&scene.until_it_writes(EffectKind::Drain), EffectKind::Drain));
}

/// Everything is over by the time a worker comes that remembers nothing, told to stop so many seconds before the drain's end.
fn ended_before_the_next_worker(before_its_end: u64, change: impl FnOnce(&mut Scene)) -> Outcome {
    let mut scene = over(change);
    let until = scene.node().last_drain.as_ref().and_then(|drain| drain.meta.as_ref()).expect("it is ours").until;
    scene.allocations(|a| a.told = Some(until - secs(before_its_end)));
    scene.seen = Snapshot::begin(scene.departure.instance, scene.now);
    let mut decision = scene.until_no_heartbeat();
    while !writes(&decision, EffectKind::Complete) {
        scene.pass(31);
        decision = scene.until_no_heartbeat();
    }
    completion(&decision).1
}

#[test]
fn a_deadline_that_cut_is_named_by_a_worker_that_comes_after_it() {
    assert_eq!(ended_before_the_next_worker(60, |_| ()), Outcome::Departed { waiting_for: None });
    assert_eq!(ended_before_the_next_worker(0, |_| ()), Outcome::Forced);
}

#[test]
fn what_is_unconfirmed_and_was_cut_by_a_deadline_says_both() {
    let leftover = |scene: &mut Scene| scene.consul.services = Vec::new().into();
    let cut = |seconds| ended_before_the_next_worker(seconds, leftover);
    assert_eq!(cut(60), Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() });
    assert_eq!(cut(0), Outcome::Unconfirmed { unseen: None, cut: true, unread: [].into() });
    assert!(cut(0).meaning().contains("cut short by a deadline"), "{}", cut(0).meaning());
}
