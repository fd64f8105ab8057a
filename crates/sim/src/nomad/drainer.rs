//! The drainer: marks allocations, and decides when a node's drain is complete (facts/nomad.md 3.1; `nomad/drainer`).
//!
//! It consists of a watcher of jobs and one loop. The watcher sends a batch of allocations to mark, and waits until the batch is written.
//! The loop does one thing at a time, and a batch takes a second. Nomad checks whether a node is done only when its drain changes and when
//! an allocation *of a watched job* ends. If an allocation of another job is still stopping then, the drain hangs until its deadline.

use std::time::Duration;

use super::deadlines::Deadlines;
use super::state::{AllocationState, GroupNumber, NodeNumber};
use super::{Due, Nomad};
use crate::event::AllocationNumber;
use decamp_core::decide::snapshot::{DrainStatus, JobKind};
use decamp_core::time::Time;

/// Marks are collected for this long (facts/nomad.md 3.7).
pub(crate) const BATCH: Duration = Duration::from_secs(1);

/// The state of the current leader's drainer. A new leader starts with an empty one.
#[derive(Debug, Clone, Default)]
pub(super) struct Drainer {
    epoch: u32,
    deadlines: Deadlines,
    watched: Vec<GroupNumber>,
    wake_due: bool,
    /// A request of the watcher that the loop has not taken yet.
    request: Option<Vec<AllocationNumber>>,
    /// Nodes on which allocations of watched jobs ended. Those in `migrated_later` wait until the request is written.
    migrated: Vec<NodeNumber>,
    migrated_later: Vec<NodeNumber>,
    deadlined: Vec<NodeNumber>,
    batch: Option<Batch>,
    /// Whether the drainer noticed another drain while a request was pending.
    drain_seen_meanwhile: bool,
}

#[derive(Debug, Clone)]
enum Batch {
    Marks(Vec<AllocationNumber>),
    Deadline { nodes: Vec<NodeNumber>, marks: Vec<AllocationNumber> },
}

impl Drainer {
    fn waits(&self) -> bool {
        self.request.is_some() || matches!(self.batch, Some(Batch::Marks(_)))
    }
}

impl Nomad {
    /// A group changed, and the watcher will notice.
    pub(super) fn group_changed(&mut self, group: GroupNumber) {
        let state = &mut self.groups[group.index()];
        state.changed = true;
        if state.watched {
            self.wake_watcher(1, 3);
        }
    }

    fn wake_watcher(&mut self, least: u64, most: u64) {
        if !self.drainer.wake_due {
            self.drainer.wake_due = true;
            let (at, epoch) = (self.soon(least, most), self.drainer.epoch);
            self.queue.put(at, Due::Wake { epoch });
        }
    }

    /// Notifies the drainer of a node whose drain changed.
    pub(super) fn notify_drainer(&mut self, node: NodeNumber) {
        let (at, epoch) = (self.soon(1, 3), self.drainer.epoch);
        self.queue.put(at, Due::DrainSeen { node, epoch });
    }

    /// Starts the drainer of a new leader. It knows only the nodes' drains.
    pub(super) fn restart_drainer(&mut self) {
        let epoch = self.drainer.epoch + 1;
        self.drainer = Drainer { epoch, ..Drainer::default() };
        self.groups.iter_mut().for_each(|g| g.watched = false);
        self.allocations.iter_mut().for_each(|a| a.reported_over = false);
        for number in 0..self.nodes.len() {
            if self.nodes[number].drain.is_some() {
                self.notify_drainer(NodeNumber(number as u32));
            }
        }
    }

    /// Drops the old leader's drainer with its pending requests and batches.
    pub(super) fn stop_drainer(&mut self) {
        self.drainer = Drainer { epoch: self.drainer.epoch + 1, ..Drainer::default() };
        self.groups.iter_mut().for_each(|g| g.watched = false);
    }

    pub(super) fn drain_seen(&mut self, node: NodeNumber, epoch: u32) {
        if epoch != self.drainer.epoch {
            return;
        }
        let Some(drain) = self.nodes[node.index()].drain else { return self.forget_deadline(node) };
        match drain.force_deadline {
            Some(deadline) => self.drainer.deadlines.watch(node, deadline, &mut self.rng),
            None => self.drainer.deadlines.forget(node, &mut self.rng),
        }
        self.set_deadline_timer();
        for place in 0..self.nodes[node.index()].allocations.len() {
            let number = self.nodes[node.index()].allocations[place];
            let allocation = &self.allocations[number.index()];
            if !allocation.is_terminal() && self.kind(allocation) != JobKind::System && !self.is_plugin(allocation) {
                self.watch(allocation.group);
            }
        }
        self.drainer.drain_seen_meanwhile |= self.drainer.waits();
        if self.is_done(node) {
            self.complete_done(node);
        }
    }

