//! The pretend Consul: a catalog, an agent beside each Nomad client, checks, and tokens that see more or less of it.
//!
//! [`Consul::new`], [`Consul::add_node`]; Nomad's clients register and deregister by themselves. [`Consul::next_event`] and
//! [`Consul::advance`] move it in time ([`super::nomad::Nomad::advance`] does both). Reads: [`Consul::look`] (what the rules see) and
//! [`Consul::node_services`] (for the wire), for a [`Token`] and a [`Read`]. What goes wrong, in `agent`: [`Consul::kill_agent`],
//! [`Consul::revive_agent`], [`Consul::block`], [`Consul::lose_leader`], [`Consul::lag`], [`Consul::restore_index`].

mod acl;
mod agent;
mod lists;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;
use std::time::Duration;

pub use self::acl::Token;
pub use self::lists::Check;
pub use self::view::{Answer, ApiError, NodeServices, Read};
use super::event::{AllocationNumber, Event, What};
use super::rng::Rng;
use super::timer_queue::TimerQueue;
use decamp_core::decide::snapshot::{Registration, Registrations};
use decamp_core::ids::AllocationId;
use decamp_core::time::Time;

/// Which Consul is modelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The oldest that was recorded: nothing says that an answer was filtered.
    V1_8_7,
    /// Today's: a header says so (since 1.11).
    V1_19_2,
}

/// The number of a node in the catalog, in the order they were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeNumber(pub u32);

impl NodeNumber {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// One service registration of an allocation.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Whose.
    pub allocation: AllocationNumber,
    /// Its id.
    pub id: AllocationId,
    /// The service's place in `TaskGroup::services`.
    pub service: u16,
    /// The service's name.
    pub name: Arc<str>,
    /// The namespace that it is in (Consul Enterprise); `None` is the default one.
    pub namespace: Option<Arc<str>>,
    /// Nomad still wants it.
    wanted: bool,
    /// The agent has it.
    local: bool,
    /// The catalog has it.
    catalog: bool,
    passing: bool,
}

impl Entry {
    /// A registration that is about to be made.
    #[must_use]
    pub fn new(allocation: AllocationNumber, id: AllocationId, service: u16, name: Arc<str>) -> Self {
        Self { allocation, id, service, name, namespace: None, wanted: true, local: false, catalog: false, passing: false }
    }

    /// One that somebody makes by hand, and that no allocation owns.
    #[must_use]
    pub fn by_hand(name: Arc<str>) -> Self {
        Self::new(AllocationNumber::BY_HAND, AllocationId(0), 0, name)
    }

    /// The same in a namespace.
    #[must_use]
    pub fn within(self, namespace: Option<Arc<str>>) -> Self {
        Self { namespace, ..self }
    }

    /// Whether the catalog lists it.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.catalog
    }

    /// Whether its own check passes.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.passing
    }
}

/// A node of the catalog, and the agent on it.
#[derive(Debug, Clone)]
pub struct NodeState {
    /// Its name.
    pub name: Arc<str>,
    /// Services on it that are no allocation's (`nomad-client`, `consul`).
    pub others: Vec<Arc<str>>,
    /// Whether the catalog has it.
    pub registered: bool,
    /// `serfHealth` is critical.
    pub serf_critical: bool,
    /// The index of its last change.
    pub index: u64,
    entries: Vec<Entry>,
    agent_alive: bool,
    blocked: bool,
    sync_due: bool,
    cached: Option<Arc<[Registration]>>,
}

impl NodeState {
    /// What its agent or the catalog still holds, for allocations or made by hand.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Those that allocations registered.
    pub fn of_allocations(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !entry.allocation.is_by_hand())
    }
}

/// The pretend Consul.
#[derive(Debug, Clone)]
pub struct Consul {
    version: Version,
    now: Time,
    rng: Rng,
    queue: TimerQueue<Due>,
    index: u64,
    nodes: Vec<NodeState>,
    leader_back: Option<Time>,
    /// Somebody has registered something in a namespace.
    has_namespaces: bool,
    frozen: Option<(u64, Vec<Registrations>)>,
}

#[derive(Debug, Clone, Copy)]
enum Due {
    /// A check passes for the first time.
    Passes {
        node: NodeNumber,
        allocation: AllocationNumber,
        service: u16,
    },
    /// A check meets a process that is gone.
    Fails {
        node: NodeNumber,
        allocation: AllocationNumber,
    },
    /// The other agents agree on whether a node's agent lives.
    Serf {
        node: NodeNumber,
    },
    /// An agent compares what it has with the catalog (anti-entropy).
    FullSync {
        node: NodeNumber,
    },
    LeaderBack,
}

impl Consul {
    /// An empty catalog.
    #[must_use]
    pub fn new(version: Version, now: Time, rng: Rng) -> Self {
        Self {
            version,
            now,
            rng,
            queue: TimerQueue::default(),
            index: 10,
            nodes: Vec::new(),
            leader_back: None,
            has_namespaces: false,
            frozen: None,
        }
    }

    /// Adds a node with its agent.
    pub fn add_node(&mut self, name: Arc<str>) -> NodeNumber {
        self.index += 1;
        self.nodes.push(NodeState {
            name,
            others: Vec::new(),
            registered: true,
            serf_critical: false,
            index: self.index,
            entries: Vec::new(),
            agent_alive: true,
            blocked: false,
            sync_due: false,
            cached: None,
        });
        NodeNumber(self.nodes.len() as u32 - 1)
    }

