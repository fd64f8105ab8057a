//! The Nomad adapter with a real agent and ACLs: a node is found, read by what the token may read, drained and watched until it is empty.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use decamp_core::decide::{ClientStatus, DrainMeta, JobKind, Nomad, Phase, Refusal, TokenAccess, Unseen, WholeSeconds};
use decamp_core::ids::{InstanceId, NodeId};
use decamp_core::time::Time;
use decamp_hashicorp::nomad::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Agent, free_ports, http, on_the_path, until};
use super::server::{self, Reply, Server};

const INSTANCE: &str = "i-0123456789abcdef0";
/// The policy that the documentation recommends for decamp.
const ALL: &str = include_str!("../../../../infra/policies/nomad.hcl");

/// One agent that is server and client, with ACLs, on a machine that seems to be an EC2 instance.
struct Cluster {
    http: reqwest::Client,
    address: String,
    root: String,
    agent: Option<Agent>,
    _metadata: Server,
    _folder: TempDir,
}

impl Cluster {
    async fn start(nomad: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let metadata = Server::start(|request| match request.path.trim_end_matches('/') {
            _ if request.method == "PUT" => Reply::text(200, "token").with("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", 21600),
            "/latest/meta-data/ami-id" => Reply::text(200, "ami-0abc"),
            "/latest/meta-data/instance-id" => Reply::text(200, INSTANCE),
            "/latest/meta-data/local-ipv4" => Reply::text(200, "127.0.0.1"),
            "/latest/meta-data/instance-type" => Reply::text(200, "m5.large"),
            "/latest/meta-data/placement/availability-zone" => Reply::text(200, "eu-west-1a"),
            _ => Reply::text(404, ""),
        })
        .await;
        let [port, rpc, serf] = free_ports("127.0.0.1");
        // `-dev` gives the instance metadata service only a millisecond to answer, unless this option is set.
        let config = format!(
            "acl {{\n enabled = true\n}}\nports {{\n http = {port}\n rpc = {rpc}\n serf = {serf}\n}}\nlog_level = \"ERROR\"\n\
             disable_update_check = true\nconsul {{\n auto_advertise = false\n client_auto_join = false\n address = \"127.0.0.1:1\"\n}}\n\
             client {{\n options = {{\n  \"fingerprint.denylist\" = \"env_azure,env_gce,env_digitalocean\"\n\
               \"test.tighten_network_timeouts\" = \"false\"\n }}\n}}\n"
        );
        let file: PathBuf = folder.path().join("agent.hcl");
        std::fs::write(&file, config).expect("it is ours");
        let mut command = Command::new(nomad);
        command.args(["agent", "-dev", "-config"]).arg(&file).env_remove("AWS_CA_BUNDLE");
        // Its tasks' files are removed with the folder.
        command.env("TMPDIR", folder.path());
        command.env("AWS_ENV_URL", format!("{}/latest/meta-data/", metadata.address));
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.address);
        let agent = Some(Agent::start(&mut command));
        let address = format!("http://127.0.0.1:{port}");
        let mut cluster = Self { http: http(), address, root: String::new(), agent, _metadata: metadata, _folder: folder };
        let root = until("ACLs can be set up", Duration::from_secs(60), async || {
            cluster.call("POST", "/v1/acl/bootstrap", Value::Null).await
        });
        cluster.root = root.await["SecretID"].as_str().expect("a management token").to_owned();
        cluster
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Option<Value> {
        let mut request = self.http.request(method.parse().expect("a method"), format!("{}{path}", self.address));
        if !self.root.is_empty() {
            request = request.header("x-nomad-token", &self.root);
        }
        if !body.is_null() {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.ok()?.error_for_status().ok()?;
        Some(serde_json::from_str(&answer.text().await.ok()?).unwrap_or(Value::Null))
    }

    /// A client whose token has this one policy.
    async fn with_policy(&self, name: &str, rules: &str) -> Client {
        let policy = json!({ "Name": name, "Rules": rules });
        self.call("POST", &format!("/v1/acl/policy/{name}"), policy).await.expect("a policy");
        let token = json!({ "Name": name, "Type": "client", "Policies": [name] });
        let made = self.call("POST", "/v1/acl/token", token).await.expect("a token");
        server::nomad(&[&self.address], made["SecretID"].as_str())
    }

    async fn run(&self, job: Value) {
        self.call("PUT", "/v1/jobs", json!({ "Job": job })).await.expect("the job is accepted");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.stop();
        }
    }
}

