//! What proves nothing: lists that a token without sight was shown, missing answers, a node that was purged. (ADR 0002, 0005, 0011.)

use decamp_core::decide::{
    Action, Allocation, Cause, ClientStatus, Effect, EffectKind, JobKind, Lifecycle, Loss, NodeStatus, Observation, Outcome,
    Part, Reason, Refusal, Registrations, System, Target, TargetHealth, TokenAccess, Unseen,
};
use decamp_core::ids::{AllocationId, TargetId};
use decamp_core::time::Time;

use crate::decisions::{completion, drain, effects, ended, why, writes};
use crate::facts::{API, BATCH, ENTRY, INGRESS, SHOP, allocation, attached, instance, named, secs, task_group, to_read};
use crate::scene::{Scene, calm, draining, over, released};

/// Nothing is left, and the completion is not answered.
fn unanswered() -> Scene {
    let mut scene = over(|_| ());
    let decision = scene.until_no_heartbeat();
    assert!(writes(&decision, EffectKind::Complete), "{decision:?}");
    scene.refuse(&decision, &Refusal::Away("no answer".into()));
    scene.lifecycle = Lifecycle::Past;
    scene
}

#[test]
fn a_completion_that_was_not_answered_has_landed_if_the_hook_could_not_have_run_out_yet() {
    let mut scene = unanswered();
    scene.pass(5);
    assert_eq!(ended(&scene.next()), Some(&Outcome::Departed { waiting_for: None }));
}

#[test]
fn a_completion_that_was_not_answered_claims_nothing_once_the_hook_may_have_run_out_by_itself() {
    let mut scene = unanswered();
    let timeout = scene.budget().heartbeat_timeout;
    scene.now = scene.now + timeout + secs(1);
    scene.look(&Part::Lifecycle);
    assert_eq!(ended(&scene.next()), Some(&Outcome::Expired));
}

#[test]
fn a_token_that_sees_too_little_does_not_prove_that_there_is_no_node() {
    let mut scene = calm();
    scene.sight = TokenAccess::Insufficient("node { policy = \"write\" } is missing".into());
    scene.nomad.nodes.clear();
    for _ in 0..8 {
        let decision = scene.next();
        scene.obey(&decision);
        scene.targets_leave();
        scene.pass(10);
        scene.look(&Part::Nomad);
    }
    scene.now = scene.budget().end;
    assert_eq!(completion(&scene.until_no_heartbeat()).1, Outcome::TimedOut);
}

#[test]
fn what_a_token_saw_before_it_saw_everything_is_read_again() {
    let mut scene = released(|scene| scene.sight = TokenAccess::Insufficient("namespace \"*\" is missing".into()));
    let all = scene.nomad.clone();
    scene.node().allocations = Vec::new().into();
    scene.consul.services = Vec::new().into();
    scene.look(&Part::Nomad);
    scene.nomad = all;
    scene.sight = TokenAccess::Full;
    scene.pass(61);
    scene.look(&Part::NomadToken);
    let decision = scene.until_it_writes(EffectKind::Drain);
    assert_eq!(why(&decision), "work-left");
}

#[test]
fn a_drain_notes_for_the_next_worker_what_had_vanished_before_it() {
    let listed = drain(&released(|_| ()).until_it_writes(EffectKind::Drain)).2.allocations;
    let mut scene = released(|_| ());
    scene.purge(API);
    scene.news_from_nomad();
    assert_eq!(drain(&scene.until_it_writes(EffectKind::Drain)).2.allocations, listed);
}

#[test]
fn what_was_lost_before_we_came_counts_again_when_its_agent_dies() {
    let mut scene = over(|scene| scene.allocation(SHOP, |a| a.client = ClientStatus::Lost));
    scene.pass(60);
    scene.node().status = NodeStatus::Down;
    scene.allocation(SHOP, |a| a.client = ClientStatus::Lost);
    scene.news_from_nomad();
    let decision = scene.until_no_heartbeat();
    assert_eq!((ended(&decision), why(&decision)), (None, "agent-dead"), "{decision:?}");
}

#[test]
fn registrations_are_read_although_a_purge_removed_every_allocation() {
    let mut scene = calm();
    scene.allocations(|a| a.client = ClientStatus::Complete);
    scene.until_it_writes(EffectKind::Deregister);
    scene.node().allocations = Vec::new().into();
    scene.news_from_nomad();
    for _ in 0..6 {
        let decision = scene.next();
        assert!(!writes(&decision, EffectKind::Complete), "they are still registered: {decision:?}");
        scene.obey(&decision);
        scene.targets_leave();
        scene.pass(12);
    }
    assert_eq!(why(&scene.until_no_heartbeat()), "still-registered");
}

