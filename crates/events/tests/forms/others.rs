//! Forms of EC2's own events, of schedules, and of events that other services and people send to the same places.

use serde_json::{Value, json};

use super::{ACCOUNT, Form, INSTANCE, envelope, form, of_text, with};

const FOREIGN: &str = "unknown: not an event that decamp knows: an EventBridge event of another service";
const SPOT: &str = "EC2 Spot Instance Interruption Warning";

fn ec2(kind: &str, detail: Value) -> Value {
    let arn = format!("arn:aws:ec2:eu-west-1b:instance/{INSTANCE}");
    with(envelope("aws.ec2", kind, &detail), json!({"resources": [arn]}))
}

fn spot(action: &str) -> Value {
    ec2(SPOT, json!({"instance-id": INSTANCE, "instance-action": action}))
}

pub(crate) fn forms() -> Vec<Form> {
    let mut forms = of_ec2();
    forms.extend(schedules());
    forms.extend(of_others());
    forms
}

fn of_ec2() -> Vec<Form> {
    let interruption = "interruption: i-0123456789abcdef0 at 2026-03-04T05:08:07Z";
    let rebalance = "EC2 Instance Rebalance Recommendation";
    let state = |state: &str| ec2("EC2 Instance State-change Notification", json!({"instance-id": INSTANCE, "state": state}));
    vec![
        form("spot: to terminate", &spot("terminate"), interruption),
        form("spot: to stop", &spot("stop"), interruption),
        form("spot: to hibernate", &spot("hibernate"), interruption),
        form("spot: without an action", &ec2(SPOT, json!({"instance-id": INSTANCE})), interruption),
        form("spot: without a time", &with(spot("terminate"), json!({"time": null})), "missing: `time` is missing"),
        form("spot: without an instance", &ec2(SPOT, json!({"instance-action": "stop"})), "missing: `instance-id` is missing"),
        form(
            "spot: resources of another instance",
            &with(spot("terminate"), json!({"resources": ["arn:aws:ec2:eu-west-1:123456789012:instance/i-0abc1234"]})),
            "contradiction: it contradicts itself: the instance in its resources and in its detail",
        ),
        form(
            "spot: of another account",
            &with(spot("terminate"), json!({"account": "999999999999"})),
            "foreign-account: not ours: of another account",
        ),
        form(
            "spot: an interruption that is tried by the fault injection service",
            &with(spot("terminate"), json!({"resources": [format!("arn:aws:ec2:eu-west-1:{ACCOUNT}:instance/{INSTANCE}")]})),
            interruption,
        ),
        form("rebalance: recommended", &ec2(rebalance, json!({"instance-id": INSTANCE})), "rebalance: i-0123456789abcdef0"),
        form("rebalance: of no instance", &ec2(rebalance, json!({})), "missing: `instance-id` is missing"),
        form("state: pending", &state("pending"), "state-change"),
        form("state: running", &state("running"), "state-change"),
        form("state: shutting down", &state("shutting-down"), "state-change"),
        form("state: stopping", &state("stopping"), "state-change"),
        form("state: stopped", &state("stopped"), "state-change"),
        form("state: terminated", &state("terminated"), "state-change"),
        form(
            "EC2: a spot request that was fulfilled",
            &ec2("EC2 Spot Instance Request Fulfillment", json!({"spot-instance-request-id": "sir-1", "instance-id": INSTANCE})),
            "other",
        ),
        form("EC2: a volume", &ec2("EBS Volume Notification", json!({"event": "createVolume", "result": "available"})), "other"),
        form(
            "EC2: a fleet",
            &envelope("aws.ec2fleet", "EC2 Fleet Instance Change", &json!({"sub-type": "terminated", "instance-id": INSTANCE})),
            FOREIGN,
        ),
        form(
            "EC2: a spot fleet",
            &envelope("aws.ec2spotfleet", "EC2 Spot Fleet Instance Change", &json!({"sub-type": "termination_notified"})),
            FOREIGN,
        ),
    ]
}

