//! A target group that the hook names and that does not list the instance at the first look: a contradiction, not a success. (ADR 0008.)

use std::sync::Arc;

use decamp_core::decide::{Beginning, EffectKind, Launched, Loss, Noted, Outcome, Snapshot, Target, last_written};
use decamp_core::ids::TargetId;

use crate::decisions::{completion, deregistrations, drain, only_waits, ours, writes};
use crate::facts::{another_instance, named, secs, target};
use crate::scene::{Scene, calm};

/// The targets of the named group.
fn listed(scene: &mut Scene, targets: Vec<Target>) {
    scene.front(&named()).targets = Some(targets.into());
}

fn of_another() -> Target {
    target(TargetId::Instance(another_instance()), 8080)
}

/// The calm world whose named group does not list the instance, up to the deregistration from the attached one.
fn absent(change: impl FnOnce(&mut Scene)) -> Scene {
    let mut scene = calm();
    listed(&mut scene, vec![of_another()]);
    scene.group.launched = Launched::Untold;
    change(&mut scene);
    let decision = scene.until_it_writes(EffectKind::Deregister);
    assert!(deregistrations(&decision).iter().all(|(group, ..)| *group != named()), "it is not listed there");
    scene.obey(&decision);
    scene
}

/// Until everything is over. Returns the completion.
fn ends(scene: &mut Scene) -> Outcome {
    let mut decision = scene.until_no_heartbeat();
    for _ in 0..40 {
        if writes(&decision, EffectKind::Complete) {
            return completion(&decision).1;
        }
        if writes(&decision, EffectKind::Drain) {
            scene.obey(&decision);
            scene.next();
            scene.pass(20);
            scene.everything_stops();
        } else {
            scene.obey(&decision);
            scene.pass(12);
            scene.targets_leave();
        }
        decision = scene.until_no_heartbeat();
    }
    panic!("it never ends: {decision:?}");
}

#[test]
fn nothing_is_drained_beside_it_and_the_end_is_unconfirmed() {
    let mut scene = absent(|_| ());
    only_waits(&scene.until_no_heartbeat(), "load-balancer-delay");
    let found: Vec<Arc<str>> =
        scene.foreseen().into_iter().filter(|finding| finding.loss == Loss::NotATarget).map(|finding| finding.object).collect();
    assert_eq!(found, [named().name().into()] as [Arc<str>; 1]);
    assert_eq!(ends(&mut scene), Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() });
}

#[test]
fn an_empty_list_is_the_same_contradiction() {
    let mut scene = absent(|scene| listed(scene, Vec::new()));
    only_waits(&scene.until_no_heartbeat(), "load-balancer-delay");
    assert_eq!(ends(&mut scene), Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() });
}

#[test]
fn what_shows_up_meanwhile_is_deregistered_and_nothing_is_in_doubt() {
    let mut scene = absent(|_| ());
    only_waits(&scene.until_no_heartbeat(), "load-balancer-delay");
    listed(&mut scene, vec![of_another(), ours(8080)]);
    scene.pass(12);
    let decision = scene.until_it_writes(EffectKind::Deregister);
    assert!(deregistrations(&decision).iter().any(|(group, ..)| *group == named()), "{decision:?}");
    scene.obey(&decision);
    assert_eq!(ends(&mut scene), Outcome::Departed { waiting_for: None });
}

#[test]
fn it_is_waited_for_as_long_as_the_group_might_still_send() {
    let mut scene = absent(|scene| scene.front(&named()).delay = Some(secs(120)));
    scene.pass(100);
    scene.targets_leave();
    only_waits(&scene.until_no_heartbeat(), "load-balancer-delay");
    scene.pass(21);
    assert!(drain(&scene.until_it_writes(EffectKind::Drain)).2.unproved);
}

#[test]
fn if_somebody_has_begun_that_worker_took_the_instance_out() {
    let begun = |scene: &mut Scene| scene.node().eligible = false;
    let mut scene = absent(begun);
    assert!(scene.foreseen().iter().all(|finding| finding.loss != Loss::NotATarget));
    assert_eq!(ends(&mut scene), Outcome::Departed { waiting_for: None });
}

#[test]
fn a_node_that_appears_late_shows_whether_somebody_has_begun() {
    for (begun, outcome) in [
        (false, Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() }),
        (true, Outcome::Departed { waiting_for: None }),
    ] {
        let mut scene = calm();
        scene.fronts.iter_mut().for_each(|front| front.targets = Some([of_another()].into()));
        scene.group.launched = Launched::Untold;
        // Its node was purged, and its agent registers again.
        let nodes = std::mem::take(&mut scene.nomad.nodes);
        only_waits(&scene.until_no_heartbeat(), "node-missing");
        scene.pass(31);
        scene.nomad.nodes = nodes;
        scene.node().eligible = !begun;
        assert_eq!(ends(&mut scene), outcome, "begun: {begun}");
    }
}

