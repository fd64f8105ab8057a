//! Make the node ineligible, drain it in phases, resend a drain that hangs, force what is late. (ADR 0001, 0003, 0004, 0011.)

use decamp_core::decide::{
    Action, ClientStatus, Drain, DrainStatus, Effect, EffectKind, JobKind, LastDrain, NodeStatus, OnCancel, Part, Phase, Reason,
    Refusal, System, TokenAccess,
};
use decamp_core::ids::{AllocationId, NodeId};

use crate::decisions::{drain, drained_nodes, effects, ended, only_waits, why, writes};
use crate::facts::{API, BATCH, INGRESS, SHOP, allocation, node, node_id, secs, task_group};
use crate::scene::{Scene, calm, calm_and_seen, deregistered, draining, over, released};

#[test]
fn the_node_is_made_ineligible_before_anything_else() {
    let mut scene = calm();
    let decision = scene.next();
    assert_eq!(effects(&decision), [Effect::MakeIneligible(node_id())], "{decision:?}");
    assert_eq!(decision.reason, Reason::TakesNewWork);
}

#[test]
fn slow_answers_count_and_are_not_asked_for_without_end() {
    let mut scene = released(|_| ());
    // A heartbeat may be due first, and a note of the deregistration.
    let mut decision = scene.next_slowly(4);
    while writes(&decision, EffectKind::Heartbeat) || writes(&decision, EffectKind::Note) {
        scene.obey(&decision);
        decision = scene.next_slowly(4);
    }
    assert!(writes(&decision, EffectKind::Drain), "{decision:?}");
    scene.pass(2);
    let Action::Look(parts) = scene.decide().action else { panic!("what was seen is old by then: {:?}", scene.decide()) };
    assert!(parts.contains(&Part::Nomad) && parts.contains(&Part::Consul), "one round shows all of it: {parts:?}");
}

#[test]
fn a_node_that_is_ineligible_already_is_left_so() {
    let mut scene = calm();
    scene.node().eligible = false;
    assert!(!writes(&scene.next(), EffectKind::MakeIneligible));
}

#[test]
fn nothing_is_written_to_nomad_without_proof_of_sight() {
    let mut scene = calm();
    scene.sight = TokenAccess::Insufficient("add read-job".into());
    let decision = scene.until_it_writes(EffectKind::Deregister);
    scene.obey(&decision);
    scene.pass(31);
    scene.targets_leave();
    let decision = scene.next();
    assert!(effects(&decision).is_empty(), "{decision:?}");
    assert_eq!(ended(&decision), None);
    scene.pass(120);
    let decision = scene.next();
    assert!(!writes(&decision, EffectKind::Drain) && !writes(&decision, EffectKind::Complete), "{decision:?}");
}

#[test]
fn a_token_that_was_given_more_rights_is_noticed_within_a_minute() {
    let mut scene = calm();
    scene.sight = TokenAccess::Insufficient("add read-job".into());
    scene.group.attached.clear();
    scene.group.hooks[0].target_groups.clear();
    only_waits(&scene.next(), "no-sight");
    scene.sight = TokenAccess::Full;
    scene.pass(60);
    assert!(writes(&scene.next(), EffectKind::MakeIneligible), "{:?}", scene.decide());
}

#[test]
fn a_token_that_sees_too_little_is_reported_before_the_first_write() {
    let mut scene = calm();
    scene.policy.refuse_without_sight = true;
    scene.sight = TokenAccess::Insufficient("add read-job".into());
    let decision = scene.next();
    assert_eq!(ended(&decision).map(|outcome| outcome.word()), Some("refused"), "{decision:?}");
}

#[test]
fn two_phases_share_one_end_and_the_second_leaves_nothing() {
    let mut scene = deregistered(|_| ());
    let services = scene.next();
    let (first, leaves_system, first_meta) = drain(&services);
    assert!(leaves_system);
    scene.obey(&services);
    scene.pass(31);
    scene.targets_leave();
    scene.stopped_are_over();
    scene.news_from_nomad();
    let all = scene.next();
    assert_eq!((&services.reason, &all.reason), (&Reason::SafeBesideTheDelay, &Reason::WorkLeft));
    let (second, leaves_system, second_meta) = drain(&all);
    assert!(!leaves_system, "{all:?}");
    assert_eq!((first_meta.phase, second_meta.phase), (Phase::Services, Phase::All));
    assert_eq!(first_meta.until, second_meta.until, "one absolute end");
    assert_eq!(first - second, 31, "the later one carries the time that is left");
}

