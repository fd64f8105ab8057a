//! What the pretend Nomad holds: nodes, task groups and allocations, as its servers know them and as they really are.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::stopping::Stopping;
use crate::consul;
use crate::event::AllocationNumber;
use decamp_core::decide::snapshot::{Allocation, ClientStatus, DrainMeta, DrainStatus, NodeStatus, OwnNetwork, TaskGroup};
use decamp_core::ids::{AllocationId, InstanceId, NodeId};
use decamp_core::time::Time;

/// The number of a node, in the order they were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeNumber(pub u32);

impl NodeNumber {
    /// As an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The number of a task group, in the order they were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupNumber(pub u32);

impl GroupNumber {
    /// As an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A node to be added.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: Arc<str>,
    /// The instance in its attributes; `None` if the fingerprint never found one.
    pub instance: Option<InstanceId>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The Consul agent beside it, and that agent's node name.
    pub consul: Option<(consul::NodeNumber, Arc<str>)>,
}

/// A task group to be added.
#[derive(Debug, Clone)]
pub struct GroupSpec {
    /// What its job says.
    pub group: Arc<TaskGroup>,
    /// What its processes do.
    pub behaviour: Behaviour,
    /// Where it can run.
    pub fits: Fits,
    /// Its host ports.
    pub ports: Ports,
}

/// Where allocations of a group can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fits {
    /// On every node that is ready and eligible.
    Anywhere,
    /// The same, but no two of them on one node (`distinct_hosts`).
    Apart,
    /// On this node only.
    Only(NodeNumber),
    /// On no further node: there is no room.
    Nowhere,
}

/// Host ports of a group's allocations.
#[derive(Debug, Clone)]
pub enum Ports {
    /// The same on every node, perhaps none.
    Static(Arc<[u16]>),
    /// One for each allocation, drawn when it is placed.
    Dynamic,
}

/// How the processes of a group behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// From being placed (and its predecessor over) to serving.
    pub starts_in: Duration,
    /// From serving to passing its check in Consul.
    pub passes_in: Duration,
    /// From serving to healthy for `migrate`: checks and `min_healthy_time`.
    pub healthy_in: Duration,
    /// From its kill signal to its end, if it obeys.
    pub stops_in: Duration,
    /// From the kill signal of a sidecar to its end.
    pub sidecars_stop_in: Duration,
    /// It ignores its kill signal, and is killed after `kill_timeout`.
    pub ignores_signal: bool,
    /// How long SIGKILL fails to end it.
    pub survives_kill_for: Duration,
    /// How long poststop tasks run.
    pub poststop: Duration,
    /// It exits with an error when it is told to stop, and so ends as `failed`.
    pub exits_with_error: bool,
    /// `disconnect` (`max_client_disconnect`): its allocations become `unknown`, not `lost`, when the agent is away.
    pub disconnects: bool,
    /// Which of its services belong to a task and not to the group, a bit each: those leave discovery when their task's turn comes.
    pub services_of_tasks: u32,
    /// How long its replacement copies its disk after it has ended, if the group's disk migrates.
    pub copies_disk_in: Duration,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            starts_in: Duration::from_millis(400),
            passes_in: Duration::from_millis(500),
            healthy_in: Duration::from_secs(10),
            stops_in: Duration::from_secs(1),
            sidecars_stop_in: Duration::from_millis(100),
            ignores_signal: false,
            survives_kill_for: Duration::ZERO,
            poststop: Duration::ZERO,
            exits_with_error: false,
            disconnects: false,
            services_of_tasks: 0,
            copies_disk_in: Duration::ZERO,
        }
    }
}

/// What a drain says about itself (`Meta`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Note {
    /// Nothing.
    #[default]
    None,
    /// What decamp writes, already read.
    Ours(DrainMeta),
    /// Whatever else stands there.
    Raw(Arc<[(Arc<str>, Arc<str>)]>),
}

/// `DrainStrategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainState {
    /// As it was sent, in nanoseconds.
    pub deadline_ns: i64,
    /// When what is left is told to stop; `None` is never; a forced drain has `Time(0)`, as in Nomad.
    pub force_deadline: Option<Time>,
    /// When the first of its requests came.
    pub started: Time,
    /// Whether system jobs stay.
    pub ignore_system_jobs: bool,
}

/// `LastDrain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastDrainState {
    /// How it stands.
    pub status: DrainStatus,
    /// When it began.
    pub started: Time,
    /// When it last changed.
    pub updated: Time,
    /// What it says about itself.
    pub note: Note,
}

