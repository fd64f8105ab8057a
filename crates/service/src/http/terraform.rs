//! `POST /v1/terraform`: refreshes the groups of a workspace when HCP Terraform or Terraform Enterprise has applied a run in it (ADR 0028).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use serde::Serialize;
use tracing::{info, warn};
use utoipa::ToSchema;

use super::in_flight::InFlight;
use super::keys::Keys;
use super::problem::Problem;
use super::{body, refreshes};
use crate::Service;
use crate::refreshes::{StartRequest, start};
use crate::repeated::Kind;
use crate::terraform_run::{OLDEST, Other, RunNotification, read};
use crate::verify::hmac_signatures::terraform as verify;
use decamp_config::TokenSource;
use decamp_core::world::World;

/// A run is remembered for longer than it is acted on.
const KEPT: Duration = OLDEST.saturating_mul(2);

/// The answer.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Answer {
    /// The refreshes of an applied run.
    Asked(refreshes::Asked),
    /// There is nothing to do.
    Ignored {
        /// Why.
        ignored: &'static str,
    },
}

pub(super) struct Runs {
    service: Arc<Service>,
    secrets: Arc<Keys>,
}

/// The route.
pub(super) fn router(service: &Arc<Service>) -> Router {
    let none = TokenSource::None;
    let source = service.settings.serve.terraform.as_ref().map_or(&none, |terraform| &terraform.secrets);
    let runs = Runs { service: Arc::clone(service), secrets: Keys::new("the secret of Terraform", source, service) };
    Router::new().route("/v1/terraform", post(notified)).with_state(Arc::new(runs))
}

/// Accepts a notification of HCP Terraform or Terraform Enterprise. An applied run refreshes the groups of its workspace.
#[utoipa::path(
    post, path = "/v1/terraform", tag = "webhooks", security(()),
    params(("x-tfe-notification-signature" = Option<String>, Header, description = "HMAC-SHA512 of the body, in hexadecimal.")),
    request_body(content = Object, description = "A notification as Terraform sends it. At most 256 KiB."),
    responses(
        (status = 200, description = "Each refresh was started or adopted. Or there is nothing to do, and `ignored` says why: the \
        notification is a test, or it is not about an applied run of a workspace that the settings name.", body = Answer)
    )
)]
pub(super) async fn notified(
    State(runs): State<Arc<Runs>>,
    Extension(request): Extension<InFlight>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let service = &runs.service;
    let Some(terraform) = &service.settings.serve.terraform else { return Err(Problem::unsigned()) };
    let body = body::read(&headers, body).await?;
    let signature = headers.get("x-tfe-notification-signature").and_then(|value| value.to_str().ok());
    let refused = |doubt| {
        if service.repeated.may_write(Kind::Doubted("/v1/terraform")) {
            warn!(event = "terraform", "refused a notification: {doubt}");
        }
        Problem::unsigned()
    };
    runs.secrets.verify_with(|secrets| verify(signature, &body, secrets), refused).await?;
    request.authenticate();
    let run = match read(&body, service.live.now()) {
        Ok(RunNotification::Applied(run)) => run,
        Ok(RunNotification::Verification) => return Ok(ignored(service, "verification")),
        Ok(RunNotification::Other(other)) => return Ok(ignored(service, other.word())),
        Err(bad) => {
            warn!(event = "terraform", "cannot act on a notification: {bad}");
            return Err(Problem::bad_notification(bad));
        }
    };
    let Some(groups) = terraform.workspaces.get(&run.workspace) else {
        let organization = |workspace: &str| workspace.split_once('/').map(|(organization, _)| organization.to_owned());
        let is_ours = terraform.workspaces.keys().any(|known| organization(known) == organization(&run.workspace));
        if is_ours {
            info!(event = "terraform", workspace = %run.workspace, "the settings name no group for this workspace");
            return Ok(ignored(service, Other::OtherWorkspace.word()));
        }
        warn!(event = "terraform", workspace = %run.workspace, "the settings name no workspace of this organization");
        return Err(Problem::foreign_workspace());
    };
    service.metrics.event_received("terraform", "applied-run");
    info!(event = "terraform", workspace = %run.workspace, run.id = %run.id, "a run was applied: refreshing its groups");
    let id = format!("run {}", run.id);
    let granted = start(service, StartRequest { way: "terraform", id: &id, remember_for: KEPT, groups }).await;
    Ok(Json(Answer::Asked(refreshes::answer(granted)?)).into_response())
}

/// The answer to a notification that needs no work: a success, because it was received.
fn ignored(service: &Service, kind: &'static str) -> Response {
    service.metrics.event_received("terraform", kind);
    Json(Answer::Ignored { ignored: kind }).into_response()
}
