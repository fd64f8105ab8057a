//! The real binary under a runtime API: its answers, and what it must never print.

mod checks;
mod clusters;
mod departure;
mod runtime;
mod sweeps;
mod upgrades;
mod wired;

use std::path::Path;
use std::time::{Duration, SystemTime};

use decamp_core::time::Time;
use runtime::{Answer, FailingServer, Function};
use serde_json::{Value, json};

const INSTANCE: &str = "i-0123456789abcdef0";
const TIME: Duration = Duration::from_secs(10);

/// Starts the function with settings that point at the failing server, and with secrets that must not appear anywhere.
async fn start(failing: &FailingServer, more: &[(&str, &str)]) -> Function {
    let settings = [
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "canary-secret-access-key"),
        ("AWS_SESSION_TOKEN", "canary-session-token"),
        ("AWS_ENDPOINT_URL", &failing.url),
        ("NOMAD_ADDR", &failing.url),
        ("NOMAD_TOKEN", "canary-nomad-token"),
        ("CONSUL_HTTP_ADDR", &failing.url),
        ("CONSUL_HTTP_TOKEN", "canary-consul-token"),
        ("DECAMP_GROUPS", "workers"),
        ("DECAMP_ACCOUNTS", "123456789012"),
        ("DECAMP_REGIONS", "eu-west-1"),
    ];
    let all: Vec<_> = settings.into_iter().chain(more.iter().copied()).collect();
    Function::start(Path::new(env!("CARGO_BIN_EXE_bootstrap")), &all).await
}

fn now() -> Time {
    Time(0) + SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970")
}

fn termination() -> Value {
    json!({
        "version": "0", "id": "canary-id", "source": "aws.autoscaling", "account": "123456789012", "region": "eu-west-1",
        "detail-type": "EC2 Instance-terminate Lifecycle Action", "time": now().to_string(), "resources": [],
        "detail": {
            "LifecycleActionToken": "canary00-0000-0000-0000-000000000000", "AutoScalingGroupName": "workers",
            "LifecycleHookName": "decamp", "EC2InstanceId": INSTANCE, "NotificationMetadata": "canary-metadata",
        },
    })
}

fn batch(bodies: &[&str]) -> String {
    let record = |(n, body): (usize, &&str)| {
        json!({
            "messageId": format!("m-{n}"), "receiptHandle": "canary-handle", "body": body, "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:decamp", "awsRegion": "eu-west-1",
        })
    };
    json!({"Records": bodies.iter().enumerate().map(record).collect::<Vec<_>>()}).to_string()
}

fn nothing_handed_back(answer: &Answer) -> bool {
    *answer == Answer::Response(r#"{"batchItemFailures":[]}"#.to_owned())
}

/// Parses the printed lines, each one JSON object, and pairs each with its log level, or with `metric`.
fn lines(printed: &str) -> Vec<(String, Value)> {
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not a line of JSON: {line}"));
        let kind = if line.get("_aws").is_some() { "metric" } else { line["level"].as_str().expect("a log line has a level") };
        (kind.to_owned(), line.clone())
    };
    printed.lines().map(line).collect()
}

fn of<'a>(lines: &'a [(String, Value)], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|(of, _)| of == kind).map(|(_, line)| line).collect()
}

fn assert_no_canary(printed: &str) {
    let leaked: Vec<_> = printed.lines().filter(|line| line.contains("canary")).collect();
    assert!(leaked.is_empty(), "{leaked:#?}");
}

