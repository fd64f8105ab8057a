//! `GET /v1/stream`: server-sent events, one whenever something is shown otherwise, with what leaves and what is refreshed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::unfold;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::problem::Problem;
use crate::serve::Service;
use crate::world::World;

/// Streams at once.
const MOST_STREAMS: usize = 64;
/// The shortest pause between two events: a thousand departures that begin are one.
const PACE: Duration = Duration::from_millis(250);

struct Streams {
    service: Arc<Service>,
    places: Arc<Semaphore>,
}

/// The route.
pub(super) fn router(service: &Arc<Service>) -> Router {
    let streams = Streams { service: Arc::clone(service), places: Arc::new(Semaphore::new(MOST_STREAMS)) };
    Router::new().route("/v1/stream", get(stream)).with_state(Arc::new(streams))
}

async fn stream(State(streams): State<Arc<Streams>>) -> Result<Response, Problem> {
    let place: OwnedSemaphorePermit = Arc::clone(&streams.places).try_acquire_owned().map_err(|_| Problem::busy())?;
    let service = Arc::clone(&streams.service);
    let (mut changed, stopping) = (service.departures.watch(), service.stopping.subscribe());
    // The first event comes at once.
    changed.mark_changed();
    let events = unfold((service, changed, stopping, place), |(service, mut changed, mut stopping, place)| async move {
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => return None,
            told = changed.changed() => told.ok()?,
        }
        sleep(PACE).await;
        changed.mark_unchanged();
        let event = Event::default().event("departures").data(summary(&service));
        Some((Ok::<_, Infallible>(event), (service, changed, stopping, place)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

/// What is under way, a row each.
fn summary(service: &Service) -> String {
    let (under_way, past) = service.departures.shown();
    let rows: Vec<_> = under_way
        .iter()
        .map(|view| {
            json!({
                "instance": view.instance, "group": view.group, "phase": view.phase, "action": view.action, "reason": view.reason,
                "because": view.because, "since": view.since, "walked_here": view.walked_here,
            })
        })
        .collect();
    json!({ "time": service.live.now(), "departures": rows, "past": past.len(), "refreshes": service.refreshes.shown() })
        .to_string()
}
