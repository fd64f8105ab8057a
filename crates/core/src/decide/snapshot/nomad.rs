//! What Nomad shows of the instance's node and its allocations.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Snapshot;
use super::jobs::{JobKind, TaskGroup, add_namespaces};
use super::notes::Noted;
use super::stops::TaskEnd;
use super::volumes::Claims;
use crate::ids::{AllocationId, NodeId};
use crate::time::Time;

/// What Nomad knows of the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Nomad {
    /// Every node that is this instance, confirmed by reading each. Usually one.
    pub nodes: Vec<Node>,
    /// Nodes with the instance's id that are down while another is ready, and are set aside (ADR 0005).
    pub set_aside: Vec<NodeId>,
}

impl Nomad {
    /// The allocations on all of the nodes.
    pub fn allocations(&self) -> impl Iterator<Item = &Allocation> {
        self.nodes.iter().flat_map(|node| node.allocations.iter())
    }

    /// The Consul namespaces in which allocations of the nodes register or registered services, without the default one.
    #[must_use]
    pub fn consul_namespaces(&self) -> Vec<Arc<str>> {
        let mut all = Vec::new();
        add_namespaces(&mut all, self.allocations().map(|a| &*a.group));
        all
    }

    /// Every address at which the instance can be a target: those of its nodes, and the own addresses of allocations that are not over.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let running = self.allocations().filter(|a| !a.client.is_over());
        let own = running.filter_map(|a| a.own.as_ref()).filter(|own| !own.bridge).map(|own| own.address);
        self.nodes.iter().flat_map(|node| node.addresses.iter().copied()).chain(own).collect()
    }
}

impl Snapshot {
    /// The allocations on the instance's nodes, by the last look.
    pub fn allocations(&self) -> impl Iterator<Item = &Allocation> {
        self.nomad.last().into_iter().flat_map(Nomad::allocations)
    }

    /// The Consul namespaces in which allocations of the nodes register or registered services, without the default one.
    #[must_use]
    pub fn consul_namespaces(&self) -> Vec<Arc<str>> {
        let mut all = self.nomad.last().map(Nomad::consul_namespaces).unwrap_or_default();
        add_namespaces(&mut all, self.history.known.iter().map(|known| &*known.group));
        all
    }

    /// Every address at which the instance can be a target, also by an earlier look: Nomad may have purged the node's row since, and its
    /// targets remain.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let mut all = self.nomad.last().map(Nomad::addresses).unwrap_or_default();
        let earlier = self.history.addresses.iter().filter(|address| !all.contains(address));
        let earlier: Vec<IpAddr> = earlier.copied().collect();
        all.extend(earlier);
        all
    }
}

/// One Nomad node with its allocations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: Arc<str>,
    /// Its status.
    pub status: NodeStatus,
    /// Since when it has that status, or later: Nomad also sets this at drains and at changes of eligibility. Whole seconds, rounded up.
    /// `None` if Nomad does not report it.
    pub status_since: Option<Time>,
    /// Whether new work may be placed on it.
    pub eligible: bool,
    /// The drain in progress, if any.
    pub drain: Option<Drain>,
    /// The last drain that began, finished or not.
    pub last_drain: Option<LastDrain>,
    /// Its addresses: those that it advertises, and its private address in EC2.
    pub addresses: Vec<IpAddr>,
    /// Its name in Consul (`unique.consul.name`).
    pub consul_name: Option<Arc<str>>,
    /// decamp's notes in its metadata.
    pub notes: Vec<Noted>,
    /// Whether an operator lets its local data go (`decamp.local_data = leave` in its metadata).
    pub leaves_local_data: bool,
    /// Its Nomad version.
    pub version: Arc<str>,
    /// Its allocations: all that Nomad still lists, running or not.
    pub allocations: Arc<[Allocation]>,
}