fn schedules() -> Vec<Form> {
    vec![
        form("schedule: a rule's", &envelope("aws.events", "Scheduled Event", &json!({})), "sweep"),
        form("schedule: a scheduler's", &envelope("aws.scheduler", "Scheduled Event", &json!({})), "sweep"),
        form(
            "schedule: a scheduler's, whose detail is a text",
            &envelope("aws.scheduler", "Scheduled Event", &json!("{}")),
            "sweep",
        ),
        form("schedule: by hand", &json!({"decamp": "sweep"}), "sweep"),
        form("schedule: another word by hand", &json!({"decamp": "drain"}), "bad-name: `decamp` is not \"sweep\""),
        form(
            "schedule: of another account",
            &with(envelope("aws.events", "Scheduled Event", &json!({})), json!({"account": "999999999999"})),
            "foreign-account: not ours: of another account",
        ),
    ]
}

fn of_others() -> Vec<Form> {
    let trail = |source: &str, name: &str| {
        envelope(
            source,
            "AWS API Call via CloudTrail",
            &json!({
                "eventVersion": "1.08", "eventSource": "autoscaling.amazonaws.com", "eventName": name, "userIdentity": {"type": "IAMUser"},
                "requestParameters": {"instanceId": INSTANCE, "autoScalingGroupName": "workers"}, "responseElements": null,
            }),
        )
    };
    let bucket =
        json!({"Records": [{"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {}}]});
    let alarm = json!({
        "AlarmName": "a", "AlarmDescription": null, "AWSAccountId": ACCOUNT, "NewStateValue": "ALARM", "NewStateReason": "r",
        "StateChangeTime": "2026-03-04T05:06:07.000+0000", "Region": "EU (Ireland)", "Trigger": {"MetricName": "m"},
    });
    vec![
        form("CloudTrail: a call of Auto Scaling", &trail("aws.autoscaling", "CompleteLifecycleAction"), "group-activity"),
        form("CloudTrail: a call of EC2", &trail("aws.ec2", "TerminateInstances"), "other"),
        form("CloudTrail: a call of another service", &trail("aws.iam", "CreateUser"), FOREIGN),
        form("other: an ECS task", &envelope("aws.ecs", "ECS Task State Change", &json!({"lastStatus": "STOPPED"})), FOREIGN),
        form("other: a finding of GuardDuty", &envelope("aws.guardduty", "GuardDuty Finding", &json!({})), FOREIGN),
        form("other: a load balancer's target", &envelope("aws.elasticloadbalancing", "ELB Target Health", &json!({})), FOREIGN),
        form("other: somebody's own", &envelope("com.acme.orders", "OrderPlaced", &json!({"instance-id": INSTANCE})), FOREIGN),
        form(
            "other: an object in a bucket",
            &bucket,
            "unknown: not an event that decamp knows: a batch of a service other than SQS and SNS",
        ),
        form(
            "other: a bucket's test",
            &json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}),
            "contradiction: it contradicts itself: a notification of Auto Scaling from another service",
        ),
        form("other: an alarm", &alarm, "unknown: not an event that decamp knows: an object with 8 other fields"),
        form(
            "other: a request over HTTP",
            &json!({"version": "2.0", "routeKey": "$default", "body": "{}"}),
            "unknown: not an event that decamp knows: an object with version, 2 other fields",
        ),
        form("other: an empty object", &json!({}), "unknown: not an event that decamp knows: an object with no field"),
        of_text("other: nothing", String::new(), &["not-json: not valid JSON"]),
        of_text("other: null", "null".to_owned(), &["unknown: not an event that decamp knows: null"]),
        of_text("other: a number", "7".to_owned(), &["unknown: not an event that decamp knows: a number"]),
        of_text(
            "other: cut short",
            envelope("aws.ec2", SPOT, &json!({})).to_string()[..60].to_owned(),
            &["not-json: not valid JSON"],
        ),
    ]
}
