//! What load balancers cut: connections that clients keep through a Network Load Balancer.

use decamp_core::decide::{BalancerKind, EffectKind, Finding, Layer, Loss};

use crate::facts::{INGRESS, attached, named, secs};
use crate::scene::{Scene, calm};

/// The calm world behind a Network Load Balancer that cuts connections, or leaves them.
fn behind_an_nlb(scene: &mut Scene, cuts: Option<bool>) {
    let front = scene.front(&named());
    (front.kind, front.connection_termination) = (BalancerKind::Nlb, cuts);
}

/// The findings about load balancers and containers before the drain.
fn foreseen(change: impl FnOnce(&mut Scene)) -> Vec<Finding> {
    let mut scene = calm();
    change(&mut scene);
    scene.until_it_writes(EffectKind::Deregister);
    scene.foreseen()
}

/// An ingress that is not in Nomad: no allocation on the node has the port.
fn not_a_nomad_job(scene: &mut Scene) {
    scene.allocation(INGRESS, |a| a.ports = [].into());
}

#[test]
fn an_ingress_that_is_stopped_in_order_closes_connections_that_nothing_else_cuts() {
    assert_eq!(foreseen(|scene| behind_an_nlb(scene, Some(false))), []);
}

#[test]
fn a_load_balancer_that_cuts_connections_is_named_with_the_attribute_and_the_line() {
    let findings = foreseen(|scene| behind_an_nlb(scene, Some(true)));
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!((finding.layer, finding.loss, &*finding.object), (Layer::LoadBalancer, Loss::KeptConnections, "named"));
    assert_eq!(finding.value, "deregistration_delay.connection_termination.enabled true");
    assert_eq!(finding.line, "connection_termination = false");
}

#[test]
fn connections_to_what_nomad_cannot_stop_are_named_although_the_load_balancer_leaves_them() {
    let findings = foreseen(|scene| {
        behind_an_nlb(scene, Some(false));
        not_a_nomad_job(scene);
    });
    let kept: Vec<_> = findings.iter().filter(|finding| finding.loss == Loss::KeptConnections).collect();
    let [finding] = kept.as_slice() else { panic!("{findings:?}") };
    assert_eq!(&*finding.object, "named");
    assert!(finding.value.ends_with("no allocation listens on port 8080"), "{}", finding.value);
}

#[test]
fn behind_an_attached_group_that_auto_scaling_has_left_the_others_targets_tell_the_port() {
    let findings = foreseen(|scene| {
        let front = scene.front(&attached());
        (front.kind, front.connection_termination) = (BalancerKind::Nlb, Some(false));
        let others = front.targets.as_ref().map(|targets| targets[1..].into());
        front.targets = others;
        not_a_nomad_job(scene);
    });
    assert!(findings.iter().any(|f| f.loss == Loss::KeptConnections && &*f.object == "attached"), "{findings:?}");
}

#[test]
fn an_ingress_that_is_killed_before_its_longest_request_is_over_is_named_behind_an_nlb_alone() {
    let short = |scene: &mut Scene| scene.task_group(INGRESS, |group| group.tasks[0].kill_timeout = secs(3));
    let findings = foreseen(|scene| {
        behind_an_nlb(scene, Some(false));
        short(scene);
    });
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!((finding.layer, finding.loss, &*finding.object), (Layer::Container, Loss::KilledWithRequests, "traefik/group"));
    assert_eq!(finding.line, "kill_timeout = \"5s\"");
    assert_eq!(foreseen(short), [], "an ALB sends no more requests when it is stopped");
}

#[test]
fn attributes_that_cannot_be_read_have_no_finding() {
    assert_eq!(foreseen(|scene| behind_an_nlb(scene, None)), []);
}
