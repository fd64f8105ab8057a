//! A node whose agent Nomad has lost: decamp waits while anything shows life, and looks again right before it completes. (ADR 0005.)

use std::sync::Arc;

use decamp_core::decide::{Action, EffectKind, NodeStatus, Outcome, Part, Registrations};
use decamp_core::ids::TargetId;

use crate::decisions::{completion, only_waits, writes};
use crate::facts::{named, secs, target};
use crate::scene::{Scene, deregistered};

/// It has left its load balancers, and its agent has been lost for longer than the wait.
fn lost(consul: impl FnOnce(&mut Registrations)) -> Scene {
    let mut scene = deregistered(|scene| {
        scene.policy.overlap = false;
        scene.group.hooks[0].heartbeat_timeout = secs(3600);
    });
    scene.targets_leave();
    scene.node().status = NodeStatus::Down;
    scene.news_from_nomad();
    consul(&mut scene.consul);
    scene.look(&Part::Consul);
    scene.pass(301);
    scene
}

/// The parts that are read until the next decision that is no look.
fn looked_at(mut scene: Scene) -> (Vec<Part>, Scene) {
    let mut all = Vec::new();
    while let Action::Look(parts) = scene.decide().action {
        parts.iter().for_each(|part| scene.look(part));
        all.extend(parts);
    }
    (all, scene)
}

fn nothing_listed(consul: &mut Registrations) {
    consul.services = Vec::new().into();
}

#[test]
fn a_lost_node_whose_services_pass_is_waited_for() {
    let mut scene = lost(|_| ());
    let decision = scene.until_no_heartbeat();
    only_waits(&decision, "agent-lost");
    assert!(decision.reason.to_string().contains("traefik passing"), "{}", decision.reason);
    scene.pass(3600);
    only_waits(&scene.until_no_heartbeat(), "agent-lost");
}

#[test]
fn a_lost_node_without_signs_of_life_is_released() {
    let silent = |consul: &mut Registrations| consul.agent_dead = true;
    assert_eq!(completion(&lost(silent).until_it_writes(EffectKind::Complete)).1, Outcome::AgentDead);
    assert_eq!(completion(&lost(nothing_listed).until_it_writes(EffectKind::Complete)).1, Outcome::AgentDead);
}

#[test]
fn services_that_fail_their_checks_show_no_life() {
    let critical = |consul: &mut Registrations| {
        let all = consul.services.iter().cloned().map(|mut r| {
            r.critical = true;
            r
        });
        consul.services = all.collect::<Arc<[_]>>();
    };
    assert_eq!(completion(&lost(critical).until_it_writes(EffectKind::Complete)).1, Outcome::AgentDead);
}

#[test]
fn a_consul_that_cannot_be_seen_is_no_proof_that_nothing_lives() {
    let mut scene = lost(nothing_listed);
    scene.look_in_vain(&Part::Consul);
    let decision = scene.decide();
    assert!(!writes(&decision, EffectKind::Complete), "{decision:?}");
}

#[test]
fn the_evidence_is_looked_at_again_right_before() {
    let (parts, scene) = looked_at(lost(nothing_listed));
    assert!(parts.contains(&Part::Nomad) && parts.contains(&Part::Consul), "{parts:?}");
    assert!(writes(&scene.decide(), EffectKind::Complete), "{:?}", scene.decide());
    let mut back = lost(nothing_listed);
    back.node().status = NodeStatus::Ready;
    let decision = back.until_no_heartbeat();
    assert!(!writes(&decision, EffectKind::Complete), "its agent is back: {decision:?}");
}

#[test]
fn slow_answers_about_an_unknown_address_end_the_wait_for_a_lost_node_too() {
    let mut scene = deregistered(|scene| {
        scene.policy.overlap = false;
        scene.policy.unknown_target_wait = secs(60);
        scene.group.hooks[0].heartbeat_timeout = secs(3600);
        scene.add_target(&named(), target(TargetId::Ip([10, 9, 9, 9].into()), 8080));
    });
    scene.targets_leave();
    scene.node().status = NodeStatus::Down;
    scene.news_from_nomad();
    scene.consul.services = Vec::new().into();
    scene.pass(301);
    let mut decision = scene.next_slowly(3);
    while let Action::Wait { until, .. } = decision.action {
        scene.now = until.max(scene.now + secs(1));
        decision = scene.next_slowly(3);
    }
    assert_eq!(completion(&decision).1, Outcome::AgentDead);
}

#[test]
fn at_the_end_a_lost_node_is_called_one() {
    let mut scene = lost(|_| ());
    scene.now = scene.budget().end;
    assert_eq!(completion(&scene.until_it_writes(EffectKind::Complete)).1, Outcome::AgentDead);
}

#[test]
fn what_the_outcome_states_is_read_again_before_it() {
    let mut scene = deregistered(|_| ());
    scene.now = scene.budget().end;
    let (parts, scene) = looked_at(scene);
    assert!(parts.contains(&Part::Nomad) && parts.contains(&Part::Consul), "{parts:?}");
    assert!(writes(&scene.decide(), EffectKind::Complete), "{:?}", scene.decide());
}

#[test]
fn what_cannot_be_seen_at_the_end_holds_up_nothing() {
    let mut scene = deregistered(|_| ());
    scene.now = scene.budget().end;
    scene.look(&Part::Lifecycle);
    for part in [Part::Nomad, Part::Consul] {
        scene.look_in_vain(&part);
    }
    let (parts, scene) = looked_at(scene);
    assert!(!parts.contains(&Part::Nomad) && writes(&scene.decide(), EffectKind::Complete), "{:?}", scene.decide());
}
