//! `POST /v1/webhooks/{name}`: a signed webhook makes decamp sweep at once, or starts the refresh of one group (ADR 0029).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
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
use crate::verify::hmac_signatures::{Doubt, TOLERANCE, github, standard};
use decamp_config::{Secret, Webhook, WebhookAction, WebhookScheme};
use decamp_core::world::World;

/// An id is remembered for as long as its signature is accepted: from five minutes before its timestamp to five minutes after.
const KEPT: Duration = TOLERANCE.saturating_mul(2);

/// The webhooks of the settings, each with its secrets.
pub(super) struct Webhooks {
    service: Arc<Service>,
    secrets: BTreeMap<Arc<str>, Arc<Keys>>,
}

/// The route.
pub(super) fn router(service: &Arc<Service>) -> Router {
    let set = service.settings.serve.signed.iter();
    let keys = |name: &str, webhook: &Webhook| Keys::new(&format!("the secret of the webhook {name}"), &webhook.secrets, service);
    let secrets = set.map(|(name, webhook)| (Arc::clone(name), keys(name, webhook))).collect();
    let webhooks = Webhooks { service: Arc::clone(service), secrets };
    Router::new().route("/v1/webhooks/{name}", post(webhook)).with_state(Arc::new(webhooks))
}

/// The answer to an accepted webhook.
#[derive(Serialize, ToSchema)]
pub(super) struct Accepted {
    /// Always 1.
    accepted: u32,
}

/// Accepts a signed webhook that the settings' file names: decamp sweeps at once, or starts the refresh of one group.
#[utoipa::path(
    post, path = "/v1/webhooks/{name}", tag = "webhooks", security(()),
    params(
        ("name" = String, Path, description = "Its name in the settings' file."),
        ("webhook-id" = Option<String>, Header, description = "Standard Webhooks: its id."),
        ("webhook-timestamp" = Option<String>, Header, description = "Standard Webhooks: when it was signed, in seconds since 1970."),
        ("webhook-signature" = Option<String>, Header, description = "Standard Webhooks: its signatures."),
        ("x-hub-signature-256" = Option<String>, Header, description = "GitHub: its signature.")
    ),
    request_body(content = Object, description = "Anything. decamp checks only the signature."),
    responses(
        (status = 202, description = "A sweep starts at once.", body = Accepted),
        (status = 200, description = "The refresh was started or adopted.", body = refreshes::Asked)
    )
)]
pub(super) async fn webhook(
    State(webhooks): State<Arc<Webhooks>>,
    name: Result<Path<String>, PathRejection>,
    Extension(request): Extension<InFlight>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if webhooks.secrets.is_empty() {
        return Err(Problem::unsigned());
    }
    // The body is read for any name, so that the answer does not show whether the name exists.
    let body = body::read(&headers, body).await?;
    let service = &webhooks.service;
    let Ok(Path(name)) = name else { return Err(Problem::unsigned()) };
    let set = service.settings.serve.signed.get_key_value(name.as_str());
    let Some(((name, Webhook { scheme, action, .. }), keys)) = set.zip(webhooks.secrets.get(name.as_str())) else {
        return Err(Problem::unsigned());
    };
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let verify = |secrets: &[Secret]| match scheme {
        WebhookScheme::Standard => standard(&text, &body, secrets, service.live.now()).map(Some),
        WebhookScheme::GitHub => github(text("x-hub-signature-256").as_deref(), &body, secrets).map(|()| None),
    };
    // The same answer as for an unknown name, so that a forger learns nothing.
    let refused = |doubt: Doubt| {
        if service.repeated.may_write(Kind::Doubted("/v1/webhooks/{name}")) {
            warn!(webhook = &**name, "refused a webhook: {doubt}");
        }
        Problem::unsigned()
    };
    let id = keys.verify_with(verify, refused).await?;
    request.authenticate();
    match (action, id) {
        (WebhookAction::Look, _) => {
            info!(webhook = &**name, "a webhook asks to look sooner");
            service.metrics.event_received("webhook", "look");
            service.sweep_now.notify_one();
            Ok((StatusCode::ACCEPTED, Json(Accepted { accepted: 1 })).into_response())
        }
        // The settings refuse a scheme without ids.
        (WebhookAction::Refresh(_), None) => Err(Problem::unsigned()),
        (WebhookAction::Refresh(group), Some(id)) => {
            info!(webhook = &**name, asg.name = %group, "a webhook asks for a refresh");
            service.metrics.event_received("webhook", "refresh");
            let (id, groups) = (format!("webhook {name} {id}"), std::slice::from_ref(group));
            let granted = start(service, StartRequest { way: "webhook", id: &id, remember_for: KEPT, groups }).await;
            Ok(Json(refreshes::answer(granted)?).into_response())
        }
    }
}
