//! Trials of the person on call. Each trial starts at the page or at an alarm, follows the link into the runbook, does what that section
//! says, and waits until the problem is over.

use std::time::Duration;

use decamp_core::ids::InstanceId;
use decamp_sandbox::wire::{FaultPlan, Rule, Side, WireFault};
use decamp_sandbox::{ASG, Options, Sandbox, serve};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::prometheus::Prometheus;
use crate::replica::{Replica, machine_is_off, quick, terminate};

/// The longest that a trial waits for one event.
const PATIENCE: Duration = Duration::from_secs(150);

/// The section of the runbook at an address. Panics if there is none.
fn section(address: &str) -> String {
    let (page, word) = address.rsplit_once("/docs/").and_then(|(_, rest)| rest.split_once(".md#")).expect(address);
    let path = format!("{}/docs/{page}.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{path}: {why}"));
    let wanted = word.to_lowercase();
    let mut sections = text.split("\n## ").skip(1);
    let found =
        sections.find(|section| section.lines().next().is_some_and(|head| head.trim_matches('`').to_lowercase() == wanted));
    found.unwrap_or_else(|| panic!("{page}.md has no section {word}")).to_owned()
}

/// Waits until the page links to this section, and returns its text.
async fn page_leads_to(replica: &Replica, address: &str) -> String {
    let began = Instant::now();
    while !replica.text("/").await.contains(&format!("/docs/{address}\"")) {
        assert!(began.elapsed() < PATIENCE, "the page does not link to {address}: {}", replica.printed());
        sleep(Duration::from_millis(200)).await;
    }
    section(&format!("/docs/{address}"))
}