impl Node {
    /// Whether a drain is in progress, and every allocation that Nomad waits for before it completes the drain is over. An allocation that
    /// was lost before this run does not count.
    #[must_use]
    pub fn drain_can_complete(&self, was_lost_before: impl Fn(AllocationId) -> bool) -> bool {
        let keeps_it = |a: &Allocation| a.group.kind != JobKind::System && !a.group.csi_plugin && !a.client.is_over();
        self.drain.is_some() && !self.allocations.iter().any(|a| keeps_it(a) && !was_lost_before(a.id))
    }

    /// Whether a drain of everything is complete, and Nomad wants an allocation on the node to run all the same.
    #[must_use]
    pub fn has_work_after_its_drain(&self) -> bool {
        let all = |meta: &DrainMeta| meta.phase != Phase::Services;
        let complete = |last: &LastDrain| last.status == DrainStatus::Complete && last.meta.as_ref().is_some_and(all);
        let wanted = |a: &Allocation| a.wanted && !a.client.is_over() && !a.group.csi_plugin;
        self.drain.is_none() && self.last_drain.as_ref().is_some_and(complete) && self.allocations.iter().any(wanted)
    }
}

/// A node's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeStatus {
    /// Heartbeats arrive.
    Ready,
    /// No heartbeats. Nomad has lost the node.
    Down,
    /// No heartbeats, but its allocations may come back (`disconnect`).
    Disconnected,
    /// Initialising, or an unknown status.
    Other,
}

impl NodeStatus {
    /// Whether Nomad has lost the node. Its processes may go on running.
    #[must_use]
    pub fn is_lost(self) -> bool {
        matches!(self, Self::Down | Self::Disconnected)
    }
}

/// `DrainStrategy` of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drain {
    /// When the remaining allocations have to stop. `None` is never.
    pub force_deadline: Option<Time>,
    /// Whether system jobs stay.
    pub ignore_system_jobs: bool,
}

/// `LastDrain` of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastDrain {
    /// Its status.
    pub status: DrainStatus,
    /// When it was begun. Whole seconds, rounded down; `None` if Nomad does not say.
    pub started: Option<Time>,
    /// When it last changed: begun, resent, completed or cancelled. Whole seconds, rounded up. `None` if Nomad does not report it.
    pub updated: Option<Time>,
    /// The drain's `Meta`, if it is decamp's, of any action.
    pub meta: Option<DrainMeta>,
}

/// `LastDrain.Status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DrainStatus {
    /// In progress.
    Draining,
    /// Complete by Nomad's word, which does not mean that anything has stopped.
    Complete,
    /// Cancelled by somebody.
    Canceled,
    /// Unknown.
    Other,
}

/// The `Meta` of decamp's drains, for the next worker (ADR 0002).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DrainMeta {
    /// Hash of the lifecycle action.
    pub action: Arc<str>,
    /// The phase.
    pub phase: Phase,
    /// The end that all drains of this departure share.
    pub until: Time,
    /// The longest time that one of the allocations may take to stop.
    pub longest_stop: Duration,
    /// How many allocations Nomad listed when the drain was sent, including those that were over or had vanished.
    pub allocations: u32,
    /// Whether the instance goes to a warm pool and comes back.
    pub warm: bool,
    /// Whether something that should have been seen before the drain was not. Nothing can prove then that what it stops is gone.
    pub unproved: bool,
}

/// The phases of a drain (ADR 0003).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// All but system jobs, beside the load balancers' delay.
    Services,
    /// Everything.
    All,
    /// Everything once more, because an allocation landed after completion.
    Again,
    /// Everything once more, because Nomad's drain hung (ADR 0004).
    Resent,
    /// Everything in one second, because the end is near.
    Forced,
}

impl Phase {
    /// The name in a drain's `Meta`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::All => "all",
            Self::Again => "again",
            Self::Resent => "resent",
            Self::Forced => "forced",
        }
    }

    /// Reads a name back.
    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        [Self::Services, Self::All, Self::Again, Self::Resent, Self::Forced].into_iter().find(|p| p.word() == word)
    }
}

