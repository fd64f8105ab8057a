//! One request from a client's side: sent, answered, read to its end, and judged.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::{sleep, timeout};

use super::{BALANCER, Clients, Drawn, PATIENCE};
use crate::ingress::AWAY;
use crate::ledger::{Class, Failed, Fared};
use crate::proxy::{self, CAUSE, NUMBER, OLDER, Pool};
use crate::server::{Body, full};

/// An upload comes in so many parts of so many bytes.
const PARTS: u32 = 8;
const PART: usize = 4096;

/// Sends it and reads the answer to its end. Also its number.
pub(super) async fn send(clients: &Clients, drawn: &Drawn) -> (Fared, u64) {
    let number = clients.number();
    let exchanged = async {
        match &clients.callers {
            Some(callers) => callers.exchange(clients, drawn, number).await,
            None => exchange(&clients.pool, drawn, number).await,
        }
    };
    let fared = match timeout(PATIENCE, exchanged).await {
        Ok(Ok(())) => Fared::Well,
        Ok(Err((how, cause))) => Fared::Failed(how, cause),
        Err(_) => Fared::Failed(Failed::TimedOut, format!("no whole answer within {} s", PATIENCE.as_secs())),
    };
    (fared, number)
}

/// Whether an answer to it begins.
pub(super) async fn begins(clients: &Clients, drawn: &Drawn) -> bool {
    let Some(request) = request(drawn, clients.number()) else { return false };
    matches!(clients.pool.request(request).await, Ok(answer) if answer.status() == StatusCode::OK)
}

/// The request that was drawn.
pub(super) fn request(drawn: &Drawn, number: u64) -> Option<Request<Body>> {
    let (method, what, body) = match drawn.class {
        Class::Short | Class::Slow | Class::Socket => (Method::GET, "work", full("")),
        Class::Stream => (Method::GET, "stream", full("")),
        Class::Upload => (Method::POST, "upload", upload(drawn.takes)),
    };
    let (front, service, ms) = (drawn.front, &drawn.service, drawn.takes.as_millis());
    let uri = format!("http://{front}/{service}/{what}?ms={ms}");
    Request::builder().method(method).uri(uri).header(NUMBER, number).body(body).ok()
}

/// A request that nobody could make.
pub(super) fn impossible() -> (Failed, String) {
    (Failed::Connection, "the request could not be made".to_owned())
}

async fn exchange(pool: &Pool, drawn: &Drawn, number: u64) -> Result<(), (Failed, String)> {
    let request = request(drawn, number).ok_or_else(impossible)?;
    let answer = pool.request(request).await;
    let answer = answer.map_err(|why| (Failed::Connection, format!("{BALANCER}{}", proxy::why(&why))))?;
    read(drawn, answer).await
}

/// Reads an answer to its end.
///
/// # Errors
/// It is not what was asked for, or breaks off.
pub(super) async fn read(drawn: &Drawn, answer: Response<Incoming>) -> Result<(), (Failed, String)> {
    if answer.status() != StatusCode::OK {
        return Err(refused(&answer));
    }
    let who =
        if answer.headers().contains_key(OLDER) { format!("the ingress{AWAY} chose a copy whose") } else { "the".to_owned() };
    let body = answer.into_body().collect().await;
    let body = body.map_err(|why| (Failed::Truncated, format!("{who} answer broke off: {why}")))?.to_bytes();
    let whole = match drawn.class {
        Class::Upload => *body == *(PARTS as usize * PART).to_string().as_bytes(),
        Class::Short | Class::Slow | Class::Stream | Class::Socket => !body.is_empty() && body.iter().all(|byte| *byte == b'.'),
    };
    if whole { Ok(()) } else { Err((Failed::Truncated, format!("{} bytes of another answer", body.len()))) }
}

/// A status that is none of success, and who says why.
pub(super) fn refused(answer: &Response<Incoming>) -> (Failed, String) {
    let how = match answer.status() {
        StatusCode::BAD_GATEWAY => Failed::BadGateway,
        StatusCode::SERVICE_UNAVAILABLE => Failed::NoTarget,
        StatusCode::NOT_FOUND => Failed::NotFound,
        StatusCode::GATEWAY_TIMEOUT => Failed::GatewayTimeout,
        _ => Failed::OtherStatus,
    };
    let cause = answer.headers().get(CAUSE).and_then(|cause| cause.to_str().ok());
    (how, cause.map_or_else(|| format!("the service answered {}", answer.status()), str::to_owned))
}

/// A body in parts, over so long.
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
