//! A denial is reported when it first occurs and then once an hour, for each call. An outage is no denial. (ADR 0019.)

use decamp_core::decide::{EffectKind, Observation, Outcome, Refusal, Unseen};
use decamp_core::denials::{Denials, denied_now};

use crate::decisions::completion;
use crate::facts::secs;
use crate::scene::{Scene, calm, calm_and_seen};

fn calls(scene: &Scene, denials: &Denials) -> Vec<&'static str> {
    denials.news(&scene.departure.asg, &scene.seen, scene.now).into_iter().map(|denial| denial.call).collect()
}

#[test]
fn a_denied_look_is_reported_once_an_hour() {
    let (mut scene, denials) = (calm_and_seen(), Denials::default());
    assert!(calls(&scene, &denials).is_empty());
    scene.seen.take(scene.now, Observation::Consul(Err(Unseen::Denied("403".into()))));
    assert_eq!(calls(&scene, &denials), ["look-consul"]);
    scene.pass(3599);
    assert!(calls(&scene, &denials).is_empty(), "not again within the hour");
    scene.pass(1);
    assert_eq!(calls(&scene, &denials), ["look-consul"]);
}

#[test]
fn a_denied_write_is_reported_by_its_call() {
    let (mut scene, denials) = (calm_and_seen(), Denials::default());
    let decision = scene.until_it_writes(EffectKind::Deregister);
    scene.refuse(&decision, &Refusal::Denied("no".into()));
    assert!(calls(&scene, &denials).contains(&"deregister"), "{:?}", denied_now(&scene.seen));
}

#[test]
fn an_outage_is_no_denial() {
    let mut scene = calm_and_seen();
    scene.seen.take(scene.now, Observation::Consul(Err(Unseen::Away("timeout".into()))));
    scene.seen.take(scene.now, Observation::Nomad(Err(Unseen::Throttled)));
    assert!(denied_now(&scene.seen).is_empty());
}

#[test]
fn an_instance_without_a_node_that_may_not_leave_its_load_balancers_has_not_left_them() {
    let mut scene = calm();
    scene.nomad.nodes.clear();
    scene.policy.no_node_wait = secs(1);
    let decision = scene.until_it_writes(EffectKind::Deregister);
    scene.refuse(&decision, &Refusal::Denied("no".into()));
    scene.now = scene.budget().end;
    assert_eq!(completion(&scene.until_it_writes(EffectKind::Complete)).1, Outcome::TimedOut);
}

#[test]
fn what_is_allowed_again_is_no_longer_denied() {
    let mut scene = calm_and_seen();
    scene.seen.take(scene.now, Observation::Consul(Err(Unseen::Denied("403".into()))));
    assert_eq!(denied_now(&scene.seen).len(), 1);
    scene.seen.take(scene.now + secs(1), Observation::Consul(Ok(scene.consul.clone())));
    assert!(denied_now(&scene.seen).is_empty());
}
