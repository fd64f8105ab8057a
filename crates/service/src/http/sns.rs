//! `POST /v1/sns`: what SNS delivers over HTTP, each message believed by its signature alone.

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

use super::certificates::{Certificates, NotHad};
use super::problem::Problem;
use super::subnet::Subnet;
use super::visit::Visit;
use super::{body, events};
use crate::Service;
use crate::repeated::Kind as Said;
use crate::taking::take;
use crate::verify::sns::{Claim, Doubt, Kind, read, verify};
use decamp_config::{Serve, Tls};
use decamp_core::world::World;
use decamp_net::tls;

/// What is needed to believe SNS.
pub(super) struct Topics {
    service: Arc<Service>,
    certificates: Arc<Certificates>,
}

/// The route.
pub(super) fn router(service: &Arc<Service>, certificates: &Arc<Certificates>) -> Router {
    let topics = Topics { service: Arc::clone(service), certificates: Arc::clone(certificates) };
    Router::new().route("/v1/sns", post(sns)).with_state(Arc::new(topics))
}

/// Who is believed for SNS's certificate, where there are topics.
///
/// # Errors
///
/// The authorities cannot be read.
pub(super) fn anchors(serve: &Serve) -> Result<Vec<TrustAnchor<'static>>> {
    if serve.topics.is_empty() {
        return Ok(Vec::new());
    }
    let believed = Tls { ca: serve.sns_ca.clone(), ..Tls::default() };
    Ok(tls::roots(&believed).context("read who signs SNS's certificate (DECAMP_SNS_CACERT)")?.roots)
}

/// Takes in a message of SNS, believed by its signature alone.
#[utoipa::path(
    post, path = "/v1/sns", tag = "webhooks", security(()),
    request_body(content = String, description = "As SNS delivers it: JSON, signed by version 2. No raw delivery.", content_type = "text/plain"),
    responses(
        (status = 200, description = "The subscription was confirmed, or its end was noted."),
        (status = 202, description = "What was published is in hand, or there is nothing to do.", body = events::Counts)
    )
)]
pub(super) async fn sns(
    State(topics): State<Arc<Topics>>,
    Extension(visit): Extension<Visit>,
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
    let topic = topics.believe(&claim, visit.from()).await?;
    visit.trust();
    match &claim.kind {
        Kind::Notification => events::answer(service, &take(service, claim.message.as_bytes(), "topic")),
        Kind::Confirmation { token } => topics.confirm(&topic, token).await,
        Kind::Unsubscribed => {
            warn!(topic = &*topic, "the subscription was ended by somebody");
            Ok(StatusCode::OK.into_response())
        }
    }
}

impl Topics {
    /// Says what was doubted, to whoever reads the log and to nobody else.
    fn doubt(&self, doubt: Doubt) -> Problem {
        if self.service.repeated.may_write(Said::Doubted("/v1/sns")) {
            warn!(event = "sns", "a message was not believed: {doubt}");
        }
        Problem::not_believed()
    }

    /// Verifies the signature, by a certificate that is kept or fetched from SNS, and answers the topic. The answer is the same for
    /// a topic of ours and any other: it comes last.
    async fn believe(&self, claim: &Claim, from: IpAddr) -> Result<Arc<str>, Problem> {
        let certificates = &self.certificates;
        match certificates.of(&claim.near, &claim.certificate, Subnet::of(from)).await {
            Ok(file) => verify(claim, &file, certificates.anchors(), self.service.live.now()).map_err(|doubt| self.doubt(doubt)),
            Err(NotHad::Doubted(doubt)) => Err(self.doubt(doubt)),
            Err(NotHad::Unavailable(why)) => Err(certificates.unavailable(&why)),
        }
    }

    /// Agrees to a subscription of a topic of ours, by a call; the address in the message is never visited.
    async fn confirm(&self, topic: &str, token: &str) -> Result<Response, Problem> {
        if self.service.settings.only_observes() {
            info!(topic, "observed: a subscription would have been confirmed");
            return Ok(StatusCode::OK.into_response());
        }
        match self.service.live.signed().confirm_subscription(topic, token).await {
            Ok(()) => {
                info!(topic, "the subscription was confirmed");
                Ok(StatusCode::OK.into_response())
            }
            Err(refusal) => {
                warn!(topic, why = %refusal, "the subscription was not confirmed: {refusal}");
                Err(Problem::cannot_verify())
            }
        }
    }
}