#[test]
fn each_phase_is_started_once() {
    let mut scene = draining(|_| ());
    for _ in 0..60 {
        scene.pass(1);
        let decision = scene.next();
        assert!(!writes(&decision, EffectKind::Drain), "{decision:?}");
    }
}

#[test]
fn the_second_phase_waits_for_the_delay() {
    let mut scene = deregistered(|_| ());
    let services = scene.until_it_writes(EffectKind::Drain);
    scene.obey(&services);
    scene.pass(10);
    scene.stopped_are_over();
    scene.news_from_nomad();
    let decision = scene.next();
    assert!(!writes(&decision, EffectKind::Drain), "the ingress may still be sent to: {decision:?}");
    assert_eq!(why(&decision), "load-balancer-delay");
}

#[test]
fn a_drain_of_ours_that_another_worker_sent_is_continued() {
    let sent = draining(|_| ());
    let mut scene = released(|_| ());
    scene.nomad = sent.nomad.clone();
    scene.look(&Part::Nomad);
    let decision = scene.next();
    assert!(!writes(&decision, EffectKind::Drain), "{decision:?}");
    assert_eq!(why(&decision), "allocations-left");
}

#[test]
fn a_drain_of_an_earlier_departure_of_the_same_instance_is_not_ours() {
    let mut scene = released(|scene| {
        let mut meta = drain(&released(|_| ()).next()).2;
        meta.until = crate::facts::ENTRY - secs(3600);
        scene.node().last_drain =
            Some(LastDrain { status: DrainStatus::Complete, started: None, updated: None, meta: Some(meta) });
    });
    assert_eq!(drain(&scene.next()).2.phase, Phase::All);
}

#[test]
fn a_foreign_drain_is_adopted_and_not_sent_again() {
    let mut scene = released(|scene| {
        scene.node().drain = Some(Drain { force_deadline: None, ignore_system_jobs: false });
        scene.node().last_drain = Some(LastDrain { status: DrainStatus::Draining, started: None, updated: None, meta: None });
    });
    let decision = scene.next();
    assert!(!writes(&decision, EffectKind::Drain), "{decision:?}");
    assert_eq!(why(&decision), "allocations-left");
}

#[test]
fn a_foreign_drain_without_a_deadline_is_forced_when_ours_would_be() {
    let mut scene = released(|scene| {
        scene.node().drain = Some(Drain { force_deadline: None, ignore_system_jobs: false });
        scene.node().last_drain = Some(LastDrain { status: DrainStatus::Draining, started: None, updated: None, meta: None });
    });
    scene.now = scene.budget().force_at;
    let (deadline, _, meta) = drain(&scene.until_it_writes(EffectKind::Drain));
    assert_eq!((deadline, meta.phase), (1, Phase::Forced));
}

#[test]
fn what_is_unfinished_is_forced_once_in_one_second() {
    let mut scene = draining(|_| ());
    scene.allocations(|a| a.wanted = a.id == BATCH || a.id == API);
    scene.now = scene.budget().force_at - secs(1);
    let decision = scene.next();
    assert!(!writes(&decision, EffectKind::Drain), "not before its time: {decision:?}");
    scene.pass(1);
    let decision = scene.until_it_writes(EffectKind::Drain);
    let (deadline, ignore_system_jobs, meta) = drain(&decision);
    assert_eq!((deadline, ignore_system_jobs, meta.phase), (1, false, Phase::Forced));
    scene.obey(&decision);
    scene.pass(2);
    assert!(!writes(&scene.next(), EffectKind::Drain), "once");
}

#[test]
fn what_was_told_to_stop_is_not_forced() {
    let mut scene = draining(|_| ());
    scene.now = scene.budget().force_at + secs(1);
    let decision = scene.next();
    assert!(!writes(&decision, EffectKind::Drain), "{decision:?}");
}

