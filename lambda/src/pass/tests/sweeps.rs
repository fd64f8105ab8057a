//! Sweeps over many instances: each sends heartbeats for a share of them, and together they reach all in time.

use std::time::Duration;

use decamp_aws::Leaving;
use decamp_core::decide::Lifecycle;
use decamp_core::ids::InstanceId;

use super::{Scripted, invoke, settings};

const MANY: u64 = 500;

fn fleet() -> Scripted {
    let waits = |number: u64| {
        let (instance, lifecycle) = (InstanceId::from_number(number), Lifecycle::Waiting);
        Leaving { instance, asg: "workers".into(), lifecycle }
    };
    let leaving = Ok((0..MANY).map(waits).collect());
    Scripted { leaving, timeout: Duration::from_secs(900), ..Scripted::with(Lifecycle::Waiting) }
}

#[tokio::test(start_paused = true)]
async fn sweeps_share_the_heartbeats_and_each_spreads_them_over_its_pass() {
    let fleet = fleet();
    for sweep in 1..=5 {
        let before = fleet.heartbeats();
        let passed = invoke(&fleet, &settings(&[]), "{\"decamp\":\"sweep\"}").await;
        let sent = fleet.heartbeats() - before;
        assert!((50..150).contains(&sent), "sweep {sweep} sends about a fifth of them: {sent}");
        assert!(Duration::from_secs(45) <= passed.took && passed.took <= Duration::from_secs(55), "{:?}", passed.took);
        tokio::time::advance(Duration::from_secs(60) - passed.took).await;
    }
    assert_eq!(fleet.heartbeats() as u64, MANY, "one heartbeat for each instance in five minutes");
}
