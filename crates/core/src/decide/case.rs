//! What every rule reads: a departure, what was seen of it, the settings, its time budget, and the current time.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use super::beginnings;
use super::budget::Budget;
use super::snapshot::{Allocation, Node, Snapshot};
use super::{Departure, Policy};
use crate::time::Time;

/// How far the clock of a node may be from decamp's.
const CLOCKS: Duration = Duration::from_mins(1);

/// The case that the rules decide.
pub(super) struct Case<'a> {
    pub(super) departure: &'a Departure,
    pub(super) seen: &'a Snapshot,
    pub(super) policy: &'a Policy,
    pub(super) budget: Budget,
    pub(super) now: Time,
    drain_marker: OnceCell<Arc<str>>,
}

impl<'a> Case<'a> {
    pub(super) fn new(departure: &'a Departure, seen: &'a Snapshot, policy: &'a Policy, now: Time) -> Self {
        let budget = Budget::of(departure, seen, policy);
        Self { departure, seen, policy, budget, now, drain_marker: OnceCell::new() }
    }
}

impl Case<'_> {
    /// The marker on this departure's drains. It is computed once for a decision, and only if there is a drain to compare it with.
    pub(super) fn drain_marker(&self) -> &Arc<str> {
        self.drain_marker.get_or_init(|| self.departure.mark())
    }

    /// Whether a time on a node's clock was before the departure. A beginning that is only assumed is a bound if a worker noted it.
    /// Otherwise an earlier worker may have come before it, but no departure takes twice as long as it may.
    pub(super) fn is_before(&self, time: Time) -> bool {
        let is_bound = self.budget.began_is_known || beginnings::is_departure_noted(self);
        let margin = if is_bound { CLOCKS } else { self.policy.max_departure * 2 };
        time < self.budget.began - margin
    }

    /// The nodes as they were last seen.
    pub(super) fn nodes(&self) -> &[Node] {
        self.seen.nomad.last().map_or(&[], |nomad| &nomad.nodes)
    }

    /// The allocations on them.
    pub(super) fn allocations(&self) -> impl Iterator<Item = &Allocation> {
        self.seen.allocations()
    }
}
