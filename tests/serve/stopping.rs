//! Stopping: calls in progress are finished wherever they were made, and the process exits within ten seconds (ADR 0031).

use std::time::Duration;

use decamp_sandbox::wire::{FaultPlan, Rule, WireFault};
use decamp_sandbox::{ACCOUNT, REGION, Sandbox, serve};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::replica::{KEY, Replica, quick, terminate};

/// Delays the answer of this operation. The call itself is carried out at once.
fn late(sandbox: &Sandbox, operation: &str, milliseconds: u64) {
    sandbox.shared.set_faults(FaultPlan::new(vec![Rule::next(u32::MAX, operation, WireFault::Late(milliseconds))], 0));
}

/// Waits until this operation was called.
async fn called(replica: &Replica, operation: &str) {
    let (row, began) = (format!("decamp_aws_calls_total{{operation=\"{operation}\"}} "), Instant::now());
    while replica.text("/metrics").await.lines().find_map(|line| line.strip_prefix(&*row)).is_none_or(|count| count == "0") {
        assert!(began.elapsed() < Duration::from_secs(20), "{operation} was never called: {}", replica.printed());
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_the_answer_to_a_sweeps_write() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let mut replica = Replica::start(&sandbox, &[("DECAMP_SWEEP", "1s")]).await;
    late(&sandbox, "DeregisterTargets", 3_000);
    terminate(&sandbox, sandbox.instances[0]).await;
    called(&replica, "DeregisterTargets").await;
    let began = Instant::now();
    assert_eq!(replica.stop().await.code(), Some(0));
    // The answer came three seconds after the call. The pass's next decision is not carried out.
    assert!(Duration::from_secs(2) < began.elapsed(), "the stop did not wait for it: {:?}", began.elapsed());
    let printed = replica.printed();
    assert!(!printed.contains("ended in the middle"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_the_answer_to_a_replacement() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let settings = [("DECAMP_REPLACE", "rebalance"), ("DECAMP_SWEEP", "10m")];
    let mut replica = Replica::start(&sandbox, &settings).await;
    late(&sandbox, "SetInstanceHealth", 3_000);
    let warning = json!({
        "version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602", "detail-type": "EC2 Instance Rebalance Recommendation",
        "source": "aws.ec2", "account": ACCOUNT, "region": REGION, "time": "2026-03-04T05:06:47Z", "resources": [],
        "detail": { "instance-id": sandbox.instances[0].to_string() },
    });
    assert_eq!(replica.send(&warning).await.status(), 202);
    called(&replica, "SetInstanceHealth").await;
    assert_eq!(replica.stop().await.code(), Some(0));
    assert!(replica.printed().contains("Auto Scaling accepted the replacement"), "{}", replica.printed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unused_signal_is_ignored_and_sigquit_stops_in_order() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let mut replica = Replica::start(&sandbox, &[]).await;
    for signal in ["HUP", "USR1", "USR2"] {
        replica.signal(signal).await;
        replica.says(&format!("SIG{signal} is ignored")).await;
        assert_eq!(replica.get("/healthz").await.status(), 200, "{signal}");
    }
    assert_eq!(replica.stop_by("QUIT").await.code(), Some(0));
    assert!(replica.printed().contains("told to stop"), "{}", replica.printed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_event_of_an_ended_departure_is_ignored() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let replica = Replica::start(&sandbox, &[("DECAMP_SWEEP", "10m")]).await;
    let event = terminate(&sandbox, sandbox.instances[0]).await;
    assert_eq!(replica.send(&event).await.status(), 202);
    replica.past().await;
    for _ in 0..5 {
        let again = replica.client.post(format!("{}/v1/events", replica.webhooks)).header("x-api-key", KEY).json(&event).send();
        let again = again.await.expect("it answers");
        assert_eq!(again.status(), 202);
        assert_eq!(again.json::<serde_json::Value>().await.expect("JSON"), json!({ "accepted": 0, "ignored": 1, "rejected": 0 }));
    }
    sleep(Duration::from_secs(3)).await;
    let shown = replica.json("/v1/departures").await;
    assert_eq!((shown["departures"].as_array().map(Vec::len), shown["past"].as_array().map(Vec::len)), (Some(0), Some(1)));
}
