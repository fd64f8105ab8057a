//! Deregister exactly the targets that are listed, then wait until no load balancer can send to the instance. (ADR 0008.)

use decamp_core::decide::{
    Action, BalancerKind, EffectKind, JobKind, LastTarget, Part, Phase, Reason, Refusal, System, TargetHealth,
};
use decamp_core::ids::TargetId;

use crate::decisions::{deregistrations, drain, effects, only_waits, ours, why, writes};
use crate::facts::{API, ENTRY, INGRESS, arn, attached, instance, named, secs, target, target_group, task_group, to_read};
use crate::scene::{Scene, calm, calm_and_seen, deregistered, over, released};

fn by_id() -> TargetId {
    TargetId::Instance(instance())
}

fn first_deregistrations(change: impl FnOnce(&mut Scene)) -> Vec<(decamp_core::ids::TargetGroupArn, TargetId, u16)> {
    let mut scene = calm();
    change(&mut scene);
    deregistrations(&scene.until_it_writes(EffectKind::Deregister))
}

#[test]
fn exactly_our_targets_are_deregistered_in_every_group() {
    assert_eq!(first_deregistrations(|_| ()), [(attached(), by_id(), 8080), (named(), by_id(), 8080)]);
}

#[test]
fn every_port_is_deregistered() {
    let all = first_deregistrations(|scene| scene.add_target(&attached(), ours(8443)));
    assert_eq!(all, [(attached(), by_id(), 8080), (attached(), by_id(), 8443), (named(), by_id(), 8080)]);
}

#[test]
fn an_unhealthy_or_unused_target_is_still_registered() {
    for health in [TargetHealth::Registered, TargetHealth::RegisteredUnused] {
        let all = first_deregistrations(|scene| {
            for group in [attached(), named()] {
                scene.targets(&group, |t| t.health = health);
            }
        });
        assert_eq!(all.len(), 2, "{health:?}: {all:?}");
    }
}

#[test]
fn groups_named_in_the_settings_count_and_others_do_not() {
    let third = arn("third");
    let add = |scene: &mut Scene| scene.fronts.push(target_group(arn("third"), false));
    assert!(!first_deregistrations(add).iter().any(|(group, ..)| *group == third));
    let all = first_deregistrations(|scene| {
        add(scene);
        scene.policy.target_groups = vec![arn("third")];
    });
    assert!(all.contains(&(third, by_id(), 8080)), "{all:?}");
}

#[test]
fn a_scan_is_made_only_if_it_is_asked_for() {
    let third = arn("third");
    let all = first_deregistrations(|scene| {
        scene.fronts.push(target_group(arn("third"), false));
        scene.policy.scan = true;
    });
    assert!(all.contains(&(third, by_id(), 8080)), "{all:?}");
}

#[test]
fn where_a_scan_finds_nothing_the_longest_guard_is_waited_for() {
    let mut scene = calm();
    scene.policy.scan = true;
    scene.fronts.clear();
    scene.group.attached.clear();
    scene.group.hooks[0].target_groups.clear();
    for _ in 0..8 {
        let decision = scene.next_slowly(1);
        assert!(!writes(&decision, EffectKind::Drain), "another worker may have taken it out a moment ago: {decision:?}");
        if effects(&decision).is_empty() {
            let Reason::NowhereListed { until } = decision.reason else { panic!("{decision:?}") };
            assert_eq!(until, scene.seen.scan.at().expect("it was made") + scene.policy.guard_nlb);
            scene.now = until;
            break;
        }
        scene.obey(&decision);
    }
    assert_eq!(drain(&scene.next_slowly(1)).2.phase, Phase::All);
}

#[test]
fn nothing_is_drained_before_the_delay_is_over_without_overlap() {
    let mut scene = deregistered(|scene| scene.policy.overlap = false);
    for _ in 0..29 {
        only_waits(&scene.next(), "load-balancer-delay");
        scene.pass(1);
    }
    scene.pass(1);
    scene.targets_leave();
    assert_eq!(drain(&scene.next()).2.phase, Phase::All);
}

