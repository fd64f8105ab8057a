//! What may still send to the instance although nobody knows that it does: targets at addresses with an unknown owner, and groups that no
//! longer list the instance (ADR 0009).

use super::case::Case;
use super::findings::{Finding, Layer, Loss};
use super::ownership::Ownership;
use super::proposal::Proposal;
use super::snapshot::{Balancer, Group, Phase, Target, TargetGroup};
use super::{Beginning, Part, Reason, beginnings, missing_node};
use crate::ids::TargetId;
use crate::time::{Time, plain};
use std::time::Duration;

/// How often decamp looks at a target that may be ours. Its owner may deregister it.
const LOOK_EVERY: Duration = Duration::from_secs(12);

/// Nomad tells the time of a drain in whole seconds, rounded down.
const WHOLE_SECONDS: Duration = Duration::from_secs(1);

/// Until when a group may send to the instance although no group listed it when all were scanned. Another worker may have taken it out a
/// moment before, and nobody knows of which group (ADR 0009).
pub(super) fn gone_before_the_scan(case: &Case<'_>) -> Option<Time> {
    nothing_found_since(case).map(|since| since + case.policy.longest_guard())
}

/// Until when a group may send to the instance that this worker's scan missed, although the scan found other groups. An earlier worker
/// deregistered the instance from all groups, and groups list a deregistered target for different times.
pub(super) fn left_before_the_scan(case: &Case<'_>) -> Option<Time> {
    let scanned = case.seen.scan.at().filter(|_| case.policy.scan)?;
    let noted = beginnings::deregistered(case).filter(|left| *left < scanned);
    let left = noted.or_else(|| services_drained(case)).or_else(|| deregistered_by_another(case))?;
    Some(left + case.policy.longest_guard())
}

/// When another worker began to drain the services, which it does once the instance is deregistered and while load balancers may still send.
fn services_drained(case: &Case<'_>) -> Option<Time> {
    let drains = case.nodes().iter().filter_map(|node| node.last_drain.as_ref()).filter(|_| case.was_drained_before_us());
    let services = drains.filter(|last| last.meta.as_ref().is_some_and(|meta| meta.phase == Phase::Services));
    services.filter_map(|last| last.started.or(last.updated)).map(|at| at + WHOLE_SECONDS).max()
}

/// The latest time at which another worker can have deregistered the instance from a group that is not attached. Without a note, a target
/// that reads `draining` shows it.
fn deregistered_by_another(case: &Case<'_>) -> Option<Time> {
    let others = case.seen.balancers.iter().filter_map(|balancer| Some((balancer, balancer.sight.last()?)));
    let others = others.filter(|(balancer, group)| balancer.deregistered.is_none() && !group.attached);
    let left = others.filter_map(|(balancer, group)| {
        case.leaving(balancer, group).filter_map(|row| row.deregistered.map(|seen| seen.by).or(balancer.first_look)).max()
    });
    left.max()
}

/// What it means that a group does not list the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// It was taken out, or nothing says that it should be there.
    Expected,
    /// The hook of its own group names this target group, nobody has begun, and the first look did not show it. The answer may be wrong, or
    /// another group may be meant.
    Contradiction,
    /// The instance's age has to be asked first.
    Unasked,
    /// Somebody has begun, but neither noted the deregistration nor drained. A second look shows whether the first answer lagged.
    SeenOnce,
}

/// What it means that a group of instances does not list ours. Settings may name groups of other instances as well, but a hook's metadata
/// belongs to its own group. An earlier run noted what it took out, or the node shows that somebody has begun.
pub(super) fn absent(case: &Case<'_>, balancer: &Balancer, group: &TargetGroup) -> Absent {
    if !should_list(case, balancer, group) {
        return Absent::Expected;
    }
    let noted = |what| beginnings::noted_of_this(case, what).is_some();
    let was_taken_out = noted(Beginning::Deregistered);
    let nobody_began = case.seen.history.untouched.is_some() && !was_taken_out;
    // A worker that saw the target listed knows better than one that came a moment later: a Classic Load Balancer does not list what it has
    // released.
    match nobody_began || noted(Beginning::Unlisted) && !was_taken_out {
        // The worker that began may only have made the node ineligible.
        false if balancer.looks < 2 && !was_taken_out && nobody_drained(case) => Absent::SeenOnce,
        false => Absent::Expected,
        true => match missing_node::is_young(case) {
            Some(true) => Absent::Expected,
            Some(false) => Absent::Contradiction,
            None => Absent::Unasked,
        },
    }
}

/// Whether the hook of its own group names this group of instances, and no answer of this run has listed ours.
fn should_list(case: &Case<'_>, balancer: &Balancer, group: &TargetGroup) -> bool {
    let named = |asg: &Group| asg.hooks.iter().any(|hook| hook.target_groups.contains(&balancer.arn));
    let is_named = case.seen.group.last().is_some_and(|asg| named(asg) && !asg.attached.contains(&balancer.arn));
    let by_address = group.listed().any(|target| matches!(target.id, TargetId::Ip(_)));
    let was_there = balancer.listed_it || balancer.deregistered.is_some() || balancer.unanswered.is_some();
    is_named && !by_address && !was_there && group.targets.is_some()
}

/// When another worker took the instance out of a group that this run has never seen it in. A correct answer would read `draining` for the
/// group's delay. Until then the answer may be an old one, and the group may still send.
pub(super) fn taken_out_unseen(case: &Case<'_>, balancer: &Balancer, group: &TargetGroup) -> Option<Time> {
    beginnings::noted_of_this(case, Beginning::Deregistered).filter(|_| should_list(case, balancer, group))
}

