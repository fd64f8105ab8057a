//! Failures of Nomad: no leader, dead agents, machines that end, followers that lag, rows that vanish.

use std::time::Duration;

use super::state::{GroupNumber, Life, NodeNumber};
use super::{Due, EventKind, Nomad, Outside};
use crate::consul::Consul;
use crate::event::{AllocationNumber, Event};
use decamp_core::decide::snapshot::{ClientStatus, JobKind, NodeStatus};
use decamp_core::time::Time;

/// After an election every heartbeat timer restarts with this (`failover_heartbeat_ttl`).
const HEARTBEATS_AFTER_ELECTION: u64 = 300_000;

impl Nomad {
    /// The leader is gone for `span`. Writes and default reads fail, and stale reads continue. The next leader's drainer starts empty,
    /// and does not watch allocations that were already stopping.
    pub fn lose_leader(&mut self, span: Duration) {
        let back = self.now + span;
        self.leader_back = Some(self.leader_back.map_or(back, |already| already.max(back)));
        self.stop_drainer();
        self.queue.put(back, Due::LeaderBack);
    }

    /// Whether there is a leader.
    #[must_use]
    pub fn has_leader(&self) -> bool {
        self.leader_back.is_none()
    }

    pub(super) fn leader_returns(&mut self) {
        if self.leader_back.is_none_or(|back| self.now < back) {
            return;
        }
        self.leader_back = None;
        self.write();
        self.restart_drainer();
        for number in 0..self.nodes.len() {
            if self.nodes[number].down_pending {
                let at = self.soon(HEARTBEATS_AFTER_ELECTION, HEARTBEATS_AFTER_ELECTION + 10_000);
                self.schedule_down(NodeNumber(number as u32), at);
            }
        }
    }

    /// The node's Nomad agent dies, and its allocations' processes continue. The servers notice about 25 s later.
    pub fn kill_agent(&mut self, node: NodeNumber) {
        let at = self.soon(18_000, 28_000);
        let state = &mut self.nodes[node.index()];
        if !std::mem::replace(&mut state.agent_alive, false) {
            return;
        }
        state.sync_due = false;
        state.down_pending = true;
        for number in 0..self.allocations.len() {
            let state = &mut self.allocations[number];
            if state.node != node || state.life != Life::Stopping {
                continue;
            }
            // The stop does not continue. A process that has its signal already still ends by itself, if it obeys.
            state.epoch += 1;
            let plan = state.stopping.filter(|plan| plan.signal <= self.now && self.now < plan.ended && !plan.killed);
            if let Some(plan) = plan {
                let (allocation, epoch) = (AllocationNumber(number as u32), state.epoch);
                self.queue.put(plan.ended, Due::Over { allocation, epoch });
            }
        }
        self.cut_copies(node);
        self.schedule_down(node, at);
    }

    fn schedule_down(&mut self, node: NodeNumber, at: Time) {
        let state = &mut self.nodes[node.index()];
        state.agent_epoch += 1;
        self.queue.put(at, Due::Down { node, epoch: state.agent_epoch });
    }

    pub(super) fn node_down(&mut self, node: NodeNumber, epoch: u32) {
        let state = &self.nodes[node.index()];
        if state.agent_epoch != epoch || state.agent_alive || !state.registered {
            return;
        }
        let stays = |n: &AllocationNumber| {
            let allocation = &self.allocations[n.index()];
            !allocation.is_terminal() && self.groups[allocation.group.index()].spec.behaviour.disconnects
        };
        let status = if state.allocations.iter().any(stays) { NodeStatus::Disconnected } else { NodeStatus::Down };
        let (now, index) = (self.now, self.write());
        let state = &mut self.nodes[node.index()];
        state.down_pending = false;
        state.status = status;
        state.status_since = now;
        state.index = index;
        self.schedule_give_up(node);
    }

    fn schedule_give_up(&mut self, node: NodeNumber) {
        for place in 0..self.nodes[node.index()].allocations.len() {
            let allocation = self.nodes[node.index()].allocations[place];
            if !self.allocations[allocation.index()].is_client_terminal() {
                let at = self.soon(3, 14);
                self.queue.put(at, Due::GiveUp { allocation });
            }
        }
    }

    /// Makes an allocation on a node that is down `lost`, or `unknown` if its group has `disconnect`.
    pub(super) fn give_up(&mut self, number: AllocationNumber, outside: &mut Outside<'_>) {
        let state = &mut self.allocations[number.index()];
        let node = &self.nodes[state.node.index()];
        if state.is_client_terminal() || (node.registered && node.status == NodeStatus::Ready) {
            return;
        }
        if state.wanted && self.groups[state.group.index()].spec.behaviour.disconnects && node.registered {
            state.client = ClientStatus::Unknown;
        } else {
            state.client = ClientStatus::Lost;
            state.wanted = false;
            self.leave_nomad_discovery(number, u32::MAX, outside);
        }
        self.allocation_changed(number);
        self.replace_lost(number);
    }

    /// Starts the node's agent again, if its machine still runs.
    pub fn revive_agent(&mut self, node: NodeNumber) {
        let at = self.soon(300, 1_500);
        let state = &mut self.nodes[node.index()];
        if state.machine_alive && !state.agent_alive {
            state.agent_alive = true;
            state.agent_epoch += 1;
            state.down_pending = false;
            self.queue.put(at, Due::Rejoin { node });
        }
    }

