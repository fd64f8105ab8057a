//! What `decamp check` reports of warm-ups, health checks and the preferences of refreshes.

use std::time::Duration;

use super::{Calm, Verdict, calm, printed, reported};
use decamp_aws::HealthCheck;
use decamp_core::decide::Unseen;
use decamp_core::refresh::Preferences;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Three checks 10 s apart.
fn checked(calm: &mut Calm) {
    let check = HealthCheck { interval: secs(10), healthy_threshold: 3, unhealthy_threshold: 2, slow_start: Duration::ZERO };
    calm.replacing.checks.push(("front".into(), check));
}

fn last(calm: &mut Calm, change: impl FnOnce(&mut Preferences)) {
    let mut preferences = Preferences::default();
    change(&mut preferences);
    calm.replacing.preferences = Ok(Some(preferences));
}

#[test]
fn a_new_instance_that_counts_before_it_takes_traffic_is_named() {
    let report = calm().change(checked).change(|c| c.roster.warm_up = Some(secs(29))).report();
    assert_eq!(reported(&report), (Verdict::Warning, vec!["DefaultInstanceWarmup 29s, shorter than target group front needs"]));
    assert!(report.notices[0].line.starts_with("default_instance_warmup = 30"), "{}", report.notices[0].line);
    let enough = calm().change(checked).change(|c| c.roster.warm_up = Some(secs(30))).report();
    assert_eq!(reported(&enough), (Verdict::Works, vec![]));
    let slow = calm().change(checked).change(|c| {
        c.roster.warm_up = Some(secs(30));
        c.replacing.checks[0].1.slow_start = secs(60);
    });
    assert_eq!(reported(&slow.report()).0, Verdict::Warning, "its share rises for another minute");
}

#[test]
fn the_refreshs_own_warm_up_overrides_the_groups_and_the_grace_period_is_the_last_resort() {
    let own = calm().change(checked).change(|c| {
        c.roster.warm_up = Some(secs(300));
        last(c, |preferences| preferences.warm_up = Some(secs(0)));
    });
    assert_eq!(reported(&own.report()).1, ["InstanceWarmup of its last refresh 0s, shorter than target group front needs"]);
    let grace = calm().change(checked).change(|c| c.roster.grace = Some(secs(0))).report();
    let value = "no warm-up, and HealthCheckGracePeriod 0s, shorter than target group front needs";
    assert_eq!(reported(&grace), (Verdict::Works, vec![value]), "a hint: no refresh may ever replace its instances");
    let unknown = calm().change(checked).change(|c| c.replacing.preferences = Err(Unseen::Denied("no".into()))).report();
    assert_eq!(reported(&unknown), (Verdict::Works, vec![]), "a departure does not need it");
    assert!(printed(&unknown).contains("when a refresh counts a new instance is unknown"), "{}", printed(&unknown));
}

#[test]
fn an_old_instance_that_leaves_before_the_new_one_is_healthy_is_named() {
    let report = calm().change(|c| last(c, |preferences| preferences.min_healthy = Some(90))).report();
    assert_eq!(reported(&report), (Verdict::Warning, vec!["MinHealthyPercentage of its last refresh 90"]));
    let all = calm().change(|c| last(c, |preferences| preferences.min_healthy = Some(100))).report();
    assert_eq!(reported(&all), (Verdict::Works, vec![]));
    let by_policy = calm().change(|c| last(c, |_| ())).report();
    assert_eq!(reported(&by_policy), (Verdict::Works, vec![]), "the maintenance policy keeps 100 %");
    let by_default = calm().change(|c| {
        c.roster.healthy_percentages = None;
        last(c, |_| ());
    });
    assert_eq!(reported(&by_default.report()).1, ["MinHealthyPercentage, AWS's default, of its last refresh 90"]);
}
