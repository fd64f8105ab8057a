//! Reads a body: no more than may be, no longer than may be, no slower than may be; and tells whether all of it was read.

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

use super::problem::Problem;
use super::visit::Visit;
use decamp_events::MOST_BYTES;

/// The whole body has to be there by then.
const WHOLE: Duration = Duration::from_secs(5);
/// A stranger's has to come at this rate at least, in bytes a second, after a second: what a stranger is slow to send is held in memory.
const SLOWEST: u32 = 64 * 1024;
/// What a stranger may lag behind that.
const LAG: Duration = Duration::from_secs(1);

/// Reads a body of at most 256 KiB.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let said = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if said.is_some_and(|length| MOST_BYTES < length) {
        return Err(Problem::too_large(MOST_BYTES));
    }
    match timeout(WHOLE, to_bytes(body, MOST_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(why)) if is::<LengthLimitError>(&why) => Err(Problem::too_large(MOST_BYTES)),
        Ok(Err(why)) if is::<TooSlow>(&why) => Err(Problem::too_slow()),
        Ok(Err(_)) => Err(Problem::broken_body()),
        Err(_) => Err(Problem::too_slow()),
    }
}

/// Whether a body was read to its end.
#[derive(Debug, Clone)]
pub(super) struct Whole(Arc<AtomicBool>);

impl Whole {
    pub(super) fn was_read(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A body of which it is known whether it was read to its end: what is left of it stands before the next request on its connection.
struct Watched {
    body: Body,
    whole: Whole,
}

/// Puts that watch on a body. One that is empty was read.
pub(super) fn watched(body: Body) -> (Body, Whole) {
    let whole = Whole(Arc::new(AtomicBool::new(body.is_end_stream())));
    (Body::new(Watched { body, whole: whole.clone() }), whole)
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.whole.0.store(true, Ordering::Relaxed);
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

/// A stranger's body that comes too slowly.
#[derive(Debug, thiserror::Error)]
#[error("it comes too slowly")]
struct TooSlow;

/// A stranger's body: it is counted as it comes, and has to come.
struct Paced {
    body: Body,
    visit: Visit,
    began: Option<Instant>,
    bytes: u32,
    /// When more has to be there.
    due: Pin<Box<Sleep>>,
}

/// Puts that on the body of a stranger's request.
pub(super) fn paced(body: Body, visit: &Visit) -> Body {
    if body.is_end_stream() {
        return body;
    }
    Body::new(Paced { body, visit: visit.clone(), began: None, bytes: 0, due: Box::pin(sleep(LAG)) })
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
            self.visit.grow(data.len());
            self.bytes = self.bytes.saturating_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
        }
        if polled.is_ready() {
            return polled;
        }
        let due = began + LAG + Duration::from_secs(1) * self.bytes / SLOWEST;
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

/// Whether the cause of an error is of this kind: wrapped bodies wrap their errors as well.
fn is<E: std::error::Error + 'static>(why: &axum::Error) -> bool {
    std::iter::successors(std::error::Error::source(why), |why| why.source()).any(|why| why.is::<E>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_was_read_once_its_end_was_seen() {
        let (body, whole) = watched(Body::from("some"));
        assert!(!whole.was_read(), "nobody has read it");
        assert_eq!(to_bytes(body, 10).await.expect("it is short"), "some");
        assert!(whole.was_read());
        let (_, whole) = watched(Body::empty());
        assert!(whole.was_read(), "there is nothing to read");
    }

    #[tokio::test]
    async fn a_body_that_is_left_in_the_middle_was_not_read() {
        let parts = [Ok::<_, std::io::Error>(Bytes::from_static(b"one")), Ok(Bytes::from_static(b"two"))];
        let (body, whole) = watched(Body::from_stream(futures_util::stream::iter(parts)));
        assert!(to_bytes(body, 3).await.is_err());
        assert!(!whole.was_read());
    }
}