/// One allocation on the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Allocation {
    /// Its id.
    pub id: AllocationId,
    /// Its task group, shared by all allocations of the same version of the group.
    pub group: Arc<TaskGroup>,
    /// Whether Nomad wants it to run.
    pub wanted: bool,
    /// The status that its client reports.
    pub client: ClientStatus,
    /// Its host ports, with all labels.
    pub ports: Arc<[u16]>,
    /// Its own network, if it does not share the node's.
    pub own: Option<OwnNetwork>,
    /// When the last of its tasks started, if all running tasks report it. Its services are registered a moment later.
    pub started: Option<Time>,
    /// When its client was told to stop it, or earlier, if it is over and its tasks report it: the first signal to a task, less the delays
    /// before that (`shutdown_delay`).
    pub told: Option<Time>,
    /// When the last of its tasks ended, if it is over and Nomad reports it.
    pub ended: Option<Time>,
    /// How its tasks ended that were told to stop, if it is over and Nomad still has their events.
    pub ends: Arc<[TaskEnd]>,
    /// Whether somebody asked Nomad to move it: a drain, or an operator who stopped it.
    pub moved: bool,
    /// Where its disk is, if the disk migrates.
    pub disk: Disk,
    /// The claims of CSI volumes that it still holds, if it is over.
    pub claims: Claims,
}

/// Where an allocation's disk is. A replacement copies it from this node's client, after the allocation here has ended. Nomad records no
/// progress: the first task event of the replacement (`Received`) shows that the copy has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disk {
    /// It does not migrate, or its allocation runs, or nobody asked Nomad to move the allocation, or its job was stopped.
    Stays,
    /// Nomad stopped its allocation to move it, and has placed no replacement that would copy the disk. An allocation that is placed later
    /// copies nothing.
    Unplaced,
    /// This replacement has no task event yet, so it may be copying.
    Copying(AllocationId),
    /// A replacement has it, or had its chance: its tasks have events, or it is over, or Nomad no longer lists it.
    Moved,
}

/// A network namespace of one allocation (`network { mode = "bridge" }` or `"cni/…"`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnNetwork {
    /// The allocation's address in it.
    pub address: IpAddr,
    /// Whether it is behind a bridge of the node. Every node uses the same addresses behind its bridge, and nobody outside can reach them,
    /// so such an address identifies no allocation (ADR 0009).
    pub bridge: bool,
    /// The ports that its job declares there. Empty: the job declares none, and the allocation may listen on any.
    pub ports: Arc<[u16]>,
}

impl OwnNetwork {
    /// Whether a load balancer that sends to this address and port reaches the allocation.
    #[must_use]
    pub fn answers_at(&self, address: IpAddr, port: u16) -> bool {
        !self.bridge && self.address == address && (self.ports.is_empty() || self.ports.contains(&port))
    }
}

/// The addresses that other ready nodes and their allocations have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Elsewhere {
    /// The addresses that were asked about.
    pub asked: Vec<IpAddr>,
    /// Those of them that another node or an allocation on it has.
    pub held: Vec<IpAddr>,
}

/// `ClientStatus` of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientStatus {
    /// Not yet up, or inside a task's `shutdown_delay` and serving (since Nomad 1.5).
    Pending,
    /// Running.
    Running,
    /// Over, by itself or on request.
    Complete,
    /// Over, with an error.
    Failed,
    /// Nomad has lost it, which says nothing about its process.
    Lost,
    /// `unknown`, and any other status. Never over.
    Unknown,
}

impl ClientStatus {
    /// Whether the process is certainly over (ADR 0005).
    #[must_use]
    pub fn is_over(self) -> bool {
        match self {
            Self::Complete | Self::Failed => true,
            Self::Pending | Self::Running | Self::Lost | Self::Unknown => false,
        }
    }
}

/// Whether our Nomad token sees every allocation and may drain (ADR 0011). Without this proof an empty list means nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenAccess {
    /// A management token, sufficient policies, or ACLs off.
    Full,
    /// Something is missing. The sentence says what to add. The JSON of `decamp plan` keeps its first name.
    #[serde(rename = "short")]
    Insufficient(Arc<str>),
}