#[test]
fn nothing_is_forced_if_the_settings_say_never() {
    let mut scene = draining(|scene| scene.policy.never_force = true);
    scene.allocations(|a| a.wanted = true);
    scene.now = scene.budget().force_at + secs(1);
    assert!(!writes(&scene.next(), EffectKind::Drain));
}

#[test]
fn a_drain_that_fails_is_tried_again_and_nothing_is_concluded() {
    let mut scene = released(|_| ());
    let decision = scene.next();
    scene.refuse(&decision, &Refusal::Away("500".into()));
    let decision = scene.next();
    assert!(!writes(&decision, EffectKind::Drain) && ended(&decision).is_none(), "{decision:?}");
    scene.pass(1);
    assert!(writes(&scene.next(), EffectKind::Drain));
}

#[test]
fn a_drain_whose_answer_was_lost_is_not_sent_again() {
    let mut scene = released(|_| ());
    let decision = scene.next();
    // The server accepted it, but the answer was lost.
    let mut happened = scene.clone();
    happened.obey(&decision);
    scene.nomad = happened.nomad;
    scene.refuse(&decision, &Refusal::Away("timeout".into()));
    scene.pass(2);
    let decision = scene.next();
    assert!(!writes(&decision, EffectKind::Drain), "{decision:?}");
}

#[test]
fn a_cancelled_drain_is_respected_or_sent_once_more_as_the_settings_say() {
    let cancelled = |on_cancel| {
        let mut scene = draining(|scene| scene.policy.on_cancel = on_cancel);
        scene.node().drain = None;
        scene.node().last_drain.as_mut().expect("it was drained").status = DrainStatus::Canceled;
        scene.allocations(|a| a.wanted = true);
        scene.news_from_nomad();
        scene
    };
    let mut scene = cancelled(OnCancel::Respect);
    let decision = scene.next();
    assert!(!writes(&decision, EffectKind::Drain), "{decision:?}");
    assert_eq!(why(&decision), "drain-cancelled");

    let mut scene = cancelled(OnCancel::DrainAgain);
    let decision = scene.next();
    assert_eq!((drain(&decision).2.phase, decision.reason), (Phase::Again, Reason::DrainCancelled));
}

/// A drain of everything goes on although all but the ingress is over.
fn hung() -> Scene {
    let mut scene = draining(|_| ());
    scene.allocation(INGRESS, |a| a.wanted = true);
    for id in [API, SHOP] {
        scene.allocation(id, |a| a.client = ClientStatus::Complete);
    }
    scene.pass(20);
    scene.news_from_nomad();
    scene
}

#[test]
fn a_hung_drain_is_resent_once_with_the_time_that_is_left() {
    let mut scene = hung();
    let until = scene.node().drain.as_ref().and_then(|d| d.force_deadline).expect("ours has a deadline");
    let decision = scene.next();
    assert!(!writes(&decision, EffectKind::Drain), "one look is not enough: {decision:?}");
    scene.pass(2);
    let decision = scene.next();
    let (deadline, _, meta) = drain(&decision);
    assert_eq!((meta.phase, &decision.reason), (Phase::Resent, &Reason::DrainHangs));
    assert!(scene.now + secs(deadline) <= until, "its deadline never moves later: {deadline}");
    assert!(until <= scene.now + secs(deadline + 3), "nor much earlier: {deadline}");
    scene.obey(&decision);
    scene.allocation(INGRESS, |a| a.wanted = true);
    scene.pass(10);
    scene.news_from_nomad();
    assert!(!writes(&scene.next(), EffectKind::Drain), "once");
}

#[test]
fn a_drain_with_a_service_left_does_not_hang() {
    let mut scene = hung();
    scene.allocation(API, |a| a.client = ClientStatus::Running);
    scene.news_from_nomad();
    scene.pass(10);
    scene.news_from_nomad();
    assert!(!writes(&scene.next(), EffectKind::Drain));
}

