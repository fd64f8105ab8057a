//! Traces: one for each departure, with a span for each step, sent to a collector if one is configured.
//!
//! Trace ids are hashes of the departure, so that every worker adds to the same trace. Spans go into a bounded queue. Spans that
//! the collector does not accept are counted and dropped, and no departure waits for them.

mod export;
mod otlp;
mod otlp_client;
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

/// The most spans that wait to be sent: those of a few hundred departures.
const MOST_WAITING: usize = 10_000;

/// The queue of spans for the collector.
#[derive(Debug)]
pub(super) struct Traces {
    /// `None`: no collector is configured, or the service is shutting down.
    queue: Mutex<Option<mpsc::Sender<Span>>>,
}

/// A span as OpenTelemetry defines it.
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
    /// The number of events beyond those that are kept.
    dropped_events: usize,
    /// Why it failed.
    failed: Option<SpanError>,
}

/// Something within a span.
#[derive(Debug, Clone)]
struct Event {
    at: Time,
    /// The kind of event; there are few.
    name: &'static str,
    detail: String,
    failed: Option<SpanError>,
}

/// Why a span or an event failed: an error type and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SpanError {
    word: &'static str,
    why: String,
}

impl Traces {
    /// The queue, and its export if a collector is configured.
    pub(super) fn new(settings: &Serve, live: &Live) -> (Self, Option<Export>) {
        let Some(traces) = &settings.traces else { return (Self { queue: Mutex::new(None) }, None) };
        let (sender, spans) = mpsc::channel(MOST_WAITING);
        (Self { queue: Mutex::new(Some(sender)) }, Some(Export::new(traces, live, spans)))
    }

    /// Begins the trace of a departure, if there are traces.
    pub(super) fn begin(&self, departure: &Departure) -> Option<Trace> {
        lock(&self.queue).is_some().then(|| Trace::of(departure))
    }

    /// The id of the trace of a departure, if there are traces.
    pub(super) fn id_of(&self, departure: &Departure) -> Option<String> {
        self.begin(departure).map(|trace| trace.id_hex())
    }

    /// Queues spans if there is room. Never waits.
    pub(super) fn send(&self, service: &Service, spans: Vec<Span>) {
        let queue = lock(&self.queue);
        let Some(queue) = queue.as_ref() else { return };
        let dropped = spans.into_iter().filter_map(|span| queue.try_send(span).err()).count();
        if 0 < dropped {
            service.metrics.spans("dropped", dropped);
        }
    }

    /// Closes the queue.
    pub(super) fn finish(&self) {
        lock(&self.queue).take();
    }
}