    fn watch(&mut self, group: GroupNumber) {
        let state = &mut self.groups[group.index()];
        if !state.watched {
            state.watched = true;
            self.drainer.watched.push(group);
        }
        self.group_changed(group);
    }

    pub(super) fn watcher_wakes(&mut self, epoch: u32) {
        if epoch == self.drainer.epoch {
            self.drainer.wake_due = false;
            if !self.drainer.waits() {
                self.watch_groups();
            }
        }
    }

    /// One round of the watcher over all watched groups that changed.
    fn watch_groups(&mut self) {
        let mut marks = Vec::new();
        let mut ended = Vec::new();
        let mut place = 0;
        while let Some(&group) = self.drainer.watched.get(place) {
            let changed = std::mem::take(&mut self.groups[group.index()].changed);
            if changed && self.watch_group(group, &mut marks, &mut ended) {
                self.groups[group.index()].watched = false;
                self.drainer.watched.swap_remove(place);
            } else {
                place += 1;
            }
        }
        if marks.is_empty() {
            self.drainer.migrated.append(&mut ended);
        } else {
            self.drainer.migrated_later.append(&mut ended);
            self.drainer.request = Some(marks);
            self.drainer.drain_seen_meanwhile = false;
        }
        self.pump();
    }

    /// Finds the allocations of one group to mark, and the nodes on which some ended. Returns true if there is nothing left to watch.
    fn watch_group(&mut self, group: GroupNumber, marks: &mut Vec<AllocationNumber>, ended: &mut Vec<NodeNumber>) -> bool {
        let Self { allocations, nodes, groups, version, .. } = self;
        let (state, spec) = (&groups[group.index()], &groups[group.index()].spec.group);
        // A sysbatch job has no `migrate`, and so is done at once: nothing notifies the drainer when it ends.
        if spec.kind == JobKind::SysBatch {
            return true;
        }
        let migrates = spec.kind == JobKind::Service;
        let (mut healthy, mut left) = (0_i64, false);
        let first = marks.len();
        for &number in &state.allocations {
            let allocation = &mut allocations[number.index()];
            if !allocation.listed {
                continue;
            }
            let counts = !allocation.marked || !version.holds_max_parallel_over_nodes();
            if !allocation.is_terminal() && allocation.healthy.is_some() && counts {
                healthy += 1;
            }
            if nodes[allocation.node.index()].drain.is_none() {
                continue;
            }
            let over = is_over(*version, allocation);
            if over && !std::mem::replace(&mut allocation.reported_over, true) && !ended.contains(&allocation.node) {
                ended.push(allocation.node);
            }
            if !over {
                left = true;
                if migrates && !allocation.marked {
                    marks.push(number);
                }
            }
        }
        let threshold = i64::from(spec.count) - i64::from(spec.max_parallel.unwrap_or(1));
        let room = usize::try_from(healthy - threshold).unwrap_or(0);
        marks.truncate(first + room.min(marks.len() - first));
        !left
    }

    /// The loop takes pending work, one item at a time.
    fn pump(&mut self) {
        while self.drainer.batch.is_none() {
            if let Some(marks) = self.drainer.request.take() {
                self.begin_batch(Batch::Marks(marks));
            } else if !self.drainer.deadlined.is_empty() {
                let nodes = std::mem::take(&mut self.drainer.deadlined);
                let marks = nodes.iter().flat_map(|&node| self.left_on(node, |_| true)).collect();
                self.begin_batch(Batch::Deadline { nodes, marks });
            } else if let Some(node) = self.drainer.migrated.pop() {
                if self.is_done(node) {
                    self.complete_done(node);
                }
            } else {
                return;
            }
        }
    }

    fn begin_batch(&mut self, batch: Batch) {
        self.drainer.batch = Some(batch);
        self.queue.put(self.now + BATCH, Due::Flush { epoch: self.drainer.epoch });
    }

