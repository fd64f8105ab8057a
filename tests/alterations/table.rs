//! The alterations, one line each, with the expected results of the command, the service and the function.

use std::time::Duration;

use serde_json::Value;

use super::forwarder::Change::{self, Fatten, HangUp, Header, Json, Late, Refuse, Replace, Text};
use super::rows::Loses::{self, WithTheMachine};
use super::rows::{AWS, CONSUL, NOMAD, Row, differences, row};
use super::shells::options;
use decamp_sandbox::Options;

pub(super) const DENIED: Change = Refuse(
    403,
    "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User is not authorized to perform this action</Message></Error></ErrorResponse>",
);
const THROTTLED: Change = Refuse(
    400,
    "<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>",
);
const HTML: Change = Refuse(200, "<html><body>proxy</body></html>");
const BROKEN: &str =
    "<ErrorResponse><Error><Type>Receiver</Type><Code>InternalFailure</Code><Message>broken</Message></Error></ErrorResponse>";
const NO_ACTION: &str = "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code><Message>No active Lifecycle Action found with instance ID i-0</Message></Error></ErrorResponse>";
/// The hooks of a group that has another tool's hook as well.
const A_SECOND_HOOK: Change = Text(
    "</LifecycleHooks>",
    "<member><LifecycleHookName>ecs-managed-draining-termination-hook</LifecycleHookName><AutoScalingGroupName>web</AutoScalingGroupName><LifecycleTransition>autoscaling:EC2_INSTANCE_TERMINATING</LifecycleTransition><HeartbeatTimeout>120</HeartbeatTimeout><GlobalTimeout>12000</GlobalTimeout><DefaultResult>CONTINUE</DefaultResult></member></LifecycleHooks>",
);
const SECOND: Duration = Duration::from_secs(1);
const TWO_SECONDS: Duration = Duration::from_secs(2);
const THREE_SECONDS: Duration = Duration::from_secs(3);
const MINUTE: Duration = Duration::from_mins(1);

/// A delay that is long enough for a heartbeat to be due.
fn longer() -> Options {
    Options { delay: Duration::from_secs(25), ..options() }
}

/// The hook names a Classic Load Balancer.
fn classic() -> Options {
    Options { classic: true, ..options() }
}

/// Three instances in three zones, and a load balancer without cross-zone load balancing.
fn no_cross_zone() -> Options {
    Options { crosses_zones: false, ..options() }
}

/// The same, and the hook names a Classic Load Balancer.
fn no_cross_zone_and_classic() -> Options {
    Options { classic: true, ..no_cross_zone() }
}

fn empty(value: &mut Value) {
    if value.is_array() {
        *value = Value::Array(Vec::new());
    }
}

fn null(value: &mut Value) {
    if value.is_array() {
        *value = Value::Null;
    }
}

/// Edits each allocation of a list.
pub(super) fn each(value: &mut Value, edit: impl Fn(&mut serde_json::Map<String, Value>)) {
    value.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut).for_each(edit);
}

/// Services whose `shutdown_delay` is longer than the outage.
fn slow_stops() -> Options {
    Options { shutdown_delay: Duration::from_secs(8), ..options() }
}

/// A leftover registration.
pub(super) fn leftover(value: &mut Value) {
    if let Some(services) = value.get_mut("Services").and_then(Value::as_array_mut) {
        let id = "_nomad-task-0b1f0b1f-0000-4000-8000-000000000001-group-left-left-80";
        services.push(serde_json::json!({ "ID": id, "Service": "left" }));
    }
}

/// A leftover registration on a node whose agent is dead.
fn left_by_a_dead_agent(value: &mut Value) {
    leftover(value);
    each(value, |check| {
        if check.get("CheckID").is_some_and(|id| id == "serfHealth") {
            check.insert("Status".to_owned(), Value::from("critical"));
        }
    });
}

fn without_task_states(value: &mut Value) {
    each(value, |allocation| drop(allocation.remove("TaskStates")));
}