#[test]
fn a_delay_shorter_than_routing_lags_is_waited_for_as_long_as_that() {
    for (kind, guard) in [(BalancerKind::Alb, 10), (BalancerKind::Nlb, 120)] {
        let mut scene = deregistered(|scene| {
            scene.policy.overlap = false;
            for front in &mut scene.fronts {
                front.delay = Some(secs(1));
                front.kind = kind;
            }
        });
        scene.targets_leave();
        scene.pass(guard - 1);
        let decision = scene.next();
        assert!(!writes(&decision, EffectKind::Drain), "{kind:?}: {decision:?}");
        scene.pass(1);
        assert!(writes(&scene.next(), EffectKind::Drain), "{kind:?}: {:?}", scene.decide());
    }
}

#[test]
fn a_delay_that_cannot_be_read_is_waited_for_as_long_as_the_default() {
    let mut scene = deregistered(|scene| {
        scene.policy.overlap = false;
        scene.front(&named()).delay = None;
    });
    scene.pass(31);
    scene.targets_leave();
    only_waits(&scene.next(), "load-balancer-delay");
    assert!(!writes(&scene.next(), EffectKind::Drain));
}

#[test]
fn the_wait_is_one_timer_and_not_a_series_of_looks() {
    let mut scene = deregistered(|scene| scene.policy.overlap = false);
    let begun = scene.now;
    // The node is read again after the write. Then decamp waits, and the first timer is the release.
    let decision = scene.next();
    let Action::Wait { until, .. } = decision.action else { panic!("{decision:?}") };
    assert!(begun + secs(29) < until && until <= begun + secs(31), "{decision:?}");
}

#[test]
fn a_deregistration_is_confirmed_by_a_look_before_anything_is_stopped() {
    let mut scene = released(|_| ());
    let wrote = scene.now - secs(31);
    scene.until_it_writes(EffectKind::Drain);
    assert_eq!(scene.seen.balancers.len(), 2);
    assert!(scene.seen.balancers.iter().all(|b| wrote + secs(30) <= b.sight.fresh_at().expect("it was seen")));
}

#[test]
fn a_target_that_somebody_put_back_is_deregistered_again_and_nothing_is_drained() {
    let mut scene = released(|_| ());
    scene.add_target(&named(), ours(8080));
    let decision = scene.next();
    assert_eq!(decision.reason, Reason::RegisteredAgain(named()));
    assert_eq!(deregistrations(&decision), [(named(), by_id(), 8080)]);
    assert!(!writes(&decision, EffectKind::Drain), "{decision:?}");
}

#[test]
fn a_target_that_was_gone_before_the_first_look_needs_no_write() {
    let mut scene = calm();
    // A group that the instance's own hook names is different.
    scene.group.hooks[0].target_groups.clear();
    scene.policy.target_groups = vec![named()];
    for front in &mut scene.fronts {
        let others: Vec<_> = front.targets.iter().flat_map(|t| t.iter()).filter(|t| t.id != by_id()).cloned().collect();
        front.targets = Some(others.into());
    }
    let decision = scene.until_it_writes(EffectKind::Drain);
    assert_eq!(drain(&decision).2.phase, Phase::All, "no delay is left to wait for: 30 s is longer than routing lags");
    assert!(!scene.seen.balancers.iter().any(|b| b.deregistered.is_some()));
}

#[test]
fn a_target_that_is_draining_already_is_looked_at_every_12_s_until_it_is_absent() {
    let mut scene = calm();
    scene.policy.overlap = false;
    for group in [attached(), named()] {
        scene.targets(&group, |t| {
            if t.id == by_id() {
                t.health = TargetHealth::Draining;
            }
        });
    }
    let first = scene.next();
    scene.obey(&first);
    let decision = scene.next();
    only_waits(&decision, "load-balancer-delay");
    assert!(deregistrations(&decision).is_empty());
    scene.pass(12);
    assert!(matches!(scene.decide().action, Action::Look(_)), "it may be absent earlier than we must assume");
    only_waits(&scene.next(), "load-balancer-delay");
    scene.pass(12);
    scene.targets_leave();
    assert!(writes(&scene.next(), EffectKind::Drain), "{:?}", scene.decide());
}

