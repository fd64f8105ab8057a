//! Reads the facts that the rules need from the job that Nomad embeds in each allocation: how it stops and what it registers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::translate::client_status;
use super::{ingress, process, wire};
use decamp_core::decide::{JobKind, Process, Provider, Service, Task, TaskGroup, TaskRole, Volume, VolumeKind};

/// Nomad's default of `kill_timeout`.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// For an allocation whose job is unknown: the default of a client's `max_kill_timeout`.
const UNKNOWN_KILL_TIMEOUT: Duration = Duration::from_secs(30);

/// Namespace, job, its version, its index, the group, and whether the allocation has ended.
type Key = (String, String, u64, u64, String, bool);

/// The groups of one answer. Allocations of the same version of a group share one.
#[derive(Default)]
pub(super) struct Groups {
    known: HashMap<Key, Arc<TaskGroup>>,
}

impl Groups {
    /// The group of an allocation.
    pub(super) fn of(&mut self, allocation: &wire::Allocation) -> Arc<TaskGroup> {
        let (version, index) = allocation.job.as_ref().map_or((u64::MAX, 0), |job| (job.version, job.modify_index));
        // The job of an ended allocation is held without its configuration, by which an ingress is recognized.
        let ended = client_status(&allocation.client).is_over();
        let (namespace, job) = (allocation.namespace.clone(), allocation.job_id.clone());
        let key = (namespace, job, version, index, allocation.task_group.clone(), ended);
        Arc::clone(self.known.entry(key).or_insert_with(|| Arc::new(group(allocation))))
    }
}

fn group(allocation: &wire::Allocation) -> TaskGroup {
    let job = allocation.job.as_ref();
    let found = job.and_then(|job| job.groups.iter().find(|group| group.name == allocation.task_group));
    let kind = kind(job.map_or("", |job| &job.kind));
    let (namespace, job, name) =
        (allocation.namespace.as_str().into(), allocation.job_id.as_str().into(), allocation.task_group.as_str().into());
    let Some(found) = found else {
        // Without the job, decamp waits for the allocation as long as any task may take.
        let name_of_task: Arc<str> = "unknown".into();
        let (shutdown_delay, kill_timeout) = (Duration::ZERO, UNKNOWN_KILL_TIMEOUT);
        return TaskGroup {
            namespace,
            job,
            name,
            kind,
            csi_plugin: false,
            migrates_disk: false,
            volumes: Vec::new(),
            count: 0,
            max_parallel: None,
            shutdown_delay,
            tasks: vec![Task {
                name: name_of_task,
                shutdown_delay,
                kill_timeout,
                role: TaskRole::Main,
                process: Process::default(),
            }],
            services: Vec::new(),
            ingress: None,
        };
    };
    let of_job = allocation.job.as_ref().map_or("", |job| &job.consul_namespace);
    let of_group = namespace_of(&[found.consul.as_ref()], of_job);
    let of_tasks = found.tasks.iter().filter(|task| role(task).registers()).flat_map(|task| {
        let namespace = namespace_of(&[task.consul.as_ref(), found.consul.as_ref()], of_job);
        task.services.iter().map(move |one| service(one, namespace.clone()))
    });
    let services = found.services.iter().map(|one| service(one, of_group.clone())).chain(of_tasks).collect();
    TaskGroup {
        namespace,
        job,
        name,
        kind,
        csi_plugin: found.tasks.iter().any(|task| task.csi_plugin.is_some()),
        migrates_disk: found.disk.as_ref().is_some_and(|disk| disk.migrate),
        volumes: found.volumes.iter().filter_map(|(name, one)| volume(name, one)).collect(),
        count: found.count,
        max_parallel: found.migrate.as_ref().map(|migrate| migrate.max_parallel),
        shutdown_delay: Duration::from_nanos(found.shutdown_delay),
        tasks: found.tasks.iter().map(task).collect(),
        services,
        ingress: found.tasks.iter().find_map(ingress::of),
    }
}

/// A volume that a group mounts. `None` for a type that is not known.
fn volume(name: &str, from: &wire::VolumeRequest) -> Option<Volume> {
    let kind = match from.kind.as_str() {
        "host" => VolumeKind::Host { sticky: from.sticky },
        "csi" => VolumeKind::Csi { per_alloc: from.per_alloc },
        _ => return None,
    };
    Some(Volume { name: name.into(), source: from.source.as_str().into(), read_only: from.read_only, kind })
}

/// An unknown type counts as a service, the kind for which decamp assumes the least.
fn kind(text: &str) -> JobKind {
    match text {
        "batch" => JobKind::Batch,
        "system" => JobKind::System,
        "sysbatch" => JobKind::SysBatch,
        _ => JobKind::Service,
    }
}

fn task(task: &wire::Task) -> Task {
    let kill_timeout = match task.kill_timeout {
        0 => KILL_TIMEOUT,
        nanoseconds => Duration::from_nanos(nanoseconds),
    };
    let shutdown_delay = Duration::from_nanos(task.shutdown_delay);
    let (role, process) = (role(task), process::of(task));
    Task { name: task.name.as_str().into(), shutdown_delay, kill_timeout, role, process }
}

fn role(task: &wire::Task) -> TaskRole {
    match &task.lifecycle {
        _ if task.leader => TaskRole::Leader,
        None => TaskRole::Main,
        Some(lifecycle) => match (lifecycle.hook.as_str(), lifecycle.sidecar) {
            ("poststop", _) => TaskRole::Poststop,
            (_, true) => TaskRole::Sidecar,
            ("prestart" | "poststart", false) => TaskRole::Finished,
            _ => TaskRole::Main,
        },
    }
}

/// The Consul namespace that the first of these blocks names, otherwise the job's (Nomad's `structs/consul.go`, `alloc.go`). `None` is the
/// default namespace, which also stands for a Consul without namespaces.
fn namespace_of(blocks: &[Option<&wire::ConsulBlock>], of_job: &str) -> Option<Arc<str>> {
    let named = blocks.iter().flatten().map(|block| block.namespace.as_str()).chain([of_job]);
    named.into_iter().find(|name| !name.is_empty()).filter(|name| *name != "default").map(Arc::from)
}

fn service(service: &wire::Service, consul_namespace: Option<Arc<str>>) -> Service {
    // Before 1.3 Consul was the only provider, and the field did not exist.
    let provider = if service.provider == "nomad" { Provider::Nomad } else { Provider::Consul };
    let namespace = consul_namespace.filter(|_| provider == Provider::Consul);
    Service { name: service.name.as_str().into(), provider, namespace }
}
