//! Traces: one of each departure, with a span for each step, sent to a collector if one is set.
//!
//! The ids are hashes of the departure, so that whoever goes on with it adds to the same trace. Spans go into a bounded queue; what a
//! collector does not take is counted and dropped, and nothing waits for it.

mod export;
mod otlp;
mod trace;

use std::sync::Mutex;

use tokio::sync::mpsc;

pub(super) use self::export::{Export, export};
pub(super) use self::trace::Trace;
use super::Service;
use super::departures::lock;
use decamp_config::Serve;
use decamp_core::decide::Departure;
use decamp_core::time::Time;
use decamp_live::Live;

/// Spans that wait to be sent: those of a few hundred departures.
const MOST_WAITING: usize = 10_000;

/// Where spans go.
#[derive(Debug)]
pub(super) struct Traces {
    /// `None`: nowhere, or no more.
    queue: Mutex<Option<mpsc::Sender<Span>>>,
}

/// A stretch of time, and what happened in it.
#[derive(Debug, Clone)]
pub(super) struct Span {
    trace: [u8; 16],
    id: [u8; 8],
    parent: Option<[u8; 8]>,
    name: &'static str,
    from: Time,
    to: Time,
    attributes: Vec<(&'static str, String)>,
    events: Vec<Event>,
    /// Events beyond those that are kept.
    dropped_events: usize,
    /// Why it did not succeed.
    failed: Option<Failure>,
}

/// Something within a span.
#[derive(Debug, Clone)]
struct Event {
    at: Time,
    /// The word, of which there are few.
    name: &'static str,
    detail: String,
    failed: Option<Failure>,
}

/// Why something did not succeed: the word, and in words.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failure {
    word: &'static str,
    why: String,
}

impl Traces {
    /// The collector that is set, if one is.
    pub(super) fn new(settings: &Serve, live: &Live) -> (Self, Option<Export>) {
        let Some(traces) = &settings.traces else { return (Self { queue: Mutex::new(None) }, None) };
        let (sender, spans) = mpsc::channel(MOST_WAITING);
        (Self { queue: Mutex::new(Some(sender)) }, Some(Export::new(traces, live, spans)))
    }

    /// The trace of a departure that is walked from now on, if anybody wants it.
    pub(super) fn begin(&self, departure: &Departure) -> Option<Trace> {
        lock(&self.queue).is_some().then(|| Trace::of(departure))
    }

    /// The id of the trace of a departure, if there are traces.
    pub(super) fn id_of(&self, departure: &Departure) -> Option<String> {
        self.begin(departure).map(|trace| trace.digits())
    }

    /// Puts spans in line, if there is room. Never waits.
    pub(super) fn send(&self, service: &Service, spans: Vec<Span>) {
        let queue = lock(&self.queue);
        let Some(queue) = queue.as_ref() else { return };
        let dropped = spans.into_iter().filter_map(|span| queue.try_send(span).err()).count();
        if 0 < dropped {
            service.numbers.spans("dropped", dropped);
        }
    }

    /// Takes no more.
    pub(super) fn finish(&self) {
        lock(&self.queue).take();
    }
}