#[test]
fn a_hung_drain_with_nothing_left_is_not_resent() {
    let mut scene = draining(|_| ());
    scene.allocations(|a| {
        a.wanted = false;
        a.client = ClientStatus::Complete;
    });
    scene.unregister_what_is_over();
    scene.pass(3);
    scene.news_from_nomad();
    let decision = scene.next();
    assert!(!writes(&decision, EffectKind::Drain), "{decision:?}");
    assert!(writes(&decision, EffectKind::Complete), "the departure goes on: {decision:?}");
}

fn landed() -> Scene {
    let mut scene = over(|_| ());
    scene.add_allocation(allocation(AllocationId(9), task_group("late", JobKind::Service), 21_009));
    scene.news_from_nomad();
    scene
}

#[test]
fn what_lands_after_the_drain_is_drained_once_more() {
    let mut scene = landed();
    let decision = scene.next();
    assert!(!writes(&decision, EffectKind::Drain), "Nomad may be about to stop it itself: {decision:?}");
    scene.pass(5);
    let decision = scene.next();
    assert_eq!((drain(&decision).2.phase, &decision.reason), (Phase::Again, &Reason::LandedAfterDrain));
    scene.obey(&decision);
    scene.stopped_are_over();
    scene.drain_completes();
    scene.add_allocation(allocation(AllocationId(10), task_group("later", JobKind::Service), 21_010));
    scene.pass(10);
    scene.news_from_nomad();
    scene.pass(10);
    assert!(!writes(&scene.next(), EffectKind::Drain), "once more, and no more");
}

#[test]
fn what_lands_after_the_drain_keeps_the_instance() {
    let mut scene = landed();
    let decision = scene.next();
    assert!(!writes(&decision, EffectKind::Complete), "{decision:?}");
}

#[test]
fn every_node_of_the_instance_is_drained() {
    let mut scene = released(|scene| {
        let mut second = node();
        second.id = NodeId(8);
        scene.nomad.nodes.push(second);
    });
    let first = scene.next();
    scene.obey(&first);
    // The scene changes the first node only. The second still has to be drained.
    let second = scene.next();
    let all = [drained_nodes(&first), drained_nodes(&second)].concat();
    assert!(all.contains(&node_id()) && all.contains(&NodeId(8)), "{all:?}");
}

#[test]
fn a_node_that_is_down_is_not_drained() {
    let mut scene = released(|scene| scene.node().status = NodeStatus::Down);
    assert!(!writes(&scene.next(), EffectKind::Drain), "nobody is there to stop anything");
}

#[test]
fn discovery_must_be_readable_before_anything_is_stopped() {
    let mut scene = released(|_| ());
    scene.look_in_vain(&Part::Consul);
    let mut decision = scene.decide();
    if writes(&decision, EffectKind::Note) {
        scene.obey(&decision);
        decision = scene.decide();
    }
    assert!(!writes(&decision, EffectKind::Drain), "{decision:?}");
    let Action::Look(_) = decision.action else {
        assert_eq!(decision.reason, Reason::CannotSee(System::Consul));
        return;
    };
}

#[test]
fn system_jobs_stay_if_the_settings_say_so_and_none_of_them_serves_a_target() {
    let mut scene = released(|scene| scene.policy.ignore_system_jobs = true);
    assert!(!drain(&scene.next()).1, "this one serves a target: it goes");

    let mut scene = released(|scene| {
        scene.policy.ignore_system_jobs = true;
        scene.add_allocation(allocation(AllocationId(5), task_group("proxy", JobKind::Service), 8080));
        scene.allocation(INGRESS, |a| a.ports = vec![9000].into());
    });
    assert!(drain(&scene.next()).1, "no target is served by a system job");
}

#[test]
fn a_deadline_is_never_zero() {
    let mut scene = released(|scene| scene.policy.never_force = true);
    scene.now = scene.budget().end - secs(2);
    assert!(1 <= drain(&scene.until_it_writes(EffectKind::Drain)).0);
}

#[test]
fn the_drain_says_what_the_next_worker_needs() {
    let scene = calm_and_seen();
    let mut released = released(|_| ());
    let meta = drain(&released.next()).2;
    assert_eq!(meta.action, scene.departure.mark());
    assert_eq!((meta.allocations, meta.longest_stop, meta.until), (3, secs(30), scene.budget().until));
}
