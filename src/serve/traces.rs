//! Traces: one of each departure, with a span for each step, sent to a collector if one is set.
//!
//! The ids are hashes of the departure, so that whoever goes on with it adds to the same trace. Spans go into a bounded queue; what a
//! collector does not take is counted and dropped, and nothing waits for it.

mod otlp;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, timeout_at};
use tracing::{debug, warn};

use super::Service;
use super::departures::lock;
use super::notify::Blocker;
use crate::decide::{Action, Decision, Departure, Effect, Refusal, Snapshot};
use crate::live::Live;
use crate::live::collector::Collector;
use crate::settings::Serve;
use crate::telling;
use crate::time::Time;

/// Spans that wait to be sent: those of a few hundred departures.
const MOST_WAITING: usize = 10_000;
/// Spans of one request.
const MOST_AT_ONCE: usize = 512;
/// How long spans are gathered for one request.
const GATHER: Duration = Duration::from_secs(1);
/// Tries of one request; after that its spans are dropped.
const TRIES: u32 = 3;
/// Writes and looks of one step.
const MOST_EVENTS: usize = 64;

/// Where spans go.
#[derive(Debug)]
pub(super) struct Traces {
    /// `None`: nowhere, or no more.
    queue: Mutex<Option<mpsc::Sender<Span>>>,
}

/// The other end of the queue.
pub(super) struct Export {
    collector: Collector,
    spans: mpsc::Receiver<Span>,
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
    /// Why it did not succeed.
    failed: Option<String>,
}

/// Something within a span.
#[derive(Debug, Clone)]
struct Event {
    at: Time,
    name: String,
    failed: Option<String>,
}

impl Traces {
    /// The collector that is set, if one is.
    pub(super) fn new(settings: &Serve, live: &Live) -> (Self, Option<Export>) {
        let Some(traces) = &settings.traces else { return (Self { queue: Mutex::new(None) }, None) };
        let (sender, spans) = mpsc::channel(MOST_WAITING);
        let export = Export { collector: Collector::new(traces, &live.store()), spans };
        (Self { queue: Mutex::new(Some(sender)) }, Some(export))
    }

    /// The trace of a departure that is walked from now on, if anybody wants it.
    pub(super) fn begin(&self, departure: &Departure) -> Option<Trace> {
        lock(&self.queue).is_some().then(|| Trace::of(departure))
    }

    fn send(&self, service: &Service, span: Span) {
        let full = lock(&self.queue).as_ref().is_some_and(|queue| queue.try_send(span).is_err());
        if full {
            service.numbers.spans("dropped", 1);
        }
    }

    /// Takes no more.
    pub(super) fn finish(&self) {
        lock(&self.queue).take();
    }
}

/// The trace of one departure, as far as this replica walks it.
#[derive(Debug)]
pub(super) struct Trace {
    id: [u8; 16],
    whole: [u8; 8],
    step: Option<Span>,
    random: SystemRandom,
}

impl Trace {
    fn of(departure: &Departure) -> Self {
        let hash = Sha256::digest([b"trace of ", departure.mark().as_bytes()].concat());
        let (mut id, mut whole) = ([0; 16], [0; 8]);
        id.copy_from_slice(&hash[..16]);
        whole.copy_from_slice(&hash[16..24]);
        Self { id, whole, step: None, random: SystemRandom::new() }
    }

    /// A decision begins a step, and ends the one before.
    pub(super) fn decided(&mut self, service: &Service, departure: &Departure, decision: &Decision, seen: &Snapshot, now: Time) {
        let mut id = [0; 8];
        // Without randomness ids repeat, and nothing but the picture suffers.
        self.random.fill(&mut id).ok();
        let mut attributes = vec![
            ("instance.id", departure.instance.to_string()),
            ("asg.name", departure.asg.to_string()),
            ("action", telling::title(&decision.action, now)),
            ("reason", decision.reason.word().to_owned()),
            ("because", telling::because(decision, seen)),
        ];
        let mut events = Vec::new();
        match &decision.action {
            Action::Wait { .. } => {
                let Blocker { kind, name, id } = Blocker::of(&decision.reason, departure, seen);
                attributes.extend([("blocked_by.kind", kind.to_owned()), ("blocked_by.name", name)]);
                attributes.extend(id.map(|id| ("blocked_by.id", id)));
            }
            Action::Look(parts) => {
                let look = |part| Event { at: now, name: format!("look at {}", telling::part(part)), failed: None };
                events = parts.iter().map(look).collect();
            }
            Action::Do(_) | Action::End(_) => {}
        }
        let (trace, parent, name) = (self.id, Some(self.whole), telling::kind(&decision.action));
        let step = Span { trace, id, parent, name, from: now, to: now, attributes, events, failed: None };
        self.close(service, now);
        self.step = Some(step);
    }

    /// A write was answered within the step.
    pub(super) fn wrote(&mut self, effect: &Effect, answer: &Result<(), Refusal>, now: Time) {
        let Some(step) = self.step.as_mut().filter(|step| step.events.len() < MOST_EVENTS) else { return };
        let failed = answer.as_ref().err().map(ToString::to_string);
        step.failed = step.failed.take().or_else(|| failed.clone());
        step.events.push(Event { at: now, name: telling::effect_title(effect), failed });
    }

    /// The step that is under way ends.
    pub(super) fn close(&mut self, service: &Service, now: Time) {
        if let Some(step) = self.step.take() {
            service.traces.send(service, Span { to: now, ..step });
        }
    }

    /// The departure is over: the span around all its steps.
    pub(super) fn ended(&mut self, service: &Service, departure: &Departure, outcome: &'static str, began: Time, now: Time) {
        let attributes = vec![
            ("instance.id", departure.instance.to_string()),
            ("asg.name", departure.asg.to_string()),
            ("outcome", outcome.to_owned()),
        ];
        let failed = (outcome == "timed-out" || outcome == "refused").then(|| outcome.to_owned());
        let (trace, id, name) = (self.id, self.whole, "departure");
        let whole = Span { trace, id, parent: None, name, from: began, to: now, attributes, events: Vec::new(), failed };
        service.traces.send(service, whole);
    }
}

/// Sends what comes until there is no more.
pub(super) fn export(service: &Arc<Service>, export: Option<Export>) -> Option<JoinHandle<()>> {
    let Export { collector, mut spans } = export?;
    let service = Arc::clone(service);
    Some(spawn_local(async move {
        let mut batch = Vec::new();
        while 0 < spans.recv_many(&mut batch, MOST_AT_ONCE).await {
            let until = tokio::time::Instant::now() + GATHER;
            // The queue is closed or the time is up: what was gathered is sent.
            while batch.len() < MOST_AT_ONCE
                && matches!(timeout_at(until, spans.recv_many(&mut batch, MOST_AT_ONCE)).await, Ok(1..))
            {}
            send(&service, &collector, &batch).await;
            batch.clear();
        }
    }))
}

async fn send(service: &Service, collector: &Collector, batch: &[Span]) {
    let body = otlp::request(batch).into_bytes();
    for again in 1..=TRIES {
        match collector.send(body.clone()).await {
            Ok(()) => return service.numbers.spans("sent", batch.len()),
            Err(why) if again < TRIES && why.may_pass() && !*service.stopping.borrow() => {
                debug!(why = %why, "spans were not taken yet: {why}");
                sleep(GATHER).await;
            }
            Err(why) => {
                warn!(spans = batch.len(), why = %why, "spans were dropped: {why}");
                return service.numbers.spans("dropped", batch.len());
            }
        }
    }
}