fn without_job(value: &mut Value) {
    each(value, |allocation| drop(allocation.remove("Job")));
}

/// The catalog knows the node and lists none of Nomad's registrations on it.
fn without_services(value: &mut Value) {
    if let Some(services) = value.get_mut("Services").and_then(Value::as_array_mut) {
        services.retain(|service| !service["ID"].as_str().is_some_and(|id| id.starts_with("_nomad-task-")));
    }
}

/// The answer of another datacenter's catalog.
fn without_the_node(value: &mut Value) {
    if value.get("Services").is_some() {
        *value = serde_json::json!({ "Node": null, "Services": null });
    }
}

/// Consul Enterprise, with services in a namespace.
fn in_a_namespace() -> Options {
    Options { consul_namespace: Some("team".into()), ..options() }
}

/// A proxy on every node that is not a Nomad job.
fn with_one_by_hand() -> Options {
    Options { by_hand: Some("edge".into()), ..options() }
}

/// Nodes that have their instance's id only in their names.
fn named_by_instance() -> Options {
    Options { named_by_instance: true, ..options() }
}

/// A change without effect, for rows about the cluster itself.
pub(super) const NOTHING: Change = Header("x-altered", "no");

/// Two hours in nanoseconds, Nomad's unit of durations.
const TWO_HOURS: u64 = 7_200_000_000_000;

