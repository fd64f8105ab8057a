//! Jobs: their JSON, their lists, and the calls that stop, purge and scale them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::{Map, Value, json};

use super::{Answer, AppState, Body, Request, allocations, read, volumes, write};
use crate::wire::query_options;
use crate::wire::query_options::{HttpError, QueryOptions, ReadAnswer};
use decamp_core::decide::{ClientStatus, Ingress, JobKind, Provider, Service, Task, TaskGroup, TaskRole};
use decamp_sim::event::AllocationNumber;
use decamp_sim::nomad::{AllocationState, ApiError, GroupState, Nomad};

pub(super) fn kind(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Service => "service",
        JobKind::Batch => "batch",
        JobKind::System => "system",
        JobKind::SysBatch => "sysbatch",
    }
}

fn nanoseconds(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn service(service: &Service) -> Value {
    let provider = match service.provider {
        Provider::Consul => "consul",
        Provider::Nomad => "nomad",
    };
    json!({ "Name": &*service.name, "Provider": provider, "PortLabel": "http", "AddressMode": "auto", "Checks": [], "Tags": null,
        "OnUpdate": "require_healthy" })
}

/// The arguments of an ingress, in Traefik's form. decamp reads from them how the ingress follows discovery.
fn arguments(ingress: &Ingress) -> Value {
    let provider = if ingress.how.contains("Nomad") { "nomad" } else { "consulcatalog" };
    // Of the time to forget, 2 s are Traefik's throttle.
    let refresh = ingress.forgets_after.as_secs().saturating_sub(2);
    let follows = if ingress.how.contains("watches") { "watch=true".to_owned() } else { format!("refreshInterval={refresh}s") };
    json!([format!("--providers.{provider}=true"), format!("--providers.{provider}.{follows}")])
}

/// The configuration of a task in its driver: how its process is started.
fn configuration(task: &Task, group: &TaskGroup) -> Value {
    let mut config = json!({ "image": &*group.job });
    if task.process.init {
        config["init"] = Value::Bool(true);
    }
    if let Some(shell) = &task.process.shell {
        let mut words = shell.split_whitespace();
        config["command"] = json!(words.next());
        config["args"] = words.map(Value::from).chain([Value::from("server & wait")]).collect();
    }
    config
}

fn task(task: &Task, group: &TaskGroup, is_first: bool) -> Value {
    let lifecycle = |hook: &str, sidecar: bool| json!({ "Hook": hook, "Sidecar": sidecar });
    let lifecycle = match task.role {
        TaskRole::Leader | TaskRole::Main => Value::Null,
        TaskRole::Sidecar => lifecycle("prestart", true),
        TaskRole::Poststop => lifecycle("poststop", false),
        TaskRole::Finished => lifecycle("prestart", false),
    };
    let config = match group.ingress.as_ref().filter(|_| is_first) {
        Some(ingress) => json!({ "image": "traefik", "args": arguments(ingress) }),
        None => configuration(task, group),
    };
    let plugin = (group.csi_plugin && is_first).then(|| json!({ "ID": &*group.job, "Type": "node", "MountDir": "/csi" }));
    json!({ "Name": &*task.name, "Driver": &*task.process.driver, "Config": config, "CSIPluginConfig": plugin, "Env": null,
        "KillSignal": task.process.kill_signal.as_deref().unwrap_or_default(), "KillTimeout": nanoseconds(task.kill_timeout), "Leader": task.role == TaskRole::Leader,
        "Lifecycle": lifecycle, "Services": null, "ShutdownDelay": nanoseconds(task.shutdown_delay), "Templates": null,
        "Resources": { "CPU": 100, "MemoryMB": 64 } })
}

fn group(state: &GroupState) -> Value {
    let group = &state.spec.group;
    let tasks: Vec<Value> = group.tasks.iter().enumerate().map(|(place, one)| task(one, group, place == 0)).collect();
    let services: Vec<Value> = group.services.iter().map(service).collect();
    let migrate = group.max_parallel.map(|many| {
        json!({ "HealthCheck": "checks", "HealthyDeadline": 300_000_000_000_u64, "MaxParallel": many,
            "MinHealthyTime": nanoseconds(state.spec.behaviour.healthy_in) })
    });
    // The `consul` block of a group names the namespace of all its services.
    let namespace = group.services.iter().find_map(|service| service.namespace.as_deref());
    let consul = json!({ "Namespace": namespace.unwrap_or_default(), "Cluster": "default", "Partition": "" });
    // A disk that migrates is sticky: Nomad prefers the node that has it.
    let disk = json!({ "Migrate": group.migrates_disk, "SizeMB": 300, "Sticky": group.migrates_disk });
    json!({ "Count": group.count, "Consul": consul, "EphemeralDisk": disk, "Migrate": migrate, "Name": &*group.name, "Networks": null, "Services": services,
        "ShutdownDelay": nanoseconds(group.shutdown_delay), "Tasks": tasks, "Volumes": volumes::requests(&group.volumes) })
}

fn groups<'a>(nomad: &'a Nomad, namespace: &'a str, job: &'a str) -> impl Iterator<Item = &'a GroupState> {
    nomad.groups().iter().filter(move |g| *g.spec.group.namespace == *namespace && *g.spec.group.job == *job)
}