fn job(id: &str, namespace: &str, kind: &str, more: Value, arguments: &[&str]) -> Value {
    let second = 1_000_000_000_u64;
    // The task takes a second to stop.
    let mut args = vec!["-c", "trap 'sleep 1; exit 0' TERM; n=0; while [ $n -lt 1200 ]; do sleep 0.1; n=$((n+1)); done"];
    args.extend(arguments);
    let mut group = json!({
        "Name": "web", "ShutdownDelay": second,
        "Tasks": [{ "Name": "srv", "Driver": "raw_exec", "Config": { "command": "/bin/sh", "args": args },
                    "KillTimeout": 5 * second, "Resources": { "CPU": 20, "MemoryMB": 16 } }],
    });
    group.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    json!({ "ID": id, "Name": id, "Namespace": namespace, "Type": kind, "Datacenters": ["dc1"], "TaskGroups": [group] })
}

fn instance() -> InstanceId {
    INSTANCE.parse().expect("it fits")
}

fn running(nomad: &Nomad) -> usize {
    nomad.allocations().filter(|a| a.client == ClientStatus::Running).count()
}

/// Two copies of a service, a service in another namespace, and a system job that looks like Traefik.
async fn with_jobs(cluster: &Cluster, discovery: bool) {
    cluster.call("POST", "/v1/namespace/other", json!({ "Name": "other" })).await.expect("a namespace");
    let services = if discovery { json!([{ "Name": "app", "Provider": "nomad" }]) } else { Value::Null };
    let migrate = json!({ "MaxParallel": 2, "HealthCheck": "task_states", "MinHealthyTime": 1_000_000_000_u64, "HealthyDeadline": 60_000_000_000_u64 });
    cluster.run(job("app", "default", "service", json!({ "Count": 2, "Services": services, "Migrate": migrate }), &[])).await;
    cluster.run(job("hidden", "other", "service", json!({ "Count": 1 }), &[])).await;
    cluster.run(job("edge", "default", "system", json!({}), &["--providers.consulcatalog.watch=true"])).await;
}

#[tokio::test]
async fn a_node_is_found_drained_and_watched_until_it_is_empty() {
    let Some(nomad) = on_the_path("nomad") else { return };
    let cluster = Cluster::start(&nomad).await;
    let client = cluster.with_policy("full", ALL).await;
    let found = until("the node is ready", Duration::from_secs(60), async || {
        client.look(instance(), None).await.ok().filter(|n| n.nodes.iter().any(|n| !n.status.is_lost() && !n.version.is_empty()))
    })
    .await;
    let node = found.nodes[0].id;
    let servers = client.servers().await.expect("it may be asked");
    assert_eq!((servers.len(), &*servers[0].version), (1, &*found.nodes[0].version));
    let version: Vec<u32> = found.nodes[0].version.split('.').filter_map(|part| part.parse().ok()).collect();
    let discovery = vec![1, 3] <= version;
    with_jobs(&cluster, discovery).await;
    let seen = until("all run", Duration::from_secs(60), async || {
        client.look(instance(), Some(&found)).await.ok().filter(|n| running(n) == 4)
    })
    .await;
    let group = |job: &str| seen.nodes[0].allocations.iter().find(|a| &*a.group.job == job).expect("it runs").group.clone();
    assert_eq!((group("edge").kind, group("hidden").namespace.to_string()), (JobKind::System, "other".to_owned()));
    assert_eq!(group("app").longest_stop(Duration::ZERO, Duration::MAX), Duration::from_secs(6));
    assert_eq!(group("edge").ingress.as_ref().map(|i| &*i.how), Some("Traefik watches Consul"));

    let registered = client.services(&seen).await.expect("it may be asked").services.len();
    assert_eq!(registered, if discovery { 2 } else { 0 });
    let listed = client.nodes_of(&[instance(), "i-0fedcba9876543210".parse().expect("it fits")]).await.expect("it may be asked");
    assert_eq!(listed.iter().map(|l| (l.instance, l.node)).collect::<Vec<_>>(), [(instance(), node)]);

    assert_eq!(client.make_ineligible(node).await, Ok(()));
    let seen = client.look(instance(), Some(&seen)).await.expect("it is as new as the write");
    assert!(!seen.nodes[0].eligible && seen.nodes[0].drain.is_none());

    let now = server::clock()();
    let meta = DrainMeta {
        action: "0123456789ab".into(),
        phase: Phase::All,
        until: Time(now.0 + 60_000),
        longest_stop: Duration::from_secs(6),
        allocations: 4,
        warm: false,
        unproved: false,
    };
    client.drain(node, WholeSeconds::at_most(Duration::from_secs(60)), false, &meta).await.expect("it is accepted");
    let mut last = client.look(instance(), Some(&seen)).await.expect("it is as new as the write");
    let drain = last.nodes[0].drain.clone().expect("it is in progress");
    let off = drain.force_deadline.expect("it has an end").0.abs_diff(meta.until.0);
    assert!(off < 2_000, "the deadline is {off} ms off");
    assert_eq!(last.nodes[0].last_drain.as_ref().and_then(|l| l.meta.clone()), Some(meta));
    let end = tokio::time::Instant::now() + Duration::from_secs(45);
    let mut wakes = 0;
    while running(&last) != 0 || !last.nodes[0].allocations.iter().all(|a| a.client.is_over()) {
        last = client.watch(&last, end).await.expect("it ends in time");
        wakes += 1;
    }
    assert!((2..40).contains(&wakes), "it woke {wakes} times");
    assert!(client.services(&last).await.expect("it may be asked").services.is_empty());
    assert!(client.look(instance(), Some(&last)).await.expect("it is there").nodes[0].drain.is_none());
    let meta = last.nodes[0].last_drain.as_ref().and_then(|l| l.meta.clone()).expect("it stays on the node");
    let missing = client.drain(NodeId(1), WholeSeconds::ONE, false, &meta);
    assert_eq!(missing.await, Err(Refusal::Missing));
}

