//! The admin listener: health, metrics, the API and the page.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::guard::Known;
use super::keys::Keys;
use super::problem::Problem;
use super::{openapi, page, refreshes, stream};
use crate::Service;
use crate::activity_history::Terminations;
use crate::health::{Health, Ill};
use crate::view::View;
use decamp_core::ids::InstanceId;
use decamp_core::time::Time;
use decamp_core::world::World;

/// The routes of the admin listener.
pub(super) fn router(service: &Arc<Service>, token: &Arc<Keys>) -> Router {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/departures", get(departures))
        .route("/v1/departures/{instance}", get(departure))
        .with_state(Arc::clone(service))
        .merge(refreshes::router(service))
        .merge(openapi::router())
        .merge(stream::router(service))
        .merge(page::router(service, token))
}

/// How it is.
#[derive(Serialize, ToSchema)]
pub(super) struct Status {
    status: &'static str,
    /// What could not be seen at the last sweep; for those who are trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    unseen: Option<Vec<Ill>>,
}

/// Departures.
#[derive(Serialize, ToSchema)]
pub(super) struct Listed {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    time: Time,
    /// What is leaving now.
    departures: Vec<View>,
    /// What this replica saw end, the latest first.
    past: Vec<View>,
    /// What Auto Scaling's own record tells, also of what no replica saw.
    record: Terminations,
    /// Whose memory that is.
    note: &'static str,
}

/// That it answers is all there is to say.
#[utoipa::path(get, path = "/healthz", tag = "admin", security(()), responses((status = 200, description = "It lives.", body = Status)))]
pub(super) async fn alive() -> Json<Status> {
    Json(Status { status: "alive", unseen: None })
}

/// Whether work can be taken. Why not is told to whoever is trusted.
#[utoipa::path(get, path = "/readyz", tag = "admin", security(()), responses((status = 200, description = "It can.", body = Status)))]
pub(super) async fn ready(
    State(service): State<Arc<Service>>,
    Extension(known): Extension<Known>,
) -> Result<Json<Status>, Problem> {
    let ills = Health::not_ready(&service);
    if !ills.is_empty() {
        return Err(Problem::not_ready(known.trusted.then(|| json!(ills))));
    }
    Ok(Json(Status { status: "ready", unseen: known.trusted.then(|| service.health.unseen()) }))
}

/// Everything that is counted, as Prometheus reads it.
#[utoipa::path(
    get, path = "/metrics", tag = "admin", security(("token" = [])),
    responses((status = 200, description = "Counters and histograms.", content_type = "text/plain", body = String))
)]
pub(super) async fn metrics(State(service): State<Arc<Service>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], service.metrics.text(&service)).into_response()
}

/// What is leaving now, and what is over.
#[utoipa::path(
    get, path = "/v1/departures", tag = "admin", security(("token" = [])),
    responses((status = 200, description = "All of them.", body = Listed))
)]
pub(super) async fn departures(State(service): State<Arc<Service>>) -> Json<Listed> {
    let (under_way, past) = service.departures.shown();
    let note = "past: what this replica saw end since it started; record: what Auto Scaling tells of the last terminations";
    Json(Listed { time: service.live.now(), departures: under_way, past, record: service.activity_history.latest(), note })
}

/// One instance's departure: under way, else the last one that this replica saw.
#[utoipa::path(
    get, path = "/v1/departures/{instance}", tag = "admin", security(("token" = [])),
    params(("instance" = String, Path, description = "An EC2 instance id.", pattern = "^i-([0-9a-f]{8}|[0-9a-f]{17})$")),
    responses((status = 200, description = "How far it is, what it waits for and why, what was written and seen.", body = View))
)]
pub(super) async fn departure(
    State(service): State<Arc<Service>>,
    instance: Result<Path<String>, PathRejection>,
) -> Result<Json<View>, Problem> {
    let Path(instance) = instance.map_err(|_| Problem::bad_instance())?;
    let instance: InstanceId = instance.parse().map_err(|_| Problem::bad_instance())?;
    service.departures.of(instance).map(Json).ok_or_else(Problem::no_such_departure)
}
