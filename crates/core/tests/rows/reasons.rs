//! Every reason of a decision, not only the one that names it.

use decamp_core::decide::{Action, EffectKind, Part, Reason, ReasonKind, reasons};

use crate::decisions::writes;
use crate::scene::{Scene, calm, calm_and_seen, draining};

fn kinds(scene: &Scene) -> Vec<ReasonKind> {
    reasons(&scene.departure, &scene.seen, &scene.policy, scene.now).iter().map(Reason::kind).collect()
}

#[test]
fn a_wait_has_the_reasons_of_all_that_wait() {
    let scene = draining(|_| ());
    let all = kinds(&scene);
    assert_eq!(all.first(), Some(&scene.decide().reason.kind()));
    for kind in [ReasonKind::AllocationsLeft, ReasonKind::HeartbeatDue, ReasonKind::TimeIsUp] {
        assert_eq!(all.iter().filter(|one| **one == kind).count(), 1, "{kind:?} in {all:?}");
    }
}

#[test]
fn a_write_has_the_reasons_of_writes_alone() {
    let scene = calm_and_seen();
    assert_eq!(kinds(&scene), [ReasonKind::TakesRequests]);
}

#[test]
fn a_look_says_whether_anything_was_known_before() {
    assert_eq!(calm().decide().reason, Reason::NotKnownYet);
    let mut scene = calm_and_seen();
    assert_eq!(scene.decide().reason, Reason::TakesRequests);
    // A target list of a minute ago is too old to deregister by.
    scene.pass(61);
    scene.look(&Part::Lifecycle);
    scene.look(&Part::Nomad);
    let mut decision = scene.decide();
    if writes(&decision, EffectKind::Heartbeat) {
        scene.obey(&decision);
        decision = scene.decide();
    }
    assert!(matches!(&decision.action, Action::Look(parts) if matches!(parts[0], Part::TargetGroups { .. })), "{decision:?}");
    assert_eq!(decision.reason, Reason::MayHaveChanged);
}

#[test]
fn a_reason_that_several_concerns_have_is_listed_once() {
    // Auto Scaling, Nomad and our token: nothing is known of any of them.
    assert_eq!(kinds(&calm()), [ReasonKind::NotKnownYet]);
}
