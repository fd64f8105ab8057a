//! `GET /v1/stream`: server-sent events, one for each change of the page, with the departures and refreshes in progress.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::unfold;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use super::problem::Problem;
use crate::Service;
use crate::departures::lock;
use crate::view::View;
use decamp_core::world::World;

/// The most streams at once.
const MOST_STREAMS: usize = 64;
/// The shortest time between two events, so that a thousand departures that begin together are one event.
const PACE: Duration = Duration::from_millis(250);

pub(super) struct Streams {
    service: Arc<Service>,
    limit: Arc<Semaphore>,
    latest: Latest,
}

/// The route.
pub(super) fn router(service: &Arc<Service>) -> Router {
    let limit = Arc::new(Semaphore::new(MOST_STREAMS));
    let streams = Streams { service: Arc::clone(service), limit, latest: Latest::default() };
    Router::new().route("/v1/stream", get(stream)).with_state(Arc::new(streams))
}

/// An event for each change of the page, with the departures and refreshes in progress.
#[utoipa::path(
    get, path = "/v1/stream", tag = "admin", security(("token" = [])),
    responses((status = 200, description = "Server-sent events. The stream has no end.", content_type = "text/event-stream", body = String))
)]
pub(super) async fn stream(State(streams): State<Arc<Streams>>) -> Result<Response, Problem> {
    let permit: OwnedSemaphorePermit = Arc::clone(&streams.limit).try_acquire_owned().map_err(|_| Problem::busy())?;
    let (changed, stopping) = (streams.service.departures.watch(), streams.service.stopping.subscribe());
    // The first event comes at once.
    let began = (streams, changed, stopping, permit, None);
    let events = unfold(began, |(streams, mut changed, mut stopping, permit, mut sent)| async move {
        loop {
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop) => return None,
                other = changed.wait_for(|version| sent != Some(*version)) => drop(other.ok()?),
            }
            sleep(PACE).await;
            let version = *changed.borrow();
            let summary = streams.latest.of(version, Instant::now(), || summary(&streams.service));
            // A shared summary may be older than the change. Then the next one is due soon.
            if sent != Some(summary.version) {
                sent = Some(summary.version);
                let event = Event::default().event("departures").data(summary.text);
                return Some((Ok::<_, Infallible>(event), (streams, changed, stopping, permit, sent)));
            }
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

/// The latest summary, shared by all streams. One is made for each change, and at most one in each `PACE`.
#[derive(Default)]
struct Latest(Mutex<Option<Summary>>);

#[derive(Debug, Clone)]
struct Summary {
    /// The version of the page that it shows.
    version: u64,
    made: Instant,
    text: Arc<str>,
}

impl Latest {
    fn of(&self, version: u64, now: Instant, make: impl FnOnce() -> String) -> Summary {
        let mut latest = lock(&self.0);
        match &*latest {
            Some(summary) if summary.version == version || now < summary.made + PACE => summary.clone(),
            Some(_) | None => latest.insert(Summary { version, made: now, text: make().into() }).clone(),
        }
    }
}

/// A row for each departure in progress, and the refreshes.
fn summary(service: &Service) -> String {
    let (departures, past) = service.departures.summaries(row);
    json!({ "time": service.live.now(), "departures": departures, "past": past, "refreshes": service.refreshes.shown() })
        .to_string()
}

fn row(view: &View) -> serde_json::Value {
    json!({
        "instance": view.instance, "group": view.group, "phase": view.phase, "action": view.action, "reason": view.reason,
        "because": view.because, "since": view.since, "walked_here": view.walked_here,
        "taken_up_at": view.elsewhere.map(|elsewhere| elsewhere.taken_up_at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_streams_share_one_summary_for_each_change_and_pace() {
        let (latest, began) = (Latest::default(), Instant::now());
        let made = std::cell::Cell::new(0);
        let of = |version: u64, after: Duration| {
            latest.of(version, began + after, || {
                made.set(made.get() + 1);
                format!("of {version}")
            })
        };
        for _ in 0..MOST_STREAMS {
            assert_eq!(&*of(1, Duration::ZERO).text, "of 1");
        }
        assert_eq!(made.get(), 1);
        assert_eq!(of(2, PACE / 2).version, 1, "the next one is not due yet");
        for _ in 0..MOST_STREAMS {
            assert_eq!(&*of(2, PACE).text, "of 2");
        }
        assert_eq!(&*of(2, PACE * 99).text, "of 2", "nothing has changed");
        assert_eq!(made.get(), 2);
    }
}
