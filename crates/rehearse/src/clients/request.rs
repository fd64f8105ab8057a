//! One request from the client's side: it is sent, its answer is read to the end, and the result is recorded.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::{sleep, timeout};

use super::{BALANCER, Clients, PATIENCE, RequestSpec};
use crate::ingress::AWAY;
use crate::ledger::{Class, FailureKind, RequestOutcome};
use crate::proxy::{self, CAUSE, NUMBER, OLDER, Pool};
use crate::server::{Body, full};

/// The number of parts of an upload.
const PARTS: u32 = 8;
/// The bytes of one part.
const PART: usize = 4096;

/// Sends a request and reads the answer to its end. Returns the outcome and the request's number.
pub(super) async fn send(clients: &Clients, spec: &RequestSpec) -> (RequestOutcome, u64) {
    let number = clients.number();
    let exchanged = async {
        match &clients.keep_alive {
            Some(keep_alive) => keep_alive.exchange(clients, spec, number).await,
            None => exchange(&clients.pool, spec, number).await,
        }
    };
    let outcome = match timeout(PATIENCE, exchanged).await {
        Ok(Ok(())) => RequestOutcome::Succeeded,
        Ok(Err((how, cause))) => RequestOutcome::Failed(how, cause),
        Err(_) => RequestOutcome::Failed(FailureKind::TimedOut, format!("no complete answer within {} s", PATIENCE.as_secs())),
    };
    (outcome, number)
}

/// Whether the request is answered with a 200.
pub(super) async fn begins(clients: &Clients, spec: &RequestSpec) -> bool {
    let Some(request) = request(spec, clients.number()) else { return false };
    matches!(clients.pool.request(request).await, Ok(answer) if answer.status() == StatusCode::OK)
}

/// The HTTP request of a spec.
pub(super) fn request(spec: &RequestSpec, number: u64) -> Option<Request<Body>> {
    let (method, what, body) = match spec.class {
        Class::Short | Class::Slow | Class::Socket => (Method::GET, "work", full("")),
        Class::Stream => (Method::GET, "stream", full("")),
        Class::Upload => (Method::POST, "upload", upload(spec.takes)),
    };
    let (front, service, ms) = (spec.front, &spec.service, spec.takes.as_millis());
    let uri = format!("http://{front}/{service}/{what}?ms={ms}");
    Request::builder().method(method).uri(uri).header(NUMBER, number).body(body).ok()
}

/// The failure of a request that cannot be built.
pub(super) fn impossible() -> (FailureKind, String) {
    (FailureKind::Connection, "the request could not be built".to_owned())
}

async fn exchange(pool: &Pool, spec: &RequestSpec, number: u64) -> Result<(), (FailureKind, String)> {
    let request = request(spec, number).ok_or_else(impossible)?;
    let answer = pool.request(request).await;
    let answer = answer.map_err(|why| (FailureKind::Connection, format!("{BALANCER}{}", proxy::why(&why))))?;
    read(spec, answer).await
}

/// Reads an answer to its end.
///
/// # Errors
/// The answer breaks off, or is not the expected one.
pub(super) async fn read(spec: &RequestSpec, answer: Response<Incoming>) -> Result<(), (FailureKind, String)> {
    if answer.status() != StatusCode::OK {
        return Err(refused(&answer));
    }
    let who =
        if answer.headers().contains_key(OLDER) { format!("the ingress{AWAY} chose a copy whose") } else { "the".to_owned() };
    let body = answer.into_body().collect().await;
    let body = body.map_err(|why| (FailureKind::Truncated, format!("{who} answer broke off: {why}")))?.to_bytes();
    let whole = match spec.class {
        Class::Upload => *body == *(PARTS as usize * PART).to_string().as_bytes(),
        Class::Short | Class::Slow | Class::Stream | Class::Socket => !body.is_empty() && body.iter().all(|byte| *byte == b'.'),
    };
    if whole { Ok(()) } else { Err((FailureKind::Truncated, format!("an unexpected answer of {} bytes", body.len()))) }
}

/// The failure of an answer that is not a success, with its cause.
pub(super) fn refused(answer: &Response<Incoming>) -> (FailureKind, String) {
    let how = match answer.status() {
        StatusCode::BAD_GATEWAY => FailureKind::BadGateway,
        StatusCode::SERVICE_UNAVAILABLE => FailureKind::NoTarget,
        StatusCode::NOT_FOUND => FailureKind::NotFound,
        StatusCode::GATEWAY_TIMEOUT => FailureKind::GatewayTimeout,
        _ => FailureKind::OtherStatus,
    };
    let cause = answer.headers().get(CAUSE).and_then(|cause| cause.to_str().ok());
    (how, cause.map_or_else(|| format!("the service answered {}", answer.status()), str::to_owned))
}

/// A body that is sent in parts over this time.
fn upload(over: Duration) -> Body {
    let parts = stream::unfold(0, move |sent| async move {
        if sent == PARTS {
            return None;
        }
        sleep(over / PARTS).await;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'u'; PART]))), sent + 1))
    });
    StreamBody::new(parts).map_err(|never| match never {}).boxed_unsync()
}
