//! Builds the recorded cluster with the models: its nodes, its jobs as they were submitted, and its allocations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use decamp_core::decide::snapshot::{
    ClientStatus, DrainStatus, JobKind, NodeStatus, Process, Provider, Service, Task, TaskGroup, TaskRole,
};
use decamp_core::ids::NodeId;
use decamp_core::time::Time;
use decamp_sim::consul;
use decamp_sim::consul::Consul;
use decamp_sim::event::AllocationNumber;
use decamp_sim::nomad::{
    Behaviour, DrainSpec, Fits, GroupNumber, GroupSpec, NodeNumber, NodeSpec, Nomad, Note, Ports, Read, Token, Version,
};
use decamp_sim::rng::Rng;
use serde_json::Value;

use crate::recording::Exchange;
use crate::trace::{Trace, allocation_state};

/// Time 0 of a recording.
const ZERO: u64 = 1_000_000_000;

/// The model of a recorded cluster.
pub(crate) struct Cluster {
    /// Its Nomad.
    pub(crate) nomad: Nomad,
    /// Its Consul.
    pub(crate) consul: Consul,
    /// The events of processes.
    pub(crate) log: Vec<decamp_sim::event::Event>,
    /// Task groups by the names of their jobs.
    pub(crate) groups: BTreeMap<String, GroupNumber>,
    nodes: BTreeMap<String, NodeNumber>,
    initial: Vec<AllocationNumber>,
    tasks_shown: bool,
}

/// The model's time for milliseconds of a recording.
pub(crate) fn time(at: i64) -> Time {
    Time(ZERO.saturating_add_signed(at))
}

impl Cluster {
    /// Builds the cluster from the first answers of a recording. The model's clock starts 20 s before the first write.
    pub(crate) fn of(exchanges: &[Exchange], version: Version, consul_version: consul::Version, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let (start, mut nodes) = (time(-20_000), BTreeMap::new());
        let mut consul = Consul::new(consul_version, start, Rng::new(rng.bits()));
        let mut nomad = Nomad::new(version, start, Rng::new(rng.bits()));
        let listed = exchanges.iter().find(|e| e.path == "/v1/nodes").map(|e| e.body.clone());
        let read =
            exchanges.iter().filter(|e| e.after("/v1/node/").is_some() && e.body["Name"].is_string()).map(|e| e.body.clone());
        let rows = listed.and_then(|l| l.as_array().cloned()).unwrap_or_else(|| read.take(1).collect());
        for row in rows {
            let (id, name) = (word(&row["ID"]), word(&row["Name"]));
            let consul_name: Arc<str> = name.replace("client", "ip-127-0-0-1").into();
            let beside = consul.add_node(consul_name.clone());
            let spec = NodeSpec {
                id: id.parse().expect("a recorded id"),
                name: name.as_str().into(),
                instance: None,
                addresses: Vec::new(),
                consul: Some((beside, consul_name)),
            };
            nodes.insert(id, nomad.add_node(spec));
        }
        let tasks_shown = exchanges.iter().any(|e| e.body[0]["TaskStates"].is_object());
        let mut cluster =
            Self { nomad, consul, log: Vec::new(), groups: BTreeMap::new(), nodes, initial: Vec::new(), tasks_shown };
        cluster.place_allocations(exchanges);
        cluster
    }

