//! The layer in front of every router. It reads the whole request and applies the fault plan to it.

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

use super::connection::ResetSwitch;
use super::{Shared, Side, WireFault, aws};

/// The largest request that is accepted.
const LARGEST: usize = 4 << 20;
const PAGE: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center><h1>502 Bad Gateway</h1></center></body>\r\n</html>\r\n";

/// Puts the fault plan in front of a router. Requests of `/sandbox/…`, which a person or a test makes, have no faults.
pub(super) fn with_faults(router: Router, shared: &Arc<Shared>, side: Side) -> Router {
    router.layer(middleware::from_fn_with_state((Arc::clone(shared), side), apply_faults))
}

async fn apply_faults(
    State((shared, side)): State<(Arc<Shared>, Side)>,
    ConnectInfo(reset_switch): ConnectInfo<ResetSwitch>,
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
    let fault = shared.next_fault(side, &operation);
    let headers = head.headers.clone();
    let rest = body.clone();
    let answer = async move || next.run(Request::from_parts(head, Body::from(body))).await;
    let mut answer = match fault {
        None => answer().await,
        Some(WireFault::ResetBefore) => reset(&reset_switch),
        Some(WireFault::ResetAfter) => {
            answer().await;
            reset(&reset_switch)
        }
        Some(WireFault::ResetMidway) => cut(answer().await, Some(reset_switch)).await,
        Some(WireFault::Truncated) => cut(answer().await, None).await,
        Some(WireFault::HtmlGateway) => (StatusCode::BAD_GATEWAY, [(header::CONTENT_TYPE, "text/html")], PAGE).into_response(),
        Some(WireFault::HtmlOk) => (StatusCode::OK, [(header::CONTENT_TYPE, "text/html")], PAGE).into_response(),
        Some(WireFault::Error500) => refused(&shared, side, &headers, &rest, RefusalKind::Broken),
        Some(WireFault::AppliedError500) => {
            answer().await;
            refused(&shared, side, &headers, &rest, RefusalKind::Broken)
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
        // Nothing listens on port 9 (discard).
        Some(WireFault::Redirect) => (StatusCode::FOUND, [(header::LOCATION, "http://127.0.0.1:9/")]).into_response(),
        Some(WireFault::Throttled) => refused(&shared, side, &headers, &rest, RefusalKind::Throttled),
        Some(WireFault::Denied) => refused(&shared, side, &headers, &rest, RefusalKind::Denied),
        Some(WireFault::Expired) => refused(&shared, side, &headers, &rest, RefusalKind::Expired),
    };
    // Errors have the time of the simulated world too.
    if let Ok(date) = HeaderValue::try_from(shared.clock.http_date()) {
        answer.headers_mut().insert(header::DATE, date);
    }
    answer
}

/// The errors that each system words in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusalKind {
    Broken,
    Throttled,
    Denied,
    Expired,
}

fn refused(shared: &Shared, side: Side, headers: &axum::http::HeaderMap, body: &Bytes, kind: RefusalKind) -> Response {
    match (side, kind) {
        (Side::Aws, _) => aws::refused(shared, headers, body, kind),
        (Side::Nomad | Side::Consul, RefusalKind::Broken) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "No cluster leader").into_response()
        }
        (Side::Nomad | Side::Consul, RefusalKind::Throttled) => {
            (StatusCode::TOO_MANY_REQUESTS, "Your IP is issuing too many requests").into_response()
        }
        (Side::Nomad | Side::Consul, RefusalKind::Denied) => (StatusCode::FORBIDDEN, "Permission denied").into_response(),
        (Side::Nomad | Side::Consul, RefusalKind::Expired) => (StatusCode::FORBIDDEN, "ACL token expired").into_response(),
    }
}

fn reset(reset_switch: &ResetSwitch) -> Response {
    reset_switch.trigger();
    StatusCode::OK.into_response()
}

/// Announces the whole answer and sends only half of it. Then the connection ends, or with a reset switch it is reset.
async fn cut(answer: Response, reset_switch: Option<ResetSwitch>) -> Response {
    let (mut head, whole) = whole(answer).await;
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    let half = whole.slice(..whole.len() / 2);
    let parts = stream::unfold(Some(Some(half)), move |state| {
        let reset_switch = reset_switch.clone();
        async move {
            match state? {
                Some(half) => Some((Ok(half), Some(None))),
                None => {
                    // The first half must be sent before the connection breaks.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    if let Some(reset_switch) = reset_switch {
                        reset_switch.trigger();
                    }
                    Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), None))
                }
            }
        }
    });
    Response::from_parts(head, Body::from_stream(parts))
}

/// Sends the answer in ten parts.
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
    // These bodies are in memory, so reading them cannot fail.
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    (head, bytes)
}
