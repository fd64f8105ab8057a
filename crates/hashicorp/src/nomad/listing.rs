//! Requests that only checks need: the nodes of a group's instances, and the versions of the servers.

use std::sync::Arc;

use super::{CONCURRENT_REQUESTS, Client, find, translate, wire};
use decamp_core::decide::{NodeStatus, Unseen};
use decamp_core::ids::{InstanceId, NodeId};
use decamp_net::http::RequestFailure;

/// The most instances in one filter, because the length of a URL is limited.
const INSTANCES_PER_FILTER: usize = 25;

/// One instance's node, without its allocations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The instance.
    pub instance: InstanceId,
    /// Its node.
    pub node: NodeId,
    /// The node's name.
    pub name: Arc<str>,
    /// The node's status.
    pub status: NodeStatus,
    /// Whether Nomad may place new work on it.
    pub eligible: bool,
    /// Its Nomad version.
    pub version: Arc<str>,
    /// Its name in Consul.
    pub consul_name: Option<Arc<str>>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name.
    pub name: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// Whether the other servers can reach it.
    pub alive: bool,
}

impl Client {
    /// The nodes of these instances, by the id in each node's fingerprint. An instance without a node is left out.
    ///
    /// # Errors
    ///
    /// The nodes cannot be read.
    pub async fn nodes_of(&self, instances: &[InstanceId]) -> Result<Vec<Listed>, Unseen> {
        let mut listed = Vec::new();
        for some in instances.chunks(INSTANCES_PER_FILTER.max(CONCURRENT_REQUESTS)) {
            let candidates = self.candidates(&find::by_instance_id(some)).await?;
            for &instance in some {
                let id = instance.to_string();
                let ours = candidates.iter().filter(|(_, n)| n.attribute(find::INSTANCE_ID) == Some(&id));
                listed.extend(ours.map(|(node, n)| Listed {
                    instance,
                    node: *node,
                    name: n.name.as_str().into(),
                    status: translate::status(&n.status),
                    eligible: translate::is_eligible(&n.eligibility),
                    version: n.attribute("nomad.version").unwrap_or_default().into(),
                    consul_name: n.attribute("unique.consul.name").map(Arc::from),
                }));
            }
        }
        Ok(listed)
    }

    /// The servers of the region with their versions.
    ///
    /// # Errors
    ///
    /// The servers cannot be read.
    pub async fn servers(&self) -> Result<Vec<Server>, Unseen> {
        let answer = self.http.get("/v1/agent/members", &[]).await.map_err(RequestFailure::unseen)?;
        let members: wire::Members = answer.json().map_err(RequestFailure::unseen)?;
        let servers = members.members.into_iter().filter(|m| m.tags.get("role").is_none_or(|role| role == "nomad"));
        let server = |m: wire::Member| Server {
            version: m.tags.get("build").map(String::as_str).unwrap_or_default().into(),
            alive: m.status == "alive",
            name: m.name.into(),
        };
        Ok(servers.map(server).collect())
    }
}
