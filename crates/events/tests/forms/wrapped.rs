//! Forms of Auto Scaling's notifications by SNS, SQS and Lambda, and of events in every wrapping: queues, topics, pipes and the AWS
//! CLI's output.

use serde_json::{Value, json};

use super::lifecycle::{arn, terminate};
use super::{ACCOUNT, Form, INSTANCE, TOKEN, WHOLE, form, of_text, with};

const QUEUE: &str = "arn:aws:sqs:eu-west-1:123456789012:decamp";
/// The line for it as a queue's only record.
const QUEUED: &str = "[m-1 x1] departure: i-0123456789abcdef0 of workers, decamp, 11112222, since 2026-03-04T05:06:07Z";
/// The line for it if nothing names its Region.
const WITHOUT_REGION: &str =
    "departure: i-0123456789abcdef0 of workers, decamp, 11112222, since 2026-03-04T05:06:07Z (no Region named)";

/// A hook's notification.
fn raw(changes: Value) -> Value {
    let whole = json!({
        "Origin": "AutoScalingGroup", "LifecycleHookName": "decamp", "Destination": "EC2", "AccountId": ACCOUNT, "RequestId": "r",
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING", "AutoScalingGroupName": "workers", "Service": "AWS Auto Scaling",
        "Time": "2026-03-04T05:06:07.000Z", "EC2InstanceId": INSTANCE, "NotificationMetadata": "m", "LifecycleActionToken": TOKEN,
    });
    with(whole, changes)
}

/// The same as SNS writes it for people.
fn lines(changes: Value) -> String {
    let Value::Object(fields) = raw(changes) else { panic!("an object") };
    fields.iter().map(|(name, value)| format!("{name}: {}\n", value.as_str().expect("a text"))).collect()
}

fn test(changes: Value) -> Value {
    let whole = json!({
        "AccountId": ACCOUNT, "RequestId": "r", "AutoScalingGroupARN": arn("workers"), "AutoScalingGroupName": "workers",
        "Service": "AWS Auto Scaling", "Event": "autoscaling:TEST_NOTIFICATION", "Time": "2026-03-04T05:06:07.000Z",
    });
    with(whole, changes)
}

/// A group's notification.
fn activity(event: &str) -> Value {
    with(
        test(json!({"Event": event})),
        json!({"Progress": 50, "StatusCode": "InProgress", "EC2InstanceId": INSTANCE, "Details": {}}),
    )
}

fn record(body: &str) -> Value {
    json!({
        "messageId": "m-1", "receiptHandle": "h", "body": body, "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1772600767000"},
        "messageAttributes": {}, "md5OfBody": "0", "eventSource": "aws:sqs", "eventSourceARN": QUEUE, "awsRegion": "eu-west-1",
    })
}

fn batch(bodies: &[String]) -> Value {
    json!({"Records": bodies.iter().map(|body| record(body)).collect::<Vec<_>>()})
}

/// A message of SNS as a queue or HTTP delivers it.
fn topic(message: &str) -> Value {
    json!({
        "Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:eu-west-1:123456789012:hooks", "Subject": "s", "Message": message,
        "Timestamp": "2026-03-04T05:06:08.000Z", "SignatureVersion": "1", "Signature": "c2ln", "SigningCertURL": "u", "UnsubscribeURL": "u",
    })
}

/// The same as SNS delivers it to a function.
fn sns(message: &str) -> Value {
    json!({"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": "a", "Sns": topic(message)}]})
}

/// The output of `aws sqs receive-message`.
fn received(bodies: &[String]) -> Value {
    let message = |body: &String| json!({"MessageId": "m-1", "ReceiptHandle": "h", "MD5OfBody": "0", "Body": body, "Attributes": {"SentTimestamp": "1"}});
    json!({"Messages": bodies.iter().map(message).collect::<Vec<_>>()})
}

pub(crate) fn forms() -> Vec<Form> {
    let mut forms = notifications();
    forms.extend(topics_and_queues());
    forms.extend(pipes_and_people());
    forms
}

