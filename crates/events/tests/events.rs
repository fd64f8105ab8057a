//! Tests with samples of every form of event, and of every way in which one can be wrong.

use std::path::Path;

use decamp_config::Allowed;
use decamp_events::{EventContent, Record, read};

mod record_lines;
use record_lines::line;

fn ours() -> Allowed {
    Allowed { accounts: vec!["123456789012".into()], regions: vec!["eu-west-1".into()], groups: vec!["workers".into()] }
}

fn sample(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/events").join(name).with_extension("json");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The records of a sample, one line each.
fn lines_of(name: &str) -> Vec<String> {
    read(&sample(name), &ours(), &["decamp".into()]).iter().map(line).collect()
}

const WHOLE: &str = "departure: i-0123456789abcdef0 of workers, decamp, 11112222, since 2026-03-04T05:06:07Z";

#[test]
fn the_same_departure_is_read_from_every_shape_that_carries_it() {
    for name in ["eventbridge-terminate", "raw-terminate", "sns-records", "sns-records-lines"] {
        assert_eq!(lines_of(name), [WHOLE], "{name}");
    }
    for name in ["sqs-eventbridge", "sqs-raw", "sqs-sns", "sqs-sns-eventbridge", "sqs-sns-lines"] {
        assert_eq!(lines_of(name), [format!("[00000000-0000-0000-0000-000000000001 x1] {WHOLE}")], "{name}");
    }
}

#[test]
fn every_other_event_of_aws_is_recognized() {
    let instance = "i-0123456789abcdef0";
    let cases = [
        (
            "eventbridge-terminate-bare",
            format!("departure: {instance} of workers, any hook, no token, since 2026-03-04T05:06:07Z"),
        ),
        ("eventbridge-terminate-warm-pool", format!("{WHOLE}, to the warm pool")),
        // A replacement of the root volume. Only the state of the instance shows that, not the event.
        ("eventbridge-terminate-root-volume", WHOLE.to_owned()),
        ("eventbridge-launch", format!("arrival: {instance} of workers")),
        ("eventbridge-terminate-successful", "group-activity".to_owned()),
        ("eventbridge-refresh-started", "instance-refresh".to_owned()),
        ("raw-launch", format!("arrival: {instance} of workers")),
        ("raw-other-transition", "other-transition".to_owned()),
        ("test-notification", "test".to_owned()),
        ("test-notification-as-transition", "test".to_owned()),
        ("notification-configuration", "group-activity".to_owned()),
        ("spot-interruption", format!("interruption: {instance} at 2026-03-04T05:08:07Z")),
        ("rebalance", format!("rebalance: {instance}")),
        ("state-change", "state-change".to_owned()),
        ("health-scheduled-change", format!("scheduled change: [{instance}, i-0abc1234] from 2026-03-04T05:06:07Z to unknown")),
        ("health-issue", "health".to_owned()),
        ("schedule", "sweep".to_owned()),
        ("scheduler", "sweep".to_owned()),
        ("sweep-by-hand", "sweep".to_owned()),
    ];
    for (name, expected) in cases {
        assert_eq!(lines_of(name), [expected], "{name}");
    }
    assert_eq!(lines_of("eventbridge-array"), [WHOLE, "group-activity"]);
}

#[test]
fn a_poisoned_record_leaves_its_neighbours_alone() {
    let all = lines_of("sqs-batch");
    let expected = [WHOLE, "not-json: not valid JSON", "test", "group-activity", WHOLE];
    assert_eq!(all.len(), expected.len());
    for (number, (line, expected)) in all.iter().zip(expected).enumerate() {
        assert_eq!(line, &format!("[00000000-0000-0000-0000-{0:012} x{0}] {expected}", number + 1));
    }
}

#[test]
fn foreign_malformed_and_contradictory_events_are_rejected_by_name() {
    let cases = [
        ("other-account", "foreign-account: not ours: of another account"),
        ("other-region", "foreign-region: not ours: of another Region"),
        ("other-group", "foreign-group: not ours: of an Auto Scaling group that is not in the list"),
        ("other-hook", "foreign-hook: not ours: of a lifecycle hook that is not in the list"),
        ("raw-other-account", "foreign-account: not ours: of another account"),
        ("sns-other-region", "[00000000-0000-0000-0000-000000000001 x1] foreign-region: not ours: of another Region"),
        ("launching-in-terminate", "contradiction: it contradicts itself: its detail-type and its transition"),
        ("other-group-in-resources", "contradiction: it contradicts itself: the group in its resources and in its detail"),
        (
            "other-account-in-resources",
            "contradiction: it contradicts itself: its own account and Region, and those of its resources",
        ),
        ("custom-source", "contradiction: it contradicts itself: a lifecycle action that Auto Scaling did not send"),
        ("envelope-and-notification", "contradiction: it contradicts itself: an EventBridge event and a notification at once"),
        ("test-and-transition", "contradiction: it contradicts itself: a notification of a group and of a hook at once"),
        ("filter-in-the-instance", "bad-name: `EC2InstanceId` is not an EC2 instance id such as i-0123456789abcdef0"),
        ("instance-is-a-number", "wrong-type: `EC2InstanceId` is not a string"),
        ("no-instance", "missing: `EC2InstanceId` is missing"),
        ("short-token", "bad-name: `LifecycleActionToken` is not a lifecycle action token (36 characters)"),
        ("two-tokens", "twice: `LifecycleActionToken` is given twice"),
        ("no-account", "missing: `account` is missing"),
        ("time-in-words", "bad-name: `time` is not a time such as 2026-01-31T12:00:00Z"),
        ("line-break-in-the-group", "bad-name: `AutoScalingGroupName` is not the name of an Auto Scaling group"),
        ("other-instance-in-resources", "contradiction: it contradicts itself: the instance in its resources and in its detail"),
        ("health-of-another-account", "foreign-account: not ours: of another account"),
        ("bucket-notification", "unknown: not an event that decamp knows: a batch of a service other than SQS and SNS"),
        (
            "subscription-confirmation",
            "[00000000-0000-0000-0000-000000000001 x1] unknown: not an event that decamp knows: a message of SNS that is not a notification",
        ),
        ("canary", "unknown: not an event that decamp knows: an object with 1 other field"),
    ];
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/events/bad");
    assert_eq!(std::fs::read_dir(samples).unwrap().count(), cases.len(), "every bad sample has its line");
    for (name, expected) in cases {
        assert_eq!(lines_of(&format!("bad/{name}")), [expected], "{name}");
    }
}

#[test]
fn no_rejection_repeats_a_word_of_the_event() {
    for name in ["canary", "short-token", "subscription-confirmation", "bucket-notification", "filter-in-the-instance"] {
        let records = read(&sample(&format!("bad/{name}")), &ours(), &["decamp".into()]);
        let printed: Vec<_> = records.iter().map(|r| format!("{:?} {}", r.content, line(r))).collect();
        assert!(!printed.concat().contains("canary") && !printed.concat().contains("Status=="), "{printed:?}");
    }
}

#[test]
fn a_queue_that_would_direct_a_signed_call_elsewhere_is_rejected() {
    let good = "arn:aws:sqs:eu-west-1:123456789012:decamp";
    let batch = String::from_utf8(sample("sqs-raw")).unwrap();
    for bad in
        ["arn:aws:sqs:evil.example#:1:q", "arn:aws:sqs:eu-west-1:1:../q", "arn:aws:sqs:us-east-1:123456789012:decamp", "q", ""]
    {
        let records = read(batch.replace(good, bad).as_bytes(), &ours(), &[]);
        assert!(records.iter().all(|record| record.content.is_err() && record.message.is_none()), "{bad}: {records:?}");
    }
}

#[test]
fn neither_a_token_nor_a_receipt_handle_is_ever_shown() {
    let printed = format!("{:?}", read(&sample("sqs-eventbridge"), &ours(), &["decamp".into()]));
    assert!(!printed.contains("3333-4444") && !printed.contains("handle-1"), "{printed}");
}

#[test]
fn events_that_are_too_large_too_deep_or_too_many_are_rejected() {
    let of = |text: String| -> Vec<_> { read(text.as_bytes(), &ours(), &["decamp".into()]).iter().map(line).collect() };
    let padding = " ".repeat(256 * 1024);
    assert_eq!(of(format!("{{\"decamp\":\"sweep\"{padding}}}")), ["too-large: 262162 bytes, and an event has at most 262144"]);
    let deep = format!("{{\"decamp\":\"sweep\",\"x\":{}{}}}", "[".repeat(40), "]".repeat(40));
    assert_eq!(of(deep), ["too-deep: nested deeper than 32 levels"]);
    let endless = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(of(endless), ["too-many: more than 4 wrappings around an event"]);
    let many = format!("[{}{{}}]", "{},".repeat(100));
    assert_eq!(of(many), ["too-many: more than 100 elements in an array"]);
    assert_eq!(of("{\"Records\":[]}".into()), ["unknown: not an event that decamp knows: an empty batch"]);
    assert_eq!(read(b"\xff\xfe", &ours(), &["decamp".into()]).iter().map(line).collect::<Vec<_>>(), ["not-text: not UTF-8 text"]);
    assert_eq!(of(String::new()), ["not-json: not valid JSON"]);
}

#[test]
fn without_lists_events_of_every_group_are_accepted() {
    let records = read(&sample("bad/other-group"), &Allowed::default(), &[]);
    assert!(
        matches!(&records[..], [Record { content: Ok(EventContent::Departure(d)), .. }] if &*d.asg == "payroll"),
        "{records:?}"
    );
}

#[test]
fn a_star_matches_any_rest_at_the_end_of_a_group_and_nowhere_else() {
    for (pattern, accepted) in [("pay*", true), ("payroll*", true), ("*", true), ("p*l", false), ("roll*", false), ("pay", false)]
    {
        let allowed = Allowed { groups: vec![pattern.into()], ..Allowed::default() };
        assert_eq!(read(&sample("bad/other-group"), &allowed, &[])[0].content.is_ok(), accepted, "{pattern}");
    }
}