    fn place_allocations(&mut self, exchanges: &[Exchange]) {
        let rows: Vec<Value> = exchanges
            .iter()
            .filter(|e| e.path.ends_with("/allocations") && e.at.is_some_and(|at| at < 50))
            .flat_map(|e| e.body.as_array().cloned().unwrap_or_default())
            .collect();
        let mut placed = Vec::new();
        for row in &rows {
            let (id, job, node) = (word(&row["ID"]), word(&row["JobID"]), self.nodes[&word(&row["NodeID"])]);
            let group = self.group(&job, exchanges, node);
            if !placed.contains(&id) {
                self.initial.push(self.nomad.place(group, node, &mut self.consul));
                placed.push(id);
            }
        }
        // Copies that the recording does not show ran on nodes that it did not read.
        let read = |node: NodeNumber| rows.iter().any(|row| self.nodes[&word(&row["NodeID"])] == node);
        let others: Vec<NodeNumber> = self.nodes.values().copied().filter(|node| !read(*node)).collect();
        for group in self.groups.clone().into_values() {
            let state = &self.nomad.groups()[group.index()];
            let (kind, missing) = (
                state.spec.group.kind,
                state.spec.group.count as usize - state.allocations.len().min(state.spec.group.count as usize),
            );
            for place in 0..missing {
                if kind == JobKind::Service && !others.is_empty() {
                    self.nomad.place(group, others[place % others.len()], &mut self.consul);
                }
            }
        }
    }

    fn group(&mut self, job: &str, exchanges: &[Exchange], node: NodeNumber) -> GroupNumber {
        if let Some(group) = self.groups.get(job) {
            return *group;
        }
        let rows =
            exchanges.iter().filter(|e| e.path.ends_with("/allocations")).flat_map(|e| e.body.as_array().into_iter().flatten());
        let submitted =
            rows.filter(|row| row["JobID"] == job).find(|row| row["Job"].is_object()).map(|row| task_group(&row["Job"]));
        let group = submitted.unwrap_or_else(|| plain_service(job));
        let spec = GroupSpec {
            behaviour: behaviour(job, &group.1, self.nomad.version()),
            group: Arc::new(group.0),
            fits: if matches!(job, "pinned" | "etl") { Fits::Only(node) } else { Fits::Anywhere },
            ports: Ports::Static(Arc::default()),
        };
        let number = self.nomad.add_group(spec);
        self.groups.insert(job.to_owned(), number);
        number
    }

    /// The node with this id in the recording.
    pub(crate) fn node(&self, id: &str) -> NodeNumber {
        self.nodes[id]
    }

    /// The first allocation that the recording showed of a job.
    pub(crate) fn first_of(&self, job: &str) -> AllocationNumber {
        let of = |n: &&AllocationNumber| self.nomad.allocation(**n).group == self.groups[job];
        *self.initial.iter().find(of).expect("the job ran at the beginning")
    }

    /// Sends a recorded write to the model, and returns the status of the answer.
    pub(crate) fn write(&mut self, exchange: &Exchange) -> u16 {
        let (token, body) = (Token::AclsOff, &exchange.request);
        let node = || exchange.after("/v1/node/").and_then(|id| id.parse::<NodeId>().ok());
        let answer = if exchange.path.ends_with("/drain") {
            let node = node().expect("a node id");
            match body["DrainSpec"]["Deadline"].as_i64() {
                None => self.nomad.cancel_drain(&token, node, body["MarkEligible"] == true),
                Some(deadline_ns) => {
                    let ignore_system_jobs = body["DrainSpec"]["IgnoreSystemJobs"] == true;
                    self.nomad.set_drain(&token, node, DrainSpec { deadline_ns, ignore_system_jobs }, Note::None)
                }
            }
        } else if exchange.path.ends_with("/eligibility") {
            self.nomad.set_eligibility(&token, node().expect("a node id"), body["Eligibility"] == "eligible")
        } else {
            let job = exchange.after("/v1/job/").expect("nothing else is written");
            match exchange.method.as_str() {
                "DELETE" => self.nomad.stop_job(&token, "default", job, exchange.path.ends_with("purge=true")),
                _ => {
                    let group = word(&body["Target"]["Group"]);
                    let count = u32::try_from(body["Count"].as_u64().unwrap_or(0)).unwrap_or(0);
                    self.nomad.scale(&token, "default", job, &group, count)
                }
            }
        };
        answer.map_or_else(|refused| refused.status(), |_| 200)
    }