#[test]
fn a_spot_interruption_that_was_noticed_late_has_a_finding() {
    let interrupted = |left: u64| {
        let mut scene = draining(|_| ());
        scene.departure.cause = Cause::Interruption { at: scene.now + secs(left) };
        scene.allocation(INGRESS, |a| a.client = ClientStatus::Complete);
        scene.allocations(|a| a.client = ClientStatus::Running);
        scene.news_from_nomad();
        scene.foreseen().iter().any(|finding| finding.loss == Loss::Interrupted)
    };
    assert_eq!((interrupted(115), interrupted(45)), (false, true));
}

#[test]
fn with_a_token_that_nomad_refuses_a_command_refuses_before_the_first_write() {
    for (refuses, ends) in [(true, Some(Outcome::Refused { why: "ACL token not found".into() })), (false, None)] {
        let mut scene = calm();
        scene.policy.refuse_without_sight = refuses;
        for part in [Part::Lifecycle, Part::Group { with_activity: false }, Part::Nomad] {
            scene.look(&part);
        }
        scene.seen.take(scene.now, Observation::NomadToken(Err(Unseen::Denied("ACL token not found".into()))));
        let decision = scene.decide();
        assert_eq!(ended(&decision), ends.as_ref(), "{decision:?}");
        assert!(!writes(&decision, EffectKind::MakeIneligible), "{decision:?}");
    }
}

#[test]
fn a_wait_for_nomad_is_named_by_nomad_although_a_heartbeat_is_waited_for_beside_it() {
    let mut scene = calm();
    scene.policy.refuse_without_sight = true;
    for part in [Part::Lifecycle, Part::Group { with_activity: false }] {
        scene.look(&part);
    }
    scene.look_in_vain(&Part::Nomad);
    scene.look_in_vain(&Part::NomadToken);
    let decision = scene.decide();
    assert!(matches!(decision.action, Action::Wait { .. }), "{decision:?}");
    assert_eq!(decision.reason, Reason::CannotSee(System::Nomad));
}

#[test]
fn what_another_worker_deregistered_again_is_waited_for_although_it_leaves_the_list_before_the_routes() {
    // The group's delay is shorter than the lag of its routing.
    let mut scene = over(|scene| scene.front(&named()).delay = Some(secs(2)));
    let of_named = Part::TargetGroups { groups: vec![to_read(named(), false)], attributes_again: false };
    scene.pass(60);
    scene.add_target(
        &named(),
        Target { id: TargetId::Instance(instance()), port: 8080, zone: None, health: TargetHealth::Draining },
    );
    scene.look(&of_named);
    let seen_draining = scene.now;
    scene.pass(2);
    scene.targets_leave();
    scene.look(&of_named);
    while scene.now < seen_draining + secs(9) {
        let decision = scene.until_no_heartbeat();
        assert!(!writes(&decision, EffectKind::Complete), "{}: it may still be sent to: {decision:?}", scene.now);
        scene.pass(1);
    }
    scene.pass(2);
    assert!(writes(&scene.until_no_heartbeat(), EffectKind::Complete), "{:?}", scene.decide());
}

#[test]
fn before_a_force_load_balancers_that_were_read_long_ago_are_read_again() {
    for (seconds, sees, looks) in [(70, true, true), (30, true, false), (70, false, false)] {
        let mut scene = draining(|_| ());
        scene.allocations(|a| a.wanted = a.id == BATCH || a.id == API);
        scene.pass((scene.budget().force_at - secs(seconds)).since(scene.now).as_secs());
        let targets =
            Part::TargetGroups { groups: vec![to_read(attached(), true), to_read(named(), false)], attributes_again: false };
        scene.look(&targets);
        scene.look(&Part::Lifecycle);
        scene.pass(seconds);
        scene.look(&Part::Nomad);
        if !sees {
            scene.look_in_vain(&targets);
        }
        let mut decision = scene.decide();
        if matches!(effects(&decision), [Effect::Heartbeat(_)]) {
            scene.obey(&decision);
            decision = scene.decide();
        }
        let looked =
            matches!(&decision.action, Action::Look(parts) if parts.iter().any(|p| matches!(p, Part::TargetGroups { .. })));
        assert_eq!((looked, writes(&decision, EffectKind::Drain)), (looks, !looks), "{seconds} {sees}: {decision:?}");
    }
}

