//! `POST /v1/events`: events from EventBridge's API destinations, one or an array.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use serde::Serialize;
use utoipa::ToSchema;

use super::body;
use super::middleware::Caller;
use super::problem::Problem;
use crate::intake::{Intake, RetryReason, accept};
use crate::{Service, pending_lookups};
use decamp_events::Rejection;

/// The route.
pub(super) fn router(service: &Arc<Service>) -> Router {
    Router::new().route("/v1/events", post(events)).with_state(Arc::clone(service))
}

/// What became of the events.
#[derive(Serialize, ToSchema)]
pub(super) struct Counts {
    /// Events that this replica works on.
    accepted: u32,
    /// Events that need no work.
    ignored: u32,
    /// Events that decamp can never act on.
    rejected: usize,
}

/// A request body.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it documents what `decamp_events` reads")]
pub(super) enum Sent {
    /// One event.
    One(EventBridgeEvent),
    /// Several.
    Many(Vec<EventBridgeEvent>),
    /// Sweep all groups now.
    Sweep(Sweep),
}

/// An event as EventBridge writes it.
#[derive(ToSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(dead_code, reason = "it documents what `decamp_events` reads")]
pub(super) struct EventBridgeEvent {
    /// Always `0`.
    version: Option<String>,
    /// Its id.
    id: Option<String>,
    /// The kind of event. Other kinds are ignored or rejected.
    #[schema(examples(
        "EC2 Instance-terminate Lifecycle Action",
        "EC2 Slot Instance Interruption Warning",
        "EC2 Instance Rebalance Recommendation",
        "AWS Health Event"
    ))]
    detail_type: String,
    /// The service that sent the event.
    #[schema(examples("aws.autoscaling", "aws.ec2", "aws.health"))]
    source: String,
    /// The AWS account.
    #[schema(pattern = "^[0-9]{12}$")]
    account: Option<String>,
    /// When it happened.
    #[schema(format = DateTime)]
    time: Option<String>,
    /// The AWS Region.
    region: Option<String>,
    /// The ARNs of the resources.
    resources: Option<Vec<String>>,
    /// The fields of its kind. A lifecycle action has `LifecycleActionToken`, `AutoScalingGroupName`, `LifecycleHookName`, `EC2InstanceId`,
    /// `LifecycleTransition` and `NotificationMetadata`; the others have `instance-id` or `affectedEntities`.
    #[schema(value_type = Object)]
    detail: serde_json::Value,
}

/// A request to sweep all groups now.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it documents what `decamp_events` reads")]
pub(super) struct Sweep {
    /// Always `sweep`.
    #[schema(pattern = "^sweep$")]
    decamp: String,
}

/// Accepts events from EventBridge's API destinations, one or an array.
#[utoipa::path(
    post, path = "/v1/events", tag = "webhooks", security(("key" = []), ("basic" = [])),
    request_body(content = Sent, description = "An event of Auto Scaling, EC2 or Health as EventBridge writes it; an array of them; or \
        `{\"decamp\":\"sweep\"}`. At most 256 KiB.", example = json!({ "decamp": "sweep" })),
    responses((status = 202, description = "Accepted, or nothing to do.", body = Counts))
)]
pub(super) async fn events(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if caller.key.is_none() {
        return Err(Problem::unauthorized());
    }
    let event = body::read(&headers, body).await?;
    answer(&service, &accept(&service, &event, "event"))
}

/// 202 when every event is accepted. The sender repeats only a request that gets 503.
pub(super) fn answer(service: &Service, intake: &Intake) -> Result<Response, Problem> {
    match intake.retry {
        Some(RetryReason::Full) => return Err(Problem::full(service.settings.serve.most_departures)),
        Some(RetryReason::TooManyWarnings) => return Err(Problem::too_many_warnings(pending_lookups::MOST)),
        Some(RetryReason::Stopping) => return Err(Problem::stopping()),
        None => {}
    }
    let foreign = intake.rejected.iter().filter(|why| matches!(why, Rejection::Foreign(_))).count();
    if intake.accepted + intake.ignored == 0
        && foreign == 0
        && let Some(why) = intake.rejected.first()
    {
        return Err(Problem::bad_event(why.to_string()));
    }
    let counts = Counts { accepted: intake.accepted, ignored: intake.ignored, rejected: intake.rejected.len() };
    Ok((StatusCode::ACCEPTED, Json(counts)).into_response())
}
