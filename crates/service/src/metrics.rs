//! The metrics of the service, in Prometheus's conventions.

mod zeros;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder, core::Collector,
};

use super::Service;
use super::departures::lock;
use decamp_core::decide::{StopKind, System};
use decamp_core::describe::ComparisonCounts;

/// Buckets for the seconds of a departure: from a calm one without load balancers to the longest hook.
const DEPARTURE_SECONDS: &[f64] = &[5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14400.0];
/// Buckets for the seconds above the floor.
const OWN_SECONDS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Buckets for the writes of a departure.
const STEPS: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 50.0, 100.0];
/// Buckets for the seconds of a request.
const REQUEST_SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// The most groups with a name of their own as label. Names come from events, and each creates a row forever.
const MOST_GROUPS: usize = 200;
/// The label of all other groups.
const OTHERS: &str = "(others)";

/// All metrics of one service.
pub(super) struct Metrics {
    registry: Registry,
    groups: Mutex<BTreeSet<String>>,
    departures: IntCounterVec,
    departure_seconds: Histogram,
    above_floor: Histogram,
    deregistered: Histogram,
    steps: Histogram,
    failures: IntCounterVec,
    denied: IntCounterVec,
    events: IntCounterVec,
    rejected: IntCounterVec,
    replaced: IntCounter,
    refreshes: IntCounterVec,
    refreshed: GaugeVec,
    requests: IntCounterVec,
    request_seconds: Histogram,
    sweeps: IntCounter,
    in_progress: IntGauge,
    waiting: IntGauge,
    retained: IntGauge,
    calls: IntCounterVec,
    notifications: IntCounterVec,
    not_notified: IntCounterVec,
    stalls: IntCounterVec,
    hard_stops: IntCounterVec,
    compared: IntCounterVec,
    not_foreseen: IntCounterVec,
    spans: IntCounterVec,
    started: Gauge,
}

