//! Compares the dashboard and the alerts with the metrics: each family and label they use exists, and the dashboard draws each
//! family.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;
use decamp_core::decide::Match;

/// Every family of the registry with its labels, after each was counted once.
fn counted() -> BTreeMap<String, BTreeSet<String>> {
    let metrics = Metrics::new(1.0);
    let second = Duration::from_secs(1);
    metrics.departed("web", "departed", 3);
    metrics.took(second, Some(second));
    metrics.deregistered(second);
    metrics.failed(System::Nomad);
    metrics.event_received("event", "departure");
    metrics.rejected("foreign");
    metrics.requested("admin", "/", 200, second);
    metrics.swept(1, 1);
    metrics.notified("ops", "departure.ended", "accepted");
    metrics.notification_failed("ops");
    metrics.stalled("cannot-see");
    metrics.stopped_hard("web", StopKind::Deaf, 1);
    let counts = ComparisonCounts { results: vec![(Match::ForeseenAndSeen, 1)], not_foreseen: vec![("disk-cut", 1)] };
    metrics.compared("web", &counts);
    metrics.spans("sent", 1);
    metrics.refreshed("web", "started");
    metrics.refresh_progress("web", 50);
    metrics.calls.with_label_values(&["DescribeAutoScalingGroups"]).inc();
    let families = metrics.registry.gather();
    let labels = |family: &prometheus::proto::MetricFamily| {
        let metrics = family.get_metric().iter().flat_map(|metric| metric.get_label());
        metrics.map(|label| label.name().to_owned()).collect()
    };
    families.iter().map(|family| (family.name().to_owned(), labels(family))).collect()
}

const ALERTS: &str = include_str!("../../../../infra/serve/alerts.yaml");

/// Every expression of the alerts, each on a line of its own.
fn alerts() -> Vec<String> {
    ALERTS.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(str::to_owned).collect()
}

/// Every expression of the dashboard.
fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(include_str!("../../../../infra/serve/grafana.json")).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("there are panels").clone();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    targets.map(|target| target["expr"].as_str().expect("an expression").to_owned()).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

/// The families that expressions use. Asserts that each exists, with the labels that they use.
fn asked_for(expressions: &[String], counted: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut asked = BTreeSet::new();
    for expression in expressions {
        let names: Vec<&str> = words(expression).filter(|word| word.starts_with("decamp_")).collect();
        assert!(!names.is_empty(), "{expression} asks for nothing of ours");
        for name in names {
            let family = if counted.contains_key(name) { name } else { name.trim_end_matches("_bucket") };
            let labels = counted.get(family).unwrap_or_else(|| panic!("{name} is not counted: {expression}"));
            let by = expression.split_once("by (").and_then(|(_, rest)| rest.split_once(')')).map_or("", |(by, _)| by);
            for label in words(by).filter(|label| *label != "le") {
                assert!(labels.contains(label), "{name} has no label {label}: {expression}");
            }
            asked.insert(family.to_owned());
        }
    }
    asked
}

#[test]
fn the_dashboard_uses_only_existing_metrics_and_leaves_none_out() {
    let (counted, expressions) = (counted(), expressions());
    assert!(15 < expressions.len() && 15 < counted.len(), "{expressions:#?} {counted:#?}");
    let drawn = asked_for(&expressions, &counted);
    let left_out: Vec<&String> = counted.keys().filter(|family| !drawn.contains(*family)).collect();
    assert!(left_out.is_empty(), "the dashboard does not draw {left_out:?}");
}

#[test]
fn the_alerts_use_existing_metrics_and_the_outcomes_that_the_module_has_alarms_for() {
    let alerts = alerts();
    assert_eq!(asked_for(&alerts, &counted()).len(), alerts.len(), "each uses a different family");
    let outcomes = alerts[0].split_once("outcome=~\"").and_then(|(_, rest)| rest.split_once('"')).expect("outcomes").0;
    let listed = format!("optional(list(string), [\"{}\"])", outcomes.replace('|', "\", \""));
    assert!(include_str!("../../../../infra/variables.tf").contains(&listed), "{listed}");
    let known = |outcome: &str| decamp_core::decide::Outcome::WORDS.contains(&outcome);
    assert!(outcomes.split('|').all(known), "{outcomes}");
}

#[test]
fn groups_beyond_the_limit_share_a_label() {
    let metrics = Metrics::new(1.0);
    for number in 0..2 * MOST_GROUPS {
        let group = format!("group-{number}");
        metrics.departed(&group, "not-ours", 0);
        metrics.refreshed(&group, "started");
        metrics.refresh_progress(&group, 50);
    }
    let rows = |name: &str| {
        let families = metrics.registry.gather();
        let family = families.iter().find(|family| family.name() == name).expect("it is counted");
        family.get_metric().len()
    };
    assert_eq!(rows("decamp_departures_total"), MOST_GROUPS + 1);
    assert_eq!(rows("decamp_refreshes_total"), MOST_GROUPS + 1);
    assert_eq!(rows("decamp_refresh_complete_ratio"), MOST_GROUPS);
    let others = metrics.departures.with_label_values(&[OTHERS, "not-ours"]).get();
    assert_eq!(others, u64::try_from(MOST_GROUPS).expect("it is small"));
    metrics.departed("group-0", "not-ours", 0);
    assert_eq!(metrics.departures.with_label_values(&["group-0", "not-ours"]).get(), 2, "a group with its own label keeps it");
}
