//! The reads of Nomad's HTTP API: a node with its allocations, and its own discovery. They show what the token may see, and a stale read
//! may show what a lagging follower knows.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Nomad;
use super::acl::{NodeRule, Token};
use super::api::ApiError;
use super::client::bits;
use super::state::{AllocationState, DrainState, GroupState, LastDrainState, NodeNumber, NodeState, Note};
use super::stopping::TaskState;
use super::task_ends::{self, gets_kill_signal};
use super::{disks, volumes};
use crate::event::AllocationNumber;
use decamp_core::decide::snapshot::{
    Allocation, Claims, ClientStatus, Disk, Drain, Elsewhere, LastDrain, Node, NodeStatus, Registration, Registrations,
    TaskGroup, TaskRole, TokenAccess,
};
use decamp_core::ids::{AllocationId, InstanceId, NodeId};
use decamp_core::time::Time;

/// Which server answers a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// The leader, which is the default.
    Default,
    /// Any server (`?stale`).
    Stale,
}

/// An answer with the values of its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// `X-Nomad-Index`.
    pub index: u64,
    /// `X-Nomad-KnownLeader`.
    pub known_leader: bool,
    /// The body.
    pub body: T,
}

/// The state of a follower that gets no updates.
#[derive(Debug, Clone)]
pub(super) struct Frozen {
    index: u64,
    nodes: Vec<Node>,
}

impl Nomad {
    /// A node with all its allocations, as decamp's adapter combines them.
    ///
    /// # Errors
    /// Without a leader (unless stale), without `node:read`, or if there is no such node.
    pub fn look(&mut self, node: NodeId, token: &Token, read: Read) -> Result<Answer<Node>, ApiError> {
        self.may_read(token, read)?;
        if token.node() < NodeRule::Read {
            return Err(ApiError::PermissionDenied);
        }
        let known_leader = self.leader_back.is_none();
        if let Some(frozen) = self.frozen.as_ref().filter(|_| read == Read::Stale) {
            let mut body = frozen.nodes.iter().find(|n| n.id == node).ok_or(ApiError::NoSuchNode)?.clone();
            body.allocations = filtered(body.allocations, token);
            return Ok(Answer { index: frozen.index, known_leader, body });
        }
        let number = self.node_number(node).ok_or(ApiError::NoSuchNode)?;
        let mut body = self.seen(number);
        body.allocations = filtered(body.allocations, token);
        let state = &self.nodes[number.index()];
        Ok(Answer { index: state.index.max(state.allocations_index), known_leader, body })
    }

    /// Whether a read is answered.
    ///
    /// # Errors
    /// Without a leader (unless stale), or without a valid token.
    pub fn may_read(&mut self, token: &Token, read: Read) -> Result<(), ApiError> {
        match read {
            Read::Default => self.leader_answers(token),
            Read::Stale => self.token_is_valid(token),
        }
    }

