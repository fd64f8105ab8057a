//! The plan's jobs in Nomad's format: services and an ingress. Each task runs this program, or Traefik.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::api::Api;
use crate::ingress::PING;
use crate::plan::{INGRESS, Plan, REAL_CHECK_EVERY, ServicePlan};
use crate::traefik;
use decamp_core::time::plain;

/// The address of a node, from its instance's metadata.
const ADDRESS: &str = "${attr.unique.platform.aws.local-ipv4}";
/// The Consul agent of a node, from the client's configuration.
const CONSUL: &str = "${meta.consul}";
/// How long a copy may take to become healthy.
const HEALTHY_BY: Duration = Duration::from_secs(60);
/// The pause before a failed task is started again.
const AGAIN: Duration = Duration::from_secs(1);

/// How the jobs run their tasks.
#[derive(Debug, Clone)]
pub(crate) struct TaskSetup {
    /// The binary of decamp, whose command `part` runs one process of a rehearsal.
    pub(crate) command: PathBuf,
    /// The Consul address that every ingress uses. `None` for the agent of its node.
    pub(crate) consul: Option<SocketAddr>,
}

/// Registers all jobs when all machines of the initial cluster have joined.
pub(super) async fn register(api: &Api, plan: &Plan, setup: &TaskSetup, mut up: watch::Receiver<u32>) -> Result<()> {
    if up.wait_for(|up| plan.nodes <= *up).await.is_err() {
        return Ok(());
    }
    let services = plan.services();
    for job in [ingress(plan, setup)].into_iter().chain(services.iter().map(|service| self::service(service, setup))) {
        let name = job["ID"].clone();
        api.put("/v1/jobs", Some(json!({ "Job": job }))).await.with_context(|| format!("register the job {name}"))?;
    }
    Ok(())
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn job(name: &str, kind: &str, group: Value) -> Value {
    json!({ "ID": name, "Name": name, "Type": kind, "Datacenters": ["dc1"], "TaskGroups": [group] })
}

/// The service of a group, with its address and its check.
fn registered(name: &str, path: &str) -> Value {
    let every = nanoseconds(REAL_CHECK_EVERY);
    json!([{
        "Name": name, "PortLabel": "http", "Address": ADDRESS,
        "Checks": [{ "Name": "answers", "Type": "http", "Path": path, "Interval": every, "Timeout": every }],
    }])
}

fn task(command: &str, arguments: Vec<String>, kill_timeout: Duration) -> Value {
    json!({
        "Name": "server", "Driver": "raw_exec", "KillSignal": "SIGTERM", "KillTimeout": nanoseconds(kill_timeout),
        "Config": { "command": command, "args": arguments },
        "Resources": { "CPU": 20, "MemoryMB": 16 }, "LogConfig": { "Disabled": true },
    })
}

fn restarts() -> Value {
    json!({ "Attempts": 1000, "Interval": nanoseconds(Duration::from_hours(1)), "Delay": nanoseconds(AGAIN), "Mode": "delay" })
}

/// The arguments that run this program as one process of a rehearsal. It listens on the port that Nomad allocates.
fn part(which: &str, more: Vec<String>) -> Vec<String> {
    let listen = format!("{ADDRESS}:${{NOMAD_PORT_http}}");
    [vec!["part".to_owned(), which.to_owned(), "--listen".to_owned(), listen], more].concat()
}

/// The job of a service, with its copies spread over the nodes.
fn service(service: &ServicePlan, setup: &TaskSetup) -> Value {
    let ServicePlan { name, copies, at_once, nature } = service;
    let kill_timeout = service.kill_timeout();
    let arguments = part("service", vec!["--nature".to_owned(), nature.word().to_owned()]);
    let mut job = job(
        name,
        "service",
        json!({
            "Name": "group", "Count": copies, "ShutdownDelay": nanoseconds(Plan::SHUTDOWN_DELAY),
            "Migrate": {
                "MaxParallel": at_once, "HealthCheck": "checks", "MinHealthyTime": nanoseconds(Plan::MIN_HEALTHY),
                "HealthyDeadline": nanoseconds(HEALTHY_BY),
            },
            "RestartPolicy": restarts(),
            "Networks": [{ "DynamicPorts": [{ "Label": "http" }] }],
            "Services": registered(name, &format!("/{name}/work")),
            "Tasks": [task(&setup.command.to_string_lossy(), arguments, kill_timeout)],
        }),
    );
    job["Spreads"] = json!([{ "Attribute": "${node.unique.id}", "Weight": 100 }]);
    job
}

/// The job of the ingress on every node. Its environment says how it follows discovery.
fn ingress(plan: &Plan, setup: &TaskSetup) -> Value {
    let consul = setup.consul.map_or_else(|| CONSUL.to_owned(), |consul| consul.to_string());
    let task = match &plan.traefik {
        Some(binary) => {
            let arguments = traefik::arguments(&format!("{ADDRESS}:${{NOMAD_PORT_http}}"), &consul, plan.ingress_poll);
            task(&binary.to_string_lossy(), arguments, Plan::INGRESS_KILL_TIMEOUT)
        }
        None => {
            let mut more = vec!["--consul".to_owned(), consul, "--node".to_owned(), "${node.unique.name}".to_owned()];
            more.extend(plan.ingress_poll.iter().flat_map(|every| ["--poll".to_owned(), plain(*every)]));
            let mut task = task(&setup.command.to_string_lossy(), part(INGRESS, more), Plan::INGRESS_KILL_TIMEOUT);
            task["Env"] = match plan.ingress_poll {
                None => json!({ "TRAEFIK_PROVIDERS_CONSULCATALOG_WATCH": "true" }),
                Some(every) => json!({ "TRAEFIK_PROVIDERS_CONSULCATALOG_REFRESHINTERVAL": plain(every) }),
            };
            task
        }
    };
    job(
        INGRESS,
        "system",
        json!({
            "Name": "group", "RestartPolicy": restarts(),
            "Networks": [{ "ReservedPorts": [{ "Label": "http", "Value": plan.port }] }],
            "Services": registered(INGRESS, PING), "Tasks": [task],
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> TaskSetup {
        TaskSetup { command: "/usr/bin/decamp".into(), consul: None }
    }

    #[test]
    fn the_job_of_a_service_has_the_settings_of_the_plan() {
        let plan = Plan::default();
        let jobs: Vec<Value> = plan.services().iter().map(|service| self::service(service, &setup())).collect();
        let group = |place: usize| &jobs[place]["TaskGroups"][0];
        assert_eq!((group(2)["Count"].as_u64(), group(2)["Migrate"]["MaxParallel"].as_u64()), (Some(4), Some(2)));
        assert_eq!(group(2)["ShutdownDelay"], nanoseconds(Plan::SHUTDOWN_DELAY));
        assert_eq!(group(2)["Tasks"][0]["KillTimeout"], nanoseconds(Plan::KILL_TIMEOUT));
        // Without this setting Nomad sends SIGINT.
        assert_eq!(group(2)["Tasks"][0]["KillSignal"], "SIGTERM");
        let arguments = &group(2)["Tasks"][0]["Config"]["args"];
        assert_eq!(arguments.as_array().and_then(|all| all.last()), Some(&json!("deaf")));
    }

    #[test]
    fn the_ingress_says_how_it_follows_discovery_and_uses_the_given_consul() {
        let task = |plan: &Plan, setup: &TaskSetup| ingress(plan, setup)["TaskGroups"][0]["Tasks"][0].clone();
        let watches = task(&Plan::default(), &setup());
        assert_eq!(watches["Env"]["TRAEFIK_PROVIDERS_CONSULCATALOG_WATCH"], "true");
        assert!(watches["Config"]["args"].to_string().contains(CONSUL));
        let polls = Plan { ingress_poll: Some(Duration::from_secs(15)), ..Plan::default() };
        let one = TaskSetup { consul: Some(SocketAddr::from(([127, 0, 0, 1], 8500))), ..setup() };
        let task_polls = task(&polls, &one);
        assert_eq!(task_polls["Env"]["TRAEFIK_PROVIDERS_CONSULCATALOG_REFRESHINTERVAL"], "15s");
        assert!(task_polls["Config"]["args"].to_string().contains("127.0.0.1:8500"));
        let real = Plan { traefik: Some("/usr/bin/traefik".into()), ..polls };
        let arguments = task(&real, &setup())["Config"]["args"].to_string();
        assert!(arguments.contains("--providers.consulcatalog.refreshInterval=15s"), "{arguments}");
    }
}
