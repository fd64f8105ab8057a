//! Sends spans to the collector: what has gathered for a second, in one request after the other, each again while that may help.

use std::sync::Arc;
use std::time::Duration;

use ring::rand::SystemRandom;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::{Span, otlp};
use crate::Service;
use crate::collector::{Collector, Taken, may_be_sent_again};
use crate::pauses::Pauses;
use crate::receivers::Unsent;
use decamp_live::Live;

/// Spans of one request.
const MOST_AT_ONCE: usize = 512;
/// How long spans are gathered for one request.
const GATHER: Duration = Duration::from_secs(1);
/// After this long the spans of a request are given up: those that wait behind it are younger.
const OLDEST: Duration = Duration::from_mins(5);
/// Between two tries of one request.
const PAUSES: Pauses = Pauses { first: Duration::from_secs(1), longest: Duration::from_secs(30), longest_asked: OLDEST };

/// The other end of the queue.
pub(crate) struct Export {
    collector: Collector,
    spans: mpsc::Receiver<Span>,
    /// Who sends them: this process, as long as it runs.
    replica: String,
}

impl Export {
    pub(super) fn new(settings: &decamp_config::Traces, live: &Live, spans: mpsc::Receiver<Span>) -> Self {
        Self { collector: Collector::new(settings, &live.store()), spans, replica: otlp::replica() }
    }
}

/// Sends what comes until there is no more.
pub(crate) fn export(service: &Arc<Service>, export: Option<Export>) -> Option<JoinHandle<()>> {
    let Export { collector, mut spans, replica } = export?;
    let service = Arc::clone(service);
    Some(spawn_local(async move {
        let mut stopping = service.stopping.subscribe();
        let mut batch = Vec::new();
        // Why the collector is not waited for any more.
        let mut away: Option<Unsent> = None;
        while 0 < spans.recv_many(&mut batch, MOST_AT_ONCE).await {
            let until = Instant::now() + GATHER;
            // The queue is closed or the time is up: what was gathered is sent.
            while batch.len() < MOST_AT_ONCE
                && matches!(timeout_at(until, spans.recv_many(&mut batch, MOST_AT_ONCE)).await, Ok(1..))
            {}
            let sent = match &away {
                Some(why) => Err(why.clone()),
                None => send(&collector, &otlp::request(&replica, &batch).into_bytes(), &mut stopping).await,
            };
            tell(&service, batch.len(), &sent);
            away = sent.err().filter(|why| *stopping.borrow() && may_be_sent_again(why));
            batch.clear();
        }
    }))
}

/// Tries until it is taken, refused for good, or too old. The word to stop ends a pause, and leaves one more try.
async fn send(collector: &Collector, body: &[u8], stopping: &mut watch::Receiver<bool>) -> Result<Taken, Unsent> {
    let (began, random) = (Instant::now(), SystemRandom::new());
    let mut tries = 0;
    loop {
        let why = match collector.send(body).await {
            Ok(taken) => return Ok(taken),
            Err(why) => why,
        };
        tries += 1;
        if !may_be_sent_again(&why) || OLDEST <= began.elapsed() || *stopping.borrow() {
            return Err(why);
        }
        if tries == 1 {
            warn!(why = %why, "spans were not taken yet: {why}");
        }
        tokio::select! {
            () = sleep(PAUSES.after(tries, &why, &random)) => {}
            // Whoever could give the word is gone with the service.
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }
}

/// Says and counts what became of so many spans.
fn tell(service: &Service, spans: usize, sent: &Result<Taken, Unsent>) {
    let rejected = match sent {
        Ok(Taken { rejected, says }) => {
            let rejected = usize::try_from(*rejected).unwrap_or(usize::MAX).min(spans);
            if 0 < rejected || says.is_some() {
                let says = says.as_deref().unwrap_or("no reason was given");
                warn!(spans = rejected, why = says, "the collector dropped {rejected} of {spans} spans: {says}");
            }
            rejected
        }
        Err(why) => {
            warn!(spans, why = %why, "spans were dropped: {why}");
            spans
        }
    };
    service.numbers.spans("sent", spans - rejected);
    service.numbers.spans("dropped", rejected);
}

#[cfg(test)]
mod tests {
    use super::*;
    use decamp_config::TokenSource;
    use decamp_net::secrets::{Fetch, NoStore};

    /// A collector at an address where nobody listens.
    fn nobody() -> Collector {
        let store: Arc<dyn Fetch> = Arc::new(NoStore);
        Collector::new(&decamp_config::Traces { url: "http://127.0.0.1:9".to_owned(), header: TokenSource::None }, &store)
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_stays_away_is_given_up_after_five_minutes() {
        let (_word, mut stopping) = watch::channel(false);
        let began = Instant::now();
        let sent = send(&nobody(), b"{}", &mut stopping).await;
        assert!(matches!(sent, Err(Unsent::Away(_))), "{sent:?}");
        let took = began.elapsed();
        assert!(OLDEST <= took && took <= OLDEST + PAUSES.longest + Duration::from_secs(10), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_word_to_stop_is_waited_for_by_no_pause() {
        let (word, mut stopping) = watch::channel(false);
        let began = Instant::now();
        tokio::spawn(async move {
            sleep(Duration::from_secs(100)).await;
            word.send_replace(true);
            // Whoever gave the word stays.
            std::future::pending::<()>().await;
        });
        assert!(send(&nobody(), b"{}", &mut stopping).await.is_err());
        // One call may be under way, and one is the last.
        let took = began.elapsed();
        assert!(Duration::from_secs(100) <= took && took <= Duration::from_secs(110), "{took:?}");
    }
}
