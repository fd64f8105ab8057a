//! Every reason of a decision, not only the one that names it.

use decamp_core::decide::{Reason, ReasonKind, reasons};

use crate::scene::{Scene, calm_and_seen, draining};

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
