//! Failures of Consul: dead agents, agents that may not deregister, no leader, servers that lag or are restored. Also anti-entropy, which
//! repairs the catalog.

use super::{Consul, Due, NodeNumber};
use crate::event::{AllocationNumber, Event};
use decamp_core::time::Time;

impl Consul {
    /// The agent dies. Its services stay in the catalog, and within seconds `serfHealth` becomes critical.
    pub fn kill_agent(&mut self, node: NodeNumber) {
        let at = self.after(2, 6);
        if std::mem::replace(&mut self.nodes[node.index()].agent_alive, false) {
            self.queue.put(at, Due::Serf { node });
        }
    }

    /// The agent starts again. It still knows its services, and syncs what changed meanwhile.
    pub fn revive_agent(&mut self, node: NodeNumber) {
        let at = self.after(1, 3);
        if !std::mem::replace(&mut self.nodes[node.index()].agent_alive, true) {
            self.queue.put(at, Due::Serf { node });
            self.schedule_sync(node, 1, 30);
        }
    }

    /// Whether the node's agent is alive.
    #[must_use]
    pub fn agent_lives(&self, node: NodeNumber) -> bool {
        self.nodes[node.index()].agent_alive
    }

    pub(super) fn update_serf(&mut self, node: NodeNumber, log: &mut Vec<Event>) {
        let critical = !self.nodes[node.index()].agent_alive;
        self.change(node, log, |state, _| state.serf_critical = critical);
        self.nodes[node.index()].serf_critical = critical;
    }

    /// The machine ends. `politely`: the agent leaves first, which removes its node and services from the catalog.
    pub fn end_machine(&mut self, node: NodeNumber, politely: bool, log: &mut Vec<Event>) {
        self.kill_agent(node);
        if politely {
            self.deregister_node(node, log);
        }
    }

    /// A process ended without being deregistered by its client. Its check will fail.
    pub fn process_ended(&mut self, node: NodeNumber, allocation: AllocationNumber) {
        let at = self.after(0, 10);
        let state = &self.nodes[node.index()];
        if state.agent_alive && state.entries.iter().any(|e| e.allocation == allocation) {
            self.queue.put(at, Due::Fails { node, allocation });
        }
    }

    /// `PUT /v1/catalog/deregister` of one service. A live agent that still has the service registers it again at its next full sync.
    pub fn deregister_service(&mut self, node: NodeNumber, allocation: AllocationNumber, service: u16, log: &mut Vec<Event>) {
        self.change(node, log, |_, entry| {
            if entry.allocation == allocation && entry.service == service {
                entry.catalog = false;
            }
        });
        self.schedule_sync(node, 1, 120);
    }

    /// `PUT /v1/catalog/deregister` of a whole node.
    pub fn deregister_node(&mut self, node: NodeNumber, log: &mut Vec<Event>) {
        self.change(node, log, |state, entry| {
            state.registered = false;
            entry.catalog = false;
        });
        self.nodes[node.index()].registered = false;
        self.schedule_sync(node, 1, 120);
    }

    /// Sets whether the agent's token may not deregister. Meanwhile deregistered services stay in the catalog.
    pub fn block(&mut self, node: NodeNumber, blocked: bool) {
        self.nodes[node.index()].blocked = blocked;
        self.schedule_sync(node, 60, 120);
    }

    /// Schedules an agent's next full sync between `least` and `most` seconds from now, if none is scheduled.
    pub(super) fn schedule_sync(&mut self, node: NodeNumber, least: u64, most: u64) {
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
            return self.schedule_sync(node, 15, 30);
        }
        let blocked = state.blocked;
        self.change(node, log, |state, entry| {
            state.registered = true;
            entry.local = entry.wanted;
            entry.catalog = entry.local || (blocked && entry.catalog);
        });
        self.nodes[node.index()].registered = true;
    }

    /// There is no leader for `span`: default reads and writes fail, and agents retry.
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
                self.schedule_sync(node, 1, 30);
            }
        }
    }

    /// Whether there is a leader.
    #[must_use]
    pub fn has_leader(&self) -> bool {
        self.leader_back.is_none()
    }

    /// From now on the server that answers stale reads gets no updates.
    pub fn lag(&mut self) {
        let seen = (0..self.nodes.len()).map(|number| self.seen(NodeNumber(number as u32))).collect();
        self.frozen = Some((self.index, seen));
    }

    /// That server catches up.
    pub fn catch_up(&mut self) {
        self.frozen = None;
    }

    /// The servers are restored from a snapshot: the state stays the same, and the indices become lower.
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