    /// A service on a node that is no allocation's.
    pub fn add_other(&mut self, node: NodeNumber, name: Arc<str>) {
        self.nodes[node.index()].others.push(name);
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// When something next happens by itself.
    #[must_use]
    pub fn next_event(&self) -> Time {
        self.queue.next()
    }

    /// Lets everything happen that is due by `to`.
    pub fn advance(&mut self, to: Time, log: &mut Vec<Event>) {
        while let Some((at, due)) = self.queue.take(to) {
            self.now = at;
            match due {
                Due::Passes { node, allocation, service } => self.check(node, allocation, Some(service), true, log),
                Due::Fails { node, allocation } => self.check(node, allocation, None, false, log),
                Due::Serf { node } => self.serf(node, log),
                Due::FullSync { node } => self.full_sync(node, log),
                Due::LeaderBack => self.leader_returns(),
            }
        }
        self.now = self.now.max(to);
    }

    /// A client registers a service with the agent beside it; its check passes from `passes` on.
    pub fn register(&mut self, node: NodeNumber, entry: Entry, passes: Time, log: &mut Vec<Event>) {
        let has_leader = self.leader_back.is_none();
        self.has_namespaces |= entry.namespace.is_some();
        let state = &mut self.nodes[node.index()];
        let (allocation, service) = (entry.allocation, entry.service);
        let mut entry = Entry { local: state.agent_alive, catalog: state.agent_alive && has_leader, ..entry };
        entry.passing = passes <= self.now;
        let settled = entry.catalog;
        if is_routable(state, &entry) {
            log.push(Event { at: self.now, allocation, what: What::InDiscovery { service } });
        }
        state.entries.push(entry);
        self.changed(node);
        if self.now < passes {
            self.queue.put(passes, Due::Passes { node, allocation, service });
        }
        if !settled {
            self.expect_sync(node, 15, 30);
        }
    }

    /// A client tells the agent beside it that these services of an allocation are gone. The catalog hears of it at once, unless
    /// the agent is dead, may not, or finds no leader: then the registrations stay until a full sync sets it right.
    pub fn deregister(&mut self, node: NodeNumber, allocation: AllocationNumber, services: u32, log: &mut Vec<Event>) {
        let has_leader = self.leader_back.is_none();
        let state = &mut self.nodes[node.index()];
        let goes_at_once = state.agent_alive && !state.blocked && has_leader;
        let mut left = Vec::new();
        let mut found = false;
        for entry in state.entries.iter_mut().filter(|e| e.allocation == allocation && services >> e.service & 1 == 1) {
            found = true;
            entry.wanted = false;
            entry.local &= !state.agent_alive;
            if goes_at_once {
                if entry.catalog && entry.passing && !state.serf_critical && state.registered {
                    left.push(entry.service);
                }
                entry.catalog = false;
            }
        }
        if goes_at_once {
            state.entries.retain(|e| e.catalog || e.local || e.wanted);
            log.extend(left.into_iter().map(|service| Event { at: self.now, allocation, what: What::LeftDiscovery { service } }));
            self.changed(node);
        } else if found && !has_leader {
            self.expect_sync(node, 15, 30);
        } else if found {
            self.expect_sync(node, 60, 120);
        }
    }

    /// A check changes its mind.
    fn check(
        &mut self,
        node: NodeNumber,
        allocation: AllocationNumber,
        service: Option<u16>,
        passes: bool,
        log: &mut Vec<Event>,
    ) {
        if self.nodes[node.index()].agent_alive {
            let of = |entry: &Entry| entry.allocation == allocation && service.is_none_or(|s| s == entry.service);
            self.change(node, log, |_, entry| {
                if of(entry) {
                    entry.passing = passes;
                }
            });
        }
    }

    /// Changes every registration of a node, and says which of them began or ceased to be routable by it.
    fn change(&mut self, node: NodeNumber, log: &mut Vec<Event>, change: impl Fn(&mut NodeState, &mut Entry)) {
        let now = self.now;
        let state = &mut self.nodes[node.index()];
        let mut entries = std::mem::take(&mut state.entries);
        let before = (state.serf_critical, state.registered);
        for entry in &mut entries {
            (state.serf_critical, state.registered) = before;
            let was = is_routable(state, entry);
            change(state, entry);
            let is = is_routable(state, entry);
            if was != is {
                let service = entry.service;
                let what = if is { What::InDiscovery { service } } else { What::LeftDiscovery { service } };
                log.push(Event { at: now, allocation: entry.allocation, what });
            }
        }
        entries.retain(|e| e.catalog || e.local || e.wanted);
        state.entries = entries;
        self.changed(node);
    }

    fn changed(&mut self, node: NodeNumber) {
        self.index += 1;
        let state = &mut self.nodes[node.index()];
        state.index = self.index;
        state.cached = None;
    }

    fn after(&mut self, least: u64, most: u64) -> Time {
        self.now + self.rng.span(Duration::from_secs(least), Duration::from_secs(most))
    }
}

/// Whether health-filtered discovery hands this registration out.
fn is_routable(node: &NodeState, entry: &Entry) -> bool {
    entry.catalog && entry.passing && node.registered && !node.serf_critical
}
