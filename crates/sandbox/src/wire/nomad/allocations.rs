//! Allocations, with their embedded jobs, and Nomad's own service discovery.

use axum::extract::{Path, State};
use serde_json::{Map, Value, json};

use super::nodes::filter_error;
use super::{Answer, AppState, Request, jobs, read, shapes, task_events};
use crate::wire::filter::Filter;
use crate::wire::query_options::{HttpError, QueryOptions, ReadAnswer};
use decamp_core::decide::{ClientStatus, OwnNetwork, Provider};
use decamp_core::ids::AllocationId;
use decamp_core::time::Time;
use decamp_sim::event::AllocationNumber;
use decamp_sim::nomad::{AllocationState, ApiError, GroupState, Nomad, TaskState};

pub(super) fn client_status(status: ClientStatus) -> &'static str {
    match status {
        ClientStatus::Pending => "pending",
        ClientStatus::Running => "running",
        ClientStatus::Complete => "complete",
        ClientStatus::Failed => "failed",
        ClientStatus::Lost => "lost",
        ClientStatus::Unknown => "unknown",
    }
}

fn group_of<'a>(nomad: &'a Nomad, allocation: &AllocationState) -> &'a GroupState {
    &nomad.groups()[allocation.group.index()]
}

fn node_address(nomad: &Nomad, allocation: &AllocationState) -> String {
    nomad.node(allocation.node).spec.addresses.first().map(ToString::to_string).unwrap_or_default()
}

fn ports(nomad: &Nomad, allocation: &AllocationState) -> Value {
    let address = node_address(nomad, allocation);
    let label = |place: usize| if place == 0 { "http".to_owned() } else { format!("port{place}") };
    let rows: Vec<Value> = (allocation.ports.iter().enumerate())
        .map(|(place, port)| json!({ "HostIP": address, "Label": label(place), "Value": port, "To": 0 }))
        .chain(
            allocation
                .own
                .iter()
                .flat_map(|own| own.ports.iter())
                .map(|port| json!({ "HostIP": "", "Label": format!("own{port}"), "Value": 0, "To": port })),
        )
        .collect();
    let mode = |own: &OwnNetwork| json!([{ "Mode": if own.bridge { "bridge" } else { "cni/mesh" } }]);
    let shared = json!({ "DiskMB": 300, "Networks": allocation.own.as_ref().map(mode), "Ports": rows });
    let tasks: Map<String, Value> = (group_of(nomad, allocation).spec.group.tasks.iter())
        .map(|task| {
            (task.name.to_string(), json!({ "Cpu": { "CpuShares": 100 }, "Memory": { "MemoryMB": 64 }, "Networks": null }))
        })
        .collect();
    json!({ "Shared": shared, "Tasks": tasks })
}

fn states(nomad: &Nomad, number: AllocationNumber, began: Time) -> Value {
    let stops = nomad.task_stops(number);
    let tasks = &group_of(nomad, nomad.allocation(number)).spec.group.tasks;
    let began_at = nomad.allocation(number).started.unwrap_or(began);
    let states: Map<String, Value> = (nomad.task_states(number))
        .map(|(name, state)| {
            let (word, finished) = match state {
                TaskState::Pending => ("pending", Value::Null),
                TaskState::Running => ("running", Value::Null),
                TaskState::Dead => {
                    let allocation = nomad.allocation(number);
                    ("dead", Value::from(shapes::stamp(allocation.ended.unwrap_or(allocation.synced))))
                }
            };
            let stopped = stops.iter().find(|stop| stop.task == *name);
            let delay = tasks.iter().find(|task| task.name == *name).map(|task| task.shutdown_delay).unwrap_or_default();
            let events = task_events::of_task(began_at, stopped.map(|stop| (stop, delay)));
            let row = json!({ "Events": events, "Failed": false, "FinishedAt": finished, "LastRestart": null, "Restarts": 0,
                "StartedAt": shapes::stamp(began_at), "State": word });
            (name.to_string(), row)
        })
        .collect();
    if states.is_empty() { Value::Null } else { Value::Object(states) }
}

