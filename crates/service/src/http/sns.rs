//! `POST /v1/sns`: what SNS delivers over HTTP, each message believed by its signature alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use rustls::pki_types::TrustAnchor;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{info, warn};

use super::problem::Problem;
use super::visit::Visit;
use super::{body, events};
use crate::Service;
use crate::departures::lock;
use crate::repeated::Kind as Said;
use crate::taking::take;
use crate::verify::sns::{Claim, Doubt, Kind, LARGEST_CERTIFICATE, read, verify};
use decamp_config::{Mode, Serve, Tls};
use decamp_core::world::World;
use decamp_net::tls;

/// Certificates that are kept: SNS has a few a Region at a time.
const MOST_CERTIFICATES: usize = 16;
/// Certificates that are fetched at once: a flood of forged messages fetches no faster.
const MOST_FETCHES: usize = 2;
/// A message waits so long for its turn to have one fetched; SNS sends it again (three times at once, then ever more slowly).
const TURN: Duration = Duration::from_secs(1);
/// A fetch takes at most this.
const FETCH: Duration = Duration::from_secs(3);

/// Files that verified a message, by topic and name.
type Certificates = HashMap<(Arc<str>, String), Arc<Vec<u8>>>;

/// What is needed to believe SNS.
pub(super) struct Topics {
    service: Arc<Service>,
    anchors: Vec<TrustAnchor<'static>>,
    certificates: Mutex<Certificates>,
    fetches: Semaphore,
}

/// The route.
///
/// # Errors
///
/// The authorities that are to be believed cannot be read.
pub(super) fn router(service: &Arc<Service>) -> Result<Router> {
    let anchors = anchors(&service.settings.serve)?;
    let (certificates, fetches) = (Mutex::default(), Semaphore::new(MOST_FETCHES));
    let topics = Topics { service: Arc::clone(service), anchors, certificates, fetches };
    Ok(Router::new().route("/v1/sns", post(sns)).with_state(Arc::new(topics)))
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
    topics.believe(&claim).await?;
    visit.trust();
    match &claim.kind {
        Kind::Notification => events::answer(service, &take(service, claim.message.as_bytes(), "topic")),
        Kind::Confirmation { token } => topics.confirm(&claim, token).await,
        Kind::Unsubscribed => {
            warn!(topic = &*claim.topic, "the subscription was ended by somebody");
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

    /// Says why a certificate was not had.
    fn not_fetched(&self, why: impl std::fmt::Display) -> Problem {
        if self.service.repeated.may_write(Said::NoCertificate) {
            warn!(event = "sns", %why, "SNS's certificate was not fetched: {why}");
        }
        Problem::cannot_verify()
    }

    /// Verifies the signature, by a certificate that is kept or fetched from SNS.
    async fn believe(&self, claim: &Claim) -> Result<(), Problem> {
        let now = self.service.live.now();
        let name = (Arc::clone(&claim.topic), claim.certificate.clone());
        let kept = lock(&self.certificates).get(&name).cloned();
        if let Some(kept) = kept {
            return verify(claim, &kept, &self.anchors, now).map_err(|doubt| self.doubt(doubt));
        }
        let Ok(Ok(_turn)) = timeout(TURN, self.fetches.acquire()).await else { return Err(Problem::cannot_verify()) };
        let fetching = self.service.live.signed().fetch_certificate(&claim.topic, &claim.certificate, LARGEST_CERTIFICATE);
        let Ok(fetched) = timeout(FETCH, fetching).await else {
            return Err(self.not_fetched(format!("no answer in {} s", FETCH.as_secs())));
        };
        let fetched = fetched.map_err(|refusal| self.not_fetched(refusal))?;
        verify(claim, &fetched, &self.anchors, now).map_err(|doubt| self.doubt(doubt))?;
        keep(&mut lock(&self.certificates), name, fetched);
        Ok(())
    }

    /// Agrees to a subscription of a topic of ours, by a call; the address in the message is never visited.
    async fn confirm(&self, claim: &Claim, token: &str) -> Result<Response, Problem> {
        if self.service.settings.mode == Mode::Observe {
            info!(topic = &*claim.topic, "observed: a subscription would have been confirmed");
            return Ok(StatusCode::OK.into_response());
        }
        match self.service.live.signed().confirm_subscription(&claim.topic, token).await {
            Ok(()) => {
                info!(topic = &*claim.topic, "the subscription was confirmed");
                Ok(StatusCode::OK.into_response())
            }
            Err(refusal) => {
                warn!(topic = &*claim.topic, why = %refusal, "the subscription was not confirmed: {refusal}");
                Err(Problem::cannot_verify())
            }
        }
    }
}

/// Keeps one more. When there are too many all are fetched anew, which costs one call each.
fn keep(certificates: &mut Certificates, name: (Arc<str>, String), file: Vec<u8>) {
    if MOST_CERTIFICATES <= certificates.len() {
        certificates.clear();
    }
    certificates.insert(name, Arc::new(file));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_certificate_is_kept_and_never_more_than_a_few() {
        let mut certificates = Certificates::default();
        for number in 0..100_u8 {
            let name = (Arc::from("topic"), number.to_string());
            keep(&mut certificates, name.clone(), vec![number]);
            assert_eq!(certificates.get(&name).map(|file| file[0]), Some(number));
            assert!(certificates.len() <= MOST_CERTIFICATES, "{number}");
        }
    }
}