/// Whether the instance's node has no drain of this departure. Without a node nobody can have drained it, or noted anything.
fn nobody_drained(case: &Case<'_>) -> bool {
    case.seen.nomad.at().is_some() && case.own_drains().next().is_none()
}

/// The groups that should list the instance and do not.
fn that_list_nothing<'s>(case: &'s Case<'_>) -> impl Iterator<Item = &'s TargetGroup> {
    let groups = case.seen.balancers.iter().filter_map(|balancer| Some((balancer, balancer.sight.last()?)));
    groups.filter(|(balancer, group)| absent(case, balancer, group) == Absent::Contradiction).map(|(_, group)| group)
}

/// Whether there is such a group.
pub(super) fn lists_nothing(case: &Case<'_>) -> bool {
    that_list_nothing(case).next().is_some()
}

/// One finding for each of them.
pub(super) fn of_groups_that_list_nothing(case: &Case<'_>) -> Vec<Finding> {
    let each = that_list_nothing(case).map(|group| Finding {
        layer: Layer::LoadBalancer,
        loss: Loss::NotATarget,
        object: group.arn.name().into(),
        value: "named by the hook, and the instance is none of its targets".to_owned(),
        needed: "a target group that holds the group's instances".to_owned(),
        why:
            "another group may be meant, or its answer lags: it is looked at for as long as it might still send, and the end is \
              unconfirmed"
                .to_owned(),
        line: "notification_metadata = jsonencode({ target_groups = [aws_lb_target_group.this.arn] })".to_owned(),
    });
    each.collect()
}

/// Since when a scan of all groups has found none.
pub(super) fn nothing_found_since(case: &Case<'_>) -> Option<Time> {
    let (at, found) = (case.seen.scan.at()?, case.seen.scan.last()?);
    let nothing = case.policy.scan && found.is_empty();
    // One scan may have found nothing, and a later one a group that was left then.
    let noted =
        || beginnings::scanned(case).map(|scanned| beginnings::deregistered(case).map_or(scanned, |left| left.max(scanned)));
    nothing.then(|| noted().map_or(at, |noted| noted.min(at)))
}

/// The registered targets of a group that may be ours.
pub(super) fn unknown<'t>(case: &'t Case<'_>, group: &'t TargetGroup) -> impl Iterator<Item = &'t Target> {
    let registered = group.listed().filter(|target| target.health.is_registered());
    registered.filter(move |target| case.ownership_of(group, &target.id, target.port) == Ownership::Unknown)
}

/// Waits for targets that may be ours, until their owner has deregistered them or each was waited for long enough (ADR 0009). decamp does
/// not deregister them, because their owner is unknown.
pub(super) fn waiting_for_unknown(case: &Case<'_>, balancer: &Balancer, group: &TargetGroup, look: Part) -> Option<Proposal> {
    let wait = case.policy.unknown_target_wait;
    let seen_at = balancer.sight.at().unwrap_or(case.now);
    let noted = beginnings::unknown(case, count_of_unknown(case));
    let until = |target: &Target| registered_since(balancer, target, noted).unwrap_or(seen_at) + wait;
    let (last, until) = unknown(case, group).map(|target| (target, until(target))).max_by_key(|(_, until)| *until)?;
    // A look decides, not the clock alone: it may have been deregistered since.
    if until <= seen_at {
        return None;
    }
    let TargetId::Ip(address) = last.id else { return None };
    let next = (seen_at + LOOK_EVERY).min(until.max(case.now));
    let reason = Reason::UnknownTarget { group: balancer.arn.clone(), address, until };
    Some(if next <= case.now { Proposal::look(vec![look], reason) } else { Proposal::wait(next, reason) })
}

fn count_of_unknown(case: &Case<'_>) -> u32 {
    u32::try_from(case.unknown_targets().count()).unwrap_or(u32::MAX)
}

/// Since when every target that may be ours has been listed, and how many there are.
pub(super) fn unknown_since(case: &Case<'_>) -> Option<(Time, u32)> {
    let targets = count_of_unknown(case);
    let noted = beginnings::unknown(case, targets);
    let since = |(group, target): (&TargetGroup, &Target)| {
        let balancer = case.seen.balancers.iter().find(|balancer| balancer.arn == group.arn)?;
        registered_since(balancer, target, noted)
    };
    Some((case.unknown_targets().filter_map(since).max()?, targets))
}

/// The first look of the series in which a target by address was registered. An earlier run's note counts, unless this run saw that the
/// target was not registered.
fn registered_since(balancer: &Balancer, target: &Target, noted: Option<Time>) -> Option<Time> {
    let (_, _, since) = balancer.registered.iter().find(|(id, port, _)| *id == target.id && *port == target.port)?;
    let noted = noted.filter(|_| Some(*since) <= balancer.first_look);
    Some(noted.map_or(*since, |noted| noted.min(*since)))
}

/// Addresses that may be the instance's. decamp waits for them, and then the instance leaves without them (ADR 0009). One finding for each
/// group.
pub(super) fn of_unknown_targets(case: &Case<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (group, target) in case.unknown_targets() {
        let name = group.arn.name();
        if findings.iter().any(|finding| *finding.object == *name) {
            continue;
        }
        findings.push(Finding {
            layer: Layer::LoadBalancer,
            loss: Loss::UnknownTarget,
            object: name.into(),
            value: format!("a target {}:{} whose address no node and no allocation is known to have", target.id, target.port),
            needed: "an address that Nomad tells, or a target that its owner deregisters".to_owned(),
            why: format!(
                "it may be the instance's; it is waited for {}, and then sent to until the instance is gone",
                plain(case.policy.unknown_target_wait)
            ),
            line: "DECAMP_UNKNOWN_TARGET_WAIT=10m".to_owned(),
        });
    }
    findings
}
