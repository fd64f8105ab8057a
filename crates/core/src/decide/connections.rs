//! What load balancers cut: requests at the end of a delay, and connections that clients keep open through a Network Load Balancer. Such a
//! connection leads to one target until the target closes it, the load balancer cuts it, or the machine goes. New requests use it long
//! after the deregistration (facts/aws.md 3.2). An allocation that is stopped in order closes its connections. The findings name the
//! settings with which something else cuts them first.

use super::Policy;
use super::budget;
use super::case::Case;
use super::findings::{Finding, Layer, Loss, killed_with_requests};
use super::snapshot::{Allocation, Balancer, BalancerKind, TargetGroup};
use crate::ids::{TargetGroupArn, TargetId};
use crate::time::plain;
use std::time::Duration;

/// The attribute, as AWS names it.
const TERMINATION: &str = "deregistration_delay.connection_termination.enabled";

/// The delays at whose end a load balancer cuts requests.
pub(super) fn of_delays(case: &Case<'_>) -> Vec<Finding> {
    let groups = case.seen.balancers.iter().filter_map(|balancer| balancer.sight.last());
    groups.filter_map(|group| of_a_delay(group, case.policy)).collect()
}

/// A load balancer cuts the requests in progress at the end of its delay.
fn of_a_delay(group: &TargetGroup, policy: &Policy) -> Option<Finding> {
    let delay = group.delay.unwrap_or(budget::UNREADABLE_DELAY);
    let arn: &TargetGroupArn = &group.arn;
    let needed = policy.longest_request.as_secs_f64().ceil();
    let (value, line) = match group.kind {
        BalancerKind::Classic if delay.is_zero() => {
            ("no connection draining".to_owned(), format!("connection_draining = true, connection_draining_timeout = {needed}"))
        }
        BalancerKind::Classic => {
            (format!("connection draining {}", plain(delay)), format!("connection_draining_timeout = {needed}"))
        }
        BalancerKind::Alb | BalancerKind::Nlb => {
            (format!("deregistration delay {}", plain(delay)), format!("deregistration_delay = {needed}"))
        }
    };
    (group.targets.is_some() && delay < policy.longest_request).then(|| Finding {
        layer: Layer::LoadBalancer,
        loss: Loss::DelayTooShort,
        object: arn.name().into(),
        value,
        needed: plain(policy.longest_request),
        why: format!("a request may take {} and is cut at the end of the delay", plain(policy.longest_request)),
        line,
    })
}

/// What cuts the connections that clients keep open, for each target group of a Network Load Balancer.
pub(super) fn of_kept_connections(case: &Case<'_>) -> Vec<Finding> {
    let groups = case.seen.balancers.iter().filter_map(|balancer| Some((balancer, balancer.sight.last()?)));
    let kept = groups.filter(|(_, group)| group.kind == BalancerKind::Nlb && group.targets.is_some());
    kept.flat_map(|(balancer, group)| of_one_group(case, balancer, group)).collect()
}

fn of_one_group(case: &Case<'_>, balancer: &Balancer, group: &TargetGroup) -> Vec<Finding> {
    let targets = targets(case, balancer, group);
    if targets.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let finding = |value: String, needed: &str, why: &str, line: &str| Finding {
        layer: Layer::LoadBalancer,
        loss: Loss::KeptConnections,
        object: group.arn.name().into(),
        value,
        needed: needed.to_owned(),
        why: why.to_owned(),
        line: line.to_owned(),
    };
    let set_to = |on: bool| format!("{TERMINATION} {on}");
    match group.connection_termination {
        Some(true) => findings.push(finding(
            set_to(true),
            "false, so that what listens there closes its connections when it is stopped",
            "at the end of the delay the load balancer cuts the connections that clients keep, with the requests on them",
            "connection_termination = false",
        )),
        Some(false) => {
            if let Some(port) = closed_by_nobody(case, &targets) {
                findings.push(finding(
                    format!("{}, and no allocation listens on port {port}", set_to(false)),
                    "a Nomad job on that port, which closes its connections when it is stopped",
                    "connections that clients keep lead to the instance until it goes, and are cut with the requests on them",
                    "connection_termination = true  # fewer are cut so, and none is saved; run what listens there as a Nomad job",
                ));
            }
        }
        None => {}
    }
    for allocation in targets.iter().flat_map(|(id, port)| case.answering(id, *port)).filter(|a| !a.client.is_over()) {
        findings.extend(stops_too_soon(case, allocation));
    }
    findings
}

/// Our targets in this group: those that are listed, and those that this run deregistered. Auto Scaling takes an instance out of attached
/// groups before its hook, and an earlier worker may have taken it out of any group. Then the targets of the other instances show the
/// ports.
fn targets(case: &Case<'_>, balancer: &Balancer, group: &TargetGroup) -> Vec<(TargetId, u16)> {
    let listed = case.ours_in(group).map(|t| (t.id.clone(), t.port));
    let mut targets: Vec<_> = listed.chain(balancer.taken_out.iter().cloned()).collect();
    if targets.is_empty() {
        let others = group.listed().filter(|t| matches!(t.id, TargetId::Instance(_)));
        targets.extend(others.map(|t| (TargetId::Instance(case.departure.instance), t.port)));
        targets.sort_unstable_by_key(|(_, port)| *port);
        targets.dedup();
    }
    targets
}

/// A port of ours on which no allocation listens. `None` while that cannot be read.
fn closed_by_nobody(case: &Case<'_>, targets: &[(TargetId, u16)]) -> Option<u16> {
    let nodes = &case.seen.nomad.last()?.nodes;
    let stopped = |id: &TargetId, port: u16| case.answering(id, port).next().is_some();
    let nobody = targets.iter().find(|(id, port)| !stopped(id, *port)).map(|(_, port)| *port);
    nobody.filter(|_| !nodes.is_empty())
}

/// New requests come until the kill signal, whatever the `shutdown_delay` is. The last of them has the `kill_timeout`.
fn stops_too_soon(case: &Case<'_>, allocation: &Allocation) -> Option<Finding> {
    killed_with_requests(&allocation.group, case.policy, Duration::ZERO, Duration::ZERO)
}
