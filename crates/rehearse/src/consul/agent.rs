//! One real agent's API, as Nomad's client uses it: a service, then its check; gone again; and a good-bye.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::api::Api;

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
pub(super) struct Agent(pub(super) Api);

impl Agent {
    /// Registers a service, and then its check, which does not pass before the agent has made it once.
    ///
    /// # Errors
    /// The agent does not take it.
    pub(super) async fn register(&self, id: &str, service: &Service) -> Result<()> {
        let Service { name, address, path } = service;
        let body = json!({
            "ID": id, "Name": name, "Address": address.ip(), "Port": address.port(), "Meta": { "external-source": "nomad" },
        });
        self.0.put("/v1/agent/service/register", Some(body)).await?;
        let Some(path) = path else { return Ok(()) };
        let body = json!({
            "ID": format!("_nomad-check-{id}"), "Name": format!("service: \"{name}\" check"), "ServiceID": id,
            "HTTP": format!("http://{address}{path}"), "Interval": "1s", "Timeout": "1s",
        });
        self.0.put("/v1/agent/check/register", Some(body)).await
    }

    /// Deregisters a service, and its check with it.
    ///
    /// # Errors
    /// The agent does not take it.
    pub(super) async fn deregister(&self, id: &str) -> Result<()> {
        self.0.put(&format!("/v1/agent/service/deregister/{id}"), None).await
    }

    /// Lets it leave: it takes its node out of the catalog.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) async fn leave(&self) -> Result<()> {
        self.0.put_within(LEAVES_IN, "/v1/agent/leave", None).await
    }
}
