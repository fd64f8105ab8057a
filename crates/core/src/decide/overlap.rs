//! What may be drained beside the deregistration delay: nothing to which a load balancer may still send (ADR 0008).

use super::case::Case;
use super::snapshot::{Balancer, JobKind, TargetGroup};
use crate::ids::{TargetGroupArn, TargetId};
use crate::time::Time;

/// Whether draining the services now stops nothing to which a load balancer may still send (ADR 0008). Every allocation that serves one of
/// our targets is a system job, which this phase leaves running, or serves until after the release.
pub(super) fn may_drain_beside_the_delay(case: &Case<'_>, release: Time) -> bool {
    if !case.policy.overlap || case.seen.nomad.now().is_none() {
        return false;
    }
    let mut targets = case.sent_to().peekable();
    if targets.peek().is_none() {
        // The targets were gone before the first look, so their ports are unknown.
        return false;
    }
    let serves_on = |id: &TargetId, port: u16| {
        let mut serving = case.answering(id, port).filter(|a| !a.client.is_over()).peekable();
        serving.peek().is_some()
            && serving.all(|a| a.wanted && (a.group.kind == JobKind::System || release <= case.now + a.group.serves_on()))
    };
    let instance = TargetId::Instance(case.departure.instance);
    targets.all(|(id, port)| serves_on(id, port)) && ports_of_the_others(case).all(|port| serves_on(&instance, port))
}

/// Whether stopping everything that is left stops an allocation that serves one of our targets. If in doubt, yes.
pub(super) fn something_serves_still(case: &Case<'_>) -> bool {
    let mut targets = case.sent_to().peekable();
    targets.peek().is_none()
        || targets.any(|(id, port)| {
            let mut there = case.answering(id, port).peekable();
            there.peek().is_none() || there.any(|a| a.wanted && !a.client.is_over())
        })
}

/// Whether a group may send to addresses or ports that its list does not show: our target was gone before this run looked. A group that
/// lists nothing any more may have listed addresses.
pub(super) fn hides_its_targets(case: &Case<'_>, arn: &TargetGroupArn) -> bool {
    let Some(balancer) = case.seen.balancers.iter().find(|balancer| balancer.arn == *arn) else { return false };
    let Some(group) = balancer.sight.last() else { return false };
    let lists_nobody = group.targets.as_ref().is_some_and(|targets| targets.is_empty());
    let by_address = !group.attached && group.listed().any(|target| matches!(target.id, TargetId::Ip(_)));
    (lists_nobody || by_address) && lists_none_of_ours(case, balancer, group)
}

/// Whether neither its list nor a deregistration of this run shows where a group sent requests.
fn lists_none_of_ours(case: &Case<'_>, balancer: &Balancer, group: &TargetGroup) -> bool {
    balancer.taken_out.is_empty() && case.ours_in(group).next().is_none()
}

/// The ports to which attached groups may still send although they no longer list the instance: those of their other instances, because
/// Auto Scaling registers all at the same ports.
fn ports_of_the_others(case: &Case<'_>) -> impl Iterator<Item = u16> {
    let attached = case.seen.balancers.iter().filter_map(|balancer| Some((balancer, balancer.sight.last()?)));
    let silent = attached.filter(|(balancer, group)| group.attached && lists_none_of_ours(case, balancer, group));
    silent.flat_map(|(_, group)| group.listed().map(|target| target.port))
}
