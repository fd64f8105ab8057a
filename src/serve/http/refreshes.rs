//! `GET /v1/refreshes`, and how a wish for a refresh is answered.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::problem::Problem;
use crate::serve::Service;
use crate::serve::refreshes::{Granted, NotGranted};
use crate::world::World;

/// The route.
pub(super) fn router(service: &Arc<Service>) -> Router {
    Router::new().route("/v1/refreshes", get(refreshes)).with_state(Arc::clone(service))
}

async fn refreshes(State(service): State<Arc<Service>>) -> Json<Value> {
    let note = "the refresh under way, else the last one, of every group that the settings name or an instance leaves";
    Json(json!({ "time": service.live.now(), "refreshes": service.refreshes.shown(), "note": note }))
}

/// 200 once all is begun; the sender sends again what is answered with 503.
pub(super) fn answer(granted: Result<Granted, NotGranted>) -> Result<Response, Problem> {
    let body = match granted {
        Ok(Granted::Begun(begun)) => {
            let rows: Vec<Value> =
                (begun.iter()).map(|(group, begun)| json!({ "group": group, "id": begun.id(), "begun": begun.word() })).collect();
            json!({ "refreshes": rows })
        }
        Ok(Granted::Before) => json!({ "refreshes": [], "repeated": true }),
        Ok(Granted::Observed) => json!({ "refreshes": [], "observed": true }),
        Err(NotGranted::Refused) => return Err(Problem::not_refreshed()),
        Err(NotGranted::TooMany) => return Err(Problem::too_many(60)),
        Err(NotGranted::Stopping) => return Err(Problem::stopping()),
    };
    Ok(Json(body).into_response())
}
