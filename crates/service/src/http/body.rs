//! Reads request bodies: bounded in size, time and rate. It also records whether a body was read to its end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody, to_bytes};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::LengthLimitError;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::in_flight::InFlight;
use super::problem::Problem;
use decamp_events::MOST_BYTES;

/// The time limit for a whole body.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The least rate of an unauthenticated client's body, in bytes a second: a slow body is held in memory for longer.
const LEAST_RATE: u32 = 64 * 1024;
/// How far an unauthenticated client may be behind that rate.
const ALLOWED_LAG: Duration = Duration::from_secs(1);

/// Reads a body of at most 256 KiB.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| MOST_BYTES < length) {
        return Err(Problem::too_large(MOST_BYTES));
    }
    match timeout(TIMEOUT, to_bytes(body, MOST_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(why)) if is::<LengthLimitError>(&why) => Err(Problem::too_large(MOST_BYTES)),
        Ok(Err(why)) if is::<TooSlow>(&why) => Err(Problem::too_slow()),
        Ok(Err(_)) => Err(Problem::broken_body()),
        Err(_) => Err(Problem::too_slow()),
    }
}

/// Whether a body was read to its end.
#[derive(Debug, Clone)]
pub(super) struct ReadToEnd(Arc<AtomicBool>);

impl ReadToEnd {
    pub(super) fn is_true(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A body that records when its end was read. The unread rest of a body is in the way of the next request on its connection.
struct Tracked {
    body: Body,
    read_to_end: ReadToEnd,
}

/// Records whether a body is read to its end. An empty body counts as read.
pub(super) fn track_end(body: Body) -> (Body, ReadToEnd) {
    let read_to_end = ReadToEnd(Arc::new(AtomicBool::new(body.is_end_stream())));
    (Body::new(Tracked { body, read_to_end: read_to_end.clone() }), read_to_end)
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.read_to_end.0.store(true, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An unauthenticated client sends its body too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the body arrives too slowly")]
struct TooSlow;

/// A body of an unauthenticated client: its bytes are counted as they arrive, and it fails below the least rate.
struct Paced {
    body: Body,
    request: InFlight,
    began: Option<Instant>,
    bytes: u32,
    /// When the next bytes are due.
    due: Pin<Box<Sleep>>,
}

/// Counts the bytes of a body for this request, and enforces the least rate.
pub(super) fn paced(body: Body, request: &InFlight) -> Body {
    if body.is_end_stream() {
        return body;
    }
    Body::new(Paced { body, request: request.clone(), began: None, bytes: 0, due: Box::pin(sleep(ALLOWED_LAG)) })
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let began = *self.began.get_or_insert_with(Instant::now);
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.request.grow(data.len());
            self.bytes = self.bytes.saturating_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
        }
        if polled.is_ready() {
            return polled;
        }
        let due = began + ALLOWED_LAG + Duration::from_secs(1) * self.bytes / LEAST_RATE;
        if self.due.deadline() != due {
            self.due.as_mut().reset(due);
        }
        self.due.as_mut().poll(context).map(|()| Some(Err(axum::Error::new(TooSlow))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether a cause of an error is of this type: wrapped bodies wrap their errors as well.
fn is<E: std::error::Error + 'static>(why: &axum::Error) -> bool {
    std::iter::successors(std::error::Error::source(why), |why| why.source()).any(|why| why.is::<E>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_was_read_when_its_end_was_reached() {
        let (body, read) = track_end(Body::from("some"));
        assert!(!read.is_true(), "not read yet");
        assert_eq!(to_bytes(body, 10).await.expect("it is short"), "some");
        assert!(read.is_true());
        let (_, read) = track_end(Body::empty());
        assert!(read.is_true(), "an empty body");
    }

    #[tokio::test]
    async fn a_body_of_which_some_is_left_was_not_read() {
        let parts = [Ok::<_, std::io::Error>(Bytes::from_static(b"one")), Ok(Bytes::from_static(b"two"))];
        let (body, read) = track_end(Body::from_stream(futures_util::stream::iter(parts)));
        assert!(to_bytes(body, 3).await.is_err());
        assert!(!read.is_true());
    }
}
