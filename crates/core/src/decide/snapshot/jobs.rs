//! A Nomad job's settings for its allocations: how they stop, and what they register.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::stops::Process;
use super::volumes::Volume;

/// The settings of a task group: how its allocations stop, and what they register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskGroup {
    /// Its Nomad namespace.
    pub namespace: Arc<str>,
    /// Its job's id.
    pub job: Arc<str>,
    /// Its name in the job.
    pub name: Arc<str>,
    /// Its job's type.
    pub kind: JobKind,
    /// Whether it is a CSI plugin, which leaves last and is never waited for (ADR 0006).
    pub csi_plugin: bool,
    /// `ephemeral_disk { migrate = true }`: the replacement copies the disk from this node's client, after the copy here has stopped.
    pub migrates_disk: bool,
    /// The volumes that it mounts.
    pub volumes: Vec<Volume>,
    /// How many copies the job wants.
    pub count: u32,
    /// `migrate.max_parallel`. `None` if the job type does not have it.
    pub max_parallel: Option<u32>,
    /// The group's `shutdown_delay`: how long an allocation serves after it was told to stop and has left discovery.
    pub shutdown_delay: Duration,
    /// Its tasks.
    pub tasks: Vec<Task>,
    /// The services that the group and its tasks register.
    pub services: Vec<Service>,
    /// How it follows discovery, if its job shows that it is an ingress.
    pub ingress: Option<Ingress>,
}

/// A job's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// Long-running, migrated by a drain.
    Service,
    /// Runs to its end. A drain lets it run until the deadline.
    Batch,
    /// One on every node; stopped last.
    System,
    /// One on every node, runs to its end. It keeps Nomad's own drain from completing.
    SysBatch,
}

/// One task of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Task {
    /// Its name.
    pub name: Arc<str>,
    /// Its own `shutdown_delay`, after the group's.
    pub shutdown_delay: Duration,
    /// The time from its kill signal to SIGKILL.
    pub kill_timeout: Duration,
    /// When it stops, compared with the other tasks.
    pub role: TaskRole,
    /// How its process is started and told to stop.
    pub process: Process,
}

/// When a task of an allocation is stopped (facts/nomad.md 5.1 and 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskRole {
    /// First, alone.
    Leader,
    /// Then, together.
    Main,
    /// After the main tasks.
    Sidecar,
    /// Runs after all others have ended, without a time limit.
    Poststop,
    /// Prestart and poststart tasks that are not sidecars. They have ended long ago.
    Finished,
}

impl TaskRole {
    /// Whether a task of this role registers its services for as long as its allocation runs. Services of a task that ends before the
    /// others, or begins after them, are not registered while the others run.
    #[must_use]
    pub fn registers(self) -> bool {
        match self {
            Self::Leader | Self::Main | Self::Sidecar => true,
            Self::Poststop | Self::Finished => false,
        }
    }
}

/// A service that a group registers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is registered.
    pub provider: Provider,
    /// The Consul namespace that its job, group or task names (Consul Enterprise). `None`: the default one, or none at all.
    pub namespace: Option<Arc<str>>,
}

/// Where a service is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Consul.
    Consul,
    /// Nomad's own service discovery.
    Nomad,
}

/// How an ingress follows discovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ingress {
    /// The longest time that its settings let it route to a service that has left discovery. The time for its own work is not included.
    pub forgets_after: Duration,
    /// The source of that time, for people: `traefik polls Consul every 15 s`.
    pub how: Arc<str>,
}

/// Adds the Consul namespaces in which these groups register services, each once.
pub(super) fn add_namespaces<'g>(all: &mut Vec<Arc<str>>, groups: impl Iterator<Item = &'g TaskGroup>) {
    for namespace in groups.flat_map(TaskGroup::in_consul).filter_map(|service| service.namespace.as_ref()) {
        if !all.contains(namespace) {
            all.push(Arc::clone(namespace));
        }
    }
}

impl TaskGroup {
    /// The longest time that an allocation of this group may take to stop: group delay, leader, main tasks, sidecars, one after the other
    /// (facts/nomad.md 5.1 and 5.2). Nomad sets poststop tasks no limit, so `poststop` is allowed for them. A `kill_timeout` counts up to
    /// `most_kill`, because the job sets it and a client caps it.
    #[must_use]
    pub fn longest_stop(&self, poststop: Duration, most_kill: Duration) -> Duration {
        // One loop for speed: every decision asks it of every known allocation.
        let [mut leader, mut main, mut sidecar, mut after] = [Duration::ZERO; 4];
        for task in &self.tasks {
            let takes = task.shutdown_delay + task.kill_timeout.min(most_kill);
            match task.role {
                TaskRole::Leader => leader = leader.max(takes),
                TaskRole::Main => main = main.max(takes),
                TaskRole::Sidecar => sidecar = sidecar.max(takes),
                TaskRole::Poststop => after = poststop,
                TaskRole::Finished => {}
            }
        }
        self.shutdown_delay + leader + main + sidecar + after
    }

    /// How long an allocation serves after it was told to stop, before the first task gets its kill signal.
    #[must_use]
    pub fn serves_on(&self) -> Duration {
        let first = |role| self.tasks.iter().filter(|t| t.role == role).map(|t| t.shutdown_delay).min();
        self.shutdown_delay + first(TaskRole::Leader).or_else(|| first(TaskRole::Main)).unwrap_or_default()
    }

    /// The services that it registers in Consul.
    pub fn in_consul(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().filter(|service| service.provider == Provider::Consul)
    }

    /// Whether an ingress finds its copies in Consul, and must hear there that one stops. Load balancers find an ingress by other means.
    #[must_use]
    pub fn is_found_in_consul(&self) -> bool {
        self.in_consul().next().is_some() && self.ingress.is_none() && !self.csi_plugin
    }

    /// Whether an ingress may find its copies in service discovery, and send to them.
    #[must_use]
    pub fn is_found_by_an_ingress(&self) -> bool {
        !self.services.is_empty() && self.ingress.is_none() && self.kind == JobKind::Service
    }

    /// Whether both are the same group of one job, of any version.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.job == other.job && self.name == other.name && self.namespace == other.namespace
    }

    /// `job/group`, for people.
    #[must_use]
    pub fn title(&self) -> String {
        [&*self.job, "/", &*self.name].concat()
    }

    /// Whether this is its title.
    #[must_use]
    pub fn is_titled(&self, title: &str) -> bool {
        title.strip_prefix(&*self.job).and_then(|rest| rest.strip_prefix('/')) == Some(&*self.name)
    }
}
