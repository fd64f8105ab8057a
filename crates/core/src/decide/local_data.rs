//! Data in host volumes: it stays on the machine. It is named before anything moves, and with `DECAMP_LOCAL_DATA=hold` the instance is held
//! until an operator lets it go (ADR 0047).

use std::sync::Arc;

use super::balancers;
use super::case::Case;
use super::disks::ended_lately;
use super::findings::{Finding, Layer, Loss};
use super::lifecycle_hook::LEAVES_WITHIN;
use super::nodes::LOOK_EVERY;
use super::outcome::each_once;
use super::proposal::{Proposal, look_again};
use super::snapshot::{Allocation, LEAVE_LOCAL_DATA, LOCAL_DATA_KEY, TaskGroup, VolumeKind};
use super::{Cause, LocalData, Part, Reason};

/// Holds the instance before anything is written, as a tag of its group does (ADR 0015). A drain that has begun is not held up.
pub(super) fn held(case: &Case<'_>) -> Proposal {
    let seen = case.seen;
    let until = case.budget.held_until();
    let holds = case.policy.local_data == LocalData::Hold && !matches!(case.departure.cause, Cause::Interruption { .. });
    let begun = !seen.history.drains.is_empty() || case.own_drains().next().is_some();
    if !holds || begun || until <= case.now {
        return Proposal::DoesNotApply;
    }
    if seen.nomad.at().is_none() && seen.nomad.blind().is_none() {
        // Nothing is written before it is known what the node holds.
        return Proposal::look(vec![Part::Nomad, Part::NomadToken], Reason::NotKnownYet);
    }
    let mut using = seen.local_data().peekable();
    let Some((node, first)) = using.peek().copied() else { return Proposal::DoesNotApply };
    let reason = Reason::LocalData {
        count: u32::try_from(using.count()).unwrap_or(u32::MAX),
        title: first.group.title().into(),
        volumes: volumes(&first.group),
        node: node.id,
        until,
    };
    let next = seen.nomad.at().unwrap_or(case.now) + LOOK_EVERY;
    if next <= case.now {
        return look_again(case, &seen.nomad, Part::Nomad, reason);
    }
    if case.budget.hook_ends <= case.now + LEAVES_WITHIN {
        // As for a tag: the time that must be left depends on how long load balancers may still send.
        let look = balancers::read_all_once(case);
        if !look.is_settled() {
            return look;
        }
    }
    Proposal::watch(next.min(until), Part::Nomad, reason)
}

/// The task groups whose data goes with the machine although the settings hold it and no operator let it go, each once.
pub(super) fn left(case: &Case<'_>) -> Arc<[Arc<str>]> {
    if case.policy.local_data == LocalData::Warn {
        return Arc::default();
    }
    let nodes = case.nodes().iter().filter(|node| !node.leaves_local_data);
    // What an operator stopped during the hold was the operator's to decide, and no drain moved it.
    let stopped = |a: &Allocation| a.client.is_over() && a.moved && ended_lately(case, a);
    let goes = |a: &&Allocation| a.group.holds_local_data() && (stopped(a) || !a.client.is_over() && case.is_exempt(a));
    let left = nodes.flat_map(|node| node.allocations.iter()).filter(goes);
    each_once(left.map(|a| format!("{} of {}", volumes(&a.group), a.group.title()).into()))
}

/// The host volumes that a group may write to, with commas.
fn volumes(group: &TaskGroup) -> Arc<str> {
    let names: Vec<&str> = group.local_volumes().map(|volume| &*volume.source).collect();
    names.join(", ").into()
}

/// What goes with the machine, also of system jobs that the policy leaves running: one finding for each task group.
pub(super) fn findings(case: &Case<'_>) -> Vec<Finding> {
    let mut each: Vec<&Allocation> = Vec::new();
    for allocation in case.allocations().filter(|a| a.uses_local_data()) {
        if !each.iter().any(|other| other.group.is_same(&allocation.group)) {
            each.push(allocation);
        }
    }
    each.into_iter().map(|allocation| finding(case, &allocation.group)).collect()
}

/// Nomad starts the replacement on another node, with that node's volume or not at all.
fn finding(case: &Case<'_>, group: &TaskGroup) -> Finding {
    let described = group.local_volumes().map(|volume| match volume.kind {
        VolumeKind::Host { sticky: true } => format!("host volume {} (sticky)", volume.source),
        VolumeKind::Host { sticky: false } | VolumeKind::Csi { .. } => format!("host volume {}", volume.source),
    });
    let holds = case.policy.local_data == LocalData::Hold;
    let after = if holds {
        "decamp holds the instance until somebody lets it go, at the latest until it must leave before its hook ends"
    } else {
        "decamp does not wait for it"
    };
    Finding {
        layer: Layer::Node,
        loss: Loss::LocalData,
        object: group.title().into(),
        value: described.collect::<Vec<_>>().join(", "),
        needed: "data that may be lost, or that is copied before the departure".to_owned(),
        why: format!("the data is on the machine and goes with it; Nomad moves no host volume, and {after}"),
        line: if holds {
            format!("# to let it go: nomad node meta apply -node-id NODE {LOCAL_DATA_KEY}={LEAVE_LOCAL_DATA}")
        } else {
            "# to decide before each departure: DECAMP_LOCAL_DATA=hold; if nothing is written: read_only = true".to_owned()
        },
    }
}
