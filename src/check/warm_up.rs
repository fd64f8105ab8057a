//! Whether a refresh counts a new instance before it takes traffic, or takes an old one out before the new one is healthy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use decamp_aws::{HealthCheck, LoadBalancers};
use decamp_core::decide::{Departure, Layer, Snapshot, Unseen};
use decamp_core::ids::TargetGroupArn;
use decamp_core::refresh::Preferences;
use decamp_core::time::plain;
use futures_util::future::join_all;

use super::Inspection;
use super::facts::Fact;
use super::rules::{Notice, Verdict, notice};

/// The health checks of the target groups, and the preferences of the group's last refresh.
pub(crate) struct Replacing {
    pub(super) checks: Vec<(Arc<str>, HealthCheck)>,
    /// `None`: AWS remembers no refresh.
    pub(super) preferences: Result<Option<Preferences>, Unseen>,
}

/// Reads the health checks of every target group that a look showed. What cannot be read is left out: no departure needs it.
pub(super) async fn health_checks(balancers: &LoadBalancers, looks: &[(Departure, Snapshot)]) -> Vec<(Arc<str>, HealthCheck)> {
    let seen = looks.iter().flat_map(|(_, seen)| &seen.balancers).filter(|b| b.sight.last().is_some_and(|g| g.targets.is_some()));
    let arns: BTreeMap<String, &TargetGroupArn> = seen.map(|balancer| (balancer.arn.to_string(), &balancer.arn)).collect();
    let read = join_all(arns.into_values().map(|arn| async move {
        let check = balancers.health_check(arn).await.ok().flatten()?;
        Some((Arc::from(arn.name()), check))
    }));
    read.await.into_iter().flatten().collect()
}

/// How long a refresh waits before it counts a new instance: by its own preference, the group's default warm-up, or the grace period
/// (AWS: "Set the default instance warmup for an Auto Scaling group"). With the name of the one that applies, and how severe it is if it
/// is too short: a group whose instances no refresh replaces needs no warm-up.
fn warm_up(read: &Inspection<'_>) -> Option<(Duration, &'static str, Verdict)> {
    let preferred = read.replacing.preferences.as_ref().ok().and_then(Option::as_ref).and_then(|preferences| preferences.warm_up);
    let of_refresh = preferred.map(|span| (span, "InstanceWarmup of its last refresh", Verdict::Warning));
    let of_group = read.roster.warm_up.map(|span| (span, "DefaultInstanceWarmup", Verdict::Warning));
    let grace = read.roster.grace.map(|span| (span, "no warm-up, and HealthCheckGracePeriod", Verdict::Hint));
    of_refresh.or(of_group).or(grace)
}

/// The least share of instances that a refresh keeps healthy, in per cent, and where that is set. The maintenance policy has a notice of
/// its own.
fn least_healthy(read: &Inspection<'_>) -> Option<(u32, &'static str)> {
    let preferences = read.replacing.preferences.as_ref().ok()?.as_ref();
    match (preferences.and_then(|preferences| preferences.min_healthy), read.roster.healthy_percentages) {
        (Some(least), _) => Some((least, "MinHealthyPercentage of its last refresh")),
        // The policy decides, and its notice names it.
        (None, Some(_)) => None,
        // AWS's default. A group that was never refreshed may be refreshed with other preferences.
        (None, None) => preferences.map(|_| (90, "MinHealthyPercentage, AWS's default, of its last refresh")),
    }
}

/// The notices.
pub(super) fn warm_up_notices(read: &Inspection<'_>) -> Vec<Notice> {
    let mut notices = Vec::new();
    if let Some((warm_up, whose, verdict)) = warm_up(read) {
        for (name, check) in read.replacing.checks.iter().filter(|(_, check)| warm_up < check.takes_traffic_after()) {
            let needed = check.takes_traffic_after();
            let slow =
                if check.slow_start.is_zero() { String::new() } else { format!(" and slow start {}", plain(check.slow_start)) };
            let value = format!("{whose} {}, shorter than target group {name} needs", plain(warm_up));
            let why = format!(
                "{} health checks {} apart{slow} take {} until a new instance takes its share of requests, and a refresh counts it, and \
                 takes the next old one out, before that",
                check.healthy_threshold,
                plain(check.interval),
                plain(needed)
            );
            // A node and its ingress need time before the first check passes.
            let line =
                format!("default_instance_warmup = {} # and the time in which a node starts its ingress", needed.as_secs());
            let needed = format!("{} at least", plain(needed));
            let texts = [&*value, &needed, &why, &line];
            notices.push(notice(verdict, Layer::Group, &read.asg, texts));
        }
    }
    if let Some((least, whose)) = least_healthy(read).filter(|(least, _)| *least < 100) {
        let why = "old instances leave before the new ones are healthy: the rest serves their share meanwhile";
        let line = "preferences { min_healthy_percentage = 100, max_healthy_percentage = 150 }";
        notices.push(notice(Verdict::Warning, Layer::Group, &read.asg, [&format!("{whose} {least}"), "100", why, line]));
    }
    notices
}

/// The facts.
pub(super) fn warm_up_facts(read: &Inspection<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (name, check) in &read.replacing.checks {
        let slow = if check.slow_start.is_zero() { String::new() } else { format!(", slow start {}", plain(check.slow_start)) };
        let text = format!(
            "a new target is healthy after {} checks {} apart, an ill one unhealthy after {}{slow}",
            check.healthy_threshold,
            plain(check.interval),
            check.unhealthy_threshold
        );
        facts.push(Fact { layer: Layer::LoadBalancer, object: name.to_string(), text });
    }
    let text = match (warm_up(read), &read.replacing.preferences) {
        (Some((span, whose, _)), _) => format!("a refresh counts a new instance after {} ({whose})", plain(span)),
        (None, Err(why)) => format!("when a refresh counts a new instance is unknown: {why}"),
        (None, Ok(_)) => return facts,
    };
    facts.push(Fact { layer: Layer::Group, object: read.asg.to_string(), text });
    facts
}
