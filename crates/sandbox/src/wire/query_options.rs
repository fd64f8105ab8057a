//! The query options of a request to Nomad or Consul, and reads that wait for a newer index (blocking queries).

use std::borrow::Cow;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::time::Instant;

use super::{Cluster, Shared};

/// How long a blocking query waits by default.
const WAIT: Duration = Duration::from_mins(5);
/// The longest wait of a blocking query.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// The query options of a request.
#[derive(Debug, Clone, Default)]
pub(super) struct QueryOptions {
    pairs: Vec<(String, String)>,
    /// The secret of the token.
    pub(super) secret: Option<String>,
    /// Answer only when there is something newer than this index.
    pub(super) index: u64,
    wait: Duration,
}

/// An answer to a read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReadAnswer {
    /// The index for the next blocking query.
    pub(super) index: u64,
    pub(super) known_leader: bool,
    /// ACLs left something out, and the answer says so (Consul).
    pub(super) filtered: bool,
    pub(super) body: Value,
}

/// An error in plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HttpError {
    pub(super) status: u16,
    pub(super) text: Cow<'static, str>,
    /// The index header, if the error has one.
    pub(super) index: Option<u64>,
}

/// The result of a read. `None` if there is nothing newer.
pub(super) type ReadResult = Result<Option<ReadAnswer>, HttpError>;

impl ReadAnswer {
    /// An answer with this index, unless the client has it already.
    pub(super) fn newer(since: u64, index: u64, body: impl FnOnce() -> Value) -> Option<Self> {
        (since < index || since == 0).then(|| Self { index, known_leader: true, filtered: false, body: body() })
    }
}

impl HttpError {
    pub(super) fn new(status: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status, text: text.into(), index: None }
    }

    pub(super) fn not_found(text: &'static str, index: u64) -> Self {
        Self { status: 404, text: text.into(), index: Some(index) }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], self.text).into_response()
    }
}

impl QueryOptions {
    /// A parameter of the query, if it is set. `?stale` is set with an empty value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter with a value that is not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Whether any server may answer.
    pub(super) fn is_stale(&self) -> bool {
        self.get("stale").is_some()
    }

    fn read(parts: &Parts) -> Result<Self, HttpError> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs: Vec<(String, String)> =
            form_urlencoded::parse(query.as_bytes()).map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
        let mut options = Self { secret: secret(&parts.headers), wait: WAIT, pairs, ..Self::default() };
        if let Some(secret) = options.text("token") {
            options.secret.get_or_insert(secret.to_owned());
        }
        if let Some(index) = options.text("index") {
            options.index = index.parse().map_err(|_| HttpError::new(400, "Invalid index"))?;
        }
        if let Some(wait) = options.text("wait") {
            let wait = decamp_config::duration::read(wait).map_err(|_| HttpError::new(400, "Invalid wait time"))?;
            options.wait = if wait.is_zero() { WAIT } else { wait.min(LONGEST_WAIT) };
        }
        Ok(options)
    }

    /// Looks until there is something newer than the client's index, or the wait is over.
    pub(super) async fn wait_for(
        &self,
        shared: &Shared,
        mut look: impl FnMut(&mut Cluster<'_>, u64) -> ReadResult + Send,
    ) -> Result<ReadAnswer, HttpError> {
        let until = Instant::now() + self.wait;
        let mut changes = shared.watch();
        loop {
            changes.mark_unchanged();
            let is_last = until <= Instant::now();
            let since = if is_last { 0 } else { self.index };
            let seen = shared.look(|models| match models.cluster() {
                Some(mut cluster) => look(&mut cluster, since),
                None => Err(HttpError::new(404, "")),
            })?;
            if let Some(seen) = seen {
                return Ok(seen);
            }
            // The next look finds out which of the two happened.
            drop(tokio::time::timeout_at(until, changes.changed()).await);
        }
    }
}

fn secret(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty());
    let bearer = || text("authorization")?.strip_prefix("Bearer ").map(str::trim);
    text("x-nomad-token").or_else(|| text("x-consul-token")).or_else(bearer).map(str::to_owned)
}

impl<S: Send + Sync> FromRequestParts<S> for QueryOptions {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpError> {
        Self::read(parts)
    }
}

/// The JSON body of a write.
pub(super) fn json(body: &[u8]) -> Result<Value, HttpError> {
    match serde_json::from_slice(body) {
        Ok(Value::Null) => Err(HttpError::new(400, "Request body is empty")),
        _ if body.is_empty() => Err(HttpError::new(400, "Request body is empty")),
        Ok(value) => Ok(value),
        Err(error) => Err(HttpError::new(400, format!("invalid JSON in the request body: {error}"))),
    }
}
