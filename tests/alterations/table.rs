//! The alterations, a line each, and what is expected of the command, the service and the function.

use std::time::Duration;

use serde_json::Value;

use super::forwarder::Change::{self, Fatten, HangUp, Header, Json, Late, Refuse, Replace, Text};
use super::rows::{AWS, CONSUL, NOMAD, Row, differences, row};

const DENIED: Change = Refuse(
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
const SECOND: Duration = Duration::from_secs(1);
const THREE_SECONDS: Duration = Duration::from_secs(3);
const MINUTE: Duration = Duration::from_mins(1);

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

/// Each allocation of a list.
fn each(value: &mut Value, edit: impl Fn(&mut serde_json::Map<String, Value>)) {
    value.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut).for_each(edit);
}

fn without_task_states(value: &mut Value) {
    each(value, |allocation| drop(allocation.remove("TaskStates")));
}

fn without_job(value: &mut Value) {
    each(value, |allocation| drop(allocation.remove("Job")));
}

/// Nanoseconds, as Nomad writes durations.
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
    row("instances are denied", AWS, "DescribeAutoScalingInstances", DENIED, "departed", "").waits(),
    row("instances are throttled five times", AWS, "DescribeAutoScalingInstances", THROTTLED, "departed", "").times(5),
    row("instances are a page of HTML", AWS, "DescribeAutoScalingInstances", HTML, "departed", "").times(2),
    row("instances hang up twice", AWS, "DescribeAutoScalingInstances", HangUp, "departed", "").times(2),
    row("an instance in a state of the future", AWS, "DescribeAutoScalingInstances", Text("Terminating:Wait", "Terminating:Hold"), "departed", ""),
    row("the group is denied", AWS, "DescribeAutoScalingGroups", DENIED, "departed", "").waits(),
    row("the group is not listed", AWS, "DescribeAutoScalingGroups", Text("<AutoScalingGroupName>web<", "<AutoScalingGroupName>other<"), "departed", ""),
    row("hooks are denied", AWS, "DescribeLifecycleHooks", DENIED, "departed", "").waits(),
    row("the hook has another name", AWS, "DescribeLifecycleHooks", Text(">decamp<", ">renamed<"), "departed", ""),
    row("the hook has no heartbeat time-out", AWS, "DescribeLifecycleHooks", Text("HeartbeatTimeout", "Ignored"), "departed", ""),
    row("the hook names target groups under a misspelt key", AWS, "DescribeLifecycleHooks", Text("target_groups", "target_group"), "departed", ""),
    row("the hook's metadata is no JSON", AWS, "DescribeLifecycleHooks", Text("target_groups", "}{"), "departed", ""),
    row("activities are denied", AWS, "DescribeScalingActivities", DENIED, "departed", ""),
    row("activities are throttled three times", AWS, "DescribeScalingActivities", THROTTLED, "departed", "").times(3),
    row("traffic sources are denied", AWS, "DescribeTrafficSources", DENIED, "departed", "").waits(),
    row("heartbeats are denied", AWS, "RecordLifecycleActionHeartbeat", DENIED, "departed", ""),
    row("heartbeats are refused: there is no such action", AWS, "RecordLifecycleActionHeartbeat", Refuse(400, NO_ACTION), "departed", ""),
    row("the completion is denied", AWS, "CompleteLifecycleAction", DENIED, "departed", "").waits(),
    row("the completion is denied twice", AWS, "CompleteLifecycleAction", DENIED, "departed", "").times(2),
    row("the completion works and is answered by an error", AWS, "CompleteLifecycleAction", Replace(500, BROKEN), "departed", "").times(1),
    row("the completion works and its connection ends", AWS, "CompleteLifecycleAction", Replace(502, ""), "departed", "").times(1),
    row("somebody else's completion: no active action", AWS, "CompleteLifecycleAction", Replace(400, NO_ACTION), "departed", "").times(1),
    row("target groups are denied", AWS, "DescribeTargetGroups", DENIED, "departed", "").waits(),
    row("target groups have a type of the future", AWS, "DescribeTargetGroups", Text("<TargetType>instance<", "<TargetType>pod<"), "departed", ""),
    row("target groups have a protocol of the future", AWS, "DescribeTargetGroups", Text("<Protocol>HTTP<", "<Protocol>QUIC<"), "departed", "").waits(),
    row("attributes are denied", AWS, "DescribeTargetGroupAttributes", DENIED, "departed", "").waits(),
    row("attributes lack the delay", AWS, "DescribeTargetGroupAttributes", Text("deregistration_delay", "renamed_delay"), "departed", "").waits(),
    row("attributes have a delay that is no number", AWS, "DescribeTargetGroupAttributes", Text("<Value>2<", "<Value>two<"), "departed", "").waits(),
    row("targets are denied", AWS, "DescribeTargetHealth", DENIED, "departed", "").waits(),
    row("targets are denied for a while", AWS, "DescribeTargetHealth", DENIED, "departed", "").times(6),
    row("targets have a state of the future", AWS, "DescribeTargetHealth", Text("<State>draining<", "<State>parting<"), "departed", ""),
    row("targets have no reason", AWS, "DescribeTargetHealth", Text("Reason", "Motive"), "departed", ""),
    row("a list of targets that is empty at the first look", AWS, "DescribeTargetHealth", Text("<member>", "<gone>"), "departed", "").times(2),
    row("targets are throttled ten times", AWS, "DescribeTargetHealth", THROTTLED, "departed", "").times(10),
    row("deregistrations are denied", AWS, "DeregisterTargets", DENIED, "departed", "").waits(),
    row("deregistrations are denied twice", AWS, "DeregisterTargets", DENIED, "departed", "").times(2),
    row("a deregistration works and is answered by an error", AWS, "DeregisterTargets", Replace(500, BROKEN), "departed", "").times(1),
    row("every call of AWS takes a second", AWS, "", Late(SECOND), "departed", ""),
    row("instances have fields of the future", AWS, "DescribeAutoScalingInstances", Text("<member>", "<member><Future>yes</Future>"), "departed", ""),
    row("targets have fields of the future", AWS, "DescribeTargetHealth", Text("<Target>", "<Future>yes</Future><Target>"), "departed", ""),
    row("Nomad's clock is years ahead", NOMAD, "", Header("date", "Fri, 01 Jan 2100 00:00:00 GMT"), "departed", ""),
    row("Consul's clock is years ahead", CONSUL, "", Header("date", "Fri, 01 Jan 2100 00:00:00 GMT"), "departed", ""),
    row("nodes are denied", NOMAD, "GET /v1/nodes", Refuse(403, "Permission denied"), "departed", "").waits(),
    row("no node is listed", NOMAD, "GET /v1/nodes", Json(empty), "departed", ""),
    row("nodes are listed without a leader", NOMAD, "GET /v1/nodes", Refuse(500, "No cluster leader"), "departed", "").times(5),
    row("nodes are a page of HTML", NOMAD, "GET /v1/nodes", Replace(200, "<html></html>"), "departed", "").times(3),
    row("the node is denied", NOMAD, "GET /v1/node/", Refuse(403, "Permission denied"), "departed", "").waits(),
    row("the node has no fingerprint of its instance", NOMAD, "GET /v1/node", Text("unique.platform.aws.instance-id", "unique.platform.gce.id"), "departed", ""),
    row("the node is of another instance", NOMAD, "GET /v1/node", Text("i-0", "i-1"), "departed", ""),
    row("the node has a status of the future", NOMAD, "GET /v1/node", Text("\"ready\"", "\"hibernating\""), "departed", ""),
    row("the node has fields of the future", NOMAD, "GET /v1/node", Fatten(65_536), "departed", ""),
    row("every answer of Nomad is 256 KiB larger", NOMAD, "GET /v1/node", Fatten(262_144), "departed", ""),
    row("Nomad has no leader by its headers", NOMAD, "GET /v1/node", Header("x-nomad-knownleader", "false"), "departed", "").times(5),
    row("Nomad's answers are minutes old", NOMAD, "GET /v1/node", Header("x-nomad-lastcontact", "300000"), "departed", "").times(5),
    row("Nomad's index goes back", NOMAD, "GET /v1/node", Header("x-nomad-index", "1"), "departed", "").times(6),
    row("allocations are denied", NOMAD, "/allocations", Refuse(403, "Permission denied"), "departed", "").waits(),
    row("allocations are null", NOMAD, "/allocations", Json(null), "departed", "").waits(),
    row("allocations are empty", NOMAD, "/allocations", Json(empty), "departed", ""),
    row("allocations have a client status of the future", NOMAD, "/allocations", Text("\"ClientStatus\":\"running\"", "\"ClientStatus\":\"paused\""), "departed", ""),
    row("allocations have no task states", NOMAD, "/allocations", Json(without_task_states), "departed", ""),
    row("allocations have no job", NOMAD, "/allocations", Json(without_job), "departed", ""),
    row("a job claims two hours for its stop", NOMAD, "/allocations", Json(two_hours_to_stop), "departed", ""),
    row("every job is of a type of the future", NOMAD, "/allocations", Text("\"Type\":\"service\"", "\"Type\":\"daemon\""), "departed", ""),
    row("drains are denied", NOMAD, "/drain", Refuse(403, "Permission denied"), "departed", "").waits(),
    row("a drain works and is answered by an error", NOMAD, "/drain", Replace(500, "rpc error: EOF"), "departed", "").times(1),
    row("drains hang up twice", NOMAD, "/drain", HangUp, "departed", "").times(2),
    row("ineligibility is denied", NOMAD, "/eligibility", Refuse(403, "Permission denied"), "departed", ""),
    row("ineligibility works and is answered by an error", NOMAD, "/eligibility", Replace(500, "rpc error: EOF"), "departed", "").times(1),
    row("the token's own rules are an error", NOMAD, "GET /v1/acl/token/self", Refuse(500, "rpc error"), "departed", "").waits(),
    row("the token is unknown", NOMAD, "GET /v1/acl/token/self", Refuse(403, "ACL token not found"), "departed", "").waits(),
    row("every answer of Nomad takes a second", NOMAD, "", Late(SECOND), "departed", ""),
    row("every answer of Nomad is later than its time-out for a while", NOMAD, "", Late(THREE_SECONDS), "departed", "").times(6),
    row("Consul denies", CONSUL, "", Refuse(403, "Permission denied"), "departed", "").waits(),
    row("Consul has no leader", CONSUL, "", Refuse(500, "No cluster leader"), "departed", "").waits(),
    row("Consul has no leader for a while", CONSUL, "", Refuse(500, "No cluster leader"), "departed", "").times(6),
    row("Consul lists nothing", CONSUL, "/v1/", Json(empty), "departed", ""),
    row("Consul lists null", CONSUL, "/v1/", Json(null), "departed", "").waits(),
    row("Consul hides what the token may not see, and says so", CONSUL, "/v1/", Header("x-consul-results-filtered-by-acls", "true"), "departed", ""),
    row("Consul's checks are of a status of the future", CONSUL, "/v1/health", Text("\"passing\"", "\"drowsy\""), "departed", ""),
    row("Consul is a page of HTML", CONSUL, "", Refuse(200, "<html></html>"), "departed", "").waits(),
    row("Consul knows the node by another name", CONSUL, "/v1/", Text("\"Node\":\"", "\"Node\":\"other-"), "departed", "").waits(),
    row("Consul goes away after the drain began", CONSUL, "", Refuse(500, "No cluster leader"), "departed", "").after(3).waits(),
    row("Consul hangs up now and then", CONSUL, "", HangUp, "departed", "").after(1).times(3),
    row("Consul answers a second late", CONSUL, "", Late(SECOND), "departed", ""),
    row("Consul is hung", CONSUL, "", Late(MINUTE), "departed", "").waits(),
    row("every answer of Consul is 256 KiB larger", CONSUL, "/v1/", Fatten(262_144), "departed", ""),
    row("Consul's index goes back", CONSUL, "/v1/", Header("x-consul-index", "1"), "departed", "").waits(),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_alteration_ends_as_the_table_says_in_every_shell() {
    let differences = differences(ROWS).await;
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn the_table_has_no_name_twice_and_no_hole() {
    let mut names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ROWS.len());
    assert!(60 <= names.len());
}
