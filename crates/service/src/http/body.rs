//! Reads a body: no more than may be, no longer than may be; and tells whether all of it was read.

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
use tokio::time::timeout;

use super::problem::Problem;
use decamp_events::MOST_BYTES;

/// The whole body has to be there by then.
const WHOLE: Duration = Duration::from_secs(5);

/// Reads a body of at most 256 KiB.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let said = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if said.is_some_and(|length| MOST_BYTES < length) {
        return Err(Problem::too_large(MOST_BYTES));
    }
    match timeout(WHOLE, to_bytes(body, MOST_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(why)) if is_too_long(&why) => Err(Problem::too_large(MOST_BYTES)),
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

fn is_too_long(why: &axum::Error) -> bool {
    std::error::Error::source(why).is_some_and(|source| source.is::<LengthLimitError>())
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
