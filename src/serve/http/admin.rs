//! The admin listener: health, metrics, the API and the page.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde_json::{Value, json};

use super::guard::Known;
use super::problem::Problem;
use super::{page, refreshes, stream};
use crate::ids::InstanceId;
use crate::serve::Service;
use crate::serve::health::Health;
use crate::serve::view::View;
use crate::world::World;

/// The routes of the admin listener.
pub(super) fn router(service: &Arc<Service>) -> Router {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/departures", get(departures))
        .route("/v1/departures/{instance}", get(departure))
        .with_state(Arc::clone(service))
        .merge(refreshes::router(service))
        .merge(stream::router(service))
        .merge(page::router(service))
}

/// That it answers is all there is to say.
async fn alive() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// Whether work can be taken. Why not is told to whoever is trusted.
async fn ready(State(service): State<Arc<Service>>, Extension(known): Extension<Known>) -> Result<Json<Value>, Problem> {
    let ills = Health::not_ready(&service);
    if !ills.is_empty() {
        return Err(Problem::not_ready(known.trusted.then(|| json!(ills))));
    }
    let mut answer = json!({ "status": "ready" });
    if known.trusted {
        answer["unseen"] = json!(service.health.unseen());
    }
    Ok(Json(answer))
}

async fn metrics(State(service): State<Arc<Service>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], service.numbers.text(&service)).into_response()
}

async fn departures(State(service): State<Arc<Service>>) -> Json<Value> {
    let (under_way, past) = service.departures.shown();
    let note = "past departures are those that this replica saw";
    Json(json!({ "time": service.live.now(), "departures": under_way, "past": past, "note": note }))
}

async fn departure(State(service): State<Arc<Service>>, Path(instance): Path<String>) -> Result<Json<View>, Problem> {
    let instance: InstanceId = instance.parse().map_err(|_| Problem::bad_instance())?;
    service.departures.of(instance).map(Json).ok_or_else(Problem::no_such_departure)
}