fn is_stopped(nomad: &Nomad, namespace: &str, job: &str) -> bool {
    groups(nomad, namespace, job).all(|group| group.stopped)
}

/// Whether a job still exists. A purged job is stopped and has no listed allocations.
fn exists(nomad: &Nomad, namespace: &str, job: &str) -> bool {
    let listed = |group: &GroupState| group.allocations.iter().any(|n| nomad.allocation(*n).listed);
    groups(nomad, namespace, job).any(|group| !group.stopped || listed(group))
}

/// A job as in `GET /v1/job/:id` and in allocations. `null` if there is none.
pub(super) fn whole(nomad: &Nomad, namespace: &str, job: &str) -> Value {
    let mut found = groups(nomad, namespace, job).peekable();
    let Some(first) = found.peek() else { return Value::Null };
    let kind = kind(first.spec.group.kind);
    let stopped = is_stopped(nomad, namespace, job);
    let groups: Vec<Value> = found.map(group).collect();
    json!({ "ID": job, "Name": job, "Namespace": namespace, "Type": kind, "Priority": 50, "Region": "global",
        "Datacenters": ["*"], "NodePool": "default", "Status": if stopped { "dead" } else { "running" }, "StatusDescription": "",
        "Stop": stopped, "Version": 0, "CreateIndex": 10, "ModifyIndex": 10, "JobModifyIndex": 10, "Stable": true,
        "SubmitTime": 0, "TaskGroups": groups, "ParentID": "", "Periodic": null, "ParameterizedJob": null, "Dispatched": false })
}

fn names(nomad: &Nomad) -> Vec<(Arc<str>, Arc<str>)> {
    let mut names: Vec<_> =
        nomad.groups().iter().map(|g| (Arc::clone(&g.spec.group.namespace), Arc::clone(&g.spec.group.job))).collect();
    names.sort();
    names.dedup();
    names.retain(|(namespace, job)| exists(nomad, namespace, job));
    names
}

fn of<'a>(nomad: &'a Nomad, namespace: &'a str, job: &'a str) -> impl Iterator<Item = (AllocationNumber, &'a AllocationState)> {
    let is_of = move |allocation: &AllocationState| {
        let group = &nomad.groups()[allocation.group.index()].spec.group;
        *group.namespace == *namespace && *group.job == *job
    };
    allocations::listed(nomad).map(|number| (number, nomad.allocation(number))).filter(move |(_, allocation)| is_of(allocation))
}

fn summary_of(nomad: &Nomad, namespace: &str, job: &str) -> Value {
    let mut rows: BTreeMap<String, BTreeMap<&str, u64>> = BTreeMap::new();
    for group in groups(nomad, namespace, job) {
        let row = rows.entry(group.spec.group.name.to_string()).or_default();
        for word in ["Queued", "Complete", "Failed", "Running", "Starting", "Lost", "Unknown"] {
            row.insert(word, 0);
        }
        row.insert("Queued", group.missing.len() as u64);
        for allocation in group.allocations.iter().map(|n| nomad.allocation(*n)).filter(|a| a.listed) {
            let word = match allocation.client {
                ClientStatus::Pending => "Starting",
                ClientStatus::Running => "Running",
                ClientStatus::Complete => "Complete",
                ClientStatus::Failed => "Failed",
                ClientStatus::Lost => "Lost",
                ClientStatus::Unknown => "Unknown",
            };
            *row.entry(word).or_default() += 1;
        }
    }
    json!({ "JobID": job, "Namespace": namespace, "Summary": rows, "Children": { "Dead": 0, "Pending": 0, "Running": 0 },
        "CreateIndex": 10, "ModifyIndex": nomad.index() })
}

pub(super) async fn list(State(shared): AppState, options: QueryOptions) -> Answer {
    read(&shared, options, |cluster, request, since| {
        let nomad = &*cluster.nomad;
        let prefix = request.options.text("prefix").unwrap_or_default();
        Ok(ReadAnswer::newer(since, nomad.index(), || {
            let seen = names(nomad).into_iter().filter(|(namespace, job)| {
                request.wants(namespace) && request.token.reads_jobs(namespace) && job.starts_with(prefix)
            });
            let row = |(namespace, job): (Arc<str>, Arc<str>)| {
                let mut row = whole(nomad, &namespace, &job);
                if let Value::Object(fields) = &mut row {
                    fields.remove("TaskGroups");
                    fields.insert("JobSummary".to_owned(), summary_of(nomad, &namespace, &job));
                }
                row
            };
            seen.map(row).collect()
        }))
    })
    .await
}