fn notifications() -> Vec<Form> {
    vec![
        form("hook: to a function, with nothing around it", &raw(json!({})), WITHOUT_REGION),
        form(
            "hook: without an account",
            &raw(json!({"AccountId": null})),
            "unnamed: it names no AWS account, and only those of a list are allowed",
        ),
        form(
            "hook: of another account",
            &raw(json!({"AccountId": "999999999999"})),
            "foreign-account: not ours: of another account",
        ),
        form("hook: without a service", &raw(json!({"Service": null})), WITHOUT_REGION),
        form(
            "hook: of another service",
            &raw(json!({"Service": "Amazon S3"})),
            "contradiction: it contradicts itself: a notification of Auto Scaling from another service",
        ),
        form(
            "hook: a launch",
            &raw(
                json!({"LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING", "Origin": "EC2", "Destination": "AutoScalingGroup"}),
            ),
            "arrival: i-0123456789abcdef0 of workers (no Region named)",
        ),
        form(
            "hook: a new root volume",
            &raw(json!({"Destination": "AutoScalingGroup", "Action": "ReplaceRootVolume"})),
            WITHOUT_REGION,
        ),
        form(
            "hook: a transition that is new",
            &raw(json!({"LifecycleTransition": "autoscaling:EC2_INSTANCE_RESTING"})),
            "other-transition",
        ),
        form(
            "hook: without a time",
            &raw(json!({"Time": null})),
            "departure: i-0123456789abcdef0 of workers, decamp, 11112222, since unknown (no Region named)",
        ),
        form("test: a hook's", &test(json!({})), "test"),
        form("test: without an account", &test(json!({"AccountId": null})), "test"),
        form(
            "test: under the transition's name",
            &test(json!({"Event": null, "LifecycleTransition": "TEST_NOTIFICATION"})),
            "test",
        ),
        form("group: a launch", &activity("autoscaling:EC2_INSTANCE_LAUNCH"), "group-activity"),
        form("group: a launch that failed", &activity("autoscaling:EC2_INSTANCE_LAUNCH_ERROR"), "group-activity"),
        form("group: a termination", &activity("autoscaling:EC2_INSTANCE_TERMINATE"), "group-activity"),
        form("group: a termination that failed", &activity("autoscaling:EC2_INSTANCE_TERMINATE_ERROR"), "group-activity"),
    ]
}

fn topics_and_queues() -> Vec<Form> {
    let (event, hook) = (terminate(json!({})).to_string(), raw(json!({})).to_string());
    let confirmation = with(
        topic("You have chosen to subscribe"),
        json!({"Type": "SubscriptionConfirmation", "Token": "t", "SubscribeURL": "u"}),
    );
    let ended = with(
        topic("You have chosen to deactivate"),
        json!({"Type": "UnsubscribeConfirmation", "Token": "t", "SubscribeURL": "u"}),
    );
    let no_notification = "unknown: not an event that decamp knows: a message of SNS that is not a notification";
    let elsewhere = |event: Value| event.to_string().replace(":eu-west-1:123456789012:hooks", ":us-east-1:123456789012:hooks");
    let second = |body: &str| body.replace(INSTANCE, "i-0abc1234");
    let other = "departure: i-0abc1234 of workers, decamp, 11112222, since 2026-03-04T05:06:07Z";
    let not_json = "[m-1 x1] not-json: not valid JSON";
    vec![
        form("topic: a hook's notification", &sns(&hook), WHOLE),
        form("topic: a hook's notification in lines", &sns(&lines(json!({}))), WHOLE),
        form("topic: lines of Windows", &sns(&lines(json!({})).replace('\n', "\r\n")), WHOLE),
        form("topic: an event of EventBridge", &sns(&event), WHOLE),
        form("topic: a test in lines", &sns(&lines(json!({"LifecycleTransition": "autoscaling:TEST_NOTIFICATION"}))), "test"),
        form("topic: by HTTP", &topic(&hook), WHOLE),
        form("topic: a word", &sns("hello"), "unknown: not an event that decamp knows: plain text"),
        form("topic: to be confirmed", &confirmation, no_notification),
        form("topic: no more", &ended, no_notification),
        of_text("topic: of another Region", elsewhere(sns(&hook)), &["foreign-region: not ours: of another Region"]),
        form(
            "topic: without its name",
            &json!({"Records": [{"EventSource": "aws:sns", "Sns": with(topic(&hook), json!({"TopicArn": null}))}]}),
            "missing: `TopicArn` is missing",
        ),
        form("queue: an event of EventBridge", &batch(std::slice::from_ref(&event)), QUEUED),
        form("queue: a hook's notification", &batch(std::slice::from_ref(&hook)), QUEUED),
        form("queue: a topic's message", &batch(&[topic(&hook).to_string()]), QUEUED),
        form("queue: a topic's message with an event", &batch(&[topic(&event).to_string()]), QUEUED),
        form("queue: a topic's raw delivery in lines", &batch(&[lines(json!({}))]), QUEUED),
        form("queue: an array of events", &batch(&[format!("[{event}]")]), QUEUED),
        form("queue: a text with a byte order mark", &batch(&[format!("\u{feff}{event}")]), QUEUED),
        form("queue: a test", &batch(&[test(json!({})).to_string()]), "[m-1 x1] test"),
        form("queue: nothing", &json!({"Records": []}), "unknown: not an event that decamp knows: an empty batch"),
        form(
            "queue: a record of a stream",
            &json!({"Records": [{"eventSource": "aws:kinesis", "kinesis": {"data": "e30="}}]}),
            "unknown: not an event that decamp knows: a batch of a service other than SQS and SNS",
        ),
        of_text(
            "queue: of another Region",
            batch(std::slice::from_ref(&event)).to_string().replace(QUEUE, &QUEUE.replace("eu-west-1", "us-east-1")),
            &["foreign-region: not ours: of another Region"],
        ),
        of_text(
            "queue: two departures and a word between",
            batch(&[event.clone(), "word".to_owned(), second(&event)]).to_string(),
            &[QUEUED, "[m-1 x1] unknown: not an event that decamp knows: plain text", &format!("[m-1 x1] {other}")],
        ),
        of_text(
            "queue: one that is cut short beside a good one",
            batch(&[event[..50].to_owned(), event.clone()]).to_string(),
            &[not_json, QUEUED],
        ),
    ]
}