#[tokio::test]
async fn a_token_that_may_read_less_is_recognised_although_nomad_answers_200() {
    let Some(nomad) = on_the_path("nomad") else { return };
    let cluster = Cluster::start(&nomad).await;
    let root = server::nomad(&[&cluster.address], Some(&cluster.root));
    let found = until("the node is ready", Duration::from_secs(60), async || {
        root.look(instance(), None).await.ok().filter(|n| n.nodes.iter().any(|n| !n.status.is_lost()))
    })
    .await;
    with_jobs(&cluster, false).await;
    until("all run", Duration::from_secs(60), async || {
        root.look(instance(), Some(&found)).await.ok().filter(|n| running(n) == 4)
    })
    .await;
    assert_eq!(root.token_access().await, Ok(TokenAccess::Full));
    let cases = [
        ("all", ALL.to_owned(), 4, None),
        ("read", "node { policy = \"write\" }\nnamespace \"*\" { policy = \"read\" }".to_owned(), 4, None),
        ("nodes", "node { policy = \"write\" }".to_owned(), 0, Some("namespace \"*\"")),
        (
            "narrow",
            "node { policy = \"write\" }\nnamespace \"default\" { policy = \"read\" }".to_owned(),
            3,
            Some("namespace \"*\""),
        ),
        ("denied", format!("{ALL}\nnamespace \"other\" {{ policy = \"deny\" }}"), 3, Some("namespace \"other\"")),
        ("listing", format!("{ALL}\nnamespace \"oth*\" {{ capabilities = [\"list-jobs\"] }}"), 3, Some("namespace \"oth*\"")),
        (
            "reader",
            "node { policy = \"read\" }\nnamespace \"*\" { policy = \"read\" }".to_owned(),
            4,
            Some("node { policy = \"write\" }"),
        ),
    ];
    for (name, rules, rows, missing) in cases {
        let client = cluster.with_policy(name, &rules).await;
        let look = client.look(instance(), None).await.expect("it is answered 200");
        assert_eq!(running(&look), rows, "{name}");
        match (client.token_access().await, missing) {
            (Ok(TokenAccess::Full), None) => {}
            (Ok(TokenAccess::Insufficient(why)), Some(what)) if why.contains(what) => {}
            (capability, _) => panic!("{name}: {capability:?}"),
        }
    }
    let reader = cluster.with_policy("reader", "node { policy = \"read\" }").await;
    assert!(matches!(reader.make_ineligible(found.nodes[0].id).await, Err(Refusal::Denied(_))));
    let unknown = "00000000-0000-0000-0000-0000000000bb";
    for token in [None, Some(unknown), Some("garbage")] {
        let client = server::nomad(&[&cluster.address], token);
        let look = client.look(instance(), None).await;
        assert!(matches!(look, Err(Unseen::Denied(_) | Unseen::Away(_))), "{token:?}: {look:?}");
        let capability = client.token_access().await;
        assert!(!matches!(capability, Ok(TokenAccess::Full)), "{token:?}: {capability:?}");
    }
}

#[tokio::test]
async fn nomad_accepts_the_job_file_of_the_service() {
    let Some(nomad) = on_the_path("nomad") else { return };
    let cluster = Cluster::start(&nomad).await;
    let output = Command::new(&nomad)
        .args(["job", "validate", "-var=image=decamp:test", "-var=queue_arn=arn:aws:sqs:eu-west-1:123456789012:decamp"])
        .arg("-var=role_arn=arn:aws:iam::123456789012:role/decamp")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/serve/decamp.nomad.hcl"))
        .env("NOMAD_ADDR", &cluster.address)
        .env("NOMAD_TOKEN", &cluster.root)
        .output()
        .expect("nomad starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("validation successful"), "{said}");
}
