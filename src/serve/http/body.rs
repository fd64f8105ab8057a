//! Reads a body: no more than may be, no longer than may be.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use super::problem::Problem;
use crate::events::MOST_BYTES;

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

fn is_too_long(why: &axum::Error) -> bool {
    std::error::Error::source(why).is_some_and(|source| source.is::<LengthLimitError>())
}
