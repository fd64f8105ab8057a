//! The time budget: the end, and what must have happened before it. (ADR 0001, 0002.)

use decamp_core::decide::{Cause, LifecycleAction, Part};
use decamp_core::describe::Floor;
use decamp_core::time::Time;

use crate::facts::{API, ENTRY, attached, secs};
use crate::scene::{Scene, calm, calm_and_seen, draining};

fn seen(change: impl FnOnce(&mut Scene)) -> Scene {
    let mut scene = calm();
    change(&mut scene);
    let first = scene.next();
    scene.obey(&first);
    scene.next();
    scene
}

#[test]
fn the_end_is_the_longest_departure_or_the_hook_whichever_is_earlier_less_the_reserve() {
    assert_eq!(calm_and_seen().budget().end, ENTRY + secs(7200 - 30));
    let short = seen(|scene| scene.group.hooks[0].global_timeout = secs(600));
    assert_eq!(short.budget().end, ENTRY + secs(600 - 30));
}

#[test]
fn an_unknown_entry_is_the_activitys_or_else_a_heartbeat_time_out_ago() {
    let swept = |began| {
        seen(|scene| {
            *scene.action() = LifecycleAction::default();
            scene.group.activity_began = began;
        })
    };
    let told = swept(Some(ENTRY + secs(1))).budget();
    assert_eq!((told.began, told.began_is_known), (ENTRY + secs(1), true));
    let assumed = swept(None).budget();
    assert_eq!((assumed.began, assumed.began_is_known), (ENTRY + secs(2) - secs(900), false));
}

#[test]
fn an_outage_never_moves_the_end() {
    let mut scene = calm_and_seen();
    let end = scene.budget().end;
    for part in [Part::Lifecycle, Part::Group { with_activity: false }, Part::Nomad, Part::Consul] {
        scene.look_in_vain(&part);
    }
    scene.pass(600);
    assert_eq!(scene.budget().end, end);
}

/// After a hold the drain's own end counts, and a stop that lasts for hours is no reason to wait longer.
#[test]
fn a_stop_that_goes_on_moves_no_end() {
    let mut scene = draining(|scene| {
        scene.task_group(API, |group| group.tasks[0].kill_timeout = secs(36_000));
        scene.policy.max_departure = secs(600);
    });
    let meta = scene.nomad.nodes[0].last_drain.as_mut().and_then(|last| last.meta.as_mut()).expect("it is decamp's drain");
    meta.until = scene.now + secs(900);
    scene.look(&Part::Nomad);
    let end = scene.budget().end;
    scene.pass(800);
    scene.look(&Part::Nomad);
    assert!(secs(600) < scene.budget().longest_stop, "it has been stopping for long: {:?}", scene.budget());
    assert_eq!(scene.budget().end, end);
}

#[test]
fn a_forced_stop_still_finishes_before_the_end() {
    let budget = calm_and_seen().budget();
    assert_eq!(budget.longest_stop, secs(30), "the group's delay and the task's kill_timeout");
    assert!(budget.force_at + budget.longest_stop + secs(10) <= budget.end, "{budget:?}");
    assert!(budget.until < budget.force_at, "a drain's own deadline comes first: {budget:?}");
}

#[test]
fn the_longest_stop_counts_what_was_seen_once_even_if_it_is_gone() {
    let mut scene = calm_and_seen();
    scene.purge(API);
    scene.news_from_nomad();
    assert_eq!(scene.budget().longest_stop, secs(30));
}

#[test]
fn a_delay_that_cannot_be_read_counts_as_the_default_of_aws() {
    let scene = seen(|scene| scene.front(&attached()).delay = None);
    assert_eq!(scene.budget().balancers, secs(300));
}

#[test]
fn a_short_delay_counts_as_long_as_routing_may_lag() {
    let scene = seen(|scene| scene.fronts.iter_mut().for_each(|front| front.delay = Some(secs(0))));
    assert_eq!(scene.budget().balancers, secs(10));
    let scene = seen(|scene| scene.front(&attached()).kind = decamp_core::decide::BalancerKind::Nlb);
    assert_eq!(scene.budget().balancers, secs(120));
}

#[test]
fn heartbeats_are_a_third_of_the_time_out_apart() {
    assert_eq!(calm_and_seen().budget().heartbeat_every(), secs(300));
    assert_eq!(calm().budget().heartbeat_every(), secs(10), "the shortest that AWS allows, while the hook is not known");
}

#[test]
fn an_interruption_leaves_two_minutes() {
    let mut scene = calm();
    scene.departure.cause = Cause::Interruption { at: ENTRY + secs(120) };
    let budget = scene.budget();
    assert_eq!((budget.began, budget.end), (ENTRY, ENTRY + secs(115)));
}

#[test]
fn what_does_not_fit_is_reported_with_the_setting_to_change() {
    assert_eq!(calm_and_seen().budget().misfit(), None);
    let misfit = seen(|scene| scene.group.hooks[0].global_timeout = secs(90)).budget().misfit().expect("it does not fit");
    assert!(misfit.sentence.contains("heartbeat_timeout"), "{misfit:?}");
}

#[test]
fn allocations_stop_from_the_drain_on_and_not_until_a_change_that_was_before_it() {
    let mut scene = draining(|_| {});
    let drained = scene.seen.history.drains.first().expect("it was sent").at;
    let mut stops = |changed: Time| {
        scene.seen.history.nomad_changed = Some(changed);
        Floor::of(&scene.budget(), &scene.seen).stops
    };
    assert_eq!(stops(drained + secs(5)), Some((drained, drained + secs(5))));
    assert_eq!(stops(Time(drained.0 - 100)), None, "the look was before the drain");
}

/// One job claims this long for its stop.
fn claiming(hours: u64, change: impl FnOnce(&mut Scene)) -> Scene {
    seen(|scene| {
        scene.task_group(API, |group| group.tasks[0].kill_timeout = secs(hours * 3600));
        change(scene);
    })
}

#[test]
fn a_job_claims_no_more_for_its_stop_than_the_setting_allows() {
    let budget = claiming(2, |_| ()).budget();
    assert_eq!(budget.longest_stop, secs(20 + 30), "the group's delay, and what a client allows of the kill_timeout");
    assert_eq!(budget.force_at, budget.end - secs(50 + 17));
    let raised = claiming(2, |scene| scene.policy.max_kill_timeout = secs(600)).budget();
    assert_eq!(raised.longest_stop, secs(20 + 600));
}

#[test]
fn a_stop_that_takes_longer_than_its_settings_counts_as_seen() {
    let mut scene = claiming(2, |_| ());
    scene.allocation(API, |a| a.wanted = false);
    scene.news_from_nomad();
    scene.pass(400);
    scene.news_from_nomad();
    assert_eq!(scene.budget().longest_stop, secs(400));
}

#[test]
fn what_does_not_fit_is_forced_no_earlier_than_a_while_after_the_release() {
    let scene = seen(|scene| scene.policy.max_departure = secs(120));
    let budget = scene.budget();
    let release = scene.now + secs(30);
    assert!(budget.end - secs(17) - budget.longest_stop < release + secs(30), "the longest stop does not fit: {budget:?}");
    assert_eq!(budget.forced_from(release), release + secs(30));
    assert_eq!(budget.forced_from(release + secs(600)), budget.last_force, "but never later than the margin before the end");
    assert_eq!(budget.last_force, budget.end - secs(17));
}

#[test]
fn what_may_never_be_forced_is_given_all_the_time_that_is_left() {
    let budget = seen(|scene| scene.policy.never_force = true).budget();
    assert_eq!(budget.until, budget.end, "Nomad forces at a deadline too");
}
