//! The client of an OTLP collector: sends spans as JSON in one POST and reads the answer.

use std::iter::once;
use std::sync::Arc;

use serde_json::Value;

use crate::webhook_client::{Client, SendError, retry_after};
use decamp_config::{Secret, Traces};
use decamp_net::http::plain_text;
use decamp_net::secrets::{Fetch, Token};

/// A longer answer is ignored. Its message would only go into one line of the log.
const LARGEST_ANSWER: usize = 64 * 1024;

/// A collector.
#[derive(Debug)]
pub(crate) struct Collector {
    url: String,
    header: Token,
    client: Client,
}

/// The answer of a collector that accepted a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// How many spans it rejected permanently.
    pub rejected: u64,
    /// The collector's message: why, or a warning.
    pub message: Option<Arc<str>>,
}

impl Collector {
    /// A collector; nothing is sent yet.
    #[must_use]
    pub(crate) fn new(settings: &Traces, store: &Arc<dyn Fetch>) -> Self {
        let url = format!("{}/v1/traces", settings.url.trim_end_matches('/'));
        Self { url, header: Token::new(settings.header.clone(), Arc::clone(store)), client: Client::default() }
    }

    /// Sends some spans.
    ///
    /// # Errors
    ///
    /// Returns why the spans were not accepted.
    pub(crate) async fn send(&self, body: &[u8]) -> Result<Accepted, SendError> {
        let held = self.header.get().await.map_err(|why| SendError::Unusable(why.to_string().into()))?;
        let sent = self.send_with(held.as_ref(), body).await;
        if !matches!(sent, Err(SendError::Unusable(_) | SendError::Refused { status: 401 | 403, .. })) {
            return sent;
        }
        // The header may have been rotated meanwhile.
        match self.header.instead_of(held.as_ref()).await.filter(|other| !other.is_blank()) {
            Some(other) => self.send_with(Some(&other), body).await,
            None => sent,
        }
    }

    async fn send_with(&self, header: Option<&Secret>, body: &[u8]) -> Result<Accepted, SendError> {
        let header = header.map(|held| parse_header(held.expose())).transpose()?;
        let mut answer = self.client.post(&self.url, header.into_iter(), body.to_vec()).await?;
        let (status, retry_after) = (answer.status(), retry_after(&answer));
        let text = body_text(&mut answer).await;
        let answer_json: Value = serde_json::from_slice(&text).unwrap_or_default();
        let value = header.map_or("", |(_, value)| value);
        if status.is_success() {
            let rejected = answer_json.pointer("/partialSuccess/rejectedSpans").and_then(number).unwrap_or_default();
            return Ok(Accepted { rejected, message: message_of(answer_json.pointer("/partialSuccess/errorMessage"), value) });
        }
        Err(SendError::Refused { status: status.as_u16(), retry_after, message: message_of(answer_json.get("message"), value) })
    }
}

/// Whether the same spans may be sent again: after no answer, and after the four statuses that OTLP over HTTP names. All other
/// errors are permanent.
#[must_use]
pub(crate) fn is_retryable(why: &SendError) -> bool {
    match why {
        SendError::Unusable(_) | SendError::Unreachable(_) => true,
        SendError::Refused { status, .. } => matches!(status, 429 | 502 | 503 | 504),
    }
}

/// Splits a header into its name and value.
fn parse_header(text: &str) -> Result<(&str, &str), SendError> {
    let no_header = || SendError::Unusable("DECAMP_TRACES_HEADER is no header; write one such as authorization: Bearer …".into());
    text.split_once(':').map(|(name, value)| (name.trim(), value.trim())).ok_or_else(no_header)
}

/// The body of an answer; empty if it is too long.
async fn body_text(answer: &mut reqwest::Response) -> Vec<u8> {
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        if LARGEST_ANSWER < text.len() + chunk.len() {
            return Vec::new();
        }
        text.extend_from_slice(&chunk);
    }
    text
}