#[test]
fn a_target_that_reads_draining_for_ever_is_believed_15_s_after_its_delay() {
    let mut scene = deregistered(|scene| scene.policy.overlap = false);
    let begun = scene.now;
    while scene.now < begun + secs(30 + 14) {
        let decision = scene.next();
        assert!(!writes(&decision, EffectKind::Drain), "{}: {decision:?}", scene.now);
        scene.pass(1);
    }
    scene.pass(2);
    assert!(writes(&scene.next(), EffectKind::Drain), "{:?}", scene.decide());
}

#[test]
fn a_group_that_is_gone_holds_nothing_up() {
    let mut scene = calm();
    for front in &mut scene.fronts {
        front.targets = None;
    }
    assert_eq!(drain(&scene.until_it_writes(EffectKind::Drain)).2.phase, Phase::All);
}

#[test]
fn a_group_that_cannot_be_seen_is_waited_for_and_nothing_is_drained() {
    let mut scene = calm_and_seen();
    let part = Part::TargetGroups { groups: vec![to_read(named(), false)], attributes_again: false };
    scene.look_in_vain(&part);
    let decision = scene.decide();
    assert!(writes(&decision, EffectKind::Deregister), "what can be seen is left: {decision:?}");
    assert_eq!(deregistrations(&decision), [(attached(), by_id(), 8080)]);
    scene.obey(&decision);
    scene.pass(60);
    scene.targets_leave();
    scene.look_in_vain(&part);
    scene.look(&Part::Nomad);
    scene.look(&Part::Consul);
    only_waits(&scene.decide(), "cannot-see");
    assert_eq!(scene.decide().reason, Reason::CannotSee(System::LoadBalancers));
}

#[test]
fn a_deregistration_that_failed_is_tried_again_and_counts_for_nothing_meanwhile() {
    let mut scene = calm_and_seen();
    let decision = scene.next();
    scene.refuse(&decision, &Refusal::Denied("no".into()));
    assert!(!writes(&scene.next(), EffectKind::Drain));
    scene.pass(2);
    let decision = scene.next();
    assert_eq!(deregistrations(&decision).len(), 2, "{decision:?}");
    assert!(!writes(&decision, EffectKind::Drain));
}

fn lonely(scene: &mut Scene) {
    let only: Vec<_> = vec![ours(8080)];
    scene.front(&named()).targets = Some(only.into());
}

#[test]
fn the_last_healthy_target_is_deregistered_unless_the_settings_hold_it() {
    assert_eq!(first_deregistrations(lonely).len(), 2);
    let held = first_deregistrations(|scene| {
        lonely(scene);
        scene.policy.last_target = LastTarget::Hold;
    });
    assert_eq!(held, [(attached(), by_id(), 8080)]);
}

/// Only the named group sends to the instance, and its target there is held after this change.
pub(crate) fn holding(change: impl FnOnce(&mut Scene)) -> Scene {
    let mut scene = calm();
    change(&mut scene);
    scene.group.attached.clear();
    scene.policy.last_target = LastTarget::Hold;
    let first = scene.next();
    scene.obey(&first);
    scene
}

#[test]
fn a_held_last_target_goes_when_another_is_healthy_or_when_it_must() {
    let mut scene = holding(lonely);
    only_waits(&scene.next(), "last-healthy-target");
    scene.add_target(&named(), target(TargetId::Instance(crate::facts::another_instance()), 8080));
    scene.pass(12);
    assert_eq!(deregistrations(&scene.next()), [(named(), by_id(), 8080)]);

    let mut scene = holding(lonely);
    scene.now = scene.budget().force_at - secs(30);
    assert_eq!(deregistrations(&scene.until_it_writes(EffectKind::Deregister)), [(named(), by_id(), 8080)]);
}

