//! Consul's agents and servers in trouble: dead, shut out, without a leader, lagging, restored; and the anti-entropy that mends.

use super::{Consul, Due, NodeNumber};
use crate::event::{AllocationNumber, Event};
use decamp_core::time::Time;

impl Consul {
    /// The agent dies. Its services stay in the catalog; within seconds `serfHealth` is critical.
    pub fn kill_agent(&mut self, node: NodeNumber) {
        let at = self.after(2, 6);
        if std::mem::replace(&mut self.nodes[node.index()].agent_alive, false) {
            self.queue.put(at, Due::Serf { node });
        }
    }

    /// The agent is started again: it still knows its services, and sets right what changed meanwhile.
    pub fn revive_agent(&mut self, node: NodeNumber) {
        let at = self.after(1, 3);
        if !std::mem::replace(&mut self.nodes[node.index()].agent_alive, true) {
            self.queue.put(at, Due::Serf { node });
            self.expect_sync(node, 1, 30);
        }
    }

    /// Whether the node's agent lives.
    #[must_use]
    pub fn agent_lives(&self, node: NodeNumber) -> bool {
        self.nodes[node.index()].agent_alive
    }

    pub(super) fn serf(&mut self, node: NodeNumber, log: &mut Vec<Event>) {
        let critical = !self.nodes[node.index()].agent_alive;
        self.change(node, log, |state, _| state.serf_critical = critical);
        self.nodes[node.index()].serf_critical = critical;
    }

    /// The machine ends. `politely`: the agent left, and took its node and services out of the catalog.
    pub fn end_machine(&mut self, node: NodeNumber, politely: bool, log: &mut Vec<Event>) {
        self.kill_agent(node);
        if politely {
            self.deregister_node(node, log);
        }
    }

    /// A process is gone that its client did not deregister: its check finds out.
    pub fn process_ended(&mut self, node: NodeNumber, allocation: AllocationNumber) {
        let at = self.after(0, 10);
        let state = &self.nodes[node.index()];
        if state.agent_alive && state.entries.iter().any(|e| e.allocation == allocation) {
            self.queue.put(at, Due::Fails { node, allocation });
        }
    }

    /// `PUT /v1/catalog/deregister` of one service: a live agent that still has it puts it back at its next full sync.
    pub fn deregister_service(&mut self, node: NodeNumber, allocation: AllocationNumber, service: u16, log: &mut Vec<Event>) {
        self.change(node, log, |_, entry| {
            if entry.allocation == allocation && entry.service == service {
                entry.catalog = false;
            }
        });
        self.expect_sync(node, 1, 120);
    }

    /// `PUT /v1/catalog/deregister` of a whole node.
    pub fn deregister_node(&mut self, node: NodeNumber, log: &mut Vec<Event>) {
        self.change(node, log, |state, entry| {
            state.registered = false;
            entry.catalog = false;
        });
        self.nodes[node.index()].registered = false;
        self.expect_sync(node, 1, 120);
    }

    /// From now on the agent's token may not deregister: what should go stays in the catalog until it may again.
    pub fn block(&mut self, node: NodeNumber, blocked: bool) {
        self.nodes[node.index()].blocked = blocked;
        self.expect_sync(node, 60, 120);
    }

    /// An agent's next full sync is due some seconds from now. Nothing needs one that is in step.
    pub(super) fn expect_sync(&mut self, node: NodeNumber, least: u64, most: u64) {
        let at = self.after(least, most);
        if !std::mem::replace(&mut self.nodes[node.index()].sync_due, true) {
            self.queue.put(at, Due::FullSync { node });
        }
    }

    pub(super) fn full_sync(&mut self, node: NodeNumber, log: &mut Vec<Event>) {
        let state = &mut self.nodes[node.index()];
        state.sync_due = false;
        if !state.agent_alive {
            return;
        }
        if self.leader_back.is_some() {
            return self.expect_sync(node, 15, 30);
        }
        let blocked = state.blocked;
        self.change(node, log, |state, entry| {
            state.registered = true;
            entry.local = entry.wanted;
            entry.catalog = entry.local || (blocked && entry.catalog);
        });
        self.nodes[node.index()].registered = true;
    }

    /// No leader for so long: default reads and writes fail, agents retry.
    pub fn lose_leader(&mut self, span: std::time::Duration) {
        let back = self.now + span;
        self.leader_back = Some(self.leader_back.map_or(back, |already| already.max(back)));
        self.queue.put(back, Due::LeaderBack);
    }

    pub(super) fn leader_returns(&mut self) {
        if self.leader_back.is_none_or(|back| self.now < back) {
            return;
        }
        self.leader_back = None;
        for number in 0..self.nodes.len() {
            let node = NodeNumber(number as u32);
            if self.nodes[number].entries.iter().any(|e| e.catalog != e.local || !e.wanted) {
                self.expect_sync(node, 1, 30);
            }
        }
    }

    /// Whether there is a leader.
    #[must_use]
    pub fn has_leader(&self) -> bool {
        self.leader_back.is_none()
    }

    /// From now on the server that answers stale reads learns nothing new.
    pub fn lag(&mut self) {
        let seen = (0..self.nodes.len()).map(|number| self.seen(NodeNumber(number as u32))).collect();
        self.frozen = Some((self.index, seen));
    }

    /// It has caught up.
    pub fn catch_up(&mut self) {
        self.frozen = None;
    }

    /// The servers are restored from a snapshot: everything stands as it was, but indices begin lower.
    pub fn restore_index(&mut self, by: u64) {
        self.index = self.index.saturating_sub(by).max(1);
        let index = self.index;
        self.nodes.iter_mut().for_each(|node| node.index = node.index.min(index));
    }

    /// When the leader is back, if there is none now.
    #[must_use]
    pub fn leader_back(&self) -> Option<Time> {
        self.leader_back
    }
}
