//! Early warnings: counted and logged, and by policy answered by asking Auto Scaling for a replacement.

use decamp_core::decide::{Lifecycle, Refusal, Unseen};
use serde_json::json;

use super::{INSTANCE, Scripted, batch, invoke, settings};

fn rebalance() -> String {
    json!({
        "detail-type": "EC2 Instance Rebalance Recommendation", "source": "aws.ec2", "account": "123456789012",
        "region": "eu-west-1", "time": "2026-03-04T05:06:47Z", "resources": [], "detail": {"instance-id": INSTANCE},
    })
    .to_string()
}

fn in_service() -> Scripted {
    Scripted { group: Ok(Some("workers".into())), ..Scripted::with(Lifecycle::Staying("InService".into())) }
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_recommendation_is_only_counted_unless_the_settings_say_replace() {
    for (set, acts) in [("never", vec![]), ("scheduled", vec![]), ("rebalance", vec!["replace"]), ("both", vec!["replace"])] {
        let fleet = in_service();
        let passed = invoke(&fleet, &settings(&[("DECAMP_REPLACE", set)]), &batch(&[&rebalance()])).await;
        assert_eq!(*fleet.acts.borrow(), acts, "{set}");
        assert!(passed.back.is_empty() && passed.metrics.contains("rebalance"), "{}", passed.metrics);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_replaced_that_is_not_ours_or_not_in_service_or_only_observed() {
    let both = ("DECAMP_REPLACE", "both");
    for fleet in [
        Scripted { group: Ok(None), ..in_service() },
        Scripted { group: Ok(Some("payroll".into())), ..in_service() },
        Scripted { lifecycle: Lifecycle::Staying("Standby".into()), ..in_service() },
        Scripted { lifecycle: Lifecycle::Waiting, ..in_service() },
    ] {
        let passed = invoke(&fleet, &settings(&[both]), &batch(&[&rebalance()])).await;
        assert!(fleet.acts.borrow().is_empty() && passed.back.is_empty());
    }
    let fleet = in_service();
    let passed = invoke(&fleet, &settings(&[both, ("DECAMP_MODE", "observe")]), &batch(&[&rebalance()])).await;
    assert!(fleet.acts.borrow().is_empty() && passed.back.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_may_work_later_is_brought_back_and_what_is_denied_is_said_once() {
    for (replaces, back) in [(Refusal::Throttled, 1), (Refusal::Away("no answer".into()), 1), (Refusal::Denied("no".into()), 0)] {
        let fleet = Scripted { replaces: Err(replaces), ..in_service() };
        let passed = invoke(&fleet, &settings(&[("DECAMP_REPLACE", "both")]), &batch(&[&rebalance()])).await;
        assert_eq!(passed.back.len(), back);
    }
    let fleet = Scripted { group: Err(Unseen::Throttled), ..in_service() };
    let passed = invoke(&fleet, &settings(&[("DECAMP_REPLACE", "both")]), &batch(&[&rebalance()])).await;
    assert_eq!((passed.back.len(), fleet.acts.borrow().len()), (1, 0));
}