    /// The nodes that carry this instance's id in their attributes, of any status.
    pub fn nodes_of(&self, instance: InstanceId) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().filter(move |n| n.registered && n.spec.instance == Some(instance)).map(|n| n.spec.id)
    }

    /// The services that Nomad's own discovery lists for a node, read for each allocation in its own namespace.
    ///
    /// # Errors
    /// Without a leader (unless stale), or if the token may not read a namespace that is asked for.
    pub fn registrations(&mut self, node: NodeId, token: &Token, read: Read) -> Result<Answer<Registrations>, ApiError> {
        self.may_read(token, read)?;
        let known_leader = self.leader_back.is_none();
        let mut services = Vec::new();
        if let Some(number) = self.node_number(node) {
            let state = &self.nodes[number.index()];
            for allocation in state.allocations.iter().map(|n| &self.allocations[n.index()]) {
                let group = &self.groups[allocation.group.index()].spec.group;
                if allocation.in_nomad_discovery == 0 {
                    continue;
                }
                if !token.reads_jobs(&group.namespace) {
                    return Err(ApiError::PermissionDenied);
                }
                services.extend(bits(allocation.in_nomad_discovery).map(|place| Registration {
                    allocation: allocation.id,
                    service: group.services[usize::from(place)].name.clone(),
                    critical: false,
                }));
            }
        }
        let body = Registrations { whole: true, agent_dead: false, services: services.into(), by_hand: [].into() };
        Ok(Answer { index: self.index, known_leader, body })
    }

    /// Which of these addresses other ready nodes or their allocations have. If no node has this instance's id, a node without an
    /// instance id may be this instance, and does not count as another node.
    ///
    /// # Errors
    /// Without a leader, or without `node:read`.
    pub fn elsewhere(&mut self, instance: InstanceId, asked: &[IpAddr], token: &Token) -> Result<Elsewhere, ApiError> {
        self.leader_answers(token)?;
        if token.node() < NodeRule::Read {
            return Err(ApiError::PermissionDenied);
        }
        let is_found = self.nodes_of(instance).next().is_some();
        let is_other = |node: &NodeState| node.spec.instance.map_or(is_found, |other| other != instance);
        let others: Vec<&NodeState> =
            self.nodes().map(|(_, node)| node).filter(|node| node.status == NodeStatus::Ready && is_other(node)).collect();
        let has = |node: &NodeState, address: IpAddr| {
            let own = |n: &AllocationNumber| {
                let allocation = &self.allocations[n.index()];
                let reads = token.reads_jobs(&self.groups[allocation.group.index()].spec.group.namespace);
                let own = allocation.own.as_ref().filter(|_| reads && !allocation.client.is_over());
                own.is_some_and(|own| !own.bridge && own.address == address)
            };
            node.spec.addresses.contains(&address) || node.allocations.iter().any(own)
        };
        let held = asked.iter().copied().filter(|address| others.iter().any(|node| has(node, *address))).collect();
        Ok(Elsewhere { asked: asked.to_vec(), held })
    }

    /// What a token's own policies prove that it can see.
    ///
    /// # Errors
    /// Without a leader, or if the token is not valid.
    pub fn token_access(&mut self, token: &Token) -> Result<TokenAccess, ApiError> {
        self.leader_answers(token)?;
        Ok(token.token_access())
    }

    /// Whether `GET /v1/acl/token/self` is answered.
    ///
    /// # Errors
    /// For a token that is unknown, expired or malformed. With ACLs off the sandbox answers 400.
    pub fn token_self(&self, token: &Token) -> Result<(), ApiError> {
        match token {
            Token::AclsOff | Token::Management | Token::Client(_) | Token::Anonymous => Ok(()),
            Token::Unknown => Err(ApiError::PermissionDenied),
            Token::Expired => Err(ApiError::TokenExpired),
            Token::Garbage => Err(ApiError::TokenMalformed),
        }
    }

    /// All nodes that have a row, in the order they were added.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeNumber, &NodeState)> {
        (0_u32..).zip(&self.nodes).filter(|(_, node)| node.registered).map(|(number, node)| (NodeNumber(number), node))
    }

    /// A node, even if it has no row.
    #[must_use]
    pub fn node(&self, node: NodeNumber) -> &NodeState {
        &self.nodes[node.index()]
    }

    /// The number of a node that has a row.
    #[must_use]
    pub fn node_number(&self, id: NodeId) -> Option<NodeNumber> {
        self.nodes().find(|(_, node)| node.spec.id == id).map(|(number, _)| number)
    }

    /// An allocation.
    #[must_use]
    pub fn allocation(&self, number: AllocationNumber) -> &AllocationState {
        &self.allocations[number.index()]
    }

    /// All allocations that were ever placed, in the order of placement: `AllocationNumber` is the index.
    #[must_use]
    pub fn allocations(&self) -> &[AllocationState] {
        &self.allocations
    }

    /// The `TaskStates` of an allocation, as the servers know them; empty before the first report.
    pub fn task_states(&self, number: AllocationNumber) -> impl Iterator<Item = (&Arc<str>, TaskState)> {
        let state = &self.allocations[number.index()];
        let spec = &self.groups[state.group.index()].spec;
        let (cap, pending) = (self.kill_cap(), self.version.shows_pending_in_shutdown_delay());
        let plan = state.stopping.filter(|plan| plan.requested <= state.synced);
        let known = plan.is_some() || state.client != ClientStatus::Pending || state.has_events;
        spec.group.tasks.iter().filter(move |_| known).map(move |task| {
            let at_rest = match (state.client, task.role) {
                (ClientStatus::Complete | ClientStatus::Failed, _) | (_, TaskRole::Finished) => TaskState::Dead,
                (_, TaskRole::Poststop) => TaskState::Pending,
                // Its tasks are received, and have not started.
                (ClientStatus::Pending, _) if plan.is_none() => TaskState::Pending,
                (_, TaskRole::Leader | TaskRole::Main | TaskRole::Sidecar) => TaskState::Running,
            };
            let stopping = plan.map(|plan| plan.task_state(task, &spec.behaviour, state.synced, cap, pending));
            (&task.name, stopping.unwrap_or(at_rest))
        })
    }

    /// The number of an allocation that is still listed.
    #[must_use]
    pub fn allocation_number(&self, id: AllocationId) -> Option<AllocationNumber> {
        (0_u32..).zip(&self.allocations).find(|(_, a)| a.listed && a.id == id).map(|(number, _)| AllocationNumber(number))
    }

    /// All task groups, in the order they were added: `GroupNumber` is the index.
    #[must_use]
    pub fn groups(&self) -> &[GroupState] {
        &self.groups
    }

    /// The task group of an allocation.
    #[must_use]
    pub fn group_of(&self, allocation: &AllocationState) -> &Arc<TaskGroup> {
        &self.groups[allocation.group.index()].spec.group
    }

    /// The raft index.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// After which index the server that answers this read knows no change. A server that is up to date has no such index.
    #[must_use]
    pub fn lags_since(&self, read: Read) -> Option<u64> {
        self.frozen.as_ref().filter(|_| read == Read::Stale).map(|frozen| frozen.index)
    }

    /// A node as the rules see it. The list of allocations is cached until one of them changes.
    fn seen(&mut self, number: NodeNumber) -> Node {
        let cap = self.kill_cap();
        let Self { nodes, allocations, groups, version_text, volumes_denied, .. } = self;
        let state = &mut nodes[number.index()];
        let (notes, leaves_local_data) = (state.notes(), state.leaves_local_data());
        let listed = state.cached.get_or_insert_with(|| {
            let listed = state.allocations.iter().map(|n| &allocations[n.index()]);
            let shown = |allocation: &AllocationState| Allocation {
                disk: disks::shown(allocation, allocations, groups),
                claims: volumes::shown(allocation, &groups[allocation.group.index()], *volumes_denied),
                ..shown(allocation, &groups[allocation.group.index()], cap)
            };
            listed.map(shown).collect()
        });
        Node {
            id: state.spec.id,
            name: state.spec.name.clone(),
            status: state.status,
            status_since: Some(whole_seconds(state.status_since)),
            eligible: state.eligible,
            drain: state.drain.as_ref().map(DrainState::shown),
            last_drain: state.last_drain.as_ref().map(LastDrainState::shown),
            addresses: state.spec.addresses.clone(),
            consul_name: state.spec.consul.as_ref().map(|(_, name)| name.clone()),
            notes,
            leaves_local_data,
            version: version_text.clone(),
            allocations: listed.clone(),
        }
    }

    pub(super) fn freeze(&mut self) -> Frozen {
        let rows: Vec<NodeNumber> = self.nodes().map(|(number, _)| number).collect();
        Frozen { index: self.index, nodes: rows.into_iter().map(|number| self.seen(number)).collect() }
    }
}