fn two_hours_to_stop(value: &mut Value) {
    each(value, |allocation| {
        let groups = allocation.get_mut("Job").and_then(|job| job["TaskGroups"].as_array_mut());
        for task in groups.into_iter().flatten().filter_map(|group| group["Tasks"].as_array_mut()).flatten() {
            task["KillTimeout"] = Value::from(TWO_HOURS);
        }
    });
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("instances are denied", AWS, "DescribeAutoScalingInstances", DENIED, "timed-out", "AccessDenied").waits().loses(WithTheMachine),
    row("instances are throttled five times", AWS, "DescribeAutoScalingInstances", THROTTLED, "departed", "departed").times(5),
    row("instances are a page of HTML", AWS, "DescribeAutoScalingInstances", HTML, "departed", "departed").times(2),
    row("instances hang up twice", AWS, "DescribeAutoScalingInstances", HangUp, "departed", "departed").times(2),
    row("an instance in a state of the future", AWS, "DescribeAutoScalingInstances", Text("Terminating:Wait", "Terminating:Hold"), "not-leaving", "Terminating:Hold"),
    row("the group is denied", AWS, "DescribeAutoScalingGroups", DENIED, "timed-out", "AccessDenied").waits().loses(WithTheMachine).run("expired", "AccessDenied"),
    row("the group is not listed", AWS, "DescribeAutoScalingGroups", Text("<AutoScalingGroupName>web<", "<AutoScalingGroupName>other<"), "not-ours", "not-ours"),
    row("hooks are denied", AWS, "DescribeLifecycleHooks", DENIED, "timed-out", "AccessDenied").waits().loses(WithTheMachine).run("expired", "AccessDenied"),
    row("the hook has another name", AWS, "DescribeLifecycleHooks", Text(">decamp<", ">renamed<"), "not-ours", "not-ours").run("expired", "expired"),
    row("a second terminating hook, and nobody says which is ours", AWS, "DescribeLifecycleHooks", A_SECOND_HOOK, "not-ours", "several terminating hooks"),
    row("a second terminating hook, and DECAMP_HOOKS names ours", AWS, "DescribeLifecycleHooks", A_SECOND_HOOK, "departed", "departed").with(&[("DECAMP_HOOKS", "decamp")]),
    row("the hook has no heartbeat time-out", AWS, "DescribeLifecycleHooks", Text("HeartbeatTimeout", "Ignored"), "departed", "departed"),
    row("the hook names target groups under a misspelt key", AWS, "DescribeLifecycleHooks", Text("target_groups", "target_group"), "departed", "its key `target_group` is not read").loses(Loses::Some),
    row("the hook's metadata is no JSON", AWS, "DescribeLifecycleHooks", Text("target_groups", "}{"), "departed", "NotificationMetadata").loses(Loses::Some),
    row("activities are denied", AWS, "DescribeScalingActivities", DENIED, "departed", "departed").not_asked_by_lambda(),
    row("activities are throttled three times", AWS, "DescribeScalingActivities", THROTTLED, "departed", "departed").times(3).not_asked_by_lambda(),
    row("traffic sources are denied", AWS, "DescribeTrafficSources", DENIED, "timed-out", "AccessDenied").waits().loses(WithTheMachine).run("expired", "AccessDenied"),
    row("heartbeats are denied", AWS, "RecordLifecycleActionHeartbeat", DENIED, "departed", "departed").within(longer),
    row("heartbeats are refused: there is no such action", AWS, "RecordLifecycleActionHeartbeat", Refuse(400, NO_ACTION), "departed", "departed").within(longer),
    row("the completion is denied", AWS, "CompleteLifecycleAction", DENIED, "expired", "AccessDenied").waits().lambda("expired or already-past", "AccessDenied"),
    row("the completion is denied twice", AWS, "CompleteLifecycleAction", DENIED, "departed", "departed").times(2),
    row("the completion works and is answered by an error", AWS, "CompleteLifecycleAction", Replace(500, BROKEN), "departed", "departed").times(1),
    row("the completion works and its connection ends", AWS, "CompleteLifecycleAction", Replace(502, ""), "departed", "departed").times(1),
    row("somebody else's completion: no active action", AWS, "CompleteLifecycleAction", Replace(400, NO_ACTION), "overtaken", "overtaken").times(1),
    row("target groups are denied", AWS, "DescribeTargetGroups", DENIED, "timed-out", "AccessDenied").waits().loses(WithTheMachine),
    row("target groups have a type of the future", AWS, "DescribeTargetGroups", Text("<TargetType>instance<", "<TargetType>pod<"), "departed", "departed"),
    row("target groups have a protocol of the future", AWS, "DescribeTargetGroups", Text("<Protocol>HTTP<", "<Protocol>QUIC<"), "timed-out", "timed-out").waits().loses(WithTheMachine),
    row("attributes are denied", AWS, "DescribeTargetGroupAttributes", DENIED, "timed-out", "AccessDenied").waits().loses(WithTheMachine),
    row("attributes lack the delay", AWS, "DescribeTargetGroupAttributes", Text("deregistration_delay", "renamed_delay"), "timed-out", "timed-out").waits().loses(WithTheMachine),
    row("attributes have a delay that is no number", AWS, "DescribeTargetGroupAttributes", Text("<Value>2<", "<Value>two<"), "timed-out", "timed-out").waits().loses(WithTheMachine),
    row("load balancing does not cross zones", AWS, "DescribeTargetGroupAttributes", NOTHING, "departed", "no other healthy target in eu-west-1").within(no_cross_zone).loses(Loses::Some),
    row("load balancing does not cross zones, and the last of one is held", AWS, "DescribeTargetGroupAttributes", NOTHING, "departed", "last-of-its-zone").within(no_cross_zone).waits().with(&[("DECAMP_LAST_TARGET", "hold"), ("DECAMP_MAX_DEPARTURE", "45s")]).loses(Loses::Some),
    row("a Classic Load Balancer does not cross zones", AWS, "DescribeLoadBalancerAttributes", NOTHING, "departed", "no other healthy target in eu-west-1").within(no_cross_zone_and_classic).loses(Loses::Some),
    row("whether load balancing crosses zones is a word of the future", AWS, "DescribeTargetGroupAttributes", Text("use_load_balancer_configuration", "now_and_then"), "departed", "departed"),
    row("targets are denied", AWS, "DescribeTargetHealth", DENIED, "timed-out", "AccessDenied").waits().loses(Loses::Some),
    row("targets are denied for a while", AWS, "DescribeTargetHealth", DENIED, "departed", "departed").times(6),
    row("targets have a state of the future", AWS, "DescribeTargetHealth", Text("<State>draining<", "<State>parting<"), "departed", "departed"),
    row("targets have no reason", AWS, "DescribeTargetHealth", Text("Reason", "Motive"), "departed", "departed"),
    row("a list of targets that is empty at the first look", AWS, "DescribeTargetHealth", Text("<member>", "<gone>"), "departed", "departed").times(2),
    row("lists of targets are empty for ever", AWS, "DescribeTargetHealth", Text("<member>", "<gone>"), "unconfirmed", "unconfirmed").loses(Loses::Some),
    row("targets are throttled ten times", AWS, "DescribeTargetHealth", THROTTLED, "departed", "departed").times(10),
    row("deregistrations are denied", AWS, "DeregisterTargets", DENIED, "timed-out", "AccessDenied").waits().loses(Loses::Some).lambda("timed-out", "\"Denied\":1.0"),
    row("deregistrations are denied twice", AWS, "DeregisterTargets", DENIED, "departed", "departed").times(2),
    row("a deregistration works and is answered by an error", AWS, "DeregisterTargets", Replace(500, BROKEN), "departed", "departed").times(1),
    row("a group attached by VPC Lattice", AWS, "DescribeTrafficSources", Text("<Type>elbv2<", "<Type>vpc-lattice<"), "unconfirmed", "vpc-lattice"),
    row("a traffic source of a type of the future", AWS, "DescribeTrafficSources", Text("<Type>elbv2<", "<Type>pigeon<"), "unconfirmed", "pigeon"),
    row("a Classic Load Balancer and fields of the future", AWS, "DescribeInstanceHealth", Text("<State>", "<Future>yes</Future><State>"), "departed", "departed").within(classic),
    row("instance health is denied", AWS, "DescribeInstanceHealth", DENIED, "timed-out", "AccessDenied").within(classic).waits().loses(Loses::Some),
    row("instance health is a page of HTML twice", AWS, "DescribeInstanceHealth", HTML, "departed", "departed").within(classic).times(2),
    row("instance health is cut short twice", AWS, "DescribeInstanceHealth", Replace(200, "<DescribeInstanceHealthResponse><DescribeInstanceHealthResult><InstanceStates>"), "departed", "departed").within(classic).times(2),
    row("a Classic Load Balancer's deregistrations are denied", AWS, "DeregisterInstancesFromLoadBalancer", DENIED, "timed-out", "AccessDenied").within(classic).waits().loses(Loses::Some),
    row("a Classic Load Balancer's deregistration works and is answered by an error", AWS, "DeregisterInstancesFromLoadBalancer", Replace(500, BROKEN), "departed", "departed").within(classic).times(1),
    row("every call of AWS takes a second", AWS, "", Late(SECOND), "departed", "departed"),
    row("instances have fields of the future", AWS, "DescribeAutoScalingInstances", Text("<member>", "<member><Future>yes</Future>"), "departed", "departed"),
    row("targets have fields of the future", AWS, "DescribeTargetHealth", Text("<Target>", "<Future>yes</Future><Target>"), "departed", "departed"),
    row("Consul's clock is years ahead", CONSUL, "", Header("date", "Fri, 01 Jan 2100 00:00:00 GMT"), "departed", "departed"),
    row("nodes are denied", NOMAD, "GET /v1/nodes", Refuse(403, "Permission denied"), "timed-out", "Permission denied").waits().loses(WithTheMachine),
    row("no node is listed", NOMAD, "GET /v1/nodes", Json(empty), "no-node", "which has had time to join").waits().loses(WithTheMachine),
    row("nodes are listed without a leader", NOMAD, "GET /v1/nodes", Refuse(500, "No cluster leader"), "departed", "departed").times(5),
    row("nodes are a page of HTML", NOMAD, "GET /v1/nodes", Replace(200, "<html></html>"), "departed", "departed").times(3),
    row("the node is denied", NOMAD, "GET /v1/node/", Refuse(403, "Permission denied"), "timed-out", "Permission denied").waits().loses(WithTheMachine),
    row("the node has no fingerprint of its instance", NOMAD, "GET /v1/node", Text("unique.platform.aws.instance-id", "unique.platform.gce.id"), "no-node", "which has had time to join").waits().loses(WithTheMachine),
    row("the node's name alone carries its instance's id", NOMAD, "GET /v1/nodes", NOTHING, "departed", "departed").within(named_by_instance),
    row("the node is of another instance", NOMAD, "GET /v1/node", Text("i-0", "i-1"), "no-node", "which has had time to join").waits().loses(WithTheMachine),
    row("the node has a status of the future", NOMAD, "GET /v1/node", Text("\"ready\"", "\"hibernating\""), "departed", "departed"),
    row("the node has fields of the future", NOMAD, "GET /v1/node", Fatten(65_536), "departed", "departed"),
    row("every answer of Nomad is 256 KiB larger", NOMAD, "GET /v1/node", Fatten(262_144), "departed", "departed"),
    row("Nomad has no leader by its headers", NOMAD, "GET /v1/node", Header("x-nomad-knownleader", "false"), "departed", "departed").times(5),
    row("Nomad's answers are minutes old", NOMAD, "GET /v1/node", Header("x-nomad-lastcontact", "300000"), "departed", "departed").times(5),
    row("Nomad's index goes back", NOMAD, "GET /v1/node", Header("x-nomad-index", "1"), "departed", "departed").times(6),
    row("allocations are denied", NOMAD, "/allocations", Refuse(403, "Permission denied"), "timed-out", "Permission denied").waits().loses(WithTheMachine),
    row("allocations are null", NOMAD, "/allocations", Json(null), "timed-out", "timed-out").waits().loses(WithTheMachine),
    row("allocations are empty", NOMAD, "/allocations", Json(empty), "unconfirmed", "unconfirmed").loses(WithTheMachine),
    row("allocations have a client status of the future", NOMAD, "/allocations", Text("\"ClientStatus\":\"running\"", "\"ClientStatus\":\"paused\""), "departed", "departed"),
    row("allocations have no task states", NOMAD, "/allocations", Json(without_task_states), "departed", "departed"),
    row("allocations have no job", NOMAD, "/allocations", Json(without_job), "departed", "departed"),
    row("a job claims two hours for its stop", NOMAD, "/allocations", Json(two_hours_to_stop), "departed", "departed"),
    row("every job is of a type of the future", NOMAD, "/allocations", Text("\"Type\":\"service\"", "\"Type\":\"daemon\""), "departed", "departed"),
    row("drains are denied", NOMAD, "/drain", Refuse(403, "Permission denied"), "timed-out", "Permission denied").waits().loses(WithTheMachine),
    row("a drain works and is answered by an error", NOMAD, "/drain", Replace(500, "rpc error: EOF"), "departed", "departed").times(1),
    row("drains hang up twice", NOMAD, "/drain", HangUp, "departed", "departed").times(2),
    row("ineligibility is denied", NOMAD, "/eligibility", Refuse(403, "Permission denied"), "departed", "departed"),
    row("ineligibility works and is answered by an error", NOMAD, "/eligibility", Replace(500, "rpc error: EOF"), "departed", "departed").times(1),
    row("the token's own rules are an error", NOMAD, "GET /v1/acl/token/self", Refuse(500, "rpc error"), "timed-out", "rpc error").waits().loses(WithTheMachine),
    row("the token is unknown", NOMAD, "GET /v1/acl/token/self", Refuse(403, "ACL token not found"), "timed-out", "timed-out").waits().loses(WithTheMachine).run("refused", "refused"),
    row("every answer of Nomad takes a second", NOMAD, "", Late(SECOND), "departed", "departed"),
    row("every answer of Nomad is later than its time-out for a while", NOMAD, "", Late(THREE_SECONDS), "departed", "departed").times(6),
    row("Nomad hangs for a while", NOMAD, "", Late(MINUTE), "departed", "departed").times(8).deregisters_within(TWO_SECONDS),
    row("Consul denies", CONSUL, "", Refuse(403, "Permission denied"), "forced", "Permission denied").waits().run("forced", "Consul could not be seen from "),
    row("Consul has no leader", CONSUL, "", Refuse(500, "No cluster leader"), "forced", "No cluster leader").waits().run("forced", "Consul could not be seen from "),
    row("Consul has no leader for a while", CONSUL, "", Refuse(500, "No cluster leader"), "departed", "departed").times(6),
    row("Consul lists nothing", CONSUL, "/v1/", Json(empty), "departed", "departed"),
    row("Consul lists none of the services", CONSUL, "node-services", Json(without_services), "unconfirmed", "unconfirmed"),
    row("Consul does not know the node", CONSUL, "node-services", Json(without_the_node), "unconfirmed", "unconfirmed"),
    row("services are in a Consul namespace", CONSUL, "ns=team", NOTHING, "departed", "departed").within(in_a_namespace),
    row("services in a Consul namespace are not shown", CONSUL, "ns=team", Json(without_services), "unconfirmed", "unconfirmed").within(in_a_namespace),
    row("a Consul namespace is denied", CONSUL, "ns=team", Refuse(403, "Permission denied"), "forced", "Permission denied").within(in_a_namespace).waits(),
    row("a service is registered by hand", CONSUL, "node-services", NOTHING, "departed", "edge").within(with_one_by_hand),
    row("a service is registered by hand and waited for", CONSUL, "node-services", NOTHING, "unconfirmed", "registered by hand").within(with_one_by_hand).with(&[("DECAMP_BY_HAND", "wait"), ("DECAMP_MAX_DEPARTURE", "45s")]),
    row("Consul lists null", CONSUL, "/v1/", Json(null), "forced", "Consul cannot be seen").waits(),
    row("Consul hides what the token may not see, and says so", CONSUL, "/v1/", Header("x-consul-results-filtered-by-acls", "true"), "departed", "departed"),
    row("Consul's checks are of a status of the future", CONSUL, "/v1/health", Text("\"passing\"", "\"drowsy\""), "departed", "departed"),
    row("Consul is a page of HTML", CONSUL, "", Refuse(200, "<html></html>"), "forced", "Consul cannot be seen").waits(),
    row("Consul knows the node by another name", CONSUL, "/v1/", Text("\"Node\":\"", "\"Node\":\"other-"), "forced", "forced").waits(),
    row("Consul goes away after the drain began", CONSUL, "/v1/catalog/node-services", Refuse(500, "No cluster leader"), "unconfirmed", "stopped: an ingress may have gone on sending").after(2).waits().within(slow_stops),
    row("Consul is away for a while after the drain began", CONSUL, "/v1/catalog/node-services", Refuse(500, "No cluster leader"), "unconfirmed", "stopped: an ingress may have gone on sending").after(2).times(6).within(slow_stops),
    row("a dead Consul agent leaves a registration", CONSUL, "/v1/", Json(left_by_a_dead_agent), "departed", "lists 1 of its services; none of them is routable, because the node's agent is dead there"),
    row("Consul hangs up now and then", CONSUL, "", HangUp, "departed", "departed").after(1).times(3),
    row("Consul answers a second late", CONSUL, "", Late(SECOND), "departed", "departed"),
    row("Consul is hung", CONSUL, "", Late(MINUTE), "forced", "Consul cannot be seen").waits().lambda("timed-out", "Consul cannot be seen").deregisters_within(TWO_SECONDS),
    row("every answer of Consul is 256 KiB larger", CONSUL, "/v1/", Fatten(262_144), "departed", "departed"),
    row("Consul's index goes back", CONSUL, "/v1/", Header("x-consul-index", "1"), "departed", "departed").waits(),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_alteration_ends_as_the_table_says_in_every_shell() {
    let differences = differences(ROWS).await;
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn the_tables_have_no_name_twice_and_are_complete() {
    let mut names: Vec<&str> = ROWS.iter().chain(super::wider::ROWS).map(|row| row.name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    assert!(60 <= names.len());
}
