//! Whole departures: an event, a message or only the sweep starts one, the instance leaves, and no request fails.

use std::time::Duration;

use decamp_core::ids::InstanceId;
use decamp_sandbox::{ACCOUNT, CONSUL_TOKEN, NOMAD_TOKEN, Options, REGION, Sandbox, serve};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::replica::{KEY, QUEUE, Replica, machine_is_off, queue, quick, requests, terminate};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_arrives_and_the_instance_leaves_without_a_failed_request() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let instance = sandbox.instances[0];
    let id = instance.to_string();
    let mut replica = Replica::start(&sandbox, &[]).await;
    assert!(replica.text("/").await.contains("No instance is leaving"));
    let mut stream = replica.get("/v1/stream").await;

    let event = terminate(&sandbox, instance).await;
    let sent = Instant::now();
    let answer = replica.send(&event).await;
    assert_eq!(answer.status(), 202);
    assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
    assert_eq!(answer.json::<Value>().await.expect("JSON"), json!({ "accepted": 1, "ignored": 0, "rejected": 0 }));
    // The same event twice in an array: the departure is already in progress.
    assert_eq!(replica.send(&json!([event, event])).await.status(), 202);
    let shown = replica.json(&format!("/v1/departures/{id}")).await;
    assert_eq!((shown["instance"].as_str(), shown["group"].as_str()), (Some(&*id), Some("web")), "{shown:#}");
    assert_eq!(replica.json("/v1/departures").await["departures"].as_array().map(Vec::len), Some(1));
    assert!(replica.text("/").await.contains(&id));

    assert!(machine_is_off(&sandbox, instance).await, "{}", replica.printed());
    let (sent, failures) = requests(&sandbox);
    assert_eq!(failures, Value::Array(vec![]), "{}", replica.printed());
    assert!(200 <= sent, "only {sent} requests were sent, so the test proved nothing");
    let past = replica.past().await;
    assert_eq!((past["instance"].as_str(), past["outcome"]["word"].as_str()), (Some(&*id), Some("departed")), "{past:#}");
    assert_eq!(replica.json("/v1/departures").await["departures"], json!([]));
    assert!(past["timeline"].as_array().is_some_and(|moments| 4 <= moments.len()), "{past:#}");
    let metrics = replica.text("/metrics").await;
    for row in [
        "decamp_departures_total{group=\"web\",outcome=\"departed\"} 1",
        "decamp_departures_in_hand 0",
        "decamp_departure_seconds_count 1",
        "decamp_event_to_deregistered_seconds_count 1",
        "decamp_aws_calls_total{operation=\"CompleteLifecycleAction\"} 1",
    ] {
        assert!(metrics.lines().any(|line| line == row), "{row} is not in\n{metrics}");
    }
    let mut streamed = String::new();
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout(Duration::from_millis(500), stream.chunk()).await {
        streamed.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(streamed.contains("event: departures") && streamed.contains(&id), "{streamed}");
    drop(stream);

    let page = replica.text("/").await;
    let departures = replica.text("/v1/departures").await;
    assert_eq!(replica.stop().await.code(), Some(0), "{}", replica.printed());
    let token = event["detail"]["LifecycleActionToken"].as_str().expect("a token");
    for output in [replica.printed(), page, departures, metrics, streamed] {
        for secret in [KEY, NOMAD_TOKEN, CONSUL_TOKEN, token] {
            assert!(!output.contains(secret), "a secret is in {output}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_replica_takes_over_from_the_queue_when_the_first_stops() {
    // Five seconds of delay, in which the first replica is stopped.
    let sandbox = serve(&Options { delay: Duration::from_secs(5), ..quick() }).await.expect("loopback is there");
    sandbox.shared.stores().queues.entry(QUEUE.to_owned()).or_default();
    let instance = sandbox.instances[0];
    let queue = queue();
    let settings = [("DECAMP_QUEUES", &*queue), ("DECAMP_SWEEP", "10m")];
    let mut first = Replica::start(&sandbox, &settings).await;
    let event = terminate(&sandbox, instance).await;
    sandbox.shared.stores().queues.entry(QUEUE.to_owned()).or_default().send(&event.to_string());
    let path = format!("/v1/departures/{instance}");
    let begun = Instant::now();
    while first.json(&path).await["timeline"].as_array().is_none_or(|moments| moments.len() < 2) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", first.printed());
        sleep(Duration::from_millis(50)).await;
    }
    let mut second = Replica::start(&sandbox, &settings).await;
    let told = Instant::now();
    assert_eq!(first.stop().await.code(), Some(0), "{}", first.printed());
    assert!(told.elapsed() < Duration::from_secs(10));
    assert!(first.printed().contains("let go at a decision"), "{}", first.printed());

    assert!(machine_is_off(&sandbox, instance).await, "{}", second.printed());
    let (sent, failures) = requests(&sandbox);
    assert_eq!(failures, Value::Array(vec![]), "{}\n{}", first.printed(), second.printed());
    assert!(200 <= sent, "only {sent} requests were sent, so the test proved nothing");
    let past = second.past().await;
    assert_eq!(past["outcome"]["word"], "departed", "{past:#}\n{}", second.printed());
    assert_eq!(past["told_by"], "queue");
    sleep(Duration::from_millis(500)).await;
    assert!(sandbox.shared.stores().queues[QUEUE].is_empty(), "the message was not deleted");
    assert_eq!(second.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auto_scalings_records_show_departures_that_no_replica_saw() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let instance = sandbox.instances[0];
    let first = Replica::start(&sandbox, &[]).await;
    assert_eq!(first.json("/v1/departures").await["record"]["terminated"], json!([]));
    let event = terminate(&sandbox, instance).await;
    assert_eq!(first.send(&event).await.status(), 202);
    assert!(machine_is_off(&sandbox, instance).await, "{}", first.printed());
    first.past().await;
    drop(first);
    let second = Replica::start(&sandbox, &[]).await;
    let (began, mut shown) = (Instant::now(), Value::Null);
    while !shown["record"]["at"].is_string() && began.elapsed() < Duration::from_secs(10) {
        shown = second.json("/v1/departures").await;
    }
    assert_eq!((&shown["past"], shown["note"].as_str().is_some_and(|note| note.contains("this replica"))), (&json!([]), true));
    let row = &shown["record"]["terminated"][0];
    assert_eq!((row["instance"].as_str(), row["group"].as_str()), (Some(&*instance.to_string()), Some("web")), "{shown:#}");
    assert_eq!(row["successful"], true, "{shown:#}");
    assert!(shown["record"]["at"].is_string() && row["ended"].as_str() > row["began"].as_str(), "{shown:#}");
    let page = second.text("/").await;
    assert!(page.contains("Auto Scaling's records") && page.contains(&instance.to_string()), "{page}");
    let metrics = second.text("/metrics").await;
    assert!(metrics.contains("decamp_aws_calls_total{operation=\"DescribeScalingActivities\"} 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sweep_finds_a_departure_without_an_event() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let instance = sandbox.instances[1];
    let mut replica = Replica::start(&sandbox, &[("DECAMP_SWEEP", "1s")]).await;
    terminate(&sandbox, instance).await;
    assert!(machine_is_off(&sandbox, instance).await, "{}", replica.printed());
    let (_, failures) = requests(&sandbox);
    assert_eq!(failures, Value::Array(vec![]), "{}", replica.printed());
    let past = replica.past().await;
    assert_eq!((past["told_by"].as_str(), past["outcome"]["word"].as_str()), (Some("sweep"), Some("departed")), "{past:#}");
    assert_eq!(replica.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meaningless_message_is_logged_once_and_deleted() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    sandbox.shared.stores().queues.entry(QUEUE.to_owned()).or_default().send("{\"canary\":1}");
    let replica = Replica::start(&sandbox, &[("DECAMP_QUEUES", &queue())]).await;
    let begun = Instant::now();
    while !sandbox.shared.stores().queues[QUEUE].is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{}", replica.printed());
        sleep(Duration::from_millis(50)).await;
    }
    sleep(Duration::from_millis(200)).await;
    assert_eq!(replica.printed().matches("rejected: ").count(), 1, "{}", replica.printed());
    assert!(!replica.printed().contains("canary\""), "a rejected message is not repeated: {}", replica.printed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_observe_mode_decamp_decides_and_writes_nothing() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let instance = sandbox.instances[0];
    observes(&sandbox, instance, ("DECAMP_MODE", "observe")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_groups_it_observes_and_logs_that_at_error() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let replica = observes(&sandbox, sandbox.instances[0], ("DECAMP_GROUPS", "")).await;
    let lines = replica.printed();
    let said = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let errors: Vec<Value> = said.filter(|line| line["level"] == "ERROR").collect();
    let named =
        |line: &Value| line["message"].as_str().is_some_and(|text| text.contains("DECAMP_GROUPS is not set: nothing is written"));
    assert!(errors.iter().any(named), "{errors:#?}");
}

/// Asserts that a replica with this setting decides, logs the decisions, and writes nothing.
async fn observes(sandbox: &Sandbox, instance: InstanceId, setting: (&str, &str)) -> Replica {
    let replica = Replica::start(sandbox, &[setting]).await;
    let event = terminate(sandbox, instance).await;
    assert_eq!(replica.send(&event).await.status(), 202);
    let begun = Instant::now();
    while !replica.printed().contains("observed: this write was next") {
        assert!(begun.elapsed() < Duration::from_secs(10), "{}", replica.printed());
        sleep(Duration::from_millis(50)).await;
    }
    let metrics = replica.text("/metrics").await;
    for write in ["CompleteLifecycleAction", "DeregisterTargets", "RecordLifecycleActionHeartbeat"] {
        assert!(metrics.contains(&format!("{{operation=\"{write}\"}} 0\n")), "{write} was called: {metrics}");
    }
    assert!(replica.text("/").await.contains("This replica only observes"), "the page says so");
    replica
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_that_only_departures_read_is_reported_while_it_cannot_be_read() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let mut replica = Replica::start(&sandbox, &[("CONSUL_HTTP_ADDR", "http://127.0.0.1:9")]).await;
    assert_eq!(replica.json("/readyz").await["unseen"], json!([]));
    let event = terminate(&sandbox, sandbox.instances[0]).await;
    assert_eq!(replica.send(&event).await.status(), 202);
    let began = tokio::time::Instant::now();
    let is_named = |unseen: &Value| {
        unseen[0]["what"] == "Consul" && unseen[0]["why"].as_str().is_some_and(|why| why.contains("127.0.0.1:9"))
    };
    while !is_named(&replica.json("/readyz").await["unseen"]) {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", replica.printed());
        sleep(Duration::from_millis(100)).await;
    }
    assert!(replica.text("/").await.contains("Consul"), "the page says so too");
    assert_eq!(replica.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warned_instance_is_replaced_by_policy_and_leaves_through_its_hook() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let instance = sandbox.instances[0];
    let warning = json!({
        "version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602", "detail-type": "EC2 Instance Rebalance Recommendation",
        "source": "aws.ec2", "account": ACCOUNT, "region": REGION, "time": "2026-03-04T05:06:47Z", "resources": [],
        "detail": { "instance-id": instance.to_string() },
    });
    let only_counts = Replica::start(&sandbox, &[("DECAMP_REPLACE", "scheduled")]).await;
    let answer: Value = only_counts.send(&warning).await.json().await.expect("JSON");
    assert_eq!(answer, json!({ "accepted": 0, "ignored": 1, "rejected": 0 }), "a rebalance is not replaced by this policy");
    drop(only_counts);

    let mut replica = Replica::start(&sandbox, &[("DECAMP_REPLACE", "rebalance"), ("DECAMP_SWEEP", "1s")]).await;
    let answer: Value = replica.send(&warning).await.json().await.expect("JSON");
    assert_eq!(answer, json!({ "accepted": 1, "ignored": 0, "rejected": 0 }));
    assert!(machine_is_off(&sandbox, instance).await, "{}", replica.printed());
    let (_, failures) = requests(&sandbox);
    assert_eq!(failures, Value::Array(vec![]), "{}", replica.printed());
    assert_eq!(replica.past().await["outcome"]["word"], "departed", "{}", replica.printed());
    let metrics = replica.text("/metrics").await;
    assert!(metrics.lines().any(|line| line == "decamp_replacements_total 1"), "{metrics}");
    assert_eq!(replica.stop().await.code(), Some(0));
}
