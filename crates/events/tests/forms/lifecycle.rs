//! Forms of Auto Scaling's own events, as EventBridge delivers them.

use serde_json::{Value, json};

use super::{ACCOUNT, Form, INSTANCE, REGION, TOKEN, WHOLE, envelope, form, with};

const TERMINATE: &str = "EC2 Instance-terminate Lifecycle Action";
const LAUNCH: &str = "EC2 Instance-launch Lifecycle Action";
const ARRIVAL: &str = "arrival: i-0123456789abcdef0 of workers";

pub(crate) fn arn(group: &str) -> String {
    format!(
        "arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:0f0e0d0c-0b0a-0908-0706-050403020100:autoScalingGroupName/{group}"
    )
}

/// A termination with every documented field.
pub(crate) fn terminate(changes: Value) -> Value {
    let detail = json!({
        "LifecycleActionToken": TOKEN, "AutoScalingGroupName": "workers", "LifecycleHookName": "decamp", "EC2InstanceId": INSTANCE,
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING", "NotificationMetadata": "additional-info",
        "Origin": "AutoScalingGroup", "Destination": "EC2",
    });
    with(envelope("aws.autoscaling", TERMINATE, &with(detail, changes)), json!({"resources": [arn("workers")]}))
}

fn launch(changes: Value) -> Value {
    let mut event = terminate(json!({
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING", "Origin": "EC2", "Destination": "AutoScalingGroup",
    }));
    event["detail-type"] = LAUNCH.into();
    event["detail"] = with(event["detail"].clone(), changes);
    event
}

/// An activity that has ended, or progress of an instance refresh.
fn other(kind: &str, detail: Value) -> Value {
    envelope("aws.autoscaling", kind, &detail)
}

pub(crate) fn forms() -> Vec<Form> {
    let mut forms = actions();
    forms.extend(refused());
    forms.extend(activities());
    forms
}

fn actions() -> Vec<Form> {
    let root_volume = json!({"Origin": "AutoScalingGroup", "Destination": "AutoScalingGroup", "Action": "ReplaceRootVolume"});
    vec![
        form("terminate: with every field", &terminate(json!({})), WHOLE),
        form(
            "terminate: as it was before warm pools",
            &terminate(json!({"Origin": null, "Destination": null, "NotificationMetadata": null})),
            WHOLE,
        ),
        form(
            "terminate: metadata that is JSON in a text",
            &terminate(json!({"NotificationMetadata": "{\"target_groups\":[]}"})),
            WHOLE,
        ),
        form(
            "terminate: without a token",
            &terminate(json!({"LifecycleActionToken": null})),
            "departure: i-0123456789abcdef0 of workers, decamp, no token, since 2026-03-04T05:06:07Z",
        ),
        form(
            "terminate: an empty token",
            &terminate(json!({"LifecycleActionToken": ""})),
            "departure: i-0123456789abcdef0 of workers, decamp, no token, since 2026-03-04T05:06:07Z",
        ),
        form(
            "terminate: without a hook",
            &terminate(json!({"LifecycleHookName": null})),
            "departure: i-0123456789abcdef0 of workers, any hook, 11112222, since 2026-03-04T05:06:07Z",
        ),
        form("terminate: without a transition", &terminate(json!({"LifecycleTransition": null})), WHOLE),
        form(
            "terminate: without a time",
            &with(terminate(json!({})), json!({"time": null})),
            "departure: i-0123456789abcdef0 of workers, decamp, 11112222, since unknown",
        ),
        form(
            "terminate: a time with a fraction",
            &with(terminate(json!({})), json!({"time": "2026-03-04T05:06:07.999Z"})),
            WHOLE,
        ),
        form("terminate: without resources", &with(terminate(json!({})), json!({"resources": null})), WHOLE),
        form("terminate: no resource in the list", &with(terminate(json!({})), json!({"resources": []})), WHOLE),
        form(
            "terminate: fields that AWS may add",
            &with(terminate(json!({"AvailabilityZoneId": "euw1-az1"})), json!({"trace-header": "Root=1"})),
            WHOLE,
        ),
        form(
            "terminate: an old short instance id",
            &terminate(json!({"EC2InstanceId": "i-0abc1234"})),
            "departure: i-0abc1234 of workers, decamp, 11112222, since 2026-03-04T05:06:07Z",
        ),
        form(
            "terminate: into the warm pool",
            &terminate(json!({"Destination": "WarmPool"})),
            "departure: i-0123456789abcdef0 of workers, decamp, 11112222, since 2026-03-04T05:06:07Z, to the warm pool",
        ),
        form("terminate: out of the warm pool", &terminate(json!({"Origin": "WarmPool"})), WHOLE),
        form("terminate: a new root volume", &terminate(root_volume.clone()), WHOLE),
        form(
            "terminate: a new root volume, its action not named",
            &terminate(with(root_volume.clone(), json!({"Action": null}))),
            WHOLE,
        ),
        form(
            "terminate: a new root volume, its origin not named",
            &terminate(with(root_volume.clone(), json!({"Origin": null}))),
            WHOLE,
        ),
        form("launch: with every field", &launch(json!({})), ARRIVAL),
        form("launch: into the warm pool", &launch(json!({"Destination": "WarmPool"})), ARRIVAL),
        form("launch: out of the warm pool", &launch(json!({"Origin": "WarmPool"})), ARRIVAL),
        form("launch: by a hook that is not ours", &launch(json!({"LifecycleHookName": "bootstrap"})), ARRIVAL),
        form("launch: after a new root volume", &launch(root_volume), ARRIVAL),
    ]
}