    /// Records in the trace what reads of the recording's paths would show now.
    pub(crate) fn see(&mut self, exchanges: &[Exchange], trace: &mut Trace) {
        let at = self.nomad.now().0 as i64 - ZERO as i64;
        let mut paths: Vec<&str> = exchanges.iter().filter(|e| !e.is_write()).map(|e| e.path.as_str()).collect();
        paths.sort_unstable();
        paths.dedup();
        for path in paths {
            if let Some(rest) = path.strip_prefix("/v1/node/").or_else(|| path.strip_prefix("/v1/job/")) {
                let Some((of, what)) = rest.split_once('/') else {
                    if let Ok(id) = rest.parse() {
                        self.see_node(at, id, trace);
                    }
                    continue;
                };
                if what == "allocations" && self.nomad.has_leader() {
                    let rows = match of.parse() {
                        Ok(id) => self.nomad.list_allocations_of(id, &Token::AclsOff, Read::Default).expect("a leader answers"),
                        Err(_) => self.nomad.groups()[self.groups[of].index()].allocations.clone(),
                    };
                    let rows = rows.into_iter().map(|number| self.shown(number)).collect();
                    trace.record_list(at, path, rows);
                }
            } else if let Some(node) = path.strip_prefix("/v1/catalog/node-services/") {
                self.see_consul(at, node, trace);
            } else if let Some(node) = path.strip_prefix("/v1/health/node/") {
                let number = self.consul.node_number(node).expect("a recorded node");
                let seen = self.consul.look(number, &consul::Token::Full, consul::Read::Default).expect("Consul answers");
                let status = if seen.body.agent_dead { "critical" } else { "passing" };
                trace.record(at, format!("serf {node}"), status.to_owned());
            } else if let Some(service) = path.strip_prefix("/v1/service/") {
                let here = |a: &&decamp_sim::nomad::AllocationState| {
                    self.groups.get(service) == Some(&a.group) && 0 < a.in_nomad_discovery
                };
                let listed = self.nomad.allocations().iter().filter(here);
                let objects = listed.map(|a| (format!("native {service} {}", a.id), "listed".to_owned())).collect();
                trace.record_list(at, path, objects);
            }
        }
    }

    fn see_node(&mut self, at: i64, id: NodeId, trace: &mut Trace) {
        // Without a leader a reader sees nothing.
        let Ok(answer) = self.nomad.look(id, &Token::AclsOff, Read::Default) else { return };
        let node = answer.body;
        let status = match node.status {
            NodeStatus::Ready => "ready",
            NodeStatus::Down => "down",
            NodeStatus::Disconnected => "disconnected",
            NodeStatus::Other => "initializing",
        };
        let eligible = if node.eligible { "eligible" } else { "ineligible" };
        let number = self.nomad.node_number(id).expect("it was just seen");
        let drain = self.nomad.node(number).drain.map_or("-".to_owned(), |drain| format!("drain@{}", drain.started.0));
        let last = node.last_drain.map_or("-", |last| match last.status {
            DrainStatus::Draining => "draining",
            DrainStatus::Complete => "complete",
            DrainStatus::Canceled => "canceled",
            DrainStatus::Other => "?",
        });
        trace.record(at, format!("node {}", node.name), format!("{status} {eligible} {drain} {last}"));
    }

    fn shown(&self, number: AllocationNumber) -> (String, String) {
        let allocation = self.nomad.allocation(number);
        let group = &self.nomad.groups()[allocation.group.index()];
        let object = format!("alloc {} {}", group.spec.group.job, allocation.id);
        let client = match allocation.client {
            ClientStatus::Pending => "pending",
            ClientStatus::Running => "running",
            ClientStatus::Complete => "complete",
            ClientStatus::Failed => "failed",
            ClientStatus::Lost => "lost",
            ClientStatus::Unknown => "unknown",
        };
        let shown = self.nomad.task_states(number).filter(|_| self.tasks_shown);
        let tasks = shown.map(|(name, state)| (name.to_string(), state.word().to_owned())).collect();
        (object, allocation_state(if allocation.wanted { "run" } else { "stop" }, client, &tasks))
    }

