//! The HTTP API of a real agent, as the rehearsal calls it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http_body_util::BodyExt;
use hyper::{Method, Request, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use super::proxy::{self, Pool};
use super::server::full;

/// The time-out of a call, unless the caller sets another.
const PATIENCE: Duration = Duration::from_secs(5);

/// The API of one agent.
#[derive(Debug, Clone)]
pub(super) struct Api {
    pub(super) address: SocketAddr,
    pool: Pool,
}

impl Api {
    pub(super) fn at(address: SocketAddr) -> Self {
        Self { address, pool: proxy::pool(Duration::from_secs(2), true) }
    }

    /// Whether the agent answers and knows a leader. Consul and Nomad have the same call for it.
    pub(super) async fn knows_a_leader(&self) -> bool {
        matches!(self.call(Method::GET, "/v1/status/leader", None, PATIENCE).await, Ok(leader) if leader.contains(':'))
    }

    /// Reads JSON from a path.
    ///
    /// # Errors
    /// The agent does not answer with a 200 and JSON.
    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        let text = self.call(Method::GET, path, None, PATIENCE).await?;
        serde_json::from_str(&text).with_context(|| format!("{path}: the answer is not JSON"))
    }

    /// Writes to a path.
    ///
    /// # Errors
    /// The agent does not answer with a 200.
    pub(super) async fn put(&self, path: &str, body: Option<Value>) -> Result<()> {
        self.put_within(PATIENCE, path, body).await
    }

    /// Writes to a path, with a time-out of its own.
    ///
    /// # Errors
    /// The agent does not answer with a 200 in time.
    pub(super) async fn put_within(&self, patience: Duration, path: &str, body: Option<Value>) -> Result<()> {
        self.call(Method::PUT, path, body, patience).await.map(drop)
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>, patience: Duration) -> Result<String> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request::builder().method(method).uri(format!("http://{}{path}", self.address)).body(full(body))?;
        let answer = async {
            let (head, body) = self.pool.request(request).await?.into_parts();
            anyhow::Ok((head.status, String::from_utf8_lossy(&body.collect().await?.to_bytes()).into_owned()))
        };
        let (status, text) = timeout(patience, answer).await.with_context(|| format!("{path}: no answer in time"))??;
        ensure!(status == StatusCode::OK, "{path}: {status} {}", text.trim());
        Ok(text)
    }
}