/// The requested namespace, if the job exists there and the token may see it.
fn find(nomad: &Nomad, request: &Request, job: &str) -> Result<String, HttpError> {
    let namespace = request.options.text("namespace").unwrap_or("default").to_owned();
    if !request.token.reads_jobs(&namespace) {
        return Err(ApiError::PermissionDenied.into());
    }
    if exists(nomad, &namespace, job) { Ok(namespace) } else { Err(HttpError::not_found("job not found", nomad.index())) }
}

pub(super) async fn one(State(shared): AppState, Path(job): Path<String>, options: QueryOptions) -> Answer {
    read(&shared, options, |cluster, request, since| {
        let nomad = &*cluster.nomad;
        let namespace = find(nomad, request, &job)?;
        Ok(ReadAnswer::newer(since, nomad.index(), || whole(nomad, &namespace, &job)))
    })
    .await
}

pub(super) async fn allocations(State(shared): AppState, Path(job): Path<String>, options: QueryOptions) -> Answer {
    let began = shared.began();
    read(&shared, options, |cluster, request, since| {
        let nomad = &*cluster.nomad;
        let namespace = find(nomad, request, &job)?;
        let index = of(nomad, &namespace, &job).map(|(_, a)| a.modified).max().unwrap_or(1);
        Ok(ReadAnswer::newer(since, index, || {
            of(nomad, &namespace, &job).map(|(number, _)| allocations::stub(nomad, number, began)).collect()
        }))
    })
    .await
}

pub(super) async fn summary(State(shared): AppState, Path(job): Path<String>, options: QueryOptions) -> Answer {
    read(&shared, options, |cluster, request, since| {
        let nomad = &*cluster.nomad;
        let namespace = find(nomad, request, &job)?;
        Ok(ReadAnswer::newer(since, nomad.index(), || summary_of(nomad, &namespace, &job)))
    })
    .await
}

pub(super) async fn scale_status(State(shared): AppState, Path(job): Path<String>, options: QueryOptions) -> Answer {
    read(&shared, options, |cluster, request, since| {
        let nomad = &*cluster.nomad;
        let namespace = find(nomad, request, &job)?;
        Ok(ReadAnswer::newer(since, nomad.index(), || {
            let row = |state: &GroupState| {
                let live = state.allocations.iter().map(|n| nomad.allocation(*n)).filter(|a| a.listed && !a.is_terminal());
                let (mut placed, mut running, mut healthy) = (0, 0, 0);
                for allocation in live {
                    placed += 1;
                    running += u32::from(allocation.client == ClientStatus::Running);
                    healthy += u32::from(allocation.healthy == Some(true));
                }
                let body = json!({ "Desired": state.spec.group.count, "Events": null, "Healthy": healthy, "Placed": placed,
                    "Running": running, "Unhealthy": 0 });
                (state.spec.group.name.to_string(), body)
            };
            let rows: Map<String, Value> = groups(nomad, &namespace, &job).map(row).collect();
            json!({ "JobCreateIndex": 10, "JobID": job, "JobModifyIndex": 10, "JobStopped": is_stopped(nomad, &namespace, &job),
                "Namespace": namespace, "TaskGroups": rows })
        }))
    })
    .await
}

pub(super) async fn scale(State(shared): AppState, Path(job): Path<String>, options: QueryOptions, body: Body) -> Answer {
    let body = query_options::json(&body)?;
    let group = body.get("Target").and_then(|target| target.get("Group")).and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(count) = body.get("Count").and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok()) else {
        return Err(HttpError::new(400, "Scaling action should not contain count if error is true"));
    };
    let namespace = options.text("namespace").unwrap_or("default").to_owned();
    let written = |index| json!({ "EvalCreateIndex": index, "EvalID": "", "Index": index, "JobModifyIndex": index });
    write(&shared, options, |cluster, token| Ok(cluster.nomad.scale(token, &namespace, &job, &group, count)?), written)
}

pub(super) async fn stop(State(shared): AppState, Path(job): Path<String>, options: QueryOptions) -> Answer {
    let namespace = options.text("namespace").unwrap_or("default").to_owned();
    let purge = options.text("purge") == Some("true");
    let written = |index| json!({ "EvalCreateIndex": index, "EvalID": "", "Index": index, "JobModifyIndex": index });
    write(&shared, options, |cluster, token| Ok(cluster.nomad.stop_job(token, &namespace, &job, purge)?), written)
}

/// The answer for evaluations and deployments, which are not modelled: there are none.
pub(super) async fn nothing(State(shared): AppState, Path(job): Path<String>, options: QueryOptions) -> Answer {
    read(&shared, options, |cluster, request, since| {
        find(cluster.nomad, request, &job)?;
        Ok(ReadAnswer::newer(since, cluster.nomad.index(), || json!([])))
    })
    .await
}

pub(super) async fn no_deployment(State(shared): AppState, Path(job): Path<String>, options: QueryOptions) -> Answer {
    read(&shared, options, |cluster, request, since| {
        find(cluster.nomad, request, &job)?;
        Ok(ReadAnswer::newer(since, cluster.nomad.index(), || Value::Null))
    })
    .await
}
