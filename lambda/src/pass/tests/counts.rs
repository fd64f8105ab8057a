//! Metrics of a pass: warnings are counted, and the repeated findings of a sweep are not.

use std::time::Duration;

use decamp_aws::Leaving;
use decamp_core::decide::{Lifecycle, Refusal};
use decamp_core::ids::InstanceId;

use super::{INSTANCE, Scripted, batch, invoke, settings, termination};

#[tokio::test(start_paused = true)]
async fn an_instance_that_waits_for_another_root_volume_is_counted_once_a_pass() {
    let fleet = Scripted::with(Lifecycle::ReplacingRootVolume);
    let passed = invoke(&fleet, &settings(&[]), &batch(&[&termination(INSTANCE)])).await;
    assert_eq!(passed.metrics.matches("\"Kind\":\"root-volume\"").count(), 1, "{}", passed.metrics);
    let fleet = Scripted::with(Lifecycle::Waiting);
    let passed = invoke(&fleet, &settings(&[]), &batch(&[&termination(INSTANCE)])).await;
    assert!(!passed.metrics.contains("root-volume"), "{}", passed.metrics);
}

#[tokio::test(start_paused = true)]
async fn sweeps_of_an_instance_in_another_tools_hook_count_neither_departures_nor_refusals() {
    let waits = Leaving { asg: "workers".into(), instance: InstanceId::from_number(1), lifecycle: Lifecycle::Waiting };
    let fleet = Scripted {
        leaving: Ok(vec![waits]),
        other_hook: Some("ecs-managed-draining-termination-hook"),
        answers: Err(Refusal::NoActiveAction),
        ..Scripted::with(Lifecycle::Waiting)
    };
    let mut metrics = String::new();
    for _ in 0..60 {
        let passed = invoke(&fleet, &settings(&[("DECAMP_HOOKS", "decamp")]), "{\"decamp\":\"sweep\"}").await;
        metrics.push_str(&passed.metrics);
        tokio::time::advance(Duration::from_secs(60)).await;
    }
    assert_eq!(metrics.matches("\"Sweeps\":1.0").count(), 60, "{metrics}");
    assert!(0 < fleet.heartbeats() && fleet.heartbeats() == fleet.acts.borrow().len(), "a write besides heartbeats");
    for counted in ["\"HeartbeatsRejected\":", "\"Departures\":"] {
        assert!(!metrics.contains(counted), "{counted} is in {metrics}");
    }
}
