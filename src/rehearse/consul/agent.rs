//! One real agent's API, as Nomad's client uses it: a service, then its check; gone again; and a good-bye.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http_body_util::BodyExt;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::rehearse::proxy::{self, Pool};
use crate::rehearse::server::full;

/// No call of an agent takes longer, but the good-bye.
const PATIENCE: Duration = Duration::from_secs(5);
/// An agent tells its neighbours that it leaves, and waits a moment until they know.
const LEAVES_IN: Duration = Duration::from_secs(15);

/// A service that is to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    /// What its check asks for; without one it has none.
    pub(super) path: Option<String>,
}

/// An agent's API.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    address: SocketAddr,
    pool: Pool,
}

impl Agent {
    pub(super) fn at(address: SocketAddr) -> Self {
        Self { address, pool: proxy::pool(Duration::from_secs(2), true) }
    }

    /// Whether it answers, and knows a server that leads.
    pub(super) async fn knows_a_leader(&self) -> bool {
        matches!(self.call(Method::GET, "/v1/status/leader", None, PATIENCE).await, Ok(leader) if leader.contains(':'))
    }

    /// Registers a service, and then its check, which does not pass before the agent has made it once.
    ///
    /// # Errors
    /// The agent does not take it.
    pub(super) async fn register(&self, id: &str, service: &Service) -> Result<()> {
        let Service { name, address, path } = service;
        let body = json!({
            "ID": id, "Name": name, "Address": address.ip(), "Port": address.port(), "Meta": { "external-source": "nomad" },
        });
        self.put("/v1/agent/service/register", Some(body)).await?;
        let Some(path) = path else { return Ok(()) };
        let body = json!({
            "ID": format!("_nomad-check-{id}"), "Name": format!("service: \"{name}\" check"), "ServiceID": id,
            "HTTP": format!("http://{address}{path}"), "Interval": "1s", "Timeout": "1s",
        });
        self.put("/v1/agent/check/register", Some(body)).await
    }

    /// Deregisters a service, and its check with it.
    ///
    /// # Errors
    /// The agent does not take it.
    pub(super) async fn deregister(&self, id: &str) -> Result<()> {
        self.put(&format!("/v1/agent/service/deregister/{id}"), None).await
    }

    /// Lets it leave: it takes its node out of the catalog.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) async fn leave(&self) -> Result<()> {
        self.call(Method::PUT, "/v1/agent/leave", None, LEAVES_IN).await.map(drop)
    }

    async fn put(&self, path: &str, body: Option<Value>) -> Result<()> {
        self.call(Method::PUT, path, body, PATIENCE).await.map(drop)
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
