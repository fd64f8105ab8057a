//! An answer: its headers, and its body, kept whole or passed on as it arrives. A body that is cut short or not JSON is a failure,
//! never an empty answer.

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap};
use serde::de::DeserializeOwned;

use super::failure::{RequestFailure, plain_text};
use decamp_config::Secret;
use decamp_core::time::Time;

/// How much of a refusal is read. Servers say what is wrong in a line.
const LARGEST_REFUSAL: usize = 64 * 1024;

/// A successful answer.
#[derive(Debug)]
pub struct Answer {
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    /// Reads a response to its end. Refuses one that is not a successful answer of an API, or longer than `largest` bytes.
    ///
    /// # Errors
    ///
    /// Returns why it is not a valid answer.
    pub async fn read(response: reqwest::Response, largest: usize, token: Option<&Secret>) -> Result<Self, RequestFailure> {
        let mut body = Whole { largest, body: Vec::new() };
        let headers = stream_body(response, &mut body, token).await?;
        Ok(Self { headers, body: body.body })
    }

    /// As `read`, but the body goes to `sink` piece by piece and is not kept.
    ///
    /// # Errors
    ///
    /// Returns why it is not a valid answer, or the sink's error.
    pub(super) async fn pass_on(
        response: reqwest::Response,
        sink: &mut dyn Sink,
        token: Option<&Secret>,
    ) -> Result<Self, RequestFailure> {
        let headers = stream_body(response, sink, token).await?;
        Ok(Self { headers, body: Vec::new() })
    }

    /// Parses the body.
    ///
    /// # Errors
    ///
    /// Returns an error if the body is not a `T`. `null` is accepted only if `T` allows it.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, RequestFailure> {
        read_json(&self.body)
    }

    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A header as a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }

    /// The server's clock when it answered, to the second.
    #[must_use]
    pub fn date(&self) -> Option<Time> {
        let text = self.headers.get(DATE)?.to_str().ok()?;
        let stamp = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        u64::try_from(stamp.as_millisecond()).ok().map(Time)
    }
}

/// Receives a body as it arrives.
pub trait Sink: Send {
    /// A body begins, or begins again after a request failed halfway and was sent to another address.
    fn begin(&mut self);

    /// Receives the next bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the rest is not needed.
    fn take(&mut self, piece: &[u8]) -> Result<(), RequestFailure>;

    /// The body has ended.
    ///
    /// # Errors
    ///
    /// Returns an error if the body is incomplete.
    fn end(&mut self) -> Result<(), RequestFailure>;
}

/// Keeps a whole body, up to a limit.
struct Whole {
    largest: usize,
    body: Vec<u8>,
}

impl Sink for Whole {
    fn begin(&mut self) {
        self.body.clear();
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), RequestFailure> {
        if self.largest < self.body.len() + piece.len() {
            return Err(RequestFailure::too_large(self.largest));
        }
        self.body.extend_from_slice(piece);
        Ok(())
    }

    fn end(&mut self) -> Result<(), RequestFailure> {
        Ok(())
    }
}

/// Passes a successful answer's body on, and reads the text of any other answer.
async fn stream_body(
    mut response: reqwest::Response,
    sink: &mut dyn Sink,
    token: Option<&Secret>,
) -> Result<HeaderMap, RequestFailure> {
    let status = response.status();
    if !status.is_success() {
        let mut text = Vec::new();
        // A refusal counts even if its text did not arrive completely.
        while let Ok(Some(chunk)) = response.chunk().await {
            text.extend_from_slice(&chunk[..chunk.len().min(LARGEST_REFUSAL - text.len())]);
            if LARGEST_REFUSAL <= text.len() {
                break;
            }
        }
        return Err(RequestFailure::Status { status: status.as_u16(), text: plain_text(&text, token.map(Secret::expose)) });
    }
    let headers = std::mem::take(response.headers_mut());
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("nothing in particular");
    if !kind.to_ascii_lowercase().starts_with("application/json") {
        return Err(RequestFailure::Nonsense(format!("answered {status} with {kind}, not JSON").into()));
    }
    sink.begin();
    while let Some(chunk) = response.chunk().await.map_err(RequestFailure::of)? {
        sink.take(&chunk)?;
    }
    sink.end()?;
    Ok(headers)
}

/// Parses JSON. An error names the place, never the content, which may be anything of any length.
///
/// # Errors
///
/// Returns an error if it is not a `T`.
pub fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, RequestFailure> {
    serde_json::from_slice(body).map_err(|why| {
        let (what, line, column) = (why.classify(), why.line(), why.column());
        RequestFailure::Nonsense(format!("answered something else ({what:?} at line {line}, column {column})").into())
    })
}
