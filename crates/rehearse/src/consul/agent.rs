//! The API of a real agent, as Nomad's client uses it: register a service and its check, deregister it, leave.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::api::Api;

/// How long a leave may take. The agent waits until its neighbours know about it.
const LEAVES_IN: Duration = Duration::from_secs(15);

/// A service to register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AgentService {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    /// The path of its check. `None` if it has no check.
    pub(super) path: Option<String>,
}

/// The API of an agent.
#[derive(Debug, Clone)]
pub(super) struct Agent(pub(super) Api);

impl Agent {
    /// Registers a service, and then its check. The check does not pass until the agent has made it once.
    ///
    /// # Errors
    /// The agent does not accept it.
    pub(super) async fn register(&self, id: &str, service: &AgentService) -> Result<()> {
        let AgentService { name, address, path } = service;
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

    /// Deregisters a service and its check.
    ///
    /// # Errors
    /// The agent does not accept it.
    pub(super) async fn deregister(&self, id: &str) -> Result<()> {
        self.0.put(&format!("/v1/agent/service/deregister/{id}"), None).await
    }

    /// Makes the agent leave, which removes its node from the catalog.
    ///
    /// # Errors
    /// The agent does not answer.
    pub(super) async fn leave(&self) -> Result<()> {
        self.0.put_within(LEAVES_IN, "/v1/agent/leave", None).await
    }
}
