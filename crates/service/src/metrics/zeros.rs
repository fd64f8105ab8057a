//! Creates rows at 0 before anything is counted. To Prometheus, a counter that first appears as 1 has not increased, so graphs and
//! alerts of increases would miss the first event. Replicas are often young, because they restart with their nodes.

use strum::VariantNames;

use super::Metrics;
use crate::notify;
use crate::terraform_run::Other;
use decamp_aws::{Caller, OPERATIONS};
use decamp_config::{Serve, Settings, TokenSource};
use decamp_core::decide::{Compared, Loss, Match, Outcome, Reason, StopKind, System};
use decamp_core::denials::Denial;
use decamp_events::{EventContent, Rejection};

impl Metrics {
    /// Creates the rows that the settings make likely.
    pub(crate) fn create_rows(&self, settings: &Settings) {
        let each = |rows: &prometheus::IntCounterVec, words: &mut dyn Iterator<Item = &str>| {
            words.for_each(|word| drop(rows.with_label_values(&[word])));
        };
        each(&self.failures, &mut System::VARIANTS.iter().copied());
        each(&self.denied, &mut Denial::CALLS.into_iter());
        each(&self.stalls, &mut Reason::WORDS.iter().copied());
        each(&self.rejected, &mut Rejection::words().chain(["replacement"]));
        let called = OPERATIONS.iter().filter(|operation| operation.callers.contains(&Caller::Serve));
        each(&self.calls, &mut called.map(|operation| operation.name));
        settings.allowed.named_groups().iter().for_each(|group| self.create_group_rows(group));
        self.create_event_rows(&settings.serve);
        self.create_refresh_rows(&settings.serve);
        for name in settings.serve.notify.keys() {
            self.not_notified.with_label_values(&[name]);
            for (kind, result) in notify::KINDS.iter().flat_map(|kind| notify::RESULTS.map(|result| (kind, result))) {
                self.notifications.with_label_values(&[&**name, *kind, result]);
            }
        }
        if settings.serve.traces.is_some() {
            each(&self.spans, &mut ["sent", "dropped"].into_iter());
        }
    }

    /// Creates a row for each outcome of a group, for each way in which its tasks may stop, and for each result of a comparison. An unknown
    /// group gets its rows when its first departure begins.
    pub(crate) fn create_group_rows(&self, group: &str) {
        let group = self.group_label(group);
        for outcome in Outcome::WORDS {
            self.departures.with_label_values(&[group, outcome]);
        }
        for how in StopKind::CUT {
            self.hard_stops.with_label_values(&[group, how.word()]);
        }
        for result in Match::WORDS {
            self.compared.with_label_values(&[group, result]);
        }
        for finding in Loss::WORDS.iter().chain([&Compared::ERRORS]) {
            self.not_foreseen.with_label_values(&[group, finding]);
        }
    }

    fn create_event_rows(&self, serve: &Serve) {
        let ways = [
            ("event", serve.events_key != TokenSource::None),
            ("queue", !serve.queues.is_empty()),
            ("topic", !serve.topics.is_empty()),
        ];
        for (way, _) in ways.iter().filter(|(_, is_open)| *is_open) {
            EventContent::words().for_each(|kind| drop(self.events.with_label_values(&[way, kind])));
        }
        let hooks = if serve.signed.is_empty() { &[][..] } else { &["look", "refresh"] };
        for kind in hooks {
            self.events.with_label_values(&["webhook", kind]);
        }
        if serve.terraform.is_some() {
            for kind in ["applied-run", "verification"].iter().chain(Other::WORDS) {
                self.events.with_label_values(&["terraform", kind]);
            }
        }
    }

    fn create_refresh_rows(&self, serve: &Serve) {
        for group in serve.refreshed_groups() {
            let group = self.group_label(group);
            for result in ["started", "adopted", "failed"] {
                self.refreshes.with_label_values(&[group, result]);
            }
        }
    }
}
