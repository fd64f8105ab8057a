//! Sweeps: what they show, remember and count, how soon one follows another, and which departures they leave to others.

use std::time::Duration;

use decamp_sandbox::{Options, serve};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::replica::{Replica, quick, terminate};

/// The value of a metric's row.
async fn number(replica: &Replica, row: &str) -> u64 {
    let metrics = replica.text("/metrics").await;
    let value = metrics.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{row} is not in\n{metrics}")).parse().expect("a number")
}

/// Waits until this many sweeps were made.
async fn swept(replica: &Replica, times: u64) {
    let began = Instant::now();
    while number(replica, "decamp_sweeps_total").await < times {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", replica.printed());
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_departure_that_a_sweep_only_reads_is_shown_and_not_counted_with_every_sweep() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let instance = sandbox.instances[0].to_string();
    terminate(&sandbox, sandbox.instances[0]).await;
    for (settings, outcome) in [(("DECAMP_MODE", "observe"), "observed"), (("DECAMP_HOOKS", "somebody-elses"), "not-ours")] {
        let replica = Replica::start(&sandbox, &[settings, ("DECAMP_SWEEP", "1s")]).await;
        let before = number(&replica, "decamp_sweeps_total").await;
        swept(&replica, before + 7).await;
        let all = replica.json("/v1/departures").await;
        let shown: Vec<&str> =
            all["departures"].as_array().expect("a list").iter().filter_map(|one| one["instance"].as_str()).collect();
        assert_eq!(shown, [&*instance], "{outcome}: {all:#}");
        assert_eq!(all["past"], json!([]), "{outcome}");
        let metrics = replica.text("/metrics").await;
        let counted = metrics.lines().filter(|line| line.starts_with("decamp_departures_total{") && !line.ends_with(" 0"));
        assert_eq!(counted.count(), 0, "{outcome}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requested_sweeps_are_seconds_apart_and_do_not_take_over_a_departure() {
    let sandbox = serve(&Options { delay: Duration::from_secs(20), ..quick() }).await.expect("loopback is there");
    let walker = Replica::start(&sandbox, &[("DECAMP_SWEEP", "10m")]).await;
    let event = terminate(&sandbox, sandbox.instances[0]).await;
    assert_eq!(walker.send(&event).await.status(), 202);
    let path = format!("/v1/departures/{}", sandbox.instances[0]);
    while walker.json(&path).await["timeline"].as_array().is_none_or(|moments| moments.len() < 2) {
        sleep(Duration::from_millis(50)).await;
    }
    let replica = Replica::start(&sandbox, &[("DECAMP_SWEEP", "10m")]).await;
    swept(&replica, 1).await;
    let (first, sweep) = (Instant::now(), json!({ "decamp": "sweep" }));
    while first.elapsed() < Duration::from_secs(4) {
        assert_eq!(replica.send(&sweep).await.status(), 202);
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(number(&replica, "decamp_sweeps_total").await, 1, "a sweep followed another at once");
    swept(&replica, 2).await;
    assert!(Duration::from_secs(4) < first.elapsed(), "{:?}", first.elapsed());
    sleep(Duration::from_secs(6)).await;
    assert_eq!(number(&replica, "decamp_sweeps_total").await, 2, "forty requests are one sweep");
    assert_eq!(number(&replica, "decamp_departures_in_hand").await, 0, "another worker has it: {}", replica.printed());
    // The last sweep was long ago.
    let (before, asked) = (number(&replica, "decamp_sweeps_total").await, Instant::now());
    assert_eq!(replica.send(&sweep).await.status(), 202);
    swept(&replica, before + 1).await;
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_group_hides_no_other_groups_records_and_is_not_read_with_every_sweep() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let instance = sandbox.instances[0];
    let first = Replica::start(&sandbox, &[]).await;
    let event = terminate(&sandbox, instance).await;
    assert_eq!(first.send(&event).await.status(), 202);
    first.past().await;
    assert!(crate::replica::machine_is_off(&sandbox, instance).await, "{}", first.printed());
    drop(first);
    let replica = Replica::start(&sandbox, &[("DECAMP_GROUPS", "not-there,web"), ("DECAMP_SWEEP", "1s")]).await;
    swept(&replica, 6).await;
    let record = replica.json("/v1/departures").await["record"].clone();
    assert!(record["at"].is_string() && record["unseen"] == Value::Null, "{record:#}");
    assert_eq!(record["terminated"][0]["instance"].as_str(), Some(&*instance.to_string()), "{record:#}");
    assert_eq!(number(&replica, "decamp_aws_calls_total{operation=\"DescribeScalingActivities\"}").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweeps_first_write_is_shown_and_its_delay_is_not_decamps_own_time() {
    let sandbox = serve(&Options { delay: Duration::from_secs(6), ..quick() }).await.expect("loopback is there");
    let replica = Replica::start(&sandbox, &[("DECAMP_SWEEP", "1s")]).await;
    terminate(&sandbox, sandbox.instances[0]).await;
    let past = replica.past().await;
    assert_eq!((past["outcome"]["word"].as_str(), past["told_by"].as_str()), (Some("departed"), Some("sweep")), "{past:#}");
    let timeline = past["timeline"].to_string();
    for write in ["ineligible", "deregister", "drain", "complete"] {
        assert!(timeline.contains(write), "{write}: {past:#}");
    }
    assert_eq!(past["outcome"]["seconds_above_floor"], Value::Null, "{past:#}");
    assert_eq!(number(&replica, "decamp_departure_above_floor_seconds_count").await, 0, "the metric agrees with the page");
    for stretch in past["floor"].as_array().expect("a list") {
        assert!(stretch["from"].as_str() <= stretch["to"].as_str(), "{stretch}");
    }
}
