//! Rows that are there at 0 before anything was counted. To Prometheus a counter that first appears as 1 has not increased: whoever
//! draws increases, or is alerted by them, would miss the first of everything, and a replica is as young as the node that it runs on.

use strum::VariantNames;

use super::Numbers;
use crate::notify;
use crate::runs::Other;
use decamp_aws::{Caller, OPERATIONS};
use decamp_config::{Serve, Settings, TokenSource};
use decamp_core::decide::{Outcome, Reason, System};
use decamp_core::denials::Denial;
use decamp_events::{Rejection, Told};

impl Numbers {
    /// Makes the rows that settings let us expect.
    pub(crate) fn expect(&self, settings: &Settings) {
        let each = |rows: &prometheus::IntCounterVec, words: &mut dyn Iterator<Item = &str>| {
            words.for_each(|word| drop(rows.with_label_values(&[word])));
        };
        each(&self.failures, &mut System::VARIANTS.iter().copied());
        each(&self.denied, &mut Denial::CALLS.into_iter());
        each(&self.stalls, &mut Reason::WORDS.iter().copied());
        each(&self.rejected, &mut Rejection::words().chain(["replacement"]));
        let called = OPERATIONS.iter().filter(|operation| operation.callers.contains(&Caller::Serve));
        each(&self.calls, &mut called.map(|operation| operation.name));
        settings.allowed.named_groups().iter().for_each(|group| self.expect_group(group));
        self.expect_told(&settings.serve);
        self.expect_refreshes(&settings.serve);
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

    /// Makes the rows of a group that may end in many ways: when its first departure begins, if it was not known before.
    pub(crate) fn expect_group(&self, group: &str) {
        let group = self.counted_as(group);
        for outcome in Outcome::WORDS {
            self.departures.with_label_values(&[group, outcome]);
        }
    }

    fn expect_told(&self, serve: &Serve) {
        let ways = [
            ("event", serve.events_key != TokenSource::None),
            ("queue", !serve.queues.is_empty()),
            ("topic", !serve.topics.is_empty()),
        ];
        for (way, _) in ways.iter().filter(|(_, open)| *open) {
            Told::words().for_each(|kind| drop(self.events.with_label_values(&[way, kind])));
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

    fn expect_refreshes(&self, serve: &Serve) {
        for group in serve.refreshed_groups() {
            let group = self.counted_as(group);
            for result in ["started", "adopted", "failed"] {
                self.refreshes.with_label_values(&[group, result]);
            }
        }
    }
}