    fn see_consul(&mut self, at: i64, node: &str, trace: &mut Trace) {
        let services =
            self.consul.node_services(node, &consul::Token::Full, consul::Read::Default).expect("Consul answers").body.services;
        let objects = services.iter().map(|s| (format!("consul {} {}", s.service, s.allocation), "listed".to_owned())).collect();
        trace.record_list(at, node, objects);
    }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn span(value: &Value) -> Duration {
    Duration::from_nanos(value.as_u64().unwrap_or(0))
}

/// The task group of a submitted job, and the services of it that belong to tasks, one bit for each.
fn task_group(job: &Value) -> (TaskGroup, u32) {
    let group = &job["TaskGroups"][0];
    let kind = match job["Type"].as_str() {
        Some("batch") => JobKind::Batch,
        Some("system") => JobKind::System,
        Some("sysbatch") => JobKind::SysBatch,
        _ => JobKind::Service,
    };
    let mut services: Vec<Service> = Vec::new();
    let mut of_tasks = 0;
    let read = |service: &Value| Service {
        name: word(&service["Name"]).as_str().into(),
        provider: if service["Provider"] == "nomad" { Provider::Nomad } else { Provider::Consul },
        namespace: None,
    };
    services.extend(group["Services"].as_array().into_iter().flatten().map(read));
    let mut tasks = Vec::new();
    for task in group["Tasks"].as_array().into_iter().flatten() {
        for service in task["Services"].as_array().into_iter().flatten() {
            of_tasks |= 1 << services.len();
            services.push(read(service));
        }
        let role = match (task["Leader"] == true, task["Lifecycle"]["Hook"].as_str(), task["Lifecycle"]["Sidecar"] == true) {
            (true, _, _) => TaskRole::Leader,
            (_, Some("poststop"), _) => TaskRole::Poststop,
            (_, Some(_), true) => TaskRole::Sidecar,
            (_, Some(_), false) => TaskRole::Finished,
            (_, None, _) => TaskRole::Main,
        };
        let name = word(&task["Name"]).as_str().into();
        tasks.push(Task {
            name,
            shutdown_delay: span(&task["ShutdownDelay"]),
            kill_timeout: span(&task["KillTimeout"]),
            role,
            process: Process::default(),
        });
    }
    let group = TaskGroup {
        namespace: "default".into(),
        job: word(&job["ID"]).as_str().into(),
        name: word(&group["Name"]).as_str().into(),
        kind,
        csi_plugin: false,
        migrates_disk: false,
        volumes: Vec::new(),
        count: u32::try_from(group["Count"].as_u64().unwrap_or(1)).unwrap_or(1),
        max_parallel: group["Migrate"]["MaxParallel"].as_u64().and_then(|n| u32::try_from(n).ok()),
        shutdown_delay: span(&group["ShutdownDelay"]),
        tasks,
        services,
        ingress: None,
    };
    (group, of_tasks)
}

/// A service whose job is not in the recording: one copy, 2 s of delay, no registrations.
fn plain_service(job: &str) -> (TaskGroup, u32) {
    let text = serde_json::json!({
        "ID": job, "Type": "service",
        "TaskGroups": [{ "Name": "web", "Count": 1, "ShutdownDelay": 2_000_000_000_u64, "Migrate": { "MaxParallel": 1 },
            "Tasks": [{ "Name": "srv", "KillTimeout": 5_000_000_000_u64 }] }],
    });
    task_group(&text)
}

/// The behaviour of the recorded jobs' processes, by the description of the recordings.
fn behaviour(job: &str, of_tasks: &u32, version: Version) -> Behaviour {
    let stops_in = Duration::from_millis(if matches!(job, "etl" | "everywhere") { 50 } else { 1_000 });
    Behaviour {
        healthy_in: Duration::from_millis(1_050),
        stops_in,
        ignores_signal: job == "pinned",
        poststop: Duration::from_secs(4),
        // The interpreter there exited with an error on its signal.
        exits_with_error: job == "etl" && version == Version::V1_10_5,
        services_of_tasks: *of_tasks,
        ..Behaviour::default()
    }
}