#[tokio::test]
async fn an_event_that_needs_no_call_is_answered_without_one() {
    let failing = FailingServer::start().await;
    let mut function = start(&failing, &[]).await;
    let test = json!({"Event": "autoscaling:TEST_NOTIFICATION", "Service": "AWS Auto Scaling", "AccountId": "123456789012"});
    let foreign = termination().to_string().replace("123456789012", "999999999999");
    let garbage = batch(&["canary garbage", "{\"canary\":", &test.to_string(), &foreign, &"[".repeat(70_000)]);
    for event in ["{}", "[]", "7", "\"canary\"", "{\"canary-key\":\"canary-value\"}", &garbage, &foreign, &test.to_string()] {
        let answer = function.invoke(event, TIME).await;
        assert!(nothing_handed_back(&answer), "{event}: {answer:?}");
    }
    let printed = function.end().await;
    assert_no_canary(&printed);
    assert_eq!(failing.requests(), Vec::<String>::new());
    let lines = lines(&printed);
    let rejected = of(&lines, "ERROR");
    assert_eq!(rejected.len(), 10, "a line for each rejected record: {rejected:#?}");
    let metrics = of(&lines, "metric");
    assert_eq!(metrics.iter().filter(|line| line["EventsRejected"] == 1.0).count(), 10, "{metrics:#?}");
    assert_eq!(rejected[0]["span"]["cold_start"], true);
    assert_eq!(rejected[1]["span"]["cold_start"], false);
}

#[tokio::test]
async fn an_event_that_is_not_json_is_an_error_that_repeats_none_of_it() {
    let failing = FailingServer::start().await;
    let mut function = start(&failing, &[]).await;
    let answer = function.invoke("{\"canary\": canary", TIME).await;
    assert!(function.first_request_after().is_some());
    assert!(matches!(&answer, Answer::Error(text) if !text.contains("canary")), "{answer:?}");
    assert!(nothing_handed_back(&function.invoke("{}", TIME).await), "the function still works");
    assert_no_canary(&function.end().await);
}

#[tokio::test]
async fn a_departure_is_handed_back_alone_and_in_time_when_every_request_fails() {
    let failing = FailingServer::start().await;
    let mut function = start(&failing, &[]).await;
    let began = std::time::Instant::now();
    let event = batch(&["canary garbage", &termination().to_string()]);
    let answer = function.invoke(&event, Duration::from_secs(8)).await;
    assert_eq!(answer, Answer::Response(r#"{"batchItemFailures":[{"itemIdentifier":"m-1"}]}"#.to_owned()));
    assert!(began.elapsed() < Duration::from_secs(8));
    assert!(function.peak_resident().is_none_or(|kib| kib < 64 * 1024), "an unoptimised build stays small too");
    let requests = failing.requests();
    assert!(requests.iter().any(|request| request.contains("RecordLifecycleActionHeartbeat")), "{requests:#?}");
    assert!(requests.iter().any(|request| request.contains("AmazonSQS.ChangeMessageVisibility")), "{requests:#?}");
    let writes = ["DeregisterTargets", "CompleteLifecycleAction", "drain", "eligibility", "SendMessage"];
    assert!(!requests.iter().any(|request| writes.iter().any(|write| request.contains(write))), "{requests:#?}");
    let printed = function.end().await;
    assert_no_canary(&printed);
    let lines = lines(&printed);
    let about: Vec<_> = lines.iter().filter(|(_, line)| line["instance.id"] == INSTANCE).collect();
    assert!(about.iter().any(|(_, line)| line["action"] == "hand back"), "{about:#?}");
    assert!(about.iter().all(|(_, line)| line["asg.name"] == "workers"), "{about:#?}");
}

#[tokio::test]
async fn a_sweep_that_cannot_read_anything_is_no_error_of_the_function() {
    let failing = FailingServer::start().await;
    let mut function = start(&failing, &[]).await;
    assert!(nothing_handed_back(&function.invoke("{\"decamp\":\"sweep\"}", TIME).await));
    let printed = function.end().await;
    assert!(!printed.contains("\"Sweeps\""), "{printed}");
    assert_eq!(of(&lines(&printed), "WARN").len(), 1, "{printed}");
}

#[tokio::test]
async fn invalid_settings_end_the_function_with_an_explanation() {
    let failing = FailingServer::start().await;
    let mut function = start(&failing, &[("DECAMP_RESERVE", "9h")]).await;
    assert_eq!(function.invoke("{}", TIME).await, Answer::Gone);
    let printed = function.end().await;
    assert!(printed.contains("DECAMP_RESERVE"), "{printed}");
    assert_no_canary(&printed);
}