fn pipes_and_people() -> Vec<Form> {
    let (event, hook) = (terminate(json!({})).to_string(), raw(json!({})).to_string());
    let second = event.replace(INSTANCE, "i-0abc1234");
    let other = "departure: i-0abc1234 of workers, decamp, 11112222, since 2026-03-04T05:06:07Z";
    let word = "unknown: not an event that decamp knows: plain text";
    vec![
        of_text(
            "pipe: an array of records",
            json!([record(&event), record(&second)]).to_string(),
            &[QUEUED, &format!("[m-1 x1] {other}")],
        ),
        of_text("pipe: an array of one record", json!([record(&hook)]).to_string(), &[QUEUED]),
        of_text("pipe: a record alone", record(&event).to_string(), &[QUEUED]),
        of_text("pipe: an array of bodies", json!([event, second]).to_string(), &[WHOLE, other]),
        of_text("pipe: an array of events", format!("[{event},{second}]"), &[WHOLE, other]),
        of_text(
            "pipe: a record that cannot be read beside a good one",
            json!([record("word"), record(&event)]).to_string(),
            &["[m-1 x1] unknown: not an event that decamp knows: plain text", QUEUED],
        ),
        of_text("pipe: nothing", "[]".to_owned(), &["unknown: not an event that decamp knows: an empty array"]),
        of_text("pipe: a topic's record alone", json!({"EventSource": "aws:sns", "Sns": topic(&hook)}).to_string(), &[WHOLE]),
        of_text("file: a byte order mark", format!("\u{feff}{event}"), &[WHOLE]),
        of_text("file: with space around it", format!("\r\n\t {event}\n\n"), &[WHOLE]),
        of_text("file: written by a person", serde_json::to_string_pretty(&terminate(json!({}))).expect("JSON"), &[WHOLE]),
        of_text("file: an event in a text", json!(event).to_string(), &[WHOLE]),
        of_text("AWS CLI: messages that were received", received(&[event.clone(), second.clone()]).to_string(), &[WHOLE, other]),
        of_text("AWS CLI: a message with a topic's message", received(&[topic(&hook).to_string()]).to_string(), &[WHOLE]),
        of_text("AWS CLI: a hook's notification", received(std::slice::from_ref(&hook)).to_string(), &[WITHOUT_REGION]),
        of_text(
            "AWS CLI: a word beside a good message",
            received(&["word".to_owned(), event.clone()]).to_string(),
            &[word, WHOLE],
        ),
        of_text(
            "AWS CLI: with the response's own fields",
            with(received(std::slice::from_ref(&event)), json!({"ResponseMetadata": {}})).to_string(),
            &[WHOLE],
        ),
        of_text(
            "AWS CLI: no messages",
            json!({"Messages": []}).to_string(),
            &["unknown: not an event that decamp knows: no messages"],
        ),
        of_text(
            "AWS CLI: messages that are no list",
            json!({"Messages": {}}).to_string(),
            &["wrong-type: `Messages` is not an array"],
        ),
        of_text(
            "two events in one object",
            with(terminate(json!({})), json!({"Messages": []})).to_string(),
            &["contradiction: it contradicts itself: a batch and another event at once"],
        ),
    ]
}
