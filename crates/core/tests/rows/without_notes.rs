//! What a worker concludes from the live systems about an earlier worker that left no note, or one that says too little. (ADR 0002, 0009.)

use decamp_core::decide::{
    Action, Beginning, ClientStatus, Decision, DrainMeta, DrainStatus, EffectKind, GroupToRead, LastDrain, Noted, Outcome, Part,
    Phase, Reason, Snapshot, StoppedUnseen, TargetHealth,
};
use decamp_core::time::Time;

use crate::decisions::{completion, effects, only_waits, writes};
use crate::facts::{API, ENTRY, attached, departure, instance, named, secs};
use crate::scene::{Scene, calm, draining};

fn note(what: Beginning, since: Time) -> Noted {
    Noted { what, action: departure().mark(), since, listed: 0 }
}

/// A drain of the services by an earlier worker, begun then and complete since.
fn services_drained(started: Time) -> LastDrain {
    let (action, until) = (departure().mark(), ENTRY + secs(7000));
    let meta =
        DrainMeta { action, phase: Phase::Services, until, longest_stop: secs(30), allocations: 3, warm: false, unproved: false };
    LastDrain { status: DrainStatus::Complete, started: Some(started), updated: Some(started + secs(15)), meta: Some(meta) }
}

/// When everything is drained by a worker that scans all target groups, first looks after 20 s, and finds that the targets are leaving.
fn drained_at(change: impl FnOnce(&mut Scene)) -> Time {
    let mut scene = calm();
    scene.policy.scan = true;
    scene.now = ENTRY + secs(20);
    for arn in [attached(), named()] {
        scene.targets(&arn, |target| target.health = TargetHealth::Draining);
    }
    scene.node().eligible = false;
    change(&mut scene);
    for _ in 0..120 {
        let decision = scene.next_slowly(1);
        if writes(&decision, EffectKind::Drain) {
            return scene.now;
        }
        if effects(&decision).is_empty() {
            scene.pass(5);
            scene.targets_leave();
        }
        scene.obey(&decision);
    }
    panic!("it never drains: {:?}", scene.decide());
}

#[test]
fn a_group_that_the_scan_no_longer_found_is_waited_for_from_the_best_evidence_of_its_deregistration() {
    let deregistered = vec![note(Beginning::Deregistered, ENTRY + secs(1))];
    let services = services_drained(ENTRY + secs(2));
    let cases = [
        ("a note", ENTRY + secs(1 + 120), deregistered, None),
        ("a drain of the services", ENTRY + secs(2 + 1 + 120), Vec::new(), Some(services)),
        ("a target that reads draining at the first look", ENTRY + secs(20 + 120), Vec::new(), None),
    ];
    for (evidence, earliest, notes, last_drain) in cases {
        let at = drained_at(|scene| (scene.node().notes, scene.node().last_drain) = (notes, last_drain));
        assert!(earliest <= at && at < earliest + secs(20), "{evidence}: {at}, and not {earliest}");
    }
}

#[test]
fn a_scan_that_once_found_nothing_says_nothing_about_what_a_later_one_found() {
    let mut scene = calm();
    scene.policy.scan = true;
    scene.fronts.clear();
    scene.group.attached.clear();
    scene.group.hooks[0].target_groups.clear();
    scene.now = ENTRY + secs(400);
    scene.node().eligible = false;
    scene.node().notes = vec![note(Beginning::Scanned, ENTRY + secs(10)), note(Beginning::Deregistered, ENTRY + secs(390))];
    let decision = waits(&mut scene);
    assert_eq!(decision.reason, Reason::NowhereListed { until: ENTRY + secs(390 + 120) });
}

fn waits(scene: &mut Scene) -> Decision {
    for _ in 0..20 {
        let decision = scene.next_slowly(1);
        if matches!(decision.action, Action::Wait { .. }) {
            return decision;
        }
        scene.obey(&decision);
    }
    panic!("it never waits: {:?}", scene.decide());
}

#[test]
fn a_target_that_reads_draining_was_listed_after_somebody_noted_that_it_was_not() {
    let mut scene = calm();
    scene.now = ENTRY + secs(100);
    scene.policy.overlap = false;
    for arn in [attached(), named()] {
        scene.targets(&arn, |target| target.health = TargetHealth::Draining);
    }
    scene.node().eligible = false;
    let unlisted = note(Beginning::Unlisted, ENTRY + secs(1));
    scene.node().notes.push(unlisted);
    let decision = waits(&mut scene);
    only_waits(&decision, "load-balancer-delay");
    let Reason::LoadBalancerDelay { until, .. } = decision.reason else { panic!("{decision:?}") };
    assert!(ENTRY + secs(100 + 30) <= until, "{until}");
    // The note of a worker that knows less does not replace the one of a worker that knows more.
    let deregistered = note(Beginning::Deregistered, scene.now + secs(60));
    scene.node().notes = vec![deregistered.clone()];
    scene.seen = Snapshot::begin(instance(), scene.now);
    waits(&mut scene);
    assert!(scene.node().notes.contains(&deregistered), "{:?}", scene.node().notes);
}

#[test]
fn a_target_that_the_first_look_did_not_show_was_deregistered_after_it() {
    let mut scene = calm();
    scene.policy.overlap = false;
    scene.node().eligible = false;
    let targets = scene.front(&named()).targets.replace(Vec::new().into());
    scene.targets(&attached(), |target| target.health = TargetHealth::Draining);
    let began = scene.now;
    waits(&mut scene);
    scene.pass(60);
    scene.front(&named()).targets = targets;
    scene.targets(&named(), |target| target.health = TargetHealth::Draining);
    let groups = vec![GroupToRead { arn: named(), attached: false }];
    scene.look(&Part::TargetGroups { groups, attributes_again: false });
    let decision = waits(&mut scene);
    let Reason::LoadBalancerDelay { group, until } = decision.reason else { panic!("{decision:?}") };
    assert!(group == named() && began + secs(60 + 30) <= until, "{group} until {until}");
}

#[test]
fn an_outage_of_consul_may_have_begun_with_a_drain_that_is_complete_by_now() {
    let mut scene = draining(|_| ());
    let started = scene.now;
    scene.pass(10);
    let told = scene.now;
    scene.allocation(API, |a| {
        (a.client, a.told, a.ended) = (ClientStatus::Complete, Some(told), Some(told + secs(5)));
    });
    scene.pass(10);
    scene.drain_completes();
    let updated = scene.now;
    if let Some(last) = &mut scene.node().last_drain {
        (last.started, last.updated) = (Some(started), Some(updated));
    }
    scene.consul_hangs = true;
    scene.seen = Snapshot::begin(instance(), scene.now);
    scene.look(&Part::Nomad);
    for _ in 0..4 {
        scene.look_in_vain(&Part::Consul);
        scene.pass(5);
    }
    let now = scene.now;
    scene.allocations(|a| a.ended = a.ended.or(Some(now)));
    scene.everything_stops();
    scene.consul_hangs = false;
    scene.look(&Part::Consul);
    let outcome = completion(&scene.until_it_writes(EffectKind::Complete)).1;
    let Outcome::Unconfirmed { unseen: Some(StoppedUnseen { titles, .. }), .. } = &outcome else { panic!("{outcome:?}") };
    assert!(titles.iter().any(|title| **title == *"api/group"), "{titles:?}");
}