impl Metrics {
    /// Registers all metrics.
    pub(super) fn new(began: f64) -> Self {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let made = IntCounterVec::new(Opts::new(name, help), labels).expect("the name is one of Prometheus's");
            register(&registry, made)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            register(&registry, Histogram::with_opts(options).expect("the name is one of Prometheus's"))
        };
        let gauge =
            |name: &str, help: &str| register(&registry, IntGauge::new(name, help).expect("the name is one of Prometheus's"));
        let metrics = Self {
            departures: counters(
                "decamp_departures_total",
                "Departures that ended here, by group and outcome.",
                &["group", "outcome"],
            ),
            departure_seconds: histogram(
                "decamp_departure_seconds",
                "From the entry into the hook to the end of the departure.",
                DEPARTURE_SECONDS,
            ),
            above_floor: histogram(
                "decamp_departure_above_floor_seconds",
                "What of a departure was neither the load balancers' delay nor the stopping of allocations.",
                OWN_SECONDS,
            ),
            deregistered: histogram(
                "decamp_event_to_deregistered_seconds",
                "From the entry into the hook to the first accepted deregistration.",
                OWN_SECONDS,
            ),
            steps: histogram("decamp_departure_steps", "Accepted writes of a departure.", STEPS),
            failures: counters(
                "decamp_failures_total",
                "Writes that did not succeed and rows of looks that saw nothing, by system.",
                &["system"],
            ),
            denied: counters(
                "decamp_denied_total",
                "Calls that a departure needs and that were denied, by call; at the first occurrence and once an hour.",
                &["call"],
            ),
            events: counters(
                "decamp_events_total",
                "Things that were told, by the way they came in and by kind.",
                &["way", "kind"],
            ),
            rejected: counters("decamp_events_rejected_total", "Things told that can never be acted on, by why.", &["why"]),
            replaced: register(
                &registry,
                IntCounter::new("decamp_replacements_total", "Instances that Auto Scaling was asked to replace after a warning.")
                    .expect("the name is one of Prometheus's"),
            ),
            refreshes: counters(
                "decamp_refreshes_total",
                "Instance refreshes that were asked for here, by group and what came of it: started, adopted, failed.",
                &["group", "result"],
            ),
            refreshed: register(
                &registry,
                GaugeVec::new(
                    Opts::new("decamp_refresh_complete_ratio", "How much of a group's last instance refresh is done, 0 to 1."),
                    &["group"],
                )
                .expect("the name is one of Prometheus's"),
            ),
            requests: counters(
                "decamp_http_requests_total",
                "HTTP requests, by listener, route and status.",
                &["listener", "route", "status"],
            ),
            request_seconds: histogram(
                "decamp_http_request_seconds",
                "How long an HTTP request took to be answered.",
                REQUEST_SECONDS,
            ),
            sweeps: register(
                &registry,
                IntCounter::new("decamp_sweeps_total", "Sweeps that saw all groups.").expect("the name is one of Prometheus's"),
            ),
            in_progress: gauge("decamp_departures_in_hand", "Departures that this replica walks now."),
            waiting: gauge("decamp_instances_waiting", "Instances that the last sweep found in a terminating hook."),
            retained: gauge("decamp_instances_retained", "Instances that the last sweep found retained: kept, and billed."),
            calls: counters("decamp_aws_calls_total", "Calls of AWS, every attempt counted, by operation.", &["operation"]),
            notifications: counters(
                "decamp_notifications_total",
                "Notifications, by receiver, kind and what became of them.",
                &["receiver", "kind", "result"],
            ),
            not_notified: counters(
                "decamp_notification_failures_total",
                "Tries to notify that were not accepted, by receiver.",
                &["receiver"],
            ),
            stalls: counters("decamp_stalls_total", "Waits that lasted longer than they should, by reason.", &["reason"]),
            hard_stops: counters(
                "decamp_hard_stops_total",
                "Tasks that a departure stopped and that did not stop in order, by group and how.",
                &["group", "how"],
            ),
            compared: counters(
                "decamp_compared_total",
                "Findings that were compared with what a departure showed, by group and result.",
                &["group", "result"],
            ),
            not_foreseen: counters(
                "decamp_not_foreseen_total",
                "Losses that a departure showed and that a finding should have foreseen, by group and finding.",
                &["group", "finding"],
            ),
            spans: counters("decamp_spans_total", "Spans of traces, by what became of them.", &["result"]),
            started: register(
                &registry,
                Gauge::new("decamp_start_time_seconds", "When this replica started, in seconds since 1970.")
                    .expect("the name is one of Prometheus's"),
            ),
            registry: registry.clone(),
            groups: Mutex::default(),
        };
        metrics.started.set(began);
        metrics
    }

    /// The label of a group: its name, unless there are too many groups.
    fn group_label<'a>(&self, group: &'a str) -> &'a str {
        let mut groups = lock(&self.groups);
        if !groups.contains(group) {
            if MOST_GROUPS <= groups.len() {
                return OTHERS;
            }
            groups.insert(group.to_owned());
        }
        group
    }

    pub(super) fn departed(&self, group: &str, outcome: &str, steps: u32) {
        self.departures.with_label_values(&[self.group_label(group), outcome]).inc();
        self.steps.observe(f64::from(steps));
    }

    pub(super) fn took(&self, whole: Duration, above_floor: Option<Duration>) {
        self.departure_seconds.observe(whole.as_secs_f64());
        if let Some(above) = above_floor {
            self.above_floor.observe(above.as_secs_f64());
        }
    }

    pub(super) fn deregistered(&self, after: Duration) {
        self.deregistered.observe(after.as_secs_f64());
    }

    pub(super) fn failed(&self, system: System) {
        self.failures.with_label_values(&[system.word()]).inc();
    }

    pub(super) fn denied(&self, call: &str) {
        self.denied.with_label_values(&[call]).inc();
    }

    pub(super) fn event_received(&self, way: &str, kind: &str) {
        self.events.with_label_values(&[way, kind]).inc();
    }

    pub(super) fn replaced(&self) {
        self.replaced.inc();
    }

    pub(super) fn rejected(&self, why: &str) {
        self.rejected.with_label_values(&[why]).inc();
    }

    pub(super) fn refreshed(&self, group: &str, result: &str) {
        self.refreshes.with_label_values(&[self.group_label(group), result]).inc();
    }

    pub(super) fn refresh_progress(&self, group: &str, percentage: u32) {
        let group = self.group_label(group);
        // The groups that share a label have no common progress.
        if group != OTHERS {
            self.refreshed.with_label_values(&[group]).set(f64::from(percentage) / 100.0);
        }
    }

    /// Removes the row of a group whose refresh is no longer shown.
    pub(super) fn refresh_removed(&self, group: &str) {
        // An error means that there is no such row.
        self.refreshed.remove_label_values(&[group]).ok();
    }

    pub(super) fn notified(&self, receiver: &str, kind: &str, result: &str) {
        self.notifications.with_label_values(&[receiver, kind, result]).inc();
    }

    pub(super) fn notification_failed(&self, receiver: &str) {
        self.not_notified.with_label_values(&[receiver]).inc();
    }

    pub(super) fn stalled(&self, reason: &str) {
        self.stalls.with_label_values(&[reason]).inc();
    }

    pub(super) fn stopped_hard(&self, group: &str, how: StopKind, count: u32) {
        self.hard_stops.with_label_values(&[self.group_label(group), how.word()]).inc_by(count.into());
    }

    pub(super) fn compared(&self, group: &str, counts: &ComparisonCounts) {
        let group = self.group_label(group);
        for (result, count) in &counts.results {
            self.compared.with_label_values(&[group, result.word()]).inc_by((*count).into());
        }
        for (finding, count) in &counts.not_foreseen {
            self.not_foreseen.with_label_values(&[group, *finding]).inc_by((*count).into());
        }
    }

    pub(super) fn spans(&self, result: &str, count: usize) {
        self.spans.with_label_values(&[result]).inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// `route` is one of our routes, never a path that a client sent.
    pub(super) fn requested(&self, listener: &str, route: &str, status: u16, took: Duration) {
        let status = status.to_string();
        self.requests.with_label_values(&[listener, route, status.as_str()]).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    pub(super) fn swept(&self, waiting: usize, retained: usize) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.waiting.set(number(waiting));
        self.retained.set(number(retained));
        self.sweeps.inc();
    }

    /// All metrics as text for Prometheus.
    pub(super) fn text(&self, service: &Service) -> String {
        self.in_progress.set(i64::try_from(service.departures.count()).unwrap_or(i64::MAX));
        for (operation, count) in service.live.calls().each() {
            let counter = self.calls.with_label_values(&[operation]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        // Writing into memory does not fail, and all registered metrics can be encoded.
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect("each name is registered once");
    collector
}

#[cfg(test)]
mod tests;
