//! Migrating disks: a replacement copies the disk from the node of its predecessor, and receives its tasks when it has it (recorded:
//! disk-migrates).

use super::state::{AllocationState, GroupState, Life, NodeNumber};
use super::{Due, Nomad};
use crate::event::AllocationNumber;
use decamp_core::decide::snapshot::{ClientStatus, Disk, JobKind};
use decamp_core::time::Time;

/// The most replacements of replacements that are followed, as in the adapter.
const LONGEST_CHAIN: usize = 8;

/// The disk that a replacement copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiskCopy {
    /// It copies none, or has not begun.
    #[default]
    None,
    /// It copies one until this time.
    Until(Time),
    /// It has the whole disk, since this time.
    Whole(Time),
    /// The predecessor's machine or agent went, so it starts with an empty disk.
    Cut,
}

impl Nomad {
    /// A replacement begins to copy its predecessor's disk. Returns when it may start.
    pub(super) fn begin_copy(&mut self, number: AllocationNumber, at: Time) -> Time {
        let state = &self.allocations[number.index()];
        if let DiskCopy::Until(until) = state.copy {
            return until;
        }
        let Some(previous) = state.previous.filter(|_| state.copy == DiskCopy::None) else { return at };
        let spec = &self.groups[state.group.index()].spec;
        let (from, epoch) = (self.allocations[previous.index()].node, state.epoch);
        if !spec.group.migrates_disk || from == state.node {
            return at;
        }
        let until = at + spec.behaviour.copies_disk_in;
        let alive = self.nodes[from.index()].agent_alive;
        self.allocations[number.index()].copy = if alive { DiskCopy::Until(until) } else { DiskCopy::Cut };
        if alive {
            self.queue.put(until, Due::Copied { allocation: number, epoch });
        }
        if alive { until } else { at }
    }

    /// The disk is there, and the client receives the replacement's tasks.
    pub(super) fn end_copy(&mut self, number: AllocationNumber) {
        let state = &mut self.allocations[number.index()];
        if self.nodes[state.node.index()].agent_alive && matches!(state.copy, DiskCopy::Until(_)) {
            state.copy = DiskCopy::Whole(self.now);
            self.schedule_sync(number);
        }
    }

    /// The agent of this node is gone, and with it the disks that are copied from it: their clients log a warning and start with empty ones.
    /// What it copied itself it copies again once it is back.
    pub(super) fn cut_copies(&mut self, node: NodeNumber) {
        for number in 0..self.allocations.len() {
            let state = &self.allocations[number];
            let copies = state.life == Life::Coming && matches!(state.copy, DiskCopy::Until(until) if self.now < until);
            let Some(previous) = state.previous.filter(|_| copies) else { continue };
            if self.allocations[previous.index()].node != node && state.node != node {
                continue;
            }
            let again = state.node == node;
            let at = self.soon(20, 120);
            let state = &mut self.allocations[number];
            state.copy = if again { DiskCopy::None } else { DiskCopy::Cut };
            state.epoch += 1;
            if !again {
                let number = AllocationNumber(number as u32);
                self.schedule_sync(number);
                self.schedule_start_at(number, at);
            }
        }
    }

    /// What Nomad shows of an allocation's disk.
    #[must_use]
    pub fn disk(&self, number: AllocationNumber) -> Disk {
        shown(&self.allocations[number.index()], &self.allocations, &self.groups)
    }

    /// Whether a disk has left the node: its replacement has it, or starts without it, or nothing will want it.
    #[must_use]
    pub fn disk_has_left(&self, number: AllocationNumber) -> bool {
        let mut last = &self.allocations[number.index()];
        if self.groups[last.group.index()].stopped {
            return true;
        }
        while let Some(next) = last.next.map(|next| &self.allocations[next.index()]) {
            if next.has_received() || next.client.is_over() && next.next.is_none() {
                return true;
            }
            last = next;
        }
        false
    }

    /// A change of a replacement is a change of what the nodes of its predecessors show.
    pub(super) fn predecessors_changed(&mut self, number: AllocationNumber) {
        let mut previous = self.allocations[number.index()].previous;
        while let Some(number) = previous {
            let state = &self.allocations[number.index()];
            self.nodes[state.node.index()].cached = None;
            previous = state.previous;
        }
    }

    /// A number that differs once a disk of this node has moved on, or a volume is released.
    #[must_use]
    pub fn disks_version(&self, node: NodeNumber) -> u64 {
        let migrates = |a: &&AllocationState| self.groups[a.group.index()].spec.group.migrates_disk;
        let here = self.nodes[node.index()].allocations.iter().map(|n| &self.allocations[n.index()]);
        let next = |a: &AllocationState| a.next.map(|next| self.allocations[next.index()].modified);
        here.filter(migrates).filter_map(next).max().unwrap_or_default().max(self.nodes[node.index()].claims_index)
    }
}

/// What Nomad shows of an allocation's disk, as decamp's adapter reads it.
pub(super) fn shown(first: &AllocationState, allocations: &[AllocationState], groups: &[GroupState]) -> Disk {
    let group = &groups[first.group.index()];
    let moves = matches!(group.spec.group.kind, JobKind::Service | JobKind::Batch) && group.spec.group.migrates_disk;
    if !moves || !first.client.is_over() || first.wanted || !first.marked {
        return Disk::Stays;
    }
    let mut last = first;
    for _ in 0..LONGEST_CHAIN {
        let Some(next) = last.next.map(|next| &allocations[next.index()]) else { break };
        if !next.listed || next.has_events || next.client == ClientStatus::Running {
            return Disk::Moved;
        }
        if next.next.is_none() && next.client.is_over() {
            return Disk::Moved;
        }
        if next.next.is_none() && next.client != ClientStatus::Lost {
            return Disk::Copying(next.id);
        }
        last = next;
    }
    if group.stopped { Disk::Stays } else { Disk::Unplaced }
}

impl AllocationState {
    /// Whether its client has received its tasks. It does when the disk is there.
    #[must_use]
    pub fn has_received(&self) -> bool {
        matches!(self.copy, DiskCopy::Whole(_) | DiskCopy::Cut) || self.started.is_some()
    }
}
