//! Spot interruptions and warnings: their messages are kept until the departure has ended, handed back by a stopping replica, and bounded.

use std::time::Duration;

use decamp_core::ids::InstanceId;
use decamp_core::time::Time;
use decamp_sandbox::wire::{FaultPlan, Rule, WireFault};
use decamp_sandbox::{ACCOUNT, Options, REGION, Sandbox, serve};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::refreshes::seconds;
use crate::replica::{QUEUE, Replica, queue, quick};

/// EC2's notice that it will take a spot instance back in two minutes.
fn interruption(instance: InstanceId) -> Value {
    json!({
        "version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602", "detail-type": "EC2 Spot Instance Interruption Warning",
        "source": "aws.ec2", "account": ACCOUNT, "region": REGION, "time": Time(seconds() * 1000).to_string(), "resources": [],
        "detail": { "instance-id": instance.to_string(), "instance-action": "terminate" },
    })
}

/// Makes Auto Scaling refuse to say which group an instance belongs to. Its other calls work.
fn hide_groups_of_instances(sandbox: &Sandbox) {
    sandbox
        .shared
        .set_faults(FaultPlan::new(vec![Rule::next(u32::MAX, "DescribeAutoScalingInstances", WireFault::Throttled)], 0));
}

async fn until(what: &str, replica: &Replica, mut is: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is().await {
        assert!(began.elapsed() < Duration::from_secs(30), "never {what}: {}", replica.printed());
        sleep(Duration::from_millis(50)).await;
    }
}

fn last_visibility(sandbox: &Sandbox) -> Option<u64> {
    sandbox.shared.stores().visibilities.last().map(|(_, span)| *span)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_replica_takes_over_an_interruption_whose_group_was_still_unknown() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    sandbox.shared.stores().queues.entry(QUEUE.to_owned()).or_default();
    let (queue, instance) = (queue(), sandbox.instances[0]);
    let settings = [("DECAMP_QUEUES", &*queue), ("DECAMP_SWEEP", "10m")];
    let mut first = Replica::start(&sandbox, &settings).await;
    hide_groups_of_instances(&sandbox);
    sandbox.shared.stores().queues.entry(QUEUE.to_owned()).or_default().send(&interruption(instance).to_string());
    until("asked", &first, async || first.printed().contains("Auto Scaling cannot be seen")).await;
    assert_eq!(sandbox.shared.stores().queues[QUEUE].len(), 1, "acknowledged before anything was done");
    assert_eq!(first.stop().await.code(), Some(0), "{}", first.printed());
    assert_eq!(last_visibility(&sandbox), Some(0), "it is handed back at once: {}", first.printed());

    sandbox.shared.set_faults(FaultPlan::default());
    let second = Replica::start(&sandbox, &settings).await;
    until("taken up", &second, async || {
        second.json(&format!("/v1/departures/{instance}")).await["timeline"].as_array().is_some_and(|moments| !moments.is_empty())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interruption_in_progress_keeps_its_message_and_another_replica_finishes_it() {
    let sandbox = serve(&Options { delay: Duration::from_secs(5), ..quick() }).await.expect("loopback is there");
    sandbox.shared.stores().queues.entry(QUEUE.to_owned()).or_default();
    let (queue, instance) = (queue(), sandbox.instances[0]);
    let settings = [("DECAMP_QUEUES", &*queue), ("DECAMP_SWEEP", "10m")];
    let mut first = Replica::start(&sandbox, &settings).await;
    let event = interruption(instance).to_string();
    sandbox.shared.stores().queues.entry(QUEUE.to_owned()).or_default().send(&event);
    let path = format!("/v1/departures/{instance}");
    until("begun", &first, async || first.json(&path).await["timeline"].as_array().is_some_and(|moments| !moments.is_empty()))
        .await;
    assert_eq!(sandbox.shared.stores().queues[QUEUE].len(), 1, "deleted while it is walked");
    let second = Replica::start(&sandbox, &settings).await;
    assert_eq!(first.stop().await.code(), Some(0), "{}", first.printed());
    assert_eq!(last_visibility(&sandbox), Some(0), "it is handed back at once");
    until("taken up", &second, async || second.get(&path).await.status() == 200).await;
    let over = async || {
        let shown = second.json("/v1/departures").await;
        shown["past"][0]["outcome"]["word"] == "interrupted"
    };
    let began = Instant::now();
    while !over().await {
        assert!(began.elapsed() < Duration::from_secs(120), "{}", second.printed());
        sleep(Duration::from_millis(200)).await;
    }
    until("deleted", &second, async || sandbox.shared.stores().queues[QUEUE].is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lookups_of_groups_are_bounded_and_made_once_for_each_instance() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let replica = Replica::start(&sandbox, &[("DECAMP_SWEEP", "10m")]).await;
    hide_groups_of_instances(&sandbox);
    let batch = |from: u64, to: u64| Value::from_iter((from..to).map(|number| interruption(InstanceId::from_number(number))));
    for from in (1_000..2_000).step_by(100) {
        assert_eq!(replica.send(&batch(from, from + 100)).await.status(), 202, "{from}");
    }
    // The same warnings again: their lookups are already pending.
    assert_eq!(replica.send(&batch(1_250, 1_350)).await.status(), 202);
    let refused = replica.send(&batch(9_000, 9_001)).await;
    assert_eq!(refused.status(), 503, "{}", replica.text("/metrics").await);
    assert!(refused.headers().contains_key("retry-after"));
    let problem: Value = refused.json().await.expect("JSON");
    assert_eq!(problem["type"], "urn:decamp:problem:too-many-warnings", "{problem}");
}
