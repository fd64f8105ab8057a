//! Early warnings: they are counted and logged, and if the settings say so, Auto Scaling is asked for a replacement.

use std::time::Duration;

use decamp_core::decide::{Lifecycle, Refusal, Unseen};
use decamp_core::time::Time;
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
async fn no_instance_is_replaced_that_is_not_allowed_or_not_in_service_or_while_decamp_observes() {
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
async fn a_warning_is_handed_back_after_a_failure_that_may_pass_and_not_after_a_denial() {
    for (replaces, back) in [(Refusal::Throttled, 1), (Refusal::Away("no answer".into()), 1), (Refusal::Denied("no".into()), 0)] {
        let fleet = Scripted { replaces: Err(replaces), ..in_service() };
        let passed = invoke(&fleet, &settings(&[("DECAMP_REPLACE", "both")]), &batch(&[&rebalance()])).await;
        assert_eq!(passed.back.len(), back);
    }
    let fleet = Scripted { group: Err(Unseen::Throttled), ..in_service() };
    let passed = invoke(&fleet, &settings(&[("DECAMP_REPLACE", "both")]), &batch(&[&rebalance()])).await;
    assert_eq!((passed.back.len(), fleet.acts.borrow().len()), (1, 0));
}

/// A retirement that begins at this time.
fn retirement(begins: &str) -> String {
    json!({
        "detail-type": "AWS Health Event", "source": "aws.health", "account": "123456789012", "region": "eu-west-1",
        "time": "2026-03-04T05:06:47Z", "resources": [], "detail": {
            "service": "EC2", "eventTypeCategory": "scheduledChange", "statusCode": "upcoming", "startTime": begins,
            "affectedEntities": [{"entityValue": format!("arn:aws:ec2:eu-west-1:123456789012:instance/{INSTANCE}"), "status": "PENDING"}],
        },
    })
    .to_string()
}

/// A batch with one message that was received this often and sent at this time.
fn received(batch: &str, receives: u32, sent: &str) -> String {
    let mut batch: serde_json::Value = serde_json::from_str(batch).expect("JSON");
    let sent = Time::read(sent).expect("a time").0;
    batch["Records"][0]["attributes"] =
        json!({"ApproximateReceiveCount": receives.to_string(), "SentTimestamp": sent.to_string()});
    batch.to_string()
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_change_waits_on_its_queue_until_a_day_before() {
    let scheduled = [("DECAMP_REPLACE", "scheduled")];
    let far = "Wed, 18 Mar 2026 05:00:00 GMT";
    let pass = async |begins: &str, receives, sent: &str| {
        let fleet = in_service();
        let event = received(&batch(&[&retirement(begins)]), receives, sent);
        let passed = invoke(&fleet, &settings(&scheduled), &event).await;
        let hidden = fleet.hidden.borrow().first().map(|(_, span)| *span);
        (fleet.acts.borrow().clone(), passed.back.len(), hidden)
    };
    let just_now = "2026-03-04T05:06:47Z";
    assert_eq!(pass(far, 1, just_now).await, (vec![], 1, Some(Duration::from_secs(5))), "two weeks ahead");
    assert_eq!(pass(far, 3, just_now).await, (vec![], 1, Some(Duration::from_hours(11))), "alarms no longer count its age");
    assert_eq!(pass(far, 9, "2026-02-28T17:00:00Z").await, (vec!["replace"], 0, None), "its message soon expires");
    assert_eq!(pass("Thu, 5 Mar 2026 05:00:00 GMT", 1, just_now).await, (vec!["replace"], 0, None), "tomorrow");
    let three_hours_early = pass("Thu, 5 Mar 2026 08:07:07 GMT", 3, just_now).await;
    assert_eq!(three_hours_early, (vec![], 1, Some(Duration::from_hours(3))));
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_nothing_is_replaced_before_the_time_of_a_scheduled_change() {
    let fleet = in_service();
    let passed =
        invoke(&fleet, &settings(&[("DECAMP_REPLACE", "scheduled")]), &retirement("Wed, 18 Mar 2026 05:00:00 GMT")).await;
    assert!(fleet.acts.borrow().is_empty() && passed.back.is_empty());
}
