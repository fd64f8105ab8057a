//! Sends spans to the collector: it gathers them for a second and sends one request after another, with retries.

use std::sync::Arc;
use std::time::Duration;

use ring::rand::SystemRandom;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::otlp_client::{Accepted, Collector, is_retryable};
use super::{Span, otlp};
use crate::Service;
use crate::backoff::Backoff;
use crate::webhook_client::SendError;
use decamp_live::Live;

/// The most spans of one request.
const MOST_AT_ONCE: usize = 512;
/// How long spans are gathered for one request.
const GATHER: Duration = Duration::from_secs(1);
/// After this time the spans of a request are dropped, in favour of the younger ones in the queue.
const OLDEST: Duration = Duration::from_mins(5);
/// The delays between the tries of one request.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30), longest_asked: OLDEST };

/// The receiving end of the queue.
pub(crate) struct Export {
    collector: Collector,
    spans: mpsc::Receiver<Span>,
    /// The id of this process.
    replica: String,
}

impl Export {
    pub(super) fn new(settings: &decamp_config::Traces, live: &Live, spans: mpsc::Receiver<Span>) -> Self {
        Self { collector: Collector::new(settings, &live.store()), spans, replica: otlp::replica() }
    }
}

/// Starts the task that sends spans until the queue is closed and empty.
pub(crate) fn export(service: &Arc<Service>, export: Option<Export>) -> Option<JoinHandle<()>> {
    let Export { collector, mut spans, replica } = export?;
    let service = Arc::clone(service);
    Some(spawn_local(async move {
        let mut stopping = service.stopping.subscribe();
        let mut batch = Vec::new();
        // The error after which the rest is dropped without further tries.
        let mut away: Option<SendError> = None;
        while 0 < spans.recv_many(&mut batch, MOST_AT_ONCE).await {
            let until = Instant::now() + GATHER;
            // The loop ends when the queue is closed, the batch is full or the time is up.
            while batch.len() < MOST_AT_ONCE
                && matches!(timeout_at(until, spans.recv_many(&mut batch, MOST_AT_ONCE)).await, Ok(1..))
            {}
            let sent = match &away {
                Some(why) => Err(why.clone()),
                None => send(&collector, &otlp::request(&replica, &batch).into_bytes(), &mut stopping).await,
            };
            report(&service, batch.len(), &sent);
            away = sent.err().filter(|why| *stopping.borrow() && is_retryable(why));
            batch.clear();
        }
    }))
}

/// Tries until the spans are accepted, refused permanently or too old. The signal to stop ends a delay and leaves one more try.
async fn send(collector: &Collector, body: &[u8], stopping: &mut watch::Receiver<bool>) -> Result<Accepted, SendError> {
    let (began, random) = (Instant::now(), SystemRandom::new());
    let mut tries = 0;
    loop {
        let why = match collector.send(body).await {
            Ok(taken) => return Ok(taken),
            Err(why) => why,
        };
        tries += 1;
        if !is_retryable(&why) || OLDEST <= began.elapsed() || *stopping.borrow() {
            return Err(why);
        }
        if tries == 1 {
            warn!(why = %why, "spans were not taken yet: {why}");
        }
        tokio::select! {
            () = sleep(BACKOFF.delay(tries, &why, &random)) => {}
            // An error means that the service is gone.
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }
}

/// Logs and counts what became of a batch of spans.
fn report(service: &Service, spans: usize, sent: &Result<Accepted, SendError>) {
    let rejected = match sent {
        Ok(Accepted { rejected, message }) => {
            let rejected = usize::try_from(*rejected).unwrap_or(usize::MAX).min(spans);
            if 0 < rejected || message.is_some() {
                let message = message.as_deref().unwrap_or("no reason was given");
                warn!(spans = rejected, why = message, "the collector dropped {rejected} of {spans} spans: {message}");
            }
            rejected
        }
        Err(why) => {
            warn!(spans, why = %why, "spans were dropped: {why}");
            spans
        }
    };
    service.metrics.spans("sent", spans - rejected);
    service.metrics.spans("dropped", rejected);
}

#[cfg(test)]
mod tests {
    use super::*;
    use decamp_config::TokenSource;
    use decamp_net::secrets::{Fetch, NoStore};

    /// A collector at an address without a listener.
    fn unreachable_collector() -> Collector {
        let store: Arc<dyn Fetch> = Arc::new(NoStore);
        Collector::new(&decamp_config::Traces { url: "http://127.0.0.1:9".to_owned(), header: TokenSource::None }, &store)
    }

    #[tokio::test(start_paused = true)]
    async fn an_unreachable_collector_is_given_up_after_five_minutes() {
        let (_signal, mut stopping) = watch::channel(false);
        let began = Instant::now();
        let sent = send(&unreachable_collector(), b"{}", &mut stopping).await;
        assert!(matches!(sent, Err(SendError::Unreachable(_))), "{sent:?}");
        let took = began.elapsed();
        assert!(OLDEST <= took && took <= OLDEST + BACKOFF.longest + Duration::from_secs(10), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_signal_to_stop_ends_a_delay() {
        let (signal, mut stopping) = watch::channel(false);
        let began = Instant::now();
        tokio::spawn(async move {
            sleep(Duration::from_secs(100)).await;
            signal.send_replace(true);
            // The sender must stay alive.
            std::future::pending::<()>().await;
        });
        assert!(send(&unreachable_collector(), b"{}", &mut stopping).await.is_err());
        // One call may be in flight, and one is the last.
        let took = began.elapsed();
        assert!(Duration::from_secs(100) <= took && took <= Duration::from_secs(110), "{took:?}");
    }
}
