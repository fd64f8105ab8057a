//! The model of Consul: a catalog, an agent on each Nomad client's machine, checks, and tokens with more or less read access.
//!
//! To build it: [`Consul::new`], [`Consul::add_node`]. The model of Nomad registers and deregisters services.
//!
//! Time: [`Consul::next_event`] and [`Consul::advance`]; [`super::nomad::Nomad::advance`] advances both models. Reads: [`Consul::look`]
//! (for the rules) and [`Consul::node_services`] (for the sandbox), with a [`Token`] and a [`Read`] mode. Failures, in `agent`:
//! [`Consul::kill_agent`], [`Consul::revive_agent`], [`Consul::block`], [`Consul::lose_leader`], [`Consul::lag`],
//! [`Consul::restore_index`].

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
use super::event::{AllocationNumber, Event, EventKind};
use super::rng::Rng;
use super::timer_queue::TimerQueue;
use decamp_core::decide::snapshot::{Registration, Registrations};
use decamp_core::ids::AllocationId;
use decamp_core::time::Time;

/// The modelled version of Consul.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The oldest recorded version: its answers do not say that they were filtered.
    V1_8_7,
    /// The current version: a header says that an answer was filtered (since 1.11).
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
    /// Its allocation.
    pub allocation: AllocationNumber,
    /// The allocation's id.
    pub id: AllocationId,
    /// The service's index in `TaskGroup::services`.
    pub service: u16,
    /// The service's name.
    pub name: Arc<str>,
    /// Its namespace (Consul Enterprise); `None` is the default one.
    pub namespace: Option<Arc<str>>,
    /// Whether Nomad still wants it.
    wanted: bool,
    /// Whether the agent has it.
    local: bool,
    /// Whether the catalog has it.
    catalog: bool,
    passing: bool,
}

impl Entry {
    /// A registration before it is made.
    #[must_use]
    pub fn new(allocation: AllocationNumber, id: AllocationId, service: u16, name: Arc<str>) -> Self {
        Self { allocation, id, service, name, namespace: None, wanted: true, local: false, catalog: false, passing: false }
    }

    /// A registration by hand, which belongs to no allocation.
    #[must_use]
    pub fn by_hand(name: Arc<str>) -> Self {
        Self::new(AllocationNumber::BY_HAND, AllocationId(0), 0, name)
    }

    /// The same registration in a namespace.
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
    /// Services on it that belong to no allocation (`nomad-client`, `consul`).
    pub others: Vec<Arc<str>>,
    /// Whether the catalog has it.
    pub registered: bool,
    /// Whether `serfHealth` is critical.
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
    /// The registrations that its agent or the catalog has, of allocations and by hand.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The registrations of allocations.
    pub fn of_allocations(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !entry.allocation.is_by_hand())
    }
}

/// The model of Consul.
#[derive(Debug, Clone)]
pub struct Consul {
    version: Version,
    now: Time,
    rng: Rng,
    queue: TimerQueue<Due>,
    index: u64,
    nodes: Vec<NodeState>,
    leader_back: Option<Time>,
    /// Whether any registration has been in a namespace.
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
    /// A check finds that its process is gone.
    Fails {
        node: NodeNumber,
        allocation: AllocationNumber,
    },
    /// The other agents agree whether a node's agent is alive.
    Serf {
        node: NodeNumber,
    },
    /// An agent compares its services with the catalog (anti-entropy).
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

    /// Adds a service on a node that belongs to no allocation.
    pub fn add_other(&mut self, node: NodeNumber, name: Arc<str>) {
        self.nodes[node.index()].others.push(name);
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// When the next timed event is due.
    #[must_use]
    pub fn next_event(&self) -> Time {
        self.queue.next()
    }

    /// Processes all events that are due by `to`.
    pub fn advance(&mut self, to: Time, log: &mut Vec<Event>) {
        while let Some((at, due)) = self.queue.take(to) {
            self.now = at;
            match due {
                Due::Passes { node, allocation, service } => self.check(node, allocation, Some(service), true, log),
                Due::Fails { node, allocation } => self.check(node, allocation, None, false, log),
                Due::Serf { node } => self.update_serf(node, log),
                Due::FullSync { node } => self.full_sync(node, log),
                Due::LeaderBack => self.leader_returns(),
            }
        }
        self.now = self.now.max(to);
    }

    /// A Nomad client registers a service with the node's agent. The service's check passes from `passes` on.
    pub fn register(&mut self, node: NodeNumber, entry: Entry, passes: Time, log: &mut Vec<Event>) {
        let has_leader = self.leader_back.is_none();
        self.has_namespaces |= entry.namespace.is_some();
        let state = &mut self.nodes[node.index()];
        let (allocation, service) = (entry.allocation, entry.service);
        let mut entry = Entry { local: state.agent_alive, catalog: state.agent_alive && has_leader, ..entry };
        entry.passing = passes <= self.now;
        let settled = entry.catalog;
        if is_routable(state, &entry) {
            log.push(Event { at: self.now, allocation, kind: EventKind::InDiscovery { service } });
        }
        state.entries.push(entry);
        self.changed(node);
        if self.now < passes {
            self.queue.put(passes, Due::Passes { node, allocation, service });
        }
        if !settled {
            self.schedule_sync(node, 15, 30);
        }
    }

    /// A Nomad client deregisters these services of an allocation with the node's agent. They leave the catalog at once, unless the agent
    /// is dead, may not deregister, or has no leader. Then the registrations stay until a full sync.
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
            log.extend(left.into_iter().map(|service| Event {
                at: self.now,
                allocation,
                kind: EventKind::LeftDiscovery { service },
            }));
            self.changed(node);
        } else if found && !has_leader {
            self.schedule_sync(node, 15, 30);
        } else if found {
            self.schedule_sync(node, 60, 120);
        }
    }

    /// A check changes its result.
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

    /// Changes every registration of a node, and logs which of them became routable or ceased to be.
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
                let kind = if is { EventKind::InDiscovery { service } } else { EventKind::LeftDiscovery { service } };
                log.push(Event { at: now, allocation: entry.allocation, kind });
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

/// Whether discovery with a health filter returns this registration.
fn is_routable(node: &NodeState, entry: &Entry) -> bool {
    entry.catalog && entry.passing && node.registered && !node.serf_critical
}
