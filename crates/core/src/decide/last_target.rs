//! The last healthy target of a group, or of a zone where load balancing does not cross zones (ADR 0008). Without it, the load balancer has
//! no healthy target to send to.

use std::sync::Arc;

use super::LastTarget;
use super::budget;
use super::case::Case;
use super::findings::{Finding, Layer, Loss};
use super::ownership::Ownership;
use super::snapshot::{Balancer, BalancerKind, Lifecycle, Target, TargetGroup, TargetHealth, Zones};
use crate::ids::TargetId;
use crate::time::Time;

/// How the value of the finding begins. The group or the zone follows.
const NO_OTHER: &str = "no other healthy target in ";
/// The group, in that value.
const THE_GROUP: &str = "the target group";

/// A target in this zone receives requests from every zone.
const EVERY_ZONE: &str = "all";

/// What has no healthy target without ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Emptied {
    /// The target group.
    Group,
    /// One zone of it. The load balancer's node in that zone sends to no other zone.
    Zone(Arc<str>),
}

/// What has no healthy target without these targets of ours. `None` also if the zone of one of them, or of another healthy target, is
/// unknown.
pub(super) fn emptied(case: &Case<'_>, group: &TargetGroup, ours: &[(TargetId, Option<Arc<str>>)]) -> Option<Emptied> {
    if ours.is_empty() {
        return None;
    }
    let rest: Vec<(&Target, Ownership)> = group.healthy().map(|t| (t, case.ownership_of(group, &t.id, t.port))).collect();
    // An address may be the instance's or another's. A target in another zone is not the instance's.
    let lone = |zone: &Arc<str>| {
        let elsewhere =
            |other: &Target| zone_of(group, &other.id, other.zone.as_ref()).is_some_and(|of| of != zone && **of != *EVERY_ZONE);
        let mut others = rest.iter().filter(|(_, ownership)| *ownership != Ownership::Ours).peekable();
        **zone != *EVERY_ZONE && others.peek().is_some() && others.all(|(other, _)| elsewhere(other))
    };
    if let Some(zone) = ours.iter().filter_map(|(id, zone)| zone_of(group, id, zone.as_ref())).find(|zone| lone(zone)) {
        return Some(Emptied::Zone(Arc::clone(zone)));
    }
    (!rest.iter().any(|(_, ownership)| *ownership == Ownership::Others)).then_some(Emptied::Group)
}

/// The same, for the healthy ones among these targets.
pub(super) fn emptied_by(case: &Case<'_>, group: &TargetGroup, ours: &[Target]) -> Option<Emptied> {
    let healthy = ours.iter().filter(|target| target.health == TargetHealth::Healthy);
    emptied(case, group, &healthy.map(|target| (target.id.clone(), target.zone.clone())).collect::<Vec<_>>())
}

/// The zone of a target, if load balancing does not cross zones and the zone is known.
fn zone_of<'g>(group: &'g TargetGroup, id: &TargetId, listed: Option<&'g Arc<str>>) -> Option<&'g Arc<str>> {
    let Zones::Apart(zones) = &group.zones else { return None };
    let instance = if let TargetId::Instance(instance) = id { Some(instance) } else { None };
    let known = || zones.iter().find(|(of, _)| Some(of) == instance).map(|(_, zone)| zone);
    listed.or_else(known)
}

/// Until when the last healthy target is held, if the settings say so. Everything after that goes in order.
pub(super) fn held_until(case: &Case<'_>, group: &TargetGroup) -> Option<Time> {
    let hold = case.policy.last_target == LastTarget::Hold;
    hold.then(|| case.budget.in_order_from(budget::may_send_for(group, case.policy)))
}

/// Whether it is not known if a healthy target is ours. That is asked before the target counts.
pub(super) fn is_doubtful(case: &Case<'_>, group: &TargetGroup) -> bool {
    group.healthy().any(|target| case.ownership_of(group, &target.id, target.port) == Ownership::Unknown)
}