/// A number, which protobuf's JSON writes as text if it is large.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// The collector's message, safe to show: without the header that we sent, or parts of it, in case the collector repeats it.
fn message_of(text: Option<&Value>, header: &str) -> Option<Arc<str>> {
    let secrets = once(header).chain(header.split([' ', ',', ';', '=']));
    Some(plain_text(text?.as_str()?.as_bytes(), secrets)).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use axum::Router;
    use axum::http::{HeaderMap, StatusCode};
    use tokio::net::TcpListener;

    use super::*;
    use decamp_config::TokenSource;
    use decamp_net::secrets::NoStore;

    const HEADER: &str = "authorization: Bearer canary-of-the-collector";

    /// Starts a collector whose answer depends on the header.
    async fn listen(answer: impl Fn(&str) -> (StatusCode, String) + Clone + Send + Sync + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
        let address = listener.local_addr().expect("it is bound");
        let take = move |headers: HeaderMap| {
            let header = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
            let (status, body) = answer(&header);
            async move { (status, [("retry-after", "7")], body) }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(take)).await });
        format!("http://{address}/")
    }

    fn collector(url: String, header: TokenSource) -> Collector {
        let store: Arc<dyn Fetch> = Arc::new(NoStore);
        Collector::new(&Traces { url, header }, &store)
    }

    async fn answered(status: u16, body: &str) -> Result<Accepted, SendError> {
        let (status, body) = (StatusCode::from_u16(status).expect("a status"), body.to_owned());
        let url = listen(move |_| (status, body.clone())).await;
        collector(url, TokenSource::Literal(Secret::new(HEADER))).send(b"{}").await
    }

    #[tokio::test]
    async fn the_spans_that_a_collector_rejected_are_known_with_its_message() {
        let taken = |rejected, message: &str| {
            Ok(Accepted { rejected, message: Some(message).filter(|message| !message.is_empty()).map(Arc::from) })
        };
        let cases = [
            ("{}", taken(0, "")),
            ("", taken(0, "")),
            ("{\"partialSuccess\":{}}", taken(0, "")),
            ("{\"partialSuccess\":{\"rejectedSpans\":\"2\",\"errorMessage\":\"too\\nold\"}}", taken(2, "too old")),
            ("{\"partialSuccess\":{\"rejectedSpans\":3}}", taken(3, "")),
            ("{\"partialSuccess\":{\"rejectedSpans\":-1,\"errorMessage\":\"soon no more\"}}", taken(0, "soon no more")),
            ("{\"partialSuccess\":[\"rejectedSpans\"]}", taken(0, "")),
        ];
        for (body, expected) in cases {
            assert_eq!(answered(200, body).await, expected, "{body}");
        }
        let filler = " ".repeat(LARGEST_ANSWER);
        assert_eq!(answered(200, &format!("{filler}{{\"partialSuccess\":{{\"rejectedSpans\":3}}}}")).await, taken(0, ""));
    }

    #[tokio::test]
    async fn a_refusal_has_the_collectors_message_without_the_header() {
        let body = "{\"code\":3,\"message\":\"bad \\u001b[1m canary-of-the-collector in Bearer canary-of-the-collector\"}";
        let why = answered(400, body).await.expect_err("it is refused");
        assert_eq!(why.to_string(), "answered 400: bad  [1m *** in ***");
        let long = format!("{{\"message\":\"{}\"}}", "x".repeat(5_000));
        assert!(answered(400, &long).await.expect_err("it is refused").to_string().len() < 300);
        assert_eq!(answered(400, "<html>").await.expect_err("it is refused").to_string(), "answered 400");
    }

    #[tokio::test]
    async fn only_the_statuses_that_otlp_names_are_retried_and_after_the_time_it_says() {
        for (status, again) in [
            (429, true),
            (502, true),
            (503, true),
            (504, true),
            (400, false),
            (401, false),
            (408, false),
            (413, false),
            (500, false),
            (501, false),
            (307, false),
        ] {
            let why = answered(status, "").await.expect_err("it is refused");
            assert_eq!(is_retryable(&why), again, "{status}");
            assert!(
                matches!(why, SendError::Refused { retry_after: Some(seven), .. } if seven == Duration::from_secs(7)),
                "{why:?}"
            );
        }
        let unreachable = collector("http://127.0.0.1:9".to_owned(), TokenSource::None).send(b"{}").await;
        assert!(is_retryable(&unreachable.expect_err("there is no listener")));
    }

    #[tokio::test]
    async fn a_rotated_header_is_read_again_and_the_request_repeated() {
        let valid = Arc::new(Mutex::new("Bearer one"));
        let (believes, seen) = (Arc::clone(&valid), Arc::<Mutex<Vec<String>>>::default());
        let seen_by_server = Arc::clone(&seen);
        let url = listen(move |header| {
            seen_by_server.lock().expect("nobody panicked").push(header.to_owned());
            let known = header == *believes.lock().expect("nobody panicked");
            (if known { StatusCode::OK } else { StatusCode::UNAUTHORIZED }, String::new())
        })
        .await;
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), "authorization: Bearer one\n").expect("it is ours");
        let collector = collector(url, TokenSource::File(file.path().into()));
        assert!(collector.send(b"{}").await.is_ok());
        *valid.lock().expect("nobody panicked") = "Bearer two";
        assert!(matches!(collector.send(b"{}").await, Err(SendError::Refused { status: 401, .. })), "there is no new header yet");
        std::fs::write(file.path(), "authorization: Bearer two\n").expect("it is ours");
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(31)).await;
        tokio::time::resume();
        assert!(collector.send(b"{}").await.is_ok());
        assert_eq!(*seen.lock().expect("nobody panicked"), ["Bearer one", "Bearer one", "Bearer one", "Bearer two"]);
    }
}
