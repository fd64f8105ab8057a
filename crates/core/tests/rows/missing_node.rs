//! An instance that is no Nomad node: whether that is expected, or an error. (ADR 0007.)

use decamp_core::decide::{EffectKind, Launched, Outcome, Reason};

use crate::decisions::{completion, only_waits, writes};
use crate::facts::{ENTRY, attached, secs};
use crate::scene::{Scene, calm, draining};

#[track_caller]
fn still_here(decision: &decamp_core::decide::Decision) {
    assert!(!writes(decision, EffectKind::Complete), "it must not be let go: {decision:?}");
}

/// The instance is not a node, nothing sends to it, and its group shows this about its launch.
fn nowhere(launched: Launched, without_nomad: &[&str]) -> Scene {
    let mut scene = calm();
    scene.nomad.nodes.clear();
    scene.group.launched = launched;
    scene.policy.without_nomad = without_nomad.iter().map(|pattern| (*pattern).into()).collect();
    scene.group.attached.clear();
    scene.group.hooks[0].target_groups.clear();
    scene
}

#[test]
fn the_node_of_a_young_instance_or_of_a_group_without_nomad_is_waited_for_and_then_it_goes_without_one() {
    let no_node = (Outcome::NoNode, Reason::NoNodeYet);
    // Where no node is expected, nothing went wrong.
    let departed = (Outcome::Departed { waiting_for: None }, Reason::NothingLeft);
    let cases = [(Launched::At(ENTRY - secs(14 * 60)), &[][..], no_node), (Launched::Untold, &["other", "we*"][..], departed)];
    for (launched, without_nomad, expected) in cases {
        let mut scene = nowhere(launched, without_nomad);
        let since = scene.now;
        only_waits(&scene.until_no_heartbeat(), "no-node-yet");
        scene.pass(27);
        still_here(&scene.next());
        scene.now = since + secs(31);
        let decision = scene.until_it_writes(EffectKind::Complete);
        assert_eq!((completion(&decision).1, decision.reason), expected, "{launched:?}");
    }
}

#[test]
fn an_instance_that_had_time_to_join_and_has_no_node_is_waited_for_to_the_end() {
    let healthy = |scene: &mut Scene| {
        scene.group.attached = vec![attached()];
        let decision = scene.until_it_writes(EffectKind::Deregister);
        scene.obey(&decision);
        scene.targets_leave();
    };
    let cases: &[(Launched, bool)] =
        &[(Launched::At(ENTRY - secs(16 * 60)), false), (Launched::Untold, false), (Launched::At(ENTRY - secs(60)), true)];
    for (launched, was_healthy) in cases {
        let mut scene = nowhere(*launched, &["another"]);
        if *was_healthy {
            healthy(&mut scene);
        }
        scene.pass(60);
        only_waits(&scene.until_no_heartbeat(), "node-missing");
        scene.pass(3600);
        still_here(&scene.until_no_heartbeat());
        scene.now = scene.budget().end;
        assert_eq!(completion(&scene.until_it_writes(EffectKind::Complete)).1, Outcome::NoNode, "{launched:?}");
    }
}

#[test]
fn a_node_that_was_seen_and_is_gone_is_not_a_missing_node() {
    let mut scene = draining(|_| ());
    scene.nomad.nodes.clear();
    scene.consul.services = Vec::new().into();
    scene.news_from_nomad();
    still_here(&scene.next());
    scene.pass(600);
    let decision = scene.until_it_writes(EffectKind::Complete);
    assert_ne!(completion(&decision).1, Outcome::NoNode);
}
