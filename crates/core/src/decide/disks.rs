//! Disks that migrate: the instance stays until each replacement has copied its disk from it (ADR 0046).

use std::sync::Arc;
use std::time::Duration;

use super::case::Case;
use super::lost_agent::while_agent_lives;
use super::nodes::LOOK_EVERY;
use super::outcome::each_once;
use super::proposal::{Order, Proposal, merge, must_see};
use super::snapshot::{Allocation, Disk, JobKind};
use super::{Part, Reason};
use crate::ids::AllocationId;

/// A disk that is left on the instance.
enum Left<'a> {
    /// This replacement has no task event yet.
    Copying(&'a Allocation, AllocationId),
    /// No replacement will copy it.
    Unplaced(&'a Allocation),
}

/// Waits until no disk is left on the instance. A dead agent serves no disk, so it is waited for only as long as for its allocations.
pub(super) fn all_moved(case: &Case<'_>) -> Proposal {
    let Some(looked) = case.seen.nomad.fresh_at() else {
        return must_see(case, &case.seen.nomad, Part::Nomad);
    };
    let (mut copying, mut unplaced) = (Vec::new(), Vec::new());
    for disk in left(case) {
        match disk {
            Left::Copying(allocation, to) => copying.push((allocation, to)),
            Left::Unplaced(allocation) => unplaced.push(allocation),
        }
    }
    if copying.is_empty() && unplaced.is_empty() {
        return Proposal::Done;
    }
    // As for allocations that run, the node is read again by the rule that made it ineligible.
    let again = (looked + LOOK_EVERY).max(case.now + Duration::from_secs(1));
    let count = |many: usize| u32::try_from(many).unwrap_or(u32::MAX);
    // A disk that nobody copies needs a person, so its reason comes first.
    let unplaced = unplaced.first().map(|first| Reason::DiskUnplaced { count: count(unplaced.len()), title: title(first) });
    let copying = copying.first().map(|(first, replacement)| Reason::DiskCopying {
        count: count(copying.len()),
        title: title(first),
        replacement: *replacement,
    });
    let waits = unplaced.into_iter().chain(copying).map(|reason| Proposal::watch(again, Part::Nomad, reason));
    while_agent_lives(case, again, merge(Order::Together, waits))
}

/// The task groups whose disks are left, each once.
pub(super) fn titles(case: &Case<'_>) -> Arc<[Arc<str>]> {
    each_once(left(case).map(|(Left::Copying(allocation, _) | Left::Unplaced(allocation))| title(allocation)))
}

fn title(allocation: &Allocation) -> Arc<str> {
    allocation.group.title().into()
}

/// The disks that are left, as they were last seen.
fn left<'c>(case: &'c Case<'_>) -> impl Iterator<Item = Left<'c>> {
    let all = case.allocations();
    all.filter_map(|allocation| match allocation.disk {
        Disk::Copying(replacement) => Some(Left::Copying(allocation, replacement)),
        // Since 1.11 Nomad does not replace batch allocations that a deadline stopped.
        Disk::Unplaced => {
            (allocation.group.kind == JobKind::Service && ended_lately(case, allocation)).then_some(Left::Unplaced(allocation))
        }
        Disk::Stays | Disk::Moved => None,
    })
}

/// Whether an allocation ended in this departure. Nomad lists allocations for a day, and what an earlier drain stopped without a
/// replacement was its operator's to decide.
pub(super) fn ended_lately(case: &Case<'_>, allocation: &Allocation) -> bool {
    let drained = || case.own_drains().next().is_some();
    match allocation.ended {
        // Where the beginning is assumed, the drain may have come before it.
        Some(ended) => !case.is_before(ended) && (case.budget.began_is_known || case.budget.began <= ended || drained()),
        None => drained(),
    }
}
