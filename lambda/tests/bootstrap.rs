//! The real binary under a runtime API: what it answers, and what it must never print.

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
use runtime::{Answer, Function, Ruin};
use serde_json::{Value, json};

const INSTANCE: &str = "i-0123456789abcdef0";
const TIME: Duration = Duration::from_secs(10);

/// The function, its neighbours, and secrets that must not be seen anywhere.
async fn start(ruin: &Ruin, more: &[(&str, &str)]) -> Function {
    let settings = [
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "canary-secret-access-key"),
        ("AWS_SESSION_TOKEN", "canary-session-token"),
        ("AWS_ENDPOINT_URL", &ruin.url),
        ("NOMAD_ADDR", &ruin.url),
        ("NOMAD_TOKEN", "canary-nomad-token"),
        ("CONSUL_HTTP_ADDR", &ruin.url),
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

fn nothing_comes_back(answer: &Answer) -> bool {
    *answer == Answer::Response(r#"{"batchItemFailures":[]}"#.to_owned())
}

/// Every line is one JSON object; those of the log by level, those of metrics as `metric`.
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
async fn what_needs_nothing_is_answered_without_a_single_call() {
    let ruin = Ruin::start().await;
    let mut function = start(&ruin, &[]).await;
    let test = json!({"Event": "autoscaling:TEST_NOTIFICATION", "Service": "AWS Auto Scaling", "AccountId": "123456789012"});
    let foreign = termination().to_string().replace("123456789012", "999999999999");
    let garbage = batch(&["canary garbage", "{\"canary\":", &test.to_string(), &foreign, &"[".repeat(70_000)]);
    for event in ["{}", "[]", "7", "\"canary\"", "{\"canary-key\":\"canary-value\"}", &garbage, &foreign, &test.to_string()] {
        let answer = function.invoke(event, TIME).await;
        assert!(nothing_comes_back(&answer), "{event}: {answer:?}");
    }
    let printed = function.end().await;
    assert_no_canary(&printed);
    assert_eq!(ruin.asked(), Vec::<String>::new());
    let lines = lines(&printed);
    let rejected = of(&lines, "ERROR");
    assert_eq!(rejected.len(), 10, "a line for each record that was refused: {rejected:#?}");
    let metrics = of(&lines, "metric");
    assert_eq!(metrics.iter().filter(|line| line["EventsRejected"] == 1.0).count(), 10, "{metrics:#?}");
    assert_eq!(rejected[0]["span"]["cold_start"], true);
    assert_eq!(rejected[1]["span"]["cold_start"], false);
}

#[tokio::test]
async fn what_is_not_even_json_is_an_error_that_repeats_none_of_it() {
    let ruin = Ruin::start().await;
    let mut function = start(&ruin, &[]).await;
    let answer = function.invoke("{\"canary\": canary", TIME).await;
    assert!(function.asked_after().is_some());
    assert!(matches!(&answer, Answer::Error(text) if !text.contains("canary")), "{answer:?}");
    assert!(nothing_comes_back(&function.invoke("{}", TIME).await), "and it goes on");
    assert_no_canary(&function.end().await);
}

#[tokio::test]
async fn a_departure_in_a_ruined_world_comes_back_alone_and_in_time() {
    let ruin = Ruin::start().await;
    let mut function = start(&ruin, &[]).await;
    let began = std::time::Instant::now();
    let event = batch(&["canary garbage", &termination().to_string()]);
    let answer = function.invoke(&event, Duration::from_secs(8)).await;
    assert_eq!(answer, Answer::Response(r#"{"batchItemFailures":[{"itemIdentifier":"m-1"}]}"#.to_owned()));
    assert!(began.elapsed() < Duration::from_secs(8));
    assert!(function.most_resident().is_none_or(|kib| kib < 64 * 1024), "unoptimised, and still small");
    let asked = ruin.asked();
    assert!(asked.iter().any(|one| one.contains("RecordLifecycleActionHeartbeat")), "{asked:#?}");
    assert!(asked.iter().any(|one| one.contains("AmazonSQS.ChangeMessageVisibility")), "{asked:#?}");
    let writes = ["DeregisterTargets", "CompleteLifecycleAction", "drain", "eligibility", "SendMessage"];
    assert!(!asked.iter().any(|one| writes.iter().any(|write| one.contains(write))), "{asked:#?}");
    let printed = function.end().await;
    assert_no_canary(&printed);
    let lines = lines(&printed);
    let about: Vec<_> = lines.iter().filter(|(_, line)| line["instance.id"] == INSTANCE).collect();
    assert!(about.iter().any(|(_, line)| line["action"] == "hand back"), "{about:#?}");
    assert!(about.iter().all(|(_, line)| line["asg.name"] == "workers"), "{about:#?}");
}

#[tokio::test]
async fn a_sweep_that_cannot_see_is_no_error_of_the_function() {
    let ruin = Ruin::start().await;
    let mut function = start(&ruin, &[]).await;
    assert!(nothing_comes_back(&function.invoke("{\"decamp\":\"sweep\"}", TIME).await));
    let printed = function.end().await;
    assert!(!printed.contains("\"Sweeps\""), "{printed}");
    assert_eq!(of(&lines(&printed), "WARN").len(), 1, "{printed}");
}

#[tokio::test]
async fn settings_that_make_no_sense_end_it_with_a_sentence() {
    let ruin = Ruin::start().await;
    let mut function = start(&ruin, &[("DECAMP_RESERVE", "9h")]).await;
    assert_eq!(function.invoke("{}", TIME).await, Answer::Gone);
    let printed = function.end().await;
    assert!(printed.contains("DECAMP_RESERVE"), "{printed}");
    assert_no_canary(&printed);
}
