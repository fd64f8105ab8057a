//! Notifications from the receiver's side: signed, at least once, in order, with one id, and without delaying a departure.

use std::collections::BTreeSet;
use std::time::Duration;

use decamp_sandbox::{Options, Sandbox, serve};
use serde_json::Value;
use tokio::time::Instant;

use crate::receiver::{Manners, ReceivedNotification, Receiver, SECRET, settings};
use crate::replica::{Replica, machine_is_off, quick, requests, terminate};

async fn start(sandbox: &Sandbox, file: &tempfile::NamedTempFile, more: &[(&str, &str)]) -> Replica {
    Replica::start_with(sandbox, &["--config", &file.path().display().to_string()], more).await
}

fn ids(notifications: &[ReceivedNotification]) -> BTreeSet<&str> {
    notifications.iter().map(|one| &*one.id).collect()
}

fn has_row(metrics: &str, row: &str) {
    assert!(metrics.lines().any(|line| line == row), "{row} is not in\n{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_departure_is_notified_by_signed_webhooks_even_if_receivers_fail() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let instance = sandbox.instances[0];
    let (well, slow) =
        (Receiver::start(Manners::FailsFirst(2, 503)).await, Receiver::start(Manners::Slow(Duration::from_secs(1))).await);
    let (hangs, slack) = (Receiver::start(Manners::Hangs).await, Receiver::start(Manners::Well).await);
    let file = settings(&[
        ("well", "webhook", &well.url),
        ("slow", "webhook", &slow.url),
        ("hangs", "webhook", &hangs.url),
        ("gone", "webhook", "http://127.0.0.1:9/canary-gone"),
        ("slack", "slack", &slack.url),
    ]);
    let mut replica = start(&sandbox, &file, &[]).await;
    let event = terminate(&sandbox, instance).await;
    assert_eq!(replica.send(&event).await.status(), 202);
    assert!(machine_is_off(&sandbox, instance).await, "{}", replica.printed());
    let (_, failures) = requests(&sandbox);
    assert_eq!(failures, Value::Array(vec![]), "{}", replica.printed());

    let started = well.accepted("departure.started").await.unwrap_or_else(|| panic!("{}", replica.printed()));
    let ended = well.accepted("departure.ended").await.unwrap_or_else(|| panic!("{}", replica.printed()));
    for receiver in [&well, &slow, &hangs] {
        let all = receiver.all();
        assert!(all.iter().all(|one| one.signed == Ok(one.id.clone())), "{all:?}");
    }
    let tries = well.of("departure.started");
    assert_eq!((tries.len(), ids(&tries).len()), (3, 1), "two tries failed: {tries:?}");
    let pauses: Vec<Duration> = tries.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(pauses[0] < pauses[1] * 2 && Duration::from_millis(200) < pauses[0], "{pauses:?}");
    assert!(started.at < ended.at && started.id != ended.id);
    assert_eq!(slow.accepted("departure.ended").await.map(|one| one.id), Some(ended.id.clone()), "all receivers get the same");

    let report = &ended.body["data"];
    assert_eq!((report["instance"].as_str(), report["group"].as_str()), (Some(&*instance.to_string()), Some("web")));
    assert_eq!(report["outcome"], "departed", "{report:#}");
    assert!(report["seconds"].as_f64().is_some_and(|seconds| (3.0..60.0).contains(&seconds)), "{report:#}");
    assert!(report["seconds_above_floor"].is_f64() && report["foreseen"].is_array(), "{report:#}");
    assert!(report["timeline"].as_array().is_some_and(|moments| 4 <= moments.len()), "{report:#}");
    assert!(report["evidence"].to_string().contains("completion of the lifecycle action was accepted"), "{report:#}");
    assert!(started.body["data"]["budget"]["end"].is_string(), "{:#}", started.body);

    let texts: Vec<String> = slack.all().iter().map(|one| one.body["text"].to_string()).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].contains("of web is leaving") && texts[1].contains("departed after"), "{texts:?}");

    let metrics = replica.text("/metrics").await;
    has_row(&metrics, "decamp_notifications_total{kind=\"departure.ended\",receiver=\"well\",result=\"accepted\"} 1");
    has_row(&metrics, "decamp_notification_failures_total{receiver=\"well\"} 2");
    assert!(metrics.contains("decamp_notification_failures_total{receiver=\"gone\"}"), "{metrics}");
    let asked = Instant::now();
    assert_eq!(replica.stop().await.code(), Some(0), "{}", replica.printed());
    assert!(asked.elapsed() < Duration::from_secs(10), "a receiver that hangs delays nothing");
    for secret in [SECRET, "canary"] {
        assert!(!replica.printed().contains(secret), "{}", replica.printed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_notify_one_departure_with_the_same_ids() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let instance = sandbox.instances[0];
    let receiver = Receiver::start(Manners::Well).await;
    let file = settings(&[("ops", "webhook", &receiver.url)]);
    let (first, second) = (start(&sandbox, &file, &[]).await, start(&sandbox, &file, &[("DECAMP_SWEEP", "1s")]).await);
    let mut event = terminate(&sandbox, instance).await;
    assert_eq!(first.send(&event).await.status(), 202);
    // The other replica gets the event later, and without the token.
    event["detail"].as_object_mut().expect("an object").remove("LifecycleActionToken");
    assert_eq!(second.send(&event).await.status(), 202);
    assert!(machine_is_off(&sandbox, instance).await, "{}", first.printed());
    let printed = |replica: &Replica| format!("{}\n{:?}", replica.printed(), receiver.all());
    assert!(receiver.accepted("departure.started").await.is_some(), "{}", printed(&first));
    assert!(receiver.accepted("departure.ended").await.is_some(), "{}", printed(&first));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (started, ended) = (receiver.of("departure.started"), receiver.of("departure.ended"));
    assert_eq!(ids(&started).len(), 1, "{}", printed(&second));
    assert_eq!(ids(&ended).len(), 1, "{}", printed(&second));
    assert!(
        ended.iter().all(|one| one.body["data"]["outcome"] == "departed"),
        "only the replica that completed the action notifies: {ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_names_the_allocation_that_blocks() {
    // Both nodes leave, so no allocation can move.
    let sandbox = serve(&Options { nodes: 2, ..quick() }).await.expect("loopback is there");
    let receiver = Receiver::start(Manners::Well).await;
    let file = settings(&[("ops", "webhook", &receiver.url)]);
    let replica = start(&sandbox, &file, &[("DECAMP_STALLED_AFTER", "2s")]).await;
    let both = [terminate(&sandbox, sandbox.instances[0]).await, terminate(&sandbox, sandbox.instances[1]).await];
    assert_eq!(replica.send(&Value::Array(both.to_vec())).await.status(), 202);
    // On a busy machine, the first stall may be about something else.
    let notification = receiver.accepted_if("departure.stalled", |stall| stall["reason"] == "allocations-left").await;
    let notification = notification.unwrap_or_else(|| panic!("{}", replica.printed()));
    let stall = &notification.body["data"];
    assert_eq!(stall["blocked_by"]["kind"], "allocation");
    let (name, id) = (stall["blocked_by"]["name"].as_str(), stall["blocked_by"]["id"].as_str());
    assert!(name.is_some_and(|name| name.contains('/')) && id.is_some_and(|id| id.len() == 36), "{stall:#}");
    assert!(stall["because"].as_str().zip(id).is_some_and(|(because, id)| because.contains(id)), "{stall:#}");
    assert!(stall["waited_seconds"].as_u64().is_some_and(|seconds| 2 <= seconds), "{stall:#}");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let again = receiver.of("departure.stalled");
    assert_eq!(again.iter().filter(|other| other.id == notification.id).count(), 1, "it is sent once: {again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_that_cannot_be_read_is_a_stall_and_is_named() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let receiver = Receiver::start(Manners::Well).await;
    let file = settings(&[("ops", "webhook", &receiver.url)]);
    let more = [("NOMAD_ADDR", "http://127.0.0.1:9"), ("DECAMP_STALLED_AFTER", "2s")];
    let replica = start(&sandbox, &file, &more).await;
    let event = terminate(&sandbox, sandbox.instances[0]).await;
    assert_eq!(replica.send(&event).await.status(), 202);
    let notification = receiver.accepted("departure.stalled").await.unwrap_or_else(|| panic!("{}", replica.printed()));
    let blocker = &notification.body["data"]["blocked_by"];
    assert_eq!((blocker["kind"].as_str(), blocker["name"].as_str()), (Some("system"), Some("Nomad")), "{:#}", notification.body);
    assert!(replica.text("/metrics").await.contains("decamp_stalls_total{reason=\"cannot-see\"}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_notifications_are_sent_before_a_replica_exits() {
    let sandbox = serve(&Options { delay: Duration::from_secs(20), ..quick() }).await.expect("loopback is there");
    let receiver = Receiver::start(Manners::FailsFirst(usize::MAX, 500)).await;
    let file = settings(&[("ops", "webhook", &receiver.url)]);
    let mut replica = start(&sandbox, &file, &[]).await;
    let event = terminate(&sandbox, sandbox.instances[0]).await;
    assert_eq!(replica.send(&event).await.status(), 202);
    let began = Instant::now();
    // After the fourth try it waits for at least two seconds.
    while receiver.all().len() < 4 {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", replica.printed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    receiver.behave(Manners::Well);
    assert_eq!(replica.stop().await.code(), Some(0), "{}", replica.printed());
    let all = receiver.all();
    assert!(all.len() == 5 && all[4].accepted && ids(&all).len() == 1, "{all:?}\n{}", replica.printed());
}