/// The fields that lists and single reads share.
fn fields(nomad: &Nomad, number: AllocationNumber, began: Time) -> Map<String, Value> {
    let allocation = nomad.allocation(number);
    let group = group_of(nomad, allocation);
    let node = nomad.node(allocation.node);
    let id_of = |other: Option<AllocationNumber>| other.map(|n| nomad.allocation(n).id.to_string()).unwrap_or_default();
    let nanoseconds = began.0.saturating_mul(1_000_000);
    let health =
        allocation.healthy.map(|healthy| json!({ "Canary": false, "Healthy": healthy, "ModifyIndex": allocation.modified }));
    let client = client_status(allocation.client);
    let description = match allocation.client {
        ClientStatus::Running => "Tasks are running",
        ClientStatus::Pending => "No tasks have started",
        ClientStatus::Complete => "All tasks have completed",
        ClientStatus::Failed => "Failed tasks",
        ClientStatus::Lost | ClientStatus::Unknown => "",
    };
    let body = json!({
        "AllocatedResources": ports(nomad, allocation),
        "ClientDescription": description,
        "ClientStatus": client,
        "CreateIndex": allocation.modified.min(10),
        "CreateTime": nanoseconds,
        "DeploymentStatus": health,
        "DesiredDescription": if allocation.wanted { "" } else { "alloc is being migrated" },
        "DesiredStatus": if allocation.wanted { "run" } else { "stop" },
        "DesiredTransition": { "Migrate": allocation.marked.then_some(true), "Reschedule": null, "ForceReschedule": null },
        "EvalID": "",
        "FollowupEvalID": "",
        "ID": allocation.id.to_string(),
        "JobID": &*group.spec.group.job,
        "JobType": jobs::kind(group.spec.group.kind),
        "JobVersion": 0,
        "ModifyIndex": allocation.modified,
        "ModifyTime": allocation.synced.0.saturating_mul(1_000_000),
        "Name": allocation.name(group),
        "Namespace": &*group.spec.group.namespace,
        "NextAllocation": id_of(allocation.next),
        "NodeID": node.spec.id.to_string(),
        "NodeName": &*node.spec.name,
        "PreemptedByAllocation": "",
        "PreviousAllocation": id_of(allocation.previous),
        // Superseded, but the `nomad` command still adds these up and fails without them.
        "Resources": { "CPU": 100, "MemoryMB": 64, "DiskMB": 300, "IOPS": 0 },
        "TaskGroup": &*group.spec.group.name,
        "TaskStates": states(nomad, number, began),
    });
    match body {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

/// An allocation with its job, as in a node's list and in a single read.
pub(super) fn whole(nomad: &Nomad, number: AllocationNumber, began: Time) -> Value {
    let mut fields = fields(nomad, number, began);
    let allocation = nomad.allocation(number);
    let group = &group_of(nomad, allocation).spec.group;
    let address = allocation.own.as_ref().map(|own| own.address.to_string()).unwrap_or_default();
    fields.insert("AllocModifyIndex".to_owned(), Value::from(allocation.modified));
    fields.insert("Job".to_owned(), jobs::whole(nomad, &group.namespace, &group.job));
    fields.insert("NetworkStatus".to_owned(), json!({ "Address": address, "AddressIPv6": "", "DNS": null, "InterfaceName": "" }));
    Value::Object(fields)
}

/// An allocation as in lists of allocations.
pub(super) fn stub(nomad: &Nomad, number: AllocationNumber, began: Time) -> Value {
    Value::Object(fields(nomad, number, began))
}

/// All allocations that are still listed.
pub(super) fn listed(nomad: &Nomad) -> impl Iterator<Item = AllocationNumber> {
    (0_u32..).zip(nomad.allocations()).filter(|(_, a)| a.listed).map(|(number, _)| AllocationNumber(number))
}

pub(super) async fn list(State(shared): AppState, options: QueryOptions) -> Answer {
    let began = shared.began();
    read(&shared, options, |cluster, request, since| {
        let namespace = request.options.text("namespace").unwrap_or("default");
        let may = if namespace == "*" { request.token.reads_some_jobs() } else { request.token.reads_jobs(namespace) };
        if !may {
            return Err(ApiError::PermissionDenied.into());
        }
        let nomad = &*cluster.nomad;
        // Nomad before 1.3 ignores the filter. Since the releases that fixed the drain, a missing key is not an error.
        let filter = request.options.text("filter").filter(|_| nomad.version().filters());
        let filter = filter.map(Filter::read).transpose().map_err(filter_error)?;
        let lenient = nomad.version().completes_on_client_status();
        let prefix = request.options.text("prefix").unwrap_or_default();
        let index = listed(nomad).map(|n| nomad.allocation(n).modified).max().unwrap_or(1);
        let with_tasks = request.options.text("task_states") != Some("false");
        // Since 1.3 the servers list the last ones first and limit the list on request, as they filter it.
        let reverse = nomad.version().filters() && request.options.text("reverse") == Some("true");
        let most = request.options.text("per_page").filter(|_| nomad.version().filters()).and_then(|most| most.parse().ok());
        let most: usize = most.filter(|most| 0 < *most).unwrap_or(usize::MAX);
        let mut numbers: Vec<AllocationNumber> = listed(nomad).collect();
        if reverse {
            numbers.reverse();
        }
        let mut rows = Vec::new();
        for number in numbers {
            if rows.len() == most {
                break;
            }
            let allocation = nomad.allocation(number);
            let namespace = &group_of(nomad, allocation).spec.group.namespace;
            let asked_for = request.wants(namespace) && allocation.id.to_string().starts_with(prefix);
            if !asked_for || !request.token.reads_jobs(namespace) {
                continue;
            }
            let mut row = fields(nomad, number, began);
            let fits = match &filter {
                Some(filter) => filter.fits(&Value::Object(row.clone()), lenient).map_err(filter_error)?,
                None => true,
            };
            if !with_tasks {
                row.insert("TaskStates".to_owned(), Value::Null);
            }
            if fits {
                rows.push(Value::Object(row));
            }
        }
        Ok(ReadAnswer::newer(since, index, || rows.into_iter().collect()))
    })
    .await
}

/// The allocation that a path names, if the token may see it. `text` is Nomad's error if there is none.
fn find(nomad: &Nomad, request: &Request, id: &str, text: &'static str) -> Result<AllocationNumber, HttpError> {
    let id: AllocationId =
        id.parse().map_err(|_| HttpError::new(500, "alloc lookup failed: index error: UUID must be 36 characters"))?;
    let number = nomad.allocation_number(id).ok_or_else(|| HttpError::not_found(text, nomad.index()))?;
    let namespace = &group_of(nomad, nomad.allocation(number)).spec.group.namespace;
    if request.token.reads_jobs(namespace) { Ok(number) } else { Err(ApiError::PermissionDenied.into()) }
}

pub(super) async fn one(State(shared): AppState, Path(id): Path<String>, options: QueryOptions) -> Answer {
    let began = shared.began();
    read(&shared, options, |cluster, request, since| {
        let nomad = &*cluster.nomad;
        let number = find(nomad, request, &id, "alloc not found")?;
        Ok(ReadAnswer::newer(since, nomad.allocation(number).modified, || whole(nomad, number, began)))
    })
    .await
}

/// The registrations of one allocation in Nomad's own discovery, with the names of the services.
fn registered(nomad: &Nomad, number: AllocationNumber) -> Vec<(String, Value)> {
    let allocation = nomad.allocation(number);
    let group = &group_of(nomad, allocation).spec.group;
    let address = node_address(nomad, allocation);
    let services = group.services.iter().enumerate();
    let there = |(place, service): &(usize, &decamp_core::decide::Service)| {
        service.provider == Provider::Nomad && allocation.in_nomad_discovery >> place & 1 == 1
    };
    let row = |(_, service): (usize, &decamp_core::decide::Service)| {
        let id = format!("_nomad-task-{}-group-{}-{}-http", allocation.id, group.name, service.name);
        let body = json!({ "Address": address, "AllocID": allocation.id.to_string(), "CreateIndex": allocation.modified,
            "Datacenter": "dc1", "ID": id, "JobID": &*group.job, "ModifyIndex": allocation.modified,
            "Namespace": &*group.namespace, "NodeID": nomad.node(allocation.node).spec.id.to_string(),
            "Port": allocation.ports.first().copied().unwrap_or(0), "ServiceName": &*service.name, "Tags": [] });
        (service.name.to_string(), body)
    };
    services.filter(there).map(row).collect()
}

pub(super) async fn services(State(shared): AppState, Path(id): Path<String>, options: QueryOptions) -> Answer {
    read(&shared, options, |cluster, request, since| {
        let nomad = &*cluster.nomad;
        if !nomad.version().has_services() {
            return Err(HttpError::new(404, ""));
        }
        let number = find(nomad, request, &id, "allocation not found")?;
        // Nomad searches only in the requested namespace.
        if !request.wants(&group_of(nomad, nomad.allocation(number)).spec.group.namespace) {
            return Err(HttpError::not_found("allocation not found", 0));
        }
        Ok(ReadAnswer::newer(since, nomad.index(), || registered(nomad, number).into_iter().map(|(_, row)| row).collect()))
    })
    .await
}

pub(super) async fn service(State(shared): AppState, Path(name): Path<String>, options: QueryOptions) -> Answer {
    read(&shared, options, |cluster, request, since| {
        let namespace = request.options.text("namespace").unwrap_or("default");
        if namespace != "*" && !request.token.reads_jobs(namespace) {
            return Err(ApiError::PermissionDenied.into());
        }
        let nomad = &*cluster.nomad;
        // This endpoint reads `*` as the name of a namespace, which does not exist.
        let rows = listed(nomad).filter(|n| *group_of(nomad, nomad.allocation(*n)).spec.group.namespace == *namespace);
        let rows = rows.flat_map(|number| registered(nomad, number)).filter(|(service, _)| *service == name);
        Ok(ReadAnswer::newer(since, nomad.index(), || rows.map(|(_, row)| row).collect()))
    })
    .await
}

pub(super) async fn all_services(State(shared): AppState, options: QueryOptions) -> Answer {
    read(&shared, options, |cluster, request, since| {
        let nomad = &*cluster.nomad;
        let mut found: std::collections::BTreeMap<&str, std::collections::BTreeSet<String>> = std::collections::BTreeMap::new();
        for number in listed(nomad) {
            let namespace = &group_of(nomad, nomad.allocation(number)).spec.group.namespace;
            if request.wants(namespace) && request.token.reads_jobs(namespace) {
                found.entry(namespace).or_default().extend(registered(nomad, number).into_iter().map(|(name, _)| name));
            }
        }
        let row = |(namespace, names): (&str, std::collections::BTreeSet<String>)| {
            let services: Vec<Value> = names.iter().map(|name| json!({ "ServiceName": name, "Tags": [] })).collect();
            json!({ "Namespace": namespace, "Services": services })
        };
        let rows = found.into_iter().filter(|(_, names)| !names.is_empty()).map(row);
        Ok(ReadAnswer::newer(since, nomad.index(), || rows.collect()))
    })
    .await
}
