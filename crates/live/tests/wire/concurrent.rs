//! A hundred departures at once in one process share their looks and lose nothing.

use std::time::Duration;

use decamp_core::decide::Outcome;
use decamp_sandbox::Options;
use futures_util::future::join_all;
use serde_json::Value;

use super::rig::{Rig, quick};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_departures_at_once_share_their_calls_and_lose_nothing() {
    let options = Options { nodes: 105, services: 100, heartbeat_timeout: Duration::from_secs(900), throttled: true, ..quick() };
    let rig = Rig::start(&options).await;
    let leaving = &rig.sandbox.instances[..100];
    let endings = join_all(leaving.iter().map(|instance| rig.depart(*instance))).await;
    for (outcome, story) in &endings {
        assert_eq!(*outcome, Outcome::Departed { waiting_for: None }, "{story}");
    }
    join_all(leaving.iter().map(|instance| rig.machine_is_off(*instance))).await;
    let (_, failures) = rig.requests();
    assert_eq!(failures, Value::Array(Vec::new()));
    let groups = u64::from(options.attached + options.named);
    let calls = rig.calls();
    println!("{calls} calls: {:?}", rig.live.calls().each().collect::<Vec<_>>());
    assert!(calls <= 5 * groups + 200, "{calls} calls: {:?}", rig.live.calls().each().collect::<Vec<_>>());
}