    /// An agent registers with the servers: after its restart, or because its row is gone. In the second case its node is eligible.
    pub(super) fn rejoin(&mut self, node: NodeNumber) {
        let (now, index) = (self.now, self.write());
        let state = &mut self.nodes[node.index()];
        if !state.agent_alive {
            return;
        }
        state.status_since = now;
        state.metadata.clone_from(&state.agents_metadata);
        state.eligible |= !state.registered;
        state.registered = true;
        state.status = NodeStatus::Ready;
        state.index = index;
        state.cached = None;
        for number in (0_u32..).zip(&self.allocations).filter(|(_, a)| a.node == node).map(|(n, _)| n).collect::<Vec<_>>() {
            self.resume(AllocationNumber(number));
        }
        self.node_takes_work(node);
    }

    fn resume(&mut self, number: AllocationNumber) {
        let state = &mut self.allocations[number.index()];
        match state.life {
            Life::Coming if state.wanted => self.schedule_start(number),
            Life::Coming => self.send_stop(number),
            Life::Over { .. } => self.schedule_sync(number),
            Life::Running | Life::Stopping if state.wanted => {
                let successor = state.next.filter(|_| state.client == ClientStatus::Unknown);
                self.schedule_sync(number);
                if let Some(next) = successor {
                    self.apply_plan(next, false);
                }
            }
            Life::Running | Life::Stopping => {
                // The client begins the stop again with the first layer.
                state.life = Life::Running;
                state.stopping = None;
                state.epoch += 1;
                self.send_stop(number);
            }
        }
    }

    /// The machine ends, with every process on it and both agents. `politely`: the Consul agent leaves the cluster first.
    pub fn end_machine(&mut self, node: NodeNumber, politely: bool, consul: &mut Consul, log: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.nodes[node.index()].machine_alive, false) {
            return;
        }
        let outside = &mut Outside { consul, log };
        for number in 0..self.allocations.len() {
            let state = &mut self.allocations[number];
            if state.node != node || matches!(state.life, Life::Over { .. }) {
                continue;
            }
            let (was_alive, number) = (state.is_alive(), AllocationNumber(number as u32));
            let serves = was_alive && state.stopping.is_none_or(|plan| self.now < plan.ended);
            state.epoch += 1;
            state.life = Life::Over { failed: true };
            state.ended = Some(self.now);
            if serves {
                self.emit(number, EventKind::Ended { killed: true }, outside);
            }
            if was_alive {
                self.emit(number, EventKind::Over, outside);
            }
        }
        self.kill_agent(node);
        if let Some((consul_node, _)) = &self.nodes[node.index()].spec.consul {
            outside.consul.end_machine(*consul_node, politely, outside.log);
        }
    }

    /// Whether the node's machine really still runs.
    #[must_use]
    pub fn machine_runs(&self, node: NodeNumber) -> bool {
        self.nodes[node.index()].machine_alive
    }

    /// From now on the follower that answers stale reads gets no updates.
    pub fn lag(&mut self) {
        self.frozen = None;
        self.frozen = Some(self.freeze());
    }

    /// The follower catches up.
    pub fn catch_up(&mut self) {
        self.frozen = None;
    }

    /// The servers are restored from a snapshot: the state stays the same, and the indices become lower.
    pub fn restore_index(&mut self, by: u64) {
        self.index = self.index.saturating_sub(by).max(1);
        let index = self.index;
        for node in &mut self.nodes {
            node.index = node.index.min(index);
            node.allocations_index = node.allocations_index.min(index);
        }
        self.allocations.iter_mut().for_each(|a| a.modified = a.modified.min(index));
    }

    /// Garbage collection removes a node's row and its allocations, if the node is down.
    pub fn collect_node(&mut self, node: NodeNumber) {
        if self.nodes[node.index()].status.is_lost() {
            self.drop_row(node);
            for number in std::mem::take(&mut self.nodes[node.index()].allocations) {
                self.allocations[number.index()].listed = false;
            }
        }
    }

    /// Garbage collection removes a node's allocations that are over: the list becomes shorter, and its index goes back.
    pub fn collect_allocations(&mut self, node: NodeNumber) {
        let over: Vec<_> = {
            let state = &mut self.nodes[node.index()];
            state.cached = None;
            let allocations = &self.allocations;
            state.allocations.extract_if(.., |n| allocations[n.index()].is_client_terminal()).collect()
        };
        for number in over {
            self.allocations[number.index()].listed = false;
        }
        let left = &self.nodes[node.index()].allocations;
        let index = left.iter().map(|n| self.allocations[n.index()].modified).max().unwrap_or(self.index);
        self.nodes[node.index()].allocations_index = index;
    }

    pub(super) fn drop_row(&mut self, node: NodeNumber) {
        let state = &mut self.nodes[node.index()];
        state.registered = false;
        state.drain = None;
        state.last_drain = None;
        self.notify_drainer(node);
        self.schedule_give_up(node);
    }

    /// Removes a purged job's allocations from every list. Clients still stop those that run.
    pub(super) fn unlist_group(&mut self, group: GroupNumber) {
        let index = self.index;
        for place in 0..self.groups[group.index()].allocations.len() {
            let number = self.groups[group.index()].allocations[place];
            let state = &mut self.allocations[number.index()];
            state.listed = false;
            state.wanted = false;
            let runs = matches!(state.life, Life::Coming | Life::Running);
            let node = &mut self.nodes[state.node.index()];
            node.allocations.retain(|n| *n != number);
            node.allocations_index = index;
            node.cached = None;
            if runs {
                self.send_stop(number);
            }
        }
        self.group_changed(group);
    }

    /// Places more copies of a group.
    pub(super) fn place_more(&mut self, group: GroupNumber, copies: usize) {
        if matches!(self.groups[group.index()].spec.group.kind, JobKind::Service | JobKind::Batch) {
            for _ in 0..copies {
                let name = self.free_name(group);
                self.place_somewhere(group, name, None);
            }
        }
    }
}