/// A time that Nomad stores in whole seconds, as the adapter reads it: rounded up, so that it is never too early.
fn whole_seconds(time: Time) -> Time {
    Time(time.0 / 1000 * 1000) + Duration::from_secs(1)
}

fn shown(allocation: &AllocationState, group: &GroupState, cap: Option<Duration>) -> Allocation {
    Allocation {
        id: allocation.id,
        group: group.spec.group.clone(),
        wanted: allocation.wanted,
        client: allocation.client,
        ports: allocation.ports.clone(),
        own: allocation.own.clone(),
        started: allocation.started.filter(|_| allocation.client == ClientStatus::Running),
        told: allocation
            .stopping
            .filter(|_| allocation.client.is_over() && group.spec.group.tasks.iter().any(gets_kill_signal))
            .map(|plan| plan.requested),
        ended: allocation.ended.filter(|_| allocation.client.is_over()),
        ends: task_ends::ends(allocation, group, cap),
        moved: allocation.marked,
        disk: Disk::Stays,
        claims: Claims::default(),
    }
}

/// Leaves out allocations of namespaces that the token may not read, as Nomad does without an error.
fn filtered(allocations: Arc<[Allocation]>, token: &Token) -> Arc<[Allocation]> {
    if allocations.iter().all(|a| token.reads_jobs(&a.group.namespace)) {
        return allocations;
    }
    allocations.iter().filter(|a| token.reads_jobs(&a.group.namespace)).cloned().collect()
}

impl DrainState {
    /// The drain as the rules see it. The deadline of a forced drain is long past.
    #[must_use]
    pub fn shown(&self) -> Drain {
        Drain { force_deadline: self.force_deadline, ignore_system_jobs: self.ignore_system_jobs }
    }
}

impl LastDrainState {
    /// The last drain as the rules see it.
    #[must_use]
    pub fn shown(&self) -> LastDrain {
        let meta = match &self.note {
            Note::Ours(meta) => Some(meta.clone()),
            Note::None | Note::Raw(_) => None,
        };
        let started = Some(Time(self.started.0 / 1000 * 1000));
        LastDrain { status: self.status, started, updated: Some(whole_seconds(self.updated)), meta }
    }
}
