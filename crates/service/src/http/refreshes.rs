//! `GET /v1/refreshes`, and the answers to requests for a refresh.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use crate::Service;
use crate::refreshes::{Shown, StartError, Started};
use decamp_aws::refresh::Begun;
use decamp_core::time::Time;
use decamp_core::world::World;

/// The route.
pub(super) fn router(service: &Arc<Service>) -> Router {
    Router::new().route("/v1/refreshes", get(refreshes)).with_state(Arc::clone(service))
}

/// The refreshes of all groups.
#[derive(Serialize, ToSchema)]
pub(super) struct Refreshes {
    /// The time of this answer (RFC 3339).
    #[schema(value_type = String)]
    time: Time,
    /// One for each group: its id, status, percentage, and how many instances are still to be replaced.
    #[schema(value_type = Vec<Object>)]
    refreshes: Vec<Shown>,
    /// Which refreshes are listed.
    note: &'static str,
}

/// The instance refreshes of all groups that this replica knows.
#[utoipa::path(
    get, path = "/v1/refreshes", tag = "admin", security(("token" = [])),
    responses((status = 200, description = "The refreshes.", body = Refreshes))
)]
pub(super) async fn refreshes(State(service): State<Arc<Service>>) -> Json<Refreshes> {
    let note = "the refresh in progress, otherwise the last one, of every group that the settings name or an instance leaves";
    Json(Refreshes { time: service.live.now(), refreshes: service.refreshes.shown(), note })
}

/// A refresh that was begun for this request.
#[derive(Serialize, ToSchema)]
struct Ordered {
    /// The Auto Scaling group.
    #[schema(value_type = String)]
    group: Arc<str>,
    /// AWS's id of the refresh.
    id: String,
    /// `started`, or `adopted` because it was already in progress.
    begun: &'static str,
}

/// The answer to a request for refreshes.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct Asked {
    /// The refreshes that were begun for it.
    refreshes: Vec<Ordered>,
    /// The same request was answered before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repeated: bool,
    /// This replica writes nothing: `DECAMP_MODE` is `observe`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    observed: bool,
}

/// 200 when all refreshes are begun. The sender repeats a request that gets 503.
pub(super) fn answer(granted: Result<Started, StartError>) -> Result<Asked, Problem> {
    Ok(match granted {
        Ok(Started::Begun(all)) => {
            let row = |(group, begun): &(Arc<str>, Begun)| Ordered {
                group: Arc::clone(group),
                id: begun.id().to_string(),
                begun: begun.word(),
            };
            Asked { refreshes: all.iter().map(row).collect(), ..Asked::default() }
        }
        Ok(Started::Repeated) => Asked { repeated: true, ..Asked::default() },
        Ok(Started::Observed) => Asked { observed: true, ..Asked::default() },
        Err(StartError::Refused) => return Err(Problem::not_refreshed()),
        Err(StartError::TooMany) => return Err(Problem::too_many(60)),
        Err(StartError::Stopping) => return Err(Problem::stopping()),
    })
}