#[test]
fn services_are_drained_beside_the_delay_if_only_a_system_job_serves_the_targets() {
    let mut scene = deregistered(|_| ());
    let decision = scene.next();
    assert_eq!(why(&decision), "safe-beside-the-delay");
    let (_, ignore_system_jobs, meta) = drain(&decision);
    assert_eq!((meta.phase, ignore_system_jobs), (Phase::Services, true));
}

/// No overlap: the first drain comes after the delay, and is a drain of everything.
#[track_caller]
fn no_overlap(change: impl FnOnce(&mut Scene)) {
    let mut scene = deregistered(change);
    let decision = scene.next();
    assert!(!writes(&decision, EffectKind::Drain), "{decision:?}");
}

#[test]
fn services_are_not_drained_beside_the_delay_if_one_of_them_serves_a_target() {
    no_overlap(|scene| scene.add_target(&attached(), ours(21_001)));
}

#[test]
fn a_service_that_serves_on_until_after_the_delay_may_be_drained_beside_it() {
    let mut scene = deregistered(|scene| {
        scene.task_group(API, |group| group.shutdown_delay = secs(40));
        scene.add_target(&attached(), ours(21_001));
    });
    assert_eq!(why(&scene.next()), "safe-beside-the-delay");
}

#[test]
fn a_service_behind_the_target_that_is_stopping_already_is_no_reason_to_hurry() {
    no_overlap(|scene| {
        scene.task_group(API, |group| group.shutdown_delay = secs(40));
        scene.allocation(API, |a| a.wanted = false);
        scene.add_target(&attached(), ours(21_001));
    });
}

#[test]
fn a_port_that_belongs_to_no_allocation_counts_as_serving() {
    no_overlap(|scene| scene.add_target(&attached(), ours(9999)));
}

#[test]
fn an_ingress_that_is_a_service_job_is_not_drained_beside_the_delay() {
    no_overlap(|scene| scene.task_group(INGRESS, |group| group.kind = JobKind::Service));
}

#[test]
fn overlap_can_be_switched_off() {
    no_overlap(|scene| scene.policy.overlap = false);
}

#[test]
fn nothing_is_drained_beside_the_delay_while_a_group_still_lists_us() {
    let mut scene = calm_and_seen();
    let decision = scene.next();
    scene.refuse(&decision, &Refusal::Away("timeout".into()));
    let decision = scene.next();
    assert!(!writes(&decision, EffectKind::Drain), "{decision:?}");
}

#[test]
fn the_targets_are_seen_once_more_before_the_completion() {
    let mut scene = over(|_| ());
    scene.add_target(&named(), ours(8080));
    let decision = scene.next();
    assert!(!writes(&decision, EffectKind::Complete), "{decision:?}");
    assert_eq!(deregistrations(&decision), [(named(), by_id(), 8080)]);
}

#[test]
fn without_any_target_group_the_node_is_drained_at_once() {
    let mut scene = calm();
    scene.group.attached.clear();
    scene.group.hooks[0].target_groups.clear();
    let decision = scene.until_it_writes(EffectKind::Drain);
    assert_eq!(drain(&decision).2.phase, Phase::All);
    assert_eq!(scene.now, ENTRY + secs(2));
}

#[test]
fn the_task_group_decides_and_not_its_name() {
    let mut scene = deregistered(|scene| {
        scene.task_group(API, |group| *group = task_group("traefik", JobKind::Service));
        scene.add_target(&attached(), ours(21_001));
    });
    assert!(!writes(&scene.next(), EffectKind::Drain));
}

#[test]
fn no_look_at_consul_holds_up_a_deregistration() {
    let mut scene = calm();
    loop {
        let decision = scene.decide();
        if writes(&decision, EffectKind::Deregister) {
            break;
        }
        if let Action::Look(parts) = &decision.action {
            assert!(!parts.contains(&Part::Consul), "it may hang: {parts:?}");
            parts.clone().iter().for_each(|part| scene.look(part));
        } else {
            scene.obey(&decision);
        }
    }
}