    /// Writes a batch.
    pub(super) fn flush(&mut self, epoch: u32) {
        if epoch != self.drainer.epoch {
            return;
        }
        match self.drainer.batch.take() {
            None => {}
            Some(Batch::Marks(marks)) => {
                self.mark(&marks, true);
                let mut ended = std::mem::take(&mut self.drainer.migrated_later);
                self.drainer.migrated.append(&mut ended);
                if self.drainer.drain_seen_meanwhile && !self.version.holds_max_parallel_over_nodes() {
                    // The watcher runs before the scheduler has stopped the marked allocations, and counts them as healthy again.
                    self.watch_groups();
                } else {
                    self.wake_watcher(10, 12);
                }
            }
            Some(Batch::Deadline { nodes, marks }) => {
                self.mark(&marks, !self.version.leaves_batch_stopped());
                for node in nodes {
                    self.complete(node);
                }
            }
        }
        self.pump();
    }

    fn mark(&mut self, marks: &[AllocationNumber], replace_batch: bool) {
        let at = self.soon(2, 9);
        for &allocation in marks {
            let state = &mut self.allocations[allocation.index()];
            if !state.marked && state.wanted {
                state.marked = true;
                let replace = match self.groups[state.group.index()].spec.group.kind {
                    JobKind::Service => true,
                    JobKind::Batch => replace_batch,
                    JobKind::System | JobKind::SysBatch => false,
                };
                self.queue.put(at, Due::Plan { allocation, replace });
            }
        }
    }

    pub(super) fn deadline_reached(&mut self, epoch: u32, generation: u32) {
        if epoch == self.drainer.epoch {
            let mut nodes = self.drainer.deadlines.take(generation, &mut self.rng);
            self.set_deadline_timer();
            self.drainer.deadlined.append(&mut nodes);
            self.pump();
        }
    }

    fn set_deadline_timer(&mut self) {
        if let Some((at, generation)) = self.drainer.deadlines.next() {
            // A deadline in the past acts at once, but after the request that the watcher sends at the same time, as in recordings.
            let at = at.max(self.now + Duration::from_millis(5));
            self.queue.put(at, Due::Deadline { epoch: self.drainer.epoch, generation });
        }
    }

    fn forget_deadline(&mut self, node: NodeNumber) {
        self.drainer.deadlines.forget(node, &mut self.rng);
        self.set_deadline_timer();
    }

    fn kind(&self, allocation: &AllocationState) -> JobKind {
        self.groups[allocation.group.index()].spec.group.kind
    }

    fn is_plugin(&self, allocation: &AllocationState) -> bool {
        self.version.drains_plugins_last() && self.groups[allocation.group.index()].spec.group.csi_plugin
    }

    /// Whether the node has nothing left that a drain waits for. A drain waits for all but system allocations and plugins.
    fn is_done(&self, node: NodeNumber) -> bool {
        let node = &self.nodes[node.index()];
        node.drain.is_some()
            && node.allocations.iter().map(|n| &self.allocations[n.index()]).all(|allocation| {
                self.kind(allocation) == JobKind::System || self.is_plugin(allocation) || is_over(self.version, allocation)
            })
    }

    /// The allocations left on a node that its drain does not ignore.
    fn left_on(&self, node: NodeNumber, which: impl Fn(&AllocationState) -> bool) -> Vec<AllocationNumber> {
        let node = &self.nodes[node.index()];
        let ignores = node.drain.is_some_and(|drain| drain.ignore_system_jobs);
        let counts = |number: &AllocationNumber| {
            let allocation = &self.allocations[number.index()];
            !allocation.is_terminal() && which(allocation) && !(ignores && self.kind(allocation) == JobKind::System)
        };
        node.allocations.iter().copied().filter(counts).collect()
    }

    /// Marks the system allocations and plugins, and completes the drain in the same write.
    fn complete_done(&mut self, node: NodeNumber) {
        let last = self.left_on(node, |allocation| self.kind(allocation) == JobKind::System || self.is_plugin(allocation));
        self.mark(&last, false);
        self.complete(node);
    }

    fn complete(&mut self, node: NodeNumber) {
        let (now, index) = (self.now, self.write());
        let state = &mut self.nodes[node.index()];
        if state.drain.take().is_some() {
            state.index = index;
            state.status_since = now;
            if let Some(last) = &mut state.last_drain {
                last.status = DrainStatus::Complete;
                last.updated = now;
            }
        }
        self.forget_deadline(node);
    }
}

/// Whether a drain no longer waits for this allocation. Since the fix only the client's status counts.
fn is_over(version: super::Version, allocation: &AllocationState) -> bool {
    allocation.is_client_terminal() || (!allocation.wanted && !version.completes_on_client_status())
}

/// A forced drain's deadline: Go's zero time.
pub(super) const FORCED: Time = Time(0);