/// Waits for the outcome of this instance's departure.
async fn ended(replica: &Replica, instance: InstanceId) -> String {
    let began = Instant::now();
    loop {
        let past = replica.json("/v1/departures").await["past"].clone();
        let rows = past.as_array().cloned().unwrap_or_default();
        if let Some(row) = rows.iter().find(|row| row["instance"] == instance.to_string()) {
            return row["outcome"]["word"].as_str().expect("a word").to_owned();
        }
        assert!(began.elapsed() < PATIENCE, "{instance} does not end: {}", replica.printed());
        sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until the metrics have this row.
async fn counts(replica: &Replica, row: &str) {
    let began = Instant::now();
    while !replica.text("/metrics").await.lines().any(|line| line == row) {
        assert!(began.elapsed() < PATIENCE, "{row} is not there:\n{}", replica.text("/metrics").await);
        sleep(Duration::from_millis(200)).await;
    }
}

/// Terminates an instance, and sends the event to the replica.
async fn leaves(sandbox: &Sandbox, replica: &Replica, instance: InstanceId) {
    let event = terminate(sandbox, instance).await;
    assert_eq!(replica.send(&event).await.status(), 202);
}

/// A call of Auto Scaling, as the AWS CLI sends it.
async fn auto_scaling(sandbox: &Sandbox, replica: &Replica, action: &str, parameters: &[(&str, &str)]) {
    let signed =
        "AWS4-HMAC-SHA256 Credential=sandbox/20260101/eu-west-1/autoscaling/aws4_request, SignedHeaders=host, Signature=0";
    let mut form = vec![("Action", action), ("Version", "2011-01-01")];
    form.extend(parameters);
    let body = form.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let request = replica.client.post(sandbox.aws.url()).header("authorization", signed);
    let answer = request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.expect("it answers");
    assert_eq!(answer.status(), 200, "{action}: {}", answer.text().await.unwrap_or_default());
}

/// Denies these operations of a system.
fn deny(sandbox: &Sandbox, side: Side, operations: &[&str]) {
    let rule = |operation: &&str| Rule { side: Some(side), ..Rule::next(u32::MAX, operation, WireFault::Denied) };
    sandbox.shared.set_faults(FaultPlan::new(operations.iter().map(rule).collect(), 0));
}

/// Waits for an alarm, and returns the section that its annotation links to. `None`: Prometheus is not installed.
async fn alarm_leads_to(prometheus: Option<&Prometheus>, name: &str) -> Option<String> {
    let began = Instant::now();
    loop {
        let alerts = prometheus?.data("/api/v1/alerts").await["alerts"].as_array().cloned().unwrap_or_default();
        let fires = |alert: &&Value| alert["labels"]["alertname"] == name && alert["state"] == "firing";
        if let Some(alert) = alerts.iter().find(fires) {
            return Some(section(alert["annotations"]["runbook_url"].as_str().expect("an address")));
        }
        assert!(began.elapsed() < PATIENCE, "{name} does not fire: {alerts:#?}");
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_group_goes_on_when_the_tag_is_deleted() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let instance = sandbox.instances[0];
    let replica = Replica::start(&sandbox, &[]).await;
    let tag = [
        ("Tags.member.1.ResourceId", ASG),
        ("Tags.member.1.ResourceType", "auto-scaling-group"),
        ("Tags.member.1.Key", "decamp:hold"),
    ];
    auto_scaling(&sandbox, &replica, "CreateOrUpdateTags", &tag).await;
    leaves(&sandbox, &replica, instance).await;
    let says = page_leads_to(&replica, "reasons.md#held").await;
    assert!(says.contains("delete-tags"), "{says}");
    // The hold lasts as long as the tag.
    sleep(Duration::from_secs(5)).await;
    let shown = replica.json(&format!("/v1/departures/{instance}")).await;
    assert_eq!((shown["reason"].as_str(), shown["outcome"].is_null()), (Some("held"), true), "{shown:#}");
    assert_eq!(
        (&shown["reasons"][0]["reason"], &shown["reasons"][0]["because"]),
        (&shown["reason"], &shown["because"]),
        "{shown:#}"
    );
    auto_scaling(&sandbox, &replica, "DeleteTags", &tag).await;
    assert_eq!(ended(&replica, instance).await, "departed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retained_instance_is_terminated_and_its_alarm_ends() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    sandbox.shared.with(|models| models.aws().0.change_group(ASG, |setup| setup.retains = true));
    let instance = sandbox.instances[0];
    let settings =
        [("DECAMP_ON_TIMEOUT", "abandon"), ("DECAMP_MAX_DEPARTURE", "30s"), ("DECAMP_RESERVE", "6s"), ("DECAMP_SWEEP", "2s")];
    let replica = Replica::start(&sandbox, &settings).await;
    let prometheus = Prometheus::start(&replica).await;
    deny(&sandbox, Side::Nomad, &[""]);
    leaves(&sandbox, &replica, instance).await;
    page_leads_to(&replica, "reasons.md#cannot-see").await;
    assert_eq!(ended(&replica, instance).await, "retained");
    let says = page_leads_to(&replica, "outcomes.md#retained").await;
    assert!(says.contains("terminate-instance-in-auto-scaling-group"), "{says}");
    counts(&replica, "decamp_instances_retained 1").await;
    alarm_leads_to(prometheus.as_ref(), "DecampOutcome").await;
    // The alarm's section says that `decamp check` lists such instances.
    let mut check = Command::new(env!("CARGO_BIN_EXE_decamp"));
    check.env_clear().args(["check", "--asg", ASG]).envs(sandbox.variables()).env("AWS_EC2_METADATA_DISABLED", "true");
    let check = check.output().await.expect("the binary starts");
    let printed = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(printed.contains(&instance.to_string()), "check does not name {instance}:\n{printed}");
    let id = instance.to_string();
    let named = [("InstanceId", &*id), ("ShouldDecrementDesiredCapacity", "false")];
    auto_scaling(&sandbox, &replica, "TerminateInstanceInAutoScalingGroup", &named).await;
    assert!(machine_is_off(&sandbox, instance).await);
    counts(&replica, "decamp_instances_retained 0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_hook_is_explained_and_with_the_missing_permission_the_next_instance_departs() {
    let sandbox = serve(&Options { heartbeat_timeout: Duration::from_secs(30), ..quick() }).await.expect("loopback is there");
    let (first, second) = (sandbox.instances[0], sandbox.instances[1]);
    let replica = Replica::start(&sandbox, &[]).await;
    let prometheus = Prometheus::start(&replica).await;
    deny(&sandbox, Side::Aws, &["CompleteLifecycleAction", "RecordLifecycleActionHeartbeat"]);
    leaves(&sandbox, &replica, first).await;
    let says = page_leads_to(&replica, "reasons.md#write-failed").await;
    assert!(says.contains("add the permission that the sentence names"), "{says}");
    assert_eq!(ended(&replica, first).await, "expired");
    let says = page_leads_to(&replica, "outcomes.md#expired").await;
    assert!(says.contains("autoscaling:RecordLifecycleActionHeartbeat") && says.contains("CompleteLifecycleAction"), "{says}");
    let fires = alarm_leads_to(prometheus.as_ref(), "DecampOutcome").await;
    assert!(fires.is_none_or(|says| says.contains("outcomes")));
    leaves(&sandbox, &replica, second).await;
    page_leads_to(&replica, "reasons.md#write-failed").await;
    sandbox.shared.set_faults(FaultPlan::default());
    assert_eq!(ended(&replica, second).await, "departed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_without_a_node_is_explained_and_a_group_without_nomad_is_named() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let without: [InstanceId; 2] = ["i-0badc0de000000001", "i-0badc0de000000002"].map(|id| id.parse().expect("an id"));
    for id in without {
        let state = decamp_sim::auto_scaling::LifecycleState::InService;
        sandbox.shared.with(|models| models.aws().0.put_instance(ASG, id, "eu-west-1a".into(), state));
    }
    let settings = [("DECAMP_NO_NODE_WAIT", "3s"), ("DECAMP_MAX_DEPARTURE", "30s"), ("DECAMP_RESERVE", "6s")];
    let mut replica = Replica::start(&sandbox, &settings).await;
    leaves(&sandbox, &replica, without[0]).await;
    assert_eq!(ended(&replica, without[0]).await, "no-node");
    let says = page_leads_to(&replica, "outcomes.md#no-node").await;
    assert!(says.contains("DECAMP_WITHOUT_NOMAD"), "{says}");
    replica.stop().await;
    let replica = Replica::start(&sandbox, &[("DECAMP_WITHOUT_NOMAD", ASG), ("DECAMP_NO_NODE_WAIT", "3s")]).await;
    leaves(&sandbox, &replica, without[1]).await;
    assert_eq!(ended(&replica, without[1]).await, "departed", "no node is expected there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_departure_continues_when_its_dead_agent_starts_again_and_otherwise_ends_as_agent_dead() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let (first, second) = (sandbox.instances[0], sandbox.instances[1]);
    let replica = Replica::start(&sandbox, &[("DECAMP_AGENT_DEAD_WAIT", "40s"), ("DECAMP_STALLED_AFTER", "5s")]).await;
    let prometheus = Prometheus::start(&replica).await;
    let agents = |instance: InstanceId, live: bool| {
        sandbox.shared.with(|models| {
            let cluster = models.cluster().expect("it has one");
            let (node, state) = cluster.nomad.nodes().find(|(_, it)| it.spec.instance == Some(instance)).expect("its node");
            let (agent, _) = state.spec.consul.clone().expect("an agent beside it");
            if live {
                cluster.nomad.revive_agent(node);
                cluster.consul.revive_agent(agent);
            } else {
                cluster.nomad.kill_agent(node);
                cluster.consul.kill_agent(agent);
            }
        });
    };
    agents(first, false);
    leaves(&sandbox, &replica, first).await;
    let says = page_leads_to(&replica, "reasons.md#agent-dead").await;
    assert!(says.contains("start the agent again"), "{says}");
    alarm_leads_to(prometheus.as_ref(), "DecampStalled").await;
    agents(first, true);
    assert_eq!(ended(&replica, first).await, "departed", "{}", replica.printed());
    agents(second, false);
    leaves(&sandbox, &replica, second).await;
    assert_eq!(ended(&replica, second).await, "agent-dead", "{}", replica.printed());
    page_leads_to(&replica, "outcomes.md#agent-dead").await;
}
