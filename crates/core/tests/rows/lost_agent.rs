//! A node whose agent Nomad has lost: decamp waits while anything shows life, and looks again right before it completes. (ADR 0005.)

use std::sync::Arc;

use decamp_core::decide::{Action, EffectKind, Node, NodeStatus, Outcome, Part, Registrations};
use decamp_core::ids::{NodeId, TargetId};

use crate::decisions::{completion, only_waits, writes};
use crate::facts::{ENTRY, named, secs, target};
use crate::scene::{Scene, deregistered, released};

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

/// Another row with the instance's id: an agent that registered anew left it behind, and it has been down for an hour.
fn old_row(scene: &mut Scene) -> Node {
    let mut row = scene.node().clone();
    row.id = NodeId(77);
    row.status = NodeStatus::Down;
    row.status_since = Some(ENTRY - secs(3600));
    (row.eligible, row.last_drain, row.notes) = (false, None, Vec::new());
    row
}

#[test]
fn a_row_that_was_left_behind_does_not_say_since_when_the_agent_is_dead() {
    let mut scene = lost(nothing_listed);
    let mut row = old_row(&mut scene);
    row.allocations = scene.node().allocations.to_vec().into();
    scene.node().status = NodeStatus::Ready;
    scene.nomad.nodes.push(row);
    scene.news_from_nomad();
    // Somebody purges the live node. Its agent will register again within a minute.
    scene.nomad.nodes.remove(0);
    scene.news_from_nomad();
    let decision = scene.until_no_heartbeat();
    only_waits(&decision, "agent-dead");
}

#[test]
fn the_end_is_unconfirmed_if_a_node_that_was_set_aside_may_have_the_work() {
    let outcome = |set_aside: Vec<NodeId>| {
        let mut scene = released(|scene| {
            scene.node().allocations = Vec::new().into();
            nothing_listed(&mut scene.consul);
            scene.nomad.set_aside = set_aside;
        });
        let waits = matches!(scene.next().action, Action::Wait { .. });
        scene.pass(301);
        (waits, completion(&scene.until_it_writes(EffectKind::Complete)).1)
    };
    assert!(matches!(outcome(vec![NodeId(77)]), (true, Outcome::Unconfirmed { .. })));
    assert!(matches!(outcome(Vec::new()), (false, Outcome::Departed { .. })));
}

#[test]
fn a_lost_node_that_lists_nothing_does_not_show_that_nothing_runs() {
    let mut scene = released(|scene| {
        let row = old_row(scene);
        scene.nomad.nodes = vec![Node { allocations: Vec::new().into(), status_since: None, ..row }];
        nothing_listed(&mut scene.consul);
        scene.group.hooks[0].heartbeat_timeout = secs(3600);
    });
    only_waits(&scene.until_no_heartbeat(), "agent-dead");
    scene.pass(301);
    assert_eq!(completion(&scene.until_it_writes(EffectKind::Complete)).1, Outcome::AgentDead);
}