/// The target groups and zones that have no healthy target without ours.
pub(super) fn findings(case: &Case<'_>) -> Vec<Finding> {
    let groups = case.seen.balancers.iter().filter_map(|balancer| Some((balancer, balancer.sight.last()?)));
    groups.filter_map(|(balancer, group)| of_a_group(case, balancer, group)).collect()
}

fn of_a_group(case: &Case<'_>, balancer: &Balancer, group: &TargetGroup) -> Option<Finding> {
    group.targets.as_ref()?;
    let ours = taken_out(case, balancer, group);
    let is_registered = case.ours_in(group).any(|target| target.health.is_registered());
    // Held while another target may become healthy, so there is no loss yet.
    if is_registered && held_until(case, group).is_some_and(|until| balancer.sight.at() < Some(until)) {
        return None;
    }
    let emptied = emptied(case, group, &ours).filter(|emptied| *emptied != Emptied::Group || !is_doubtful(case, group))?;
    let where_ = match &emptied {
        Emptied::Group => THE_GROUP.to_owned(),
        Emptied::Zone(zone) => zone.to_string(),
    };
    let (why, line) = match (&emptied, group.kind) {
        (Emptied::Group, _) if group.attached => (
            "its load balancer has nowhere to send requests to".to_owned(),
            "min_healthy_percentage = 100, max_healthy_percentage = 200",
        ),
        (Emptied::Group, _) => ("its load balancer has nowhere to send requests to".to_owned(), "DECAMP_LAST_TARGET=hold"),
        (Emptied::Zone(zone), kind) => (
            format!(
                "load balancing does not cross zones: requests that reach the load balancer in {zone} fail until DNS names it no longer"
            ),
            match kind {
                BalancerKind::Classic => "cross_zone_load_balancing = true",
                BalancerKind::Alb | BalancerKind::Nlb => "load_balancing_cross_zone_enabled = \"true\"",
            },
        ),
    };
    Some(Finding {
        layer: Layer::LoadBalancer,
        loss: Loss::LastHealthyTarget,
        object: group.arn.name().into(),
        value: format!("{NO_OTHER}{where_}"),
        needed: format!("another healthy target in {where_}"),
        why,
        line: line.to_owned(),
    })
}

/// Whether the last look at the group of this finding showed a healthy target in it, or in the zone that the finding names. `None` if the
/// zone of a healthy target is unknown.
pub(super) fn has_another(finding: &Finding, group: &TargetGroup) -> Option<bool> {
    let of = finding.value.strip_prefix(NO_OTHER).filter(|of| *of != THE_GROUP);
    let Some(of) = of else { return Some(group.healthy().next().is_some()) };
    let zones: Option<Vec<_>> = group.healthy().map(|target| zone_of(group, &target.id, target.zone.as_ref())).collect();
    Some(zones?.iter().any(|zone| ***zone == *of || ***zone == *EVERY_ZONE))
}

/// Our targets that received requests because they were healthy, as far as this can be seen: those registered and healthy, those that were
/// deregistered, and those of a group that Auto Scaling leaves before the hook.
fn taken_out(case: &Case<'_>, balancer: &Balancer, group: &TargetGroup) -> Vec<(TargetId, Option<Arc<str>>)> {
    let was_sent_to = |t: &&Target| matches!(t.health, TargetHealth::Healthy | TargetHealth::Draining);
    let listed: Vec<_> = case.ours_in(group).filter(was_sent_to).map(|t| (t.id.clone(), t.zone.clone())).collect();
    let is_used = group.listed().all(|target| target.health != TargetHealth::RegisteredUnused);
    // A staying instance that is not a target of an attached group may not have become one yet.
    let stays = matches!(case.seen.lifecycle.last(), Some(Lifecycle::Staying(_)));
    let left = group.attached && !stays || balancer.listed_it || !balancer.taken_out.is_empty();
    if case.ours_in(group).next().is_none() && left && is_used {
        return vec![(TargetId::Instance(case.departure.instance), None)];
    }
    listed
}
