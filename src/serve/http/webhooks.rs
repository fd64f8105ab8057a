//! `POST /v1/webhooks/{name}`: a signed webhook makes us look sooner, and nothing more (D25).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;
use tracing::{info, warn};

use super::body;
use super::guard::Keys;
use super::problem::Problem;
use crate::serve::Service;
use crate::serve::verify::hmacs::{Doubt, github, standard};
use crate::settings::WebhookScheme;
use crate::world::World;

/// The webhooks that are set, each with its secrets.
struct Webhooks {
    service: Arc<Service>,
    by_name: BTreeMap<Arc<str>, (WebhookScheme, Arc<Keys>)>,
}

/// The route.
pub(super) fn router(service: &Arc<Service>) -> Router {
    let set = service.settings.serve.signed.iter();
    let by_name = set.map(|(name, webhook)| (Arc::clone(name), (webhook.scheme, Keys::new(&webhook.secrets, &service.live))));
    let webhooks = Webhooks { service: Arc::clone(service), by_name: by_name.collect() };
    Router::new().route("/v1/webhooks/{name}", post(webhook)).with_state(Arc::new(webhooks))
}

async fn webhook(
    State(webhooks): State<Arc<Webhooks>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::read(&headers, body).await?;
    let Some((name, (scheme, keys))) = webhooks.by_name.get_key_value(name.as_str()) else {
        return Err(Problem::unauthorized());
    };
    let secrets = keys.all().await;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let believed = match scheme {
        WebhookScheme::Standard => standard(&text, &body, &secrets, webhooks.service.live.now()).map(drop),
        WebhookScheme::GitHub => github(text("x-hub-signature-256").as_deref(), &body, &secrets),
    };
    // The same answer as for an unknown name: who forges learns nothing.
    believed.map_err(|doubt: Doubt| {
        warn!(webhook = &**name, "a webhook was not believed: {doubt}");
        Problem::unauthorized()
    })?;
    info!(webhook = &**name, "a webhook asks to look sooner");
    webhooks.service.numbers.told("webhook", "look");
    webhooks.service.sweep_now.notify_one();
    Ok((StatusCode::ACCEPTED, Json(json!({ "accepted": 1 }))).into_response())
}
