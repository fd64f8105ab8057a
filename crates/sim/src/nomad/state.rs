//! The state of the model: nodes, task groups and allocations, both as Nomad's servers know them and as they really are.

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
    /// The group as its job declares it.
    pub group: Arc<TaskGroup>,
    /// How its processes behave.
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
    /// Also anywhere, but no two of them on one node (`distinct_hosts`).
    Apart,
    /// On this node only.
    Only(NodeNumber),
    /// On no further node: there is no room.
    Nowhere,
}

/// Host ports of a group's allocations.
#[derive(Debug, Clone)]
pub enum Ports {
    /// The same ports on every node. The list may be empty.
    Static(Arc<[u16]>),
    /// One port for each allocation, drawn when it is placed.
    Dynamic,
}

/// How the processes of a group behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// From the placement, or the end of the predecessor, to serving.
    pub starts_in: Duration,
    /// From serving to passing its check in Consul.
    pub passes_in: Duration,
    /// From serving to healthy for `migrate`: checks and `min_healthy_time`.
    pub healthy_in: Duration,
    /// From its kill signal to its end, if it obeys.
    pub stops_in: Duration,
    /// From the kill signal of a sidecar to its end.
    pub sidecars_stop_in: Duration,
    /// Whether the process ignores its kill signal, so that it is killed after `kill_timeout`.
    pub ignores_signal: bool,
    /// Whether it has no handler for its signal, which then ends it at once.
    pub dies_of_signal: bool,
    /// How long the process survives SIGKILL.
    pub survives_kill_for: Duration,
    /// How long poststop tasks run.
    pub poststop: Duration,
    /// Whether the process exits with an error when it is stopped, so that its allocation becomes `failed`.
    pub exits_with_error: bool,
    /// Whether the group has `disconnect` (`max_client_disconnect`): its allocations become `unknown`, not `lost`, when the agent is away.
    pub disconnects: bool,
    /// The services that belong to a task and not to the group, one bit for each. They leave discovery when their task has to stop.
    pub services_of_tasks: u32,
    /// How Nomad releases the claims of CSI volumes, if the group has any.
    pub releases: super::volumes::Release,
    /// How long the replacement copies the disk after the end of its predecessor, if the group's disk migrates.
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
            dies_of_signal: false,
            survives_kill_for: Duration::ZERO,
            poststop: Duration::ZERO,
            exits_with_error: false,
            disconnects: false,
            services_of_tasks: 0,
            copies_disk_in: Duration::ZERO,
            releases: super::volumes::Release::After(Duration::from_secs(1)),
        }
    }
}

/// The `Meta` of a drain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Note {
    /// Nothing.
    #[default]
    None,
    /// decamp's own, already parsed.
    Ours(DrainMeta),
    /// Any other.
    Raw(Arc<[(Arc<str>, Arc<str>)]>),
}

/// `DrainStrategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainState {
    /// The deadline as it was sent, in nanoseconds.
    pub deadline_ns: i64,
    /// When the remaining allocations have to stop; `None` is never. A forced drain has `Time(0)`, as in Nomad.
    pub force_deadline: Option<Time>,
    /// When its first request came.
    pub started: Time,
    /// Whether system jobs stay.
    pub ignore_system_jobs: bool,
}

/// `LastDrain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastDrainState {
    /// Its status.
    pub status: DrainStatus,
    /// When the drain began.
    pub started: Time,
    /// When it last changed.
    pub updated: Time,
    /// Its `Meta`.
    pub note: Note,
}

/// A node.
#[derive(Debug, Clone)]
pub struct NodeState {
    /// Its definition.
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
    /// The drain in progress.
    pub drain: Option<DrainState>,
    /// The last drain.
    pub last_drain: Option<LastDrainState>,
    /// The raft index of its last change.
    pub index: u64,
    /// The raft index of the last change of its allocations.
    pub allocations_index: u64,
    /// The raft index of the last release of a claim of its allocations.
    pub claims_index: u64,
    /// The allocations that the servers list for it, oldest first.
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
    /// Its definition. Scaling changes its count.
    pub spec: GroupSpec,
    /// All allocations of it that were ever placed.
    pub allocations: Vec<AllocationNumber>,
    /// Name indices of copies that have to run and found no room.
    pub missing: Vec<u32>,
    /// Whether its job was stopped or purged.
    pub stopped: bool,
    pub(super) watched: bool,
    pub(super) changed: bool,
}

/// The real state of an allocation's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// The allocation is placed. Its predecessor is not over, or it is starting.
    Coming,
    /// The process runs.
    Running,
    /// The client is stopping it.
    Stopping,
    /// No process is left.
    Over {
        /// Whether it ended with an error.
        failed: bool,
    },
}

/// One allocation.
#[derive(Debug, Clone)]
pub struct AllocationState {
    /// Its id.
    pub id: AllocationId,
    /// Its node.
    pub node: NodeNumber,
    /// Its group.
    pub group: GroupNumber,
    /// The number in its name: 2 of `app.web[2]`.
    pub index: u32,
    /// Host ports.
    pub ports: Arc<[u16]>,
    /// Its own network, if it does not share that of the node.
    pub own: Option<OwnNetwork>,
    /// Whether its `DesiredStatus` is `run`.
    pub wanted: bool,
    /// `DesiredTransition.Migrate`.
    pub marked: bool,
    /// Its client status as the servers know it.
    pub client: ClientStatus,
    /// `DeploymentStatus.Healthy`.
    pub healthy: Option<bool>,
    /// Whether the servers still list it.
    pub listed: bool,
    /// The real state of its processes.
    pub life: Life,
    /// When the client last reported the states of its tasks to the servers.
    pub synced: Time,
    /// When its tasks began to run.
    pub started: Option<Time>,
    /// When its last process ended.
    pub ended: Option<Time>,
    /// The plan of its stop, once its client has the request.
    pub stopping: Option<Stopping>,
    /// The allocation that it replaces.
    pub previous: Option<AllocationNumber>,
    /// The allocation that replaces it.
    pub next: Option<AllocationNumber>,
    /// The disk that it copies from the allocation that it replaces.
    pub copy: super::disks::DiskCopy,
    /// When the claims of its CSI volumes were released.
    pub released: Option<Time>,
    /// Whether the servers know a task event of it. The first is `Received`, once its disk is there.
    pub has_events: bool,
    /// Its services that Nomad's own discovery lists, one bit for each.
    pub in_nomad_discovery: u32,
    /// The raft index of its last change.
    pub modified: u64,
    pub(super) epoch: u32,
    pub(super) reported_over: bool,
}

impl AllocationState {
    /// Whether its client status is terminal: `complete`, `failed` or `lost`.
    #[must_use]
    pub fn is_client_terminal(&self) -> bool {
        match self.client {
            ClientStatus::Complete | ClientStatus::Failed | ClientStatus::Lost => true,
            ClientStatus::Pending | ClientStatus::Running | ClientStatus::Unknown => false,
        }
    }

    /// Whether it is over or has to stop.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        !self.wanted || self.is_client_terminal()
    }

    /// Whether one of its processes really runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        match self.life {
            Life::Running | Life::Stopping => true,
            Life::Coming | Life::Over { .. } => false,
        }
    }
}