#[test]
fn the_load_balancers_of_a_group_that_was_never_read_are_unknown() {
    let mut scene = calm();
    // Otherwise its hook might be another tool's.
    scene.policy.hooks = vec!["decamp".into()];
    scene.allocations(|a| a.client = ClientStatus::Complete);
    scene.look(&Part::Lifecycle);
    scene.look(&Part::Nomad);
    scene.look(&Part::NomadToken);
    scene.look_in_vain(&Part::Group { with_activity: false });
    scene.now = scene.budget().end;
    // Otherwise the group might be held.
    scene.seen.take(scene.now, Observation::Group(Err(Unseen::Denied("no DescribeAutoScalingGroups".into()))));
    assert_eq!(completion(&scene.next()).1, Outcome::TimedOut);
}

#[test]
fn what_another_deregistered_while_we_looked_on_is_waited_for_from_then() {
    // Registered at the first look, and this run may not write. Later another worker deregistered it, and it is draining.
    let mut scene = calm();
    scene.policy.overlap = false;
    let decision = scene.until_it_writes(EffectKind::Deregister);
    scene.refuse(&decision, &Refusal::Denied("not allowed".into()));
    scene.targets(&named(), |t| {
        if t.id == TargetId::Instance(instance()) {
            t.health = TargetHealth::Draining;
        }
    });
    scene.targets(&attached(), |t| {
        if t.id == TargetId::Instance(instance()) {
            t.health = TargetHealth::Draining;
        }
    });
    scene.pass(300);
    scene.look(&Part::TargetGroups { groups: vec![to_read(attached(), true), to_read(named(), false)], attributes_again: false });
    let shown = scene.now;
    while scene.now < shown + secs(29) {
        let decision = scene.until_no_heartbeat();
        assert!(!writes(&decision, EffectKind::Drain), "{}: {decision:?}", scene.now);
        scene.pass(1);
    }
    scene.targets_leave();
    scene.pass(2);
    assert!(writes(&scene.until_no_heartbeat(), EffectKind::Drain), "{:?}", scene.decide());
}

#[test]
fn a_deregistration_that_was_not_answered_counts_from_the_look_that_shows_it() {
    let mut scene = calm();
    scene.policy.overlap = false;
    let decision = scene.until_it_writes(EffectKind::Deregister);
    scene.refuse(&decision, &Refusal::Away("no answer".into()));
    scene.pass(300);
    for group in [attached(), named()] {
        scene.targets(&group, |t| {
            if t.id == TargetId::Instance(instance()) {
                t.health = TargetHealth::Draining;
            }
        });
    }
    scene.look(&Part::TargetGroups { groups: vec![to_read(attached(), true), to_read(named(), false)], attributes_again: false });
    let decision = scene.until_no_heartbeat();
    assert!(!writes(&decision, EffectKind::Drain), "another may have deregistered it a moment ago: {decision:?}");
}

#[test]
fn an_empty_catalog_needs_no_proof_for_what_ended_before_the_departure() {
    let ends_as = |ended: Option<Time>| {
        let mut scene = draining(|scene| {
            scene.consul = Registrations { whole: false, agent_dead: false, services: Vec::new().into(), by_hand: [].into() };
            for id in [INGRESS, API, SHOP] {
                scene.task_group(id, |group| group.services.clear());
            }
            let before = Allocation {
                wanted: false,
                client: ClientStatus::Complete,
                ended,
                ..allocation(AllocationId(0xbef0), task_group("before", JobKind::Service), 21_003)
            };
            let listed = scene.node().allocations.iter().cloned().chain([before]).collect();
            scene.node().allocations = listed;
        });
        scene.pass(20);
        scene.everything_stops();
        completion(&scene.until_it_writes(EffectKind::Complete)).1
    };
    let unconfirmed = Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() };
    assert_eq!(ends_as(Some(ENTRY - secs(86_400))), Outcome::Departed { waiting_for: None });
    // The clocks of nodes may differ by a minute, and an end without a time may be of this departure.
    assert_eq!(ends_as(Some(ENTRY - secs(30))), unconfirmed);
    assert_eq!(ends_as(None), unconfirmed);
}