/// A node.
#[derive(Debug, Clone)]
pub struct NodeState {
    /// What it was added with.
    pub spec: NodeSpec,
    /// Whether the servers have a row of it: false after a purge or garbage collection.
    pub registered: bool,
    /// Its status as the servers know it.
    pub status: NodeStatus,
    /// `StatusUpdatedAt`: when its status, its drain or its eligibility last changed, or its agent registered.
    pub status_since: Time,
    /// Its dynamic metadata, as the servers know it.
    pub metadata: super::metadata::Metadata,
    /// Whether new work may be placed on it.
    pub eligible: bool,
    /// The drain under way.
    pub drain: Option<DrainState>,
    /// The last drain.
    pub last_drain: Option<LastDrainState>,
    /// The raft index of its last change.
    pub index: u64,
    /// The raft index of the last change of its allocations.
    pub allocations_index: u64,
    /// What the servers list for it, oldest first.
    pub allocations: Vec<AllocationNumber>,
    pub(super) agents_metadata: super::metadata::Metadata,
    pub(super) metadata_due: bool,
    pub(super) agent_alive: bool,
    pub(super) machine_alive: bool,
    pub(super) agent_epoch: u32,
    pub(super) unsynced: Vec<AllocationNumber>,
    pub(super) sync_due: bool,
    pub(super) down_pending: bool,
    pub(super) cached: Option<Arc<[Allocation]>>,
}

/// A task group of a job.
#[derive(Debug, Clone)]
pub struct GroupState {
    /// What it was added with; its count changes by scaling.
    pub spec: GroupSpec,
    /// Every allocation of it that was ever placed.
    pub allocations: Vec<AllocationNumber>,
    /// Names of copies that are wanted and found no room.
    pub missing: Vec<u32>,
    /// Whether its job was stopped or purged.
    pub stopped: bool,
    pub(super) watched: bool,
    pub(super) changed: bool,
}

/// Where the life of an allocation stands, in truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Placed; its predecessor is not over, or it is coming up.
    Coming,
    /// Its process runs.
    Running,
    /// Its client is stopping it.
    Stopping,
    /// No process is left. Whether it ended with an error.
    Over {
        /// An error, or not.
        failed: bool,
    },
}

/// One allocation.
#[derive(Debug, Clone)]
pub struct AllocationState {
    /// Its id.
    pub id: AllocationId,
    /// Where it is.
    pub node: NodeNumber,
    /// Of what.
    pub group: GroupNumber,
    /// The number in its name: 2 of `app.web[2]`.
    pub index: u32,
    /// Host ports.
    pub ports: Arc<[u16]>,
    /// The network that is its own, where it does not share the node's.
    pub own: Option<OwnNetwork>,
    /// `DesiredStatus` is `run`.
    pub wanted: bool,
    /// `DesiredTransition.Migrate`.
    pub marked: bool,
    /// What the servers know of it.
    pub client: ClientStatus,
    /// `DeploymentStatus.Healthy`.
    pub healthy: Option<bool>,
    /// Whether the servers still list it.
    pub listed: bool,
    /// What it is doing, in truth.
    pub life: Life,
    /// As of when the servers know its tasks.
    pub synced: Time,
    /// When its tasks began to run, once they do.
    pub started: Option<Time>,
    /// When the last of its processes ended, once that is so.
    pub ended: Option<Time>,
    /// How it is being stopped, once its client knows.
    pub stopping: Option<Stopping>,
    /// What it replaces.
    pub previous: Option<AllocationNumber>,
    /// What replaces it.
    pub next: Option<AllocationNumber>,
    /// Its services that Nomad's own discovery lists, a bit each.
    pub in_nomad_discovery: u32,
    /// The raft index of its last change.
    pub modified: u64,
    pub(super) epoch: u32,
    pub(super) told_over: bool,
}

impl AllocationState {
    /// Whether its client said that it is over, or nobody knows (`complete`, `failed`, `lost`).
    #[must_use]
    pub fn is_client_terminal(&self) -> bool {
        match self.client {
            ClientStatus::Complete | ClientStatus::Failed | ClientStatus::Lost => true,
            ClientStatus::Pending | ClientStatus::Running | ClientStatus::Unknown => false,
        }
    }

    /// Whether it is over or told to stop.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        !self.wanted || self.is_client_terminal()
    }

    /// Whether a process of it lives, in truth.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        match self.life {
            Life::Running | Life::Stopping => true,
            Life::Coming | Life::Over { .. } => false,
        }
    }
}
