//! Sends spans to the collector: what has gathered for a second, in one request after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, timeout_at};
use tracing::{debug, warn};

use super::{Span, otlp};
use crate::live::Live;
use crate::live::collector::Collector;
use crate::serve::Service;
use crate::settings;

/// Spans of one request.
const MOST_AT_ONCE: usize = 512;
/// How long spans are gathered for one request.
const GATHER: Duration = Duration::from_secs(1);
/// Tries of one request; after that its spans are dropped.
const TRIES: u32 = 3;

/// The other end of the queue.
pub(in crate::serve) struct Export {
    collector: Collector,
    spans: mpsc::Receiver<Span>,
    /// Who sends them: this process, as long as it runs.
    replica: String,
}

impl Export {
    pub(super) fn new(settings: &settings::Traces, live: &Live, spans: mpsc::Receiver<Span>) -> Self {
        Self { collector: Collector::new(settings, &live.store()), spans, replica: otlp::replica() }
    }
}

/// Sends what comes until there is no more.
pub(in crate::serve) fn export(service: &Arc<Service>, export: Option<Export>) -> Option<JoinHandle<()>> {
    let Export { collector, mut spans, replica } = export?;
    let service = Arc::clone(service);
    Some(spawn_local(async move {
        let mut batch = Vec::new();
        while 0 < spans.recv_many(&mut batch, MOST_AT_ONCE).await {
            let until = tokio::time::Instant::now() + GATHER;
            // The queue is closed or the time is up: what was gathered is sent.
            while batch.len() < MOST_AT_ONCE
                && matches!(timeout_at(until, spans.recv_many(&mut batch, MOST_AT_ONCE)).await, Ok(1..))
            {}
            send(&service, &collector, &replica, &batch).await;
            batch.clear();
        }
    }))
}

async fn send(service: &Service, collector: &Collector, replica: &str, batch: &[Span]) {
    let body = otlp::request(replica, batch).into_bytes();
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
