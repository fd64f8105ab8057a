//! Traffic sources that are no target groups. decamp leaves Classic Load Balancers like target groups, and names what it cannot leave.

use decamp_core::decide::{BalancerKind, Effect, EffectKind, Layer, Loss, Outcome, Reason, TargetHealth, TrafficSource};
use decamp_core::ids::TargetGroupArn;

use crate::decisions::{completion, effects};
use crate::facts::{self, secs};
use crate::scene::{Scene, calm, deregistered, over};

fn old_web() -> TargetGroupArn {
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/old-web".parse().expect("an ARN")
}

/// A Classic Load Balancer is attached, and Auto Scaling has not taken the instance out of it.
fn behind_a_classic_one(scene: &mut Scene) {
    scene.group.attached.push(old_web());
    let front = facts::target_group(old_web(), true);
    scene.fronts.push(decamp_core::decide::TargetGroup { kind: BalancerKind::Classic, delay: Some(secs(40)), ..front });
}

fn lattice(scene: &mut Scene) {
    let name = "arn:aws:vpc-lattice:eu-west-1:123456789012:targetgroup/tg-0123456789abcdef0";
    scene.group.unhandled.push(TrafficSource { kind: "vpc-lattice".into(), name: name.into() });
}

#[test]
fn an_instance_of_a_classic_load_balancer_is_taken_out_of_it() {
    let mut scene = calm();
    behind_a_classic_one(&mut scene);
    let decision = scene.until_it_writes(EffectKind::Deregister);
    let of_it = |effect: &&Effect| matches!(effect, Effect::Deregister { group, .. } if *group == old_web());
    assert_eq!(effects(&decision).iter().filter(of_it).count(), 1, "{decision:?}");
}

#[test]
fn its_connection_draining_is_waited_for_like_a_delay() {
    let mut scene = deregistered(|scene| {
        scene.policy.overlap = false;
        behind_a_classic_one(scene);
    });
    let sent = scene.now;
    let decision = scene.next();
    let Reason::LoadBalancerDelay { group, until } = &decision.reason else { panic!("{decision:?}") };
    assert_eq!((group, *until), (&old_web(), sent + secs(40)));
}

#[test]
fn one_without_connection_draining_is_named_by_its_own_line() {
    let mut scene = calm();
    behind_a_classic_one(&mut scene);
    scene.front(&old_web()).delay = Some(secs(0));
    scene.until_it_writes(EffectKind::Deregister);
    let findings = scene.foreseen();
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!((finding.layer, finding.loss, &*finding.object), (Layer::LoadBalancer, Loss::DelayTooShort, "old-web"));
    assert_eq!(finding.line, "connection_draining = true, connection_draining_timeout = 5");
}

#[test]
fn an_instance_that_a_classic_load_balancer_lists_again_is_taken_out_again() {
    let mut scene = deregistered(behind_a_classic_one);
    scene.targets(&old_web(), |target| target.health = TargetHealth::Healthy);
    scene.pass(41);
    let decision = scene.until_it_writes(EffectKind::Deregister);
    assert_eq!(decision.reason, Reason::RegisteredAgain(old_web()));
}

#[test]
fn what_decamp_cannot_leave_is_named_before_anything_moves() {
    let mut scene = calm();
    lattice(&mut scene);
    scene.until_it_writes(EffectKind::Deregister);
    let findings = scene.foreseen();
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!((finding.layer, finding.loss), (Layer::LoadBalancer, Loss::UnhandledSource));
    assert!(finding.object.contains("vpc-lattice") && finding.value.ends_with("vpc-lattice"), "{finding}");
}

#[test]
fn a_departure_from_what_decamp_cannot_leave_is_unconfirmed() {
    let verdict = |change: fn(&mut Scene)| {
        let mut scene = over(change);
        completion(&scene.until_it_writes(EffectKind::Complete)).1
    };
    assert_eq!(verdict(lattice), Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() });
    assert_eq!(verdict(|_| ()), Outcome::Departed { waiting_for: None });
}
