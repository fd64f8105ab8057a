//! An answer: its headers and its whole body. One that is cut short or not JSON is a failure, never an empty answer.

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap};
use serde::de::DeserializeOwned;

use super::failure::{Failure, plain_text};
use decamp_config::Secret;
use decamp_core::time::Time;

/// A successful answer.
#[derive(Debug)]
pub struct Answer {
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    /// Reads a response to its end, and refuses what is not a successful answer of an API.
    pub async fn read(mut response: reqwest::Response, largest: usize, token: Option<&Secret>) -> Result<Self, Failure> {
        let status = response.status();
        let too_large = || Failure::Nonsense(format!("an answer of more than {largest} bytes").into());
        if response.content_length().is_some_and(|length| u64::try_from(largest).unwrap_or(u64::MAX) < length) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if largest < body.len() + chunk.len() => return Err(too_large()),
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                // A refusal is a refusal, whether or not all of its text arrived.
                Err(_) if !status.is_success() => break,
                Err(why) => return Err(Failure::of(why)),
            }
        }
        let text = || plain_text(&body, token.map(Secret::expose));
        if !status.is_success() {
            return Err(Failure::Status { status: status.as_u16(), text: text() });
        }
        let headers = std::mem::take(response.headers_mut());
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("nothing in particular");
        if !kind.to_ascii_lowercase().starts_with("application/json") {
            return Err(Failure::Nonsense(format!("answered {status} with {kind}, not JSON").into()));
        }
        Ok(Self { headers, body })
    }

    /// The body.
    ///
    /// # Errors
    ///
    /// If it is not what was expected. `null` is only what was expected where `T` says so.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        read_json(&self.body)
    }

    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A header that is a number.
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

/// Reads JSON. What is refused is named by its place, never by its content: an answer may hold anything, of any length.
///
/// # Errors
///
/// If it is not what was expected.
pub fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|why| {
        let (what, line, column) = (why.classify(), why.line(), why.column());
        Failure::Nonsense(format!("answered something else ({what:?} at line {line}, column {column})").into())
    })
}