#[test]
fn one_that_never_came_up_is_in_no_group() {
    let young = |scene: &mut Scene| scene.group.launched = Launched::At(scene.now - secs(300));
    let mut scene = absent(young);
    assert_eq!(ends(&mut scene), Outcome::Departed { waiting_for: None });
}

#[test]
fn a_group_that_settings_alone_name_may_be_another_groups() {
    let by_settings = |scene: &mut Scene| {
        scene.group.hooks[0].target_groups.clear();
        scene.policy.target_groups = vec![named()];
    };
    let mut scene = absent(by_settings);
    assert_eq!(ends(&mut scene), Outcome::Departed { waiting_for: None });
}

#[test]
fn a_group_that_is_attached_as_well_was_left_by_auto_scaling() {
    let mut scene = absent(|scene| scene.group.attached.push(named()));
    assert_eq!(ends(&mut scene), Outcome::Departed { waiting_for: None });
}

#[test]
fn the_next_worker_goes_on_from_the_note() {
    let mut scene = absent(|_| ());
    scene.until_no_heartbeat();
    let notes = scene.node().notes.clone();
    let of = |notes: &[Noted], what| notes.iter().find(|note| note.what == what).map(|note| note.since);
    let since = of(&notes, Beginning::Unlisted).expect("it is noted");
    assert_eq!(of(&notes, Beginning::Deregistered), None, "nobody has seen it there");
    scene.seen = Snapshot::begin(scene.departure.instance, scene.now);
    scene.pass(20);
    scene.targets_leave();
    let mut decision = scene.until_no_heartbeat();
    assert!(last_written(&scene.departure, &scene.seen) >= Some(since));
    while !writes(&decision, EffectKind::Drain) {
        assert!(scene.now < since + secs(32), "the wait began with the first worker: {decision:?}");
        scene.pass(1);
        decision = scene.until_no_heartbeat();
    }
    assert!(drain(&decision).2.unproved);
    assert_eq!(ends(&mut scene), Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() });
}

#[test]
fn what_an_earlier_worker_deregistered_is_in_no_doubt() {
    let mut scene = absent(|scene| {
        let (action, since) = (scene.departure.mark(), scene.now - secs(1));
        scene.node().notes.push(Noted { what: Beginning::Deregistered, action, since, listed: 0 });
    });
    assert_eq!(ends(&mut scene), Outcome::Departed { waiting_for: None });
}

#[test]
fn the_worker_that_began_may_only_have_made_the_node_ineligible() {
    let begun = |scene: &mut Scene| scene.node().eligible = false;
    let mut scene = absent(begun);
    listed(&mut scene, vec![of_another(), ours(8080)]);
    let decision = scene.until_it_writes(EffectKind::Deregister);
    assert!(deregistrations(&decision).iter().any(|(group, ..)| *group == named()), "its first answer lagged: {decision:?}");
}

#[test]
fn the_worker_that_saw_it_listed_knows_better_than_one_that_came_later() {
    let mut scene = absent(|scene| {
        let (action, since) = (scene.departure.mark(), scene.now - secs(1));
        for what in [Beginning::Deregistered, Beginning::Unlisted] {
            scene.node().notes.push(Noted { what, action: action.clone(), since, listed: 0 });
        }
    });
    assert_eq!(ends(&mut scene), Outcome::Departed { waiting_for: None });
}

#[test]
fn what_another_worker_took_out_a_moment_ago_may_be_sent_to_until_its_delay_is_over() {
    let mut scene = absent(|scene| {
        scene.front(&named()).delay = Some(secs(300));
        scene.policy.overlap = false;
    });
    scene.pass(20);
    let (action, taken_out) = (scene.departure.mark(), scene.now - secs(8));
    let note = Noted { what: Beginning::Deregistered, action, since: taken_out, listed: 0 };
    scene.node().notes.push(note.clone());
    scene.pass(12);
    scene.targets_leave();
    only_waits(&scene.until_no_heartbeat(), "load-balancer-delay");
    assert!(scene.node().notes.contains(&note), "nothing moves it earlier: {:?}", scene.node().notes);
    scene.now = taken_out + secs(299);
    only_waits(&scene.until_no_heartbeat(), "load-balancer-delay");
    scene.pass(1);
    assert!(!drain(&scene.until_it_writes(EffectKind::Drain)).2.unproved, "another saw it listed");
    assert_eq!(ends(&mut scene), Outcome::Departed { waiting_for: None });
}
