//! `POST /v1/sns`: messages that SNS delivers over HTTP. decamp verifies the signature of each.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use rustls::pki_types::TrustAnchor;
use tracing::{info, warn};

use super::in_flight::InFlight;
use super::problem::Problem;
use super::sns_certificates::{CertificateError, SnsCertificates};
use super::subnet::Subnet;
use super::{body, events};
use crate::Service;
use crate::intake::accept;
use crate::repeated::Kind as Said;
use crate::verify::sns::{Claim, Doubt, Kind, read, verify};
use decamp_config::{Serve, Tls};
use decamp_core::world::World;
use decamp_net::tls;

/// What is needed to verify SNS's messages.
pub(super) struct Topics {
    service: Arc<Service>,
    certificates: Arc<SnsCertificates>,
}

/// The route.
pub(super) fn router(service: &Arc<Service>, certificates: &Arc<SnsCertificates>) -> Router {
    let topics = Topics { service: Arc::clone(service), certificates: Arc::clone(certificates) };
    Router::new().route("/v1/sns", post(sns)).with_state(Arc::new(topics))
}

/// The authorities that may sign SNS's certificate; none if the settings list no topic.
///
/// # Errors
///
/// The authorities cannot be read.
pub(super) fn anchors(serve: &Serve) -> Result<Vec<TrustAnchor<'static>>> {
    if serve.topics.is_empty() {
        return Ok(Vec::new());
    }
    let trusted = Tls { ca: serve.sns_ca.clone(), ..Tls::default() };
    Ok(tls::roots(&trusted).context("read the authorities for SNS's certificate (DECAMP_SNS_CACERT)")?.roots)
}

/// Accepts a message of SNS with a valid signature.
#[utoipa::path(
    post, path = "/v1/sns", tag = "webhooks", security(()),
    request_body(content = String, description = "As SNS delivers it: JSON, signed by version 2. No raw delivery.", content_type = "text/plain"),
    responses(
        (status = 200, description = "The subscription was confirmed, or its end was noted."),
        (status = 202, description = "The published event is accepted, or there is nothing to do.", body = events::Counts)
    )
)]
pub(super) async fn sns(
    State(topics): State<Arc<Topics>>,
    Extension(request): Extension<InFlight>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let service = &topics.service;
    let serve = &service.settings.serve;
    if serve.topics.is_empty() {
        return Err(Problem::not_believed());
    }
    let body = body::read(&headers, body).await?;
    let header = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let now = service.live.now();
    let claim = read(&header, &body, &serve.topics, serve.signature_1, now).map_err(|doubt| topics.doubt(doubt))?;
    let topic = topics.verify(&claim, request.from()).await?;
    request.authenticate();
    match &claim.kind {
        Kind::Notification => events::answer(service, &accept(service, claim.message.as_bytes(), "topic")),
        Kind::Confirmation { token } => topics.confirm(&topic, token).await,
        Kind::Unsubscribed => {
            warn!(topic = &*topic, "the subscription was ended");
            Ok(StatusCode::OK.into_response())
        }
    }
}

impl Topics {
    /// Logs why a message is refused. The sender does not learn it.
    fn doubt(&self, doubt: Doubt) -> Problem {
        if self.service.repeated.may_write(Said::Doubted("/v1/sns")) {
            warn!(event = "sns", "refused a message: {doubt}");
        }
        Problem::not_believed()
    }

    /// Verifies the signature by a kept or fetched certificate of SNS, and returns the topic. The topic is checked last, so that the answer
    /// does not show which topics are in the settings.
    async fn verify(&self, claim: &Claim, from: IpAddr) -> Result<Arc<str>, Problem> {
        let certificates = &self.certificates;
        match certificates.get(&claim.near, &claim.certificate, Subnet::of(from)).await {
            Ok(file) => verify(claim, &file, certificates.anchors(), self.service.live.now()).map_err(|doubt| self.doubt(doubt)),
            Err(CertificateError::Doubted(doubt)) => Err(self.doubt(doubt)),
            Err(CertificateError::Unavailable(why)) => Err(certificates.unavailable(&why)),
        }
    }

    /// Confirms the subscription by a call of SNS. The URL in the message is never visited.
    async fn confirm(&self, topic: &str, token: &str) -> Result<Response, Problem> {
        if self.service.settings.only_observes() {
            info!(topic, "observe mode: the subscription would be confirmed");
            return Ok(StatusCode::OK.into_response());
        }
        match self.service.live.signed().confirm_subscription(topic, token).await {
            Ok(()) => {
                info!(topic, "confirmed the subscription");
                Ok(StatusCode::OK.into_response())
            }
            Err(refusal) => {
                warn!(topic, why = %refusal, "cannot confirm the subscription: {refusal}");
                Err(Problem::cannot_verify())
            }
        }
    }
}
