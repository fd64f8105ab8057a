//! The plan's jobs as Nomad takes them: services and an ingress, each task a process of this very program, or of Traefik.

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

/// A node's address, by its instance's metadata.
const ADDRESS: &str = "${attr.unique.platform.aws.local-ipv4}";
/// Its Consul agent, by what the client was told.
const CONSUL: &str = "${meta.consul}";
/// A copy that is not healthy within this is none.
const HEALTHY_BY: Duration = Duration::from_secs(60);
/// A task that breaks starts again this much later, for as long as it takes.
const AGAIN: Duration = Duration::from_secs(1);

/// What jobs run.
#[derive(Debug, Clone)]
pub(crate) struct Runs {
    /// The command line of decamp, which can be any part of a rehearsal.
    pub(crate) command: PathBuf,
    /// Where every ingress asks for what is in discovery; `None`: its node's own agent.
    pub(crate) consul: Option<SocketAddr>,
}

/// Registers all jobs as soon as all machines of the calm cluster have joined.
pub(super) async fn register(api: &Api, plan: &Plan, runs: &Runs, mut up: watch::Receiver<u32>) -> Result<()> {
    if up.wait_for(|up| plan.nodes <= *up).await.is_err() {
        return Ok(());
    }
    let services = plan.services();
    for job in [ingress(plan, runs)].into_iter().chain(services.iter().map(|service| self::service(service, runs))) {
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

/// The service of a group: where its port is on the node's address, and how the node's agent checks it.
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

/// This very program as a part of a rehearsal, listening where Nomad says.
fn part(which: &str, more: Vec<String>) -> Vec<String> {
    let listen = format!("{ADDRESS}:${{NOMAD_PORT_http}}");
    [vec!["part".to_owned(), which.to_owned(), "--listen".to_owned(), listen], more].concat()
}

/// A service, its copies spread over the nodes.
fn service(service: &ServicePlan, runs: &Runs) -> Value {
    let ServicePlan { name, copies, at_once, nature } = service;
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
            "Tasks": [task(&runs.command.to_string_lossy(), arguments, Plan::KILL_TIMEOUT)],
        }),
    );
    job["Spreads"] = json!([{ "Attribute": "${node.unique.id}", "Weight": 100 }]);
    job
}

/// The ingress on every node. What stands in its environment is how an ingress says in which way it follows discovery.
fn ingress(plan: &Plan, runs: &Runs) -> Value {
    let consul = runs.consul.map_or_else(|| CONSUL.to_owned(), |consul| consul.to_string());
    let task = match &plan.traefik {
        Some(binary) => {
            let arguments = traefik::arguments(&format!("{ADDRESS}:${{NOMAD_PORT_http}}"), &consul, plan.ingress_poll);
            task(&binary.to_string_lossy(), arguments, Plan::INGRESS_KILL_TIMEOUT)
        }
        None => {
            let mut more = vec!["--consul".to_owned(), consul, "--node".to_owned(), "${node.unique.name}".to_owned()];
            more.extend(plan.ingress_poll.iter().flat_map(|every| ["--poll".to_owned(), plain(*every)]));
            let mut task = task(&runs.command.to_string_lossy(), part(INGRESS, more), Plan::INGRESS_KILL_TIMEOUT);
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

    fn runs() -> Runs {
        Runs { command: "/usr/bin/decamp".into(), consul: None }
    }

    #[test]
    fn a_service_is_to_nomad_what_it_is_to_the_plan() {
        let plan = Plan::default();
        let jobs: Vec<Value> = plan.services().iter().map(|service| self::service(service, &runs())).collect();
        let group = |place: usize| &jobs[place]["TaskGroups"][0];
        assert_eq!((group(2)["Count"].as_u64(), group(2)["Migrate"]["MaxParallel"].as_u64()), (Some(4), Some(2)));
        assert_eq!(group(2)["ShutdownDelay"], nanoseconds(Plan::SHUTDOWN_DELAY));
        assert_eq!(group(2)["Tasks"][0]["KillTimeout"], nanoseconds(Plan::KILL_TIMEOUT));
        // A task that is not named here gets a SIGINT.
        assert_eq!(group(2)["Tasks"][0]["KillSignal"], "SIGTERM");
        let arguments = &group(2)["Tasks"][0]["Config"]["args"];
        assert_eq!(arguments.as_array().and_then(|all| all.last()), Some(&json!("deaf")));
    }

    #[test]
    fn an_ingress_says_in_which_way_it_follows_discovery_and_asks_whom_it_is_told_to() {
        let task = |plan: &Plan, runs: &Runs| ingress(plan, runs)["TaskGroups"][0]["Tasks"][0].clone();
        let watches = task(&Plan::default(), &runs());
        assert_eq!(watches["Env"]["TRAEFIK_PROVIDERS_CONSULCATALOG_WATCH"], "true");
        assert!(watches["Config"]["args"].to_string().contains(CONSUL));
        let polls = Plan { ingress_poll: Some(Duration::from_secs(15)), ..Plan::default() };
        let one = Runs { consul: Some(SocketAddr::from(([127, 0, 0, 1], 8500))), ..runs() };
        let task_polls = task(&polls, &one);
        assert_eq!(task_polls["Env"]["TRAEFIK_PROVIDERS_CONSULCATALOG_REFRESHINTERVAL"], "15s");
        assert!(task_polls["Config"]["args"].to_string().contains("127.0.0.1:8500"));
        let real = Plan { traefik: Some("/usr/bin/traefik".into()), ..polls };
        let arguments = task(&real, &runs())["Config"]["args"].to_string();
        assert!(arguments.contains("--providers.consulcatalog.refreshInterval=15s"), "{arguments}");
    }
}