fn refused() -> Vec<Form> {
    vec![
        form(
            "terminate: of a group that is not ours",
            &with(terminate(json!({"AutoScalingGroupName": "payroll"})), json!({"resources": [arn("payroll")]})),
            "foreign-group: not ours: of an Auto Scaling group that is not in the list",
        ),
        form(
            "terminate: of a hook that is not ours",
            &terminate(json!({"LifecycleHookName": "ecs-managed-draining-termination-hook"})),
            "foreign-hook: not ours: of a lifecycle hook that is not in the list",
        ),
        form(
            "terminate: of another account",
            &with(terminate(json!({})), json!({"account": "999999999999"})),
            "foreign-account: not ours: of another account",
        ),
        form(
            "terminate: of another Region",
            &with(terminate(json!({})), json!({"region": "us-east-1"})),
            "foreign-region: not ours: of another Region",
        ),
        form(
            "terminate: without an account",
            &with(terminate(json!({})), json!({"account": null})),
            "missing: `account` is missing",
        ),
        form("terminate: without a Region", &with(terminate(json!({})), json!({"region": null})), "missing: `region` is missing"),
        form("terminate: without an instance", &terminate(json!({"EC2InstanceId": null})), "missing: `EC2InstanceId` is missing"),
        form(
            "terminate: without a group",
            &terminate(json!({"AutoScalingGroupName": null})),
            "missing: `AutoScalingGroupName` is missing",
        ),
        form(
            "terminate: to nowhere that can be",
            &terminate(json!({"Origin": "EC2", "Destination": "AutoScalingGroup"})),
            "contradiction: it contradicts itself: a termination that ends in the group",
        ),
        form(
            "terminate: sent by somebody as their own",
            &with(terminate(json!({})), json!({"source": "my.autoscaling"})),
            "contradiction: it contradicts itself: a lifecycle action that Auto Scaling did not send",
        ),
        form(
            "terminate: its detail as a text",
            &with(terminate(json!({})), json!({"detail": "{}"})),
            "wrong-type: `detail` is not an object",
        ),
        form(
            "terminate: resources of another group",
            &with(terminate(json!({})), json!({"resources": [arn("payroll")]})),
            "contradiction: it contradicts itself: the group in its resources and in its detail",
        ),
        form(
            "launch: that ends in EC2",
            &launch(json!({"Destination": "EC2"})),
            "contradiction: it contradicts itself: a launch that ends in EC2",
        ),
    ]
}

fn activities() -> Vec<Form> {
    let activity = json!({
        "StatusCode": "InProgress", "Description": "Terminating EC2 instance: i-0123456789abcdef0", "AutoScalingGroupName": "workers",
        "ActivityId": "a", "Details": {"Availability Zone": "eu-west-1b", "Subnet ID": "subnet-1"}, "RequestId": "r", "StatusMessage": "",
        "StartTime": "2026-03-04T05:06:07Z", "EndTime": "2026-03-04T05:06:07Z", "EC2InstanceId": INSTANCE, "Cause": "c",
        "Origin": "AutoScalingGroup", "Destination": "EC2",
    });
    let refresh = json!({"InstanceRefreshId": "08b91cf7-8fa6-48af-b6a6-d227f40f1b9b", "AutoScalingGroupName": "workers"});
    let checkpoint = with(refresh.clone(), json!({"CheckpointPercentage": "50", "CheckpointDelay": "300"}));
    vec![
        form("activity: a launch that succeeded", &other("EC2 Instance Launch Successful", activity.clone()), "group-activity"),
        form("activity: a launch that failed", &other("EC2 Instance Launch Unsuccessful", activity.clone()), "group-activity"),
        form(
            "activity: a termination that succeeded",
            &other("EC2 Instance Terminate Successful", activity.clone()),
            "group-activity",
        ),
        form(
            "activity: a termination that failed",
            &other("EC2 Instance Terminate Unsuccessful", activity.clone()),
            "group-activity",
        ),
        form(
            "activity: an instance that was detached",
            &other("EC2 Instance Detach Successful", activity.clone()),
            "group-activity",
        ),
        form(
            "activity: an instance that was not detached",
            &other("EC2 Instance Detach Unsuccessful", activity),
            "group-activity",
        ),
        form("refresh: started", &other("EC2 Auto Scaling Instance Refresh Started", refresh.clone()), "instance-refresh"),
        form(
            "refresh: at a checkpoint",
            &other("EC2 Auto Scaling Instance Refresh Checkpoint Reached", checkpoint),
            "instance-refresh",
        ),
        form("refresh: succeeded", &other("EC2 Auto Scaling Instance Refresh Succeeded", refresh.clone()), "instance-refresh"),
        form("refresh: failed", &other("EC2 Auto Scaling Instance Refresh Failed", refresh.clone()), "instance-refresh"),
        form("refresh: cancelled", &other("EC2 Auto Scaling Instance Refresh Cancelled", refresh.clone()), "instance-refresh"),
        form(
            "refresh: being taken back",
            &other("EC2 Auto Scaling Instance Refresh Rollback Started", refresh.clone()),
            "instance-refresh",
        ),
        form(
            "refresh: taken back",
            &other("EC2 Auto Scaling Instance Refresh Rollback Succeeded", refresh.clone()),
            "instance-refresh",
        ),
        form(
            "refresh: not taken back",
            &other("EC2 Auto Scaling Instance Refresh Rollback Failed", refresh.clone()),
            "instance-refresh",
        ),
        form("refresh: baking", &other("EC2 Auto Scaling Instance Refresh Started Baking", refresh), "instance-refresh"),
        form("Auto Scaling: an event that is new", &other("EC2 Auto Scaling Something New", json!({})), "group-activity"),
    ]
}
