//! What sweeps show, remember and count, how soon one follows another, and what one that finds nothing due leaves to others.

use std::time::Duration;

use decamp::sim::sandbox::serve;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::replica::{Replica, quick, terminate};

/// A row of the metrics, as a number.
async fn number(replica: &Replica, row: &str) -> u64 {
    let metrics = replica.text("/metrics").await;
    let value = metrics.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{row} is not in\n{metrics}")).parse().expect("a number")
}

/// Waits until so many sweeps were made.
async fn swept(replica: &Replica, times: u64) {
    let began = Instant::now();
    while number(replica, "decamp_sweeps_total").await < times {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", replica.printed());
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sweep_only_looks_at_is_shown_as_leaving_and_is_not_counted_with_every_sweep() {
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
