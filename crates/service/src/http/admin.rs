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

use super::keys::Keys;
use super::middleware::Caller;
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

/// The state of the replica.
#[derive(Serialize, ToSchema)]
pub(super) struct Status {
    status: &'static str,
    /// What could not be read at the last sweep, for authenticated callers.
    #[serde(skip_serializing_if = "Option::is_none")]
    unseen: Option<Vec<Ill>>,
}

/// Departures.
#[derive(Serialize, ToSchema)]
pub(super) struct Listed {
    /// The time of this answer.
    #[schema(value_type = String, format = DateTime)]
    time: Time,
    /// The departures in progress.
    departures: Vec<View>,
    /// The departures that this replica saw end, the latest first.
    past: Vec<View>,
    /// The last terminations in Auto Scaling's records, also those that no replica saw.
    record: Terminations,
    /// The sources of `past` and `record`.
    note: &'static str,
}

/// Liveness.
#[utoipa::path(get, path = "/healthz", tag = "admin", security(()), responses((status = 200, description = "The process answers.", body = Status)))]
pub(super) async fn alive() -> Json<Status> {
    Json(Status { status: "alive", unseen: None })
}

/// Readiness, with the reasons for authenticated callers.
#[utoipa::path(get, path = "/readyz", tag = "admin", security(()), responses((status = 200, description = "The replica takes work.", body = Status)))]
pub(super) async fn ready(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Status>, Problem> {
    let ills = Health::not_ready(&service);
    if !ills.is_empty() {
        return Err(Problem::not_ready(caller.trusted.then(|| json!(ills))));
    }
    Ok(Json(Status { status: "ready", unseen: caller.trusted.then(|| service.health.unseen()) }))
}

/// The metrics, in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", tag = "admin", security(("token" = [])),
    responses((status = 200, description = "Counters and histograms.", content_type = "text/plain", body = String))
)]
pub(super) async fn metrics(State(service): State<Arc<Service>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], service.metrics.text(&service)).into_response()
}

/// The departures in progress and those that ended.
#[utoipa::path(
    get, path = "/v1/departures", tag = "admin", security(("token" = [])),
    responses((status = 200, description = "The departures.", body = Listed))
)]
pub(super) async fn departures(State(service): State<Arc<Service>>) -> Json<Listed> {
    let (in_progress, past) = service.departures.shown();
    let note = "past: the departures that this replica saw end since it started; record: the last terminations in Auto Scaling's records";
    Json(Listed { time: service.live.now(), departures: in_progress, past, record: service.activity_history.latest(), note })
}

/// One instance's departure: in progress, otherwise the last one that this replica saw.
#[utoipa::path(
    get, path = "/v1/departures/{instance}", tag = "admin", security(("token" = [])),
    params(("instance" = String, Path, description = "An EC2 instance id.", pattern = "^i-([0-9a-f]{8}|[0-9a-f]{17})$")),
    responses((status = 200, description = "Its progress, what it waits for and why, what was written and seen.", body = View))
)]
pub(super) async fn departure(
    State(service): State<Arc<Service>>,
    instance: Result<Path<String>, PathRejection>,
) -> Result<Json<View>, Problem> {
    let Path(instance) = instance.map_err(|_| Problem::bad_instance())?;
    let instance: InstanceId = instance.parse().map_err(|_| Problem::bad_instance())?;
    service.departures.of(instance).map(Json).ok_or_else(Problem::no_such_departure)
}
