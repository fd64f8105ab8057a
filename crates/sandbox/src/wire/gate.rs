//! What stands before every router: it reads the request whole, and lets the fault plan decide what becomes of it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use super::line::Ripcord;
use super::{Shared, Side, WireFault, aws};

/// No request of any client is larger.
const LARGEST: usize = 4 << 20;
const PAGE: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center><h1>502 Bad Gateway</h1></center></body>\r\n</html>\r\n";

/// A router with a fault plan before it. What only a person or a test calls (`/sandbox/…`) meets no faults.
pub(super) fn before(router: Router, shared: &Arc<Shared>, side: Side) -> Router {
    router.layer(middleware::from_fn_with_state((Arc::clone(shared), side), gate))
}

async fn gate(
    State((shared, side)): State<(Arc<Shared>, Side)>,
    ConnectInfo(ripcord): ConnectInfo<Ripcord>,
    request: Request,
    next: Next,
) -> Response {
    if request.uri().path().starts_with("/sandbox") {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LARGEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let operation = match side {
        Side::Aws => aws::operation(&head.headers, &body),
        Side::Nomad | Side::Consul => format!("{} {}", head.method, head.uri.path()),
    };
    let fault = shared.meet(side, &operation);
    let headers = head.headers.clone();
    let rest = body.clone();
    let answer = async move || next.run(Request::from_parts(head, Body::from(body))).await;
    let mut answer = match fault {
        None => answer().await,
        Some(WireFault::ResetBefore) => reset(&ripcord),
        Some(WireFault::ResetAfter) => {
            answer().await;
            reset(&ripcord)
        }
        Some(WireFault::ResetMidway) => cut(answer().await, Some(ripcord)).await,
        Some(WireFault::Truncated) => cut(answer().await, None).await,
        Some(WireFault::HtmlGateway) => (StatusCode::BAD_GATEWAY, [(header::CONTENT_TYPE, "text/html")], PAGE).into_response(),
        Some(WireFault::HtmlOk) => (StatusCode::OK, [(header::CONTENT_TYPE, "text/html")], PAGE).into_response(),
        Some(WireFault::Error500) => refused(&shared, side, &headers, &rest, Kind::Broken),
        Some(WireFault::AppliedError500) => {
            answer().await;
            refused(&shared, side, &headers, &rest, Kind::Broken)
        }
        Some(WireFault::SlowBody(ms)) => slow(answer().await, Duration::from_millis(ms)).await,
        Some(WireFault::Late(ms)) => {
            let answer = answer().await;
            tokio::time::sleep(Duration::from_millis(ms)).await;
            answer
        }
        Some(WireFault::WrongContentType) => {
            let mut answer = answer().await;
            answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            answer
        }
        // Port 9 is discard's: nothing listens there.
        Some(WireFault::Redirect) => (StatusCode::FOUND, [(header::LOCATION, "http://127.0.0.1:9/")]).into_response(),
        Some(WireFault::Throttled) => refused(&shared, side, &headers, &rest, Kind::Throttled),
        Some(WireFault::Denied) => refused(&shared, side, &headers, &rest, Kind::Denied),
        Some(WireFault::Expired) => refused(&shared, side, &headers, &rest, Kind::Expired),
    };
    // The servers' clock is the pretend world's, in failures too.
    if let Ok(date) = HeaderValue::try_from(shared.clock.http_date()) {
        answer.headers_mut().insert(header::DATE, date);
    }
    answer
}

/// The refusals that each system words in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Broken,
    Throttled,
    Denied,
    Expired,
}

fn refused(shared: &Shared, side: Side, headers: &axum::http::HeaderMap, body: &Bytes, kind: Kind) -> Response {
    match (side, kind) {
        (Side::Aws, _) => aws::refused(shared, headers, body, kind),
        (Side::Nomad | Side::Consul, Kind::Broken) => (StatusCode::INTERNAL_SERVER_ERROR, "No cluster leader").into_response(),
        (Side::Nomad | Side::Consul, Kind::Throttled) => {
            (StatusCode::TOO_MANY_REQUESTS, "Your IP is issuing too many requests").into_response()
        }
        (Side::Nomad | Side::Consul, Kind::Denied) => (StatusCode::FORBIDDEN, "Permission denied").into_response(),
        (Side::Nomad | Side::Consul, Kind::Expired) => (StatusCode::FORBIDDEN, "ACL token expired").into_response(),
    }
}

fn reset(ripcord: &Ripcord) -> Response {
    ripcord.pull();
    StatusCode::OK.into_response()
}

/// Half of the answer under the length of the whole, then nothing more: an end, or with a ripcord a reset.
async fn cut(answer: Response, ripcord: Option<Ripcord>) -> Response {
    let (mut head, whole) = whole(answer).await;
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    let half = whole.slice(..whole.len() / 2);
    let parts = stream::unfold(Some(Some(half)), move |state| {
        let ripcord = ripcord.clone();
        async move {
            match state? {
                Some(half) => Some((Ok(half), Some(None))),
                None => {
                    // The first half must have left before the connection breaks.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    if let Some(ripcord) = ripcord {
                        ripcord.pull();
                    }
                    Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), None))
                }
            }
        }
    });
    Response::from_parts(head, Body::from_stream(parts))
}

/// The answer in ten parts.
async fn slow(answer: Response, over: Duration) -> Response {
    let (mut head, whole) = whole(answer).await;
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    let size = whole.len().div_ceil(10).max(1);
    let parts = stream::unfold(whole, move |left| async move {
        if left.is_empty() {
            return None;
        }
        tokio::time::sleep(over / 10).await;
        let mut left = left;
        let part = left.split_to(size.min(left.len()));
        Some((Ok::<_, io::Error>(part), left))
    });
    Response::from_parts(head, Body::from_stream(parts))
}

async fn whole(answer: Response) -> (axum::http::response::Parts, Bytes) {
    let (head, body) = answer.into_parts();
    // Our own routers answer from memory.
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    (head, bytes)
}
