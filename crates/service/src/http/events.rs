//! `POST /v1/events`: what EventBridge's API destinations send, one event or an array of them.

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
use super::guard::Known;
use super::problem::Problem;
use crate::intake::{Intake, RetryReason, accept};
use crate::{Service, pending_lookups};
use decamp_events::Rejection;

/// The route.
pub(super) fn router(service: &Arc<Service>) -> Router {
    Router::new().route("/v1/events", post(events)).with_state(Arc::clone(service))
}

/// What became of what was sent.
#[derive(Serialize, ToSchema)]
pub(super) struct Counts {
    /// Things that are in hand.
    accepted: u32,
    /// Things that there is nothing to do about.
    ignored: u32,
    /// Things that can never be acted on.
    rejected: usize,
}

/// What may be sent.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it documents what `decamp_events` reads")]
pub(super) enum Sent {
    /// One event.
    One(EventBridgeEvent),
    /// Several.
    Many(Vec<EventBridgeEvent>),
    /// Look after everything that waits, now.
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
    /// What happened; other kinds are answered as ignored or refused.
    #[schema(examples(
        "EC2 Instance-terminate Lifecycle Action",
        "EC2 Spot Instance Interruption Warning",
        "EC2 Instance Rebalance Recommendation",
        "AWS Health Event"
    ))]
    detail_type: String,
    /// Whose event it is.
    #[schema(examples("aws.autoscaling", "aws.ec2", "aws.health"))]
    source: String,
    /// The AWS account.
    #[schema(pattern = "^[0-9]{12}$")]
    account: Option<String>,
    /// When.
    #[schema(format = DateTime)]
    time: Option<String>,
    /// The AWS Region.
    region: Option<String>,
    /// ARNs.
    resources: Option<Vec<String>>,
    /// What its kind has: of a lifecycle action `LifecycleActionToken`, `AutoScalingGroupName`, `LifecycleHookName`, `EC2InstanceId`,
    /// `LifecycleTransition` and `NotificationMetadata`; of the others `instance-id` or `affectedEntities`.
    #[schema(value_type = Object)]
    detail: serde_json::Value,
}

/// Look after everything that waits, now.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it documents what `decamp_events` reads")]
pub(super) struct Sweep {
    /// Always `sweep`.
    #[schema(pattern = "^sweep$")]
    decamp: String,
}

/// Takes in what EventBridge's API destinations send: one event, or an array of them.
#[utoipa::path(
    post, path = "/v1/events", tag = "webhooks", security(("key" = []), ("basic" = [])),
    request_body(content = Sent, description = "An event of Auto Scaling, EC2 or Health as EventBridge writes it; an array of them; or \
        `{\"decamp\":\"sweep\"}`. At most 256 KiB.", example = json!({ "decamp": "sweep" })),
    responses((status = 202, description = "In hand, or nothing to do.", body = Counts))
)]
pub(super) async fn events(
    State(service): State<Arc<Service>>,
    Extension(known): Extension<Known>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if known.key.is_none() {
        return Err(Problem::unauthorized());
    }
    let event = body::read(&headers, body).await?;
    answer(&service, &accept(&service, &event, "event"))
}

/// 202 once all is in hand; the sender sends again what is answered with 503, and nothing else.
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
