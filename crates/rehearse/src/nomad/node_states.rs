//! Looks at a real cluster a few times a second: the state of each node, and which process listens on which address.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::api::Api;
use crate::cluster;
use crate::plan::Plan;
use crate::processes::Names;

/// The time between two looks.
const EVERY: Duration = Duration::from_millis(250);

/// The observed state of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NodeState {
    /// It drains.
    pub(crate) drains: bool,
    /// A process on it is to stop and has not ended.
    pub(crate) stops: bool,
    /// It drains, and copies of services on it still wait for their turn to move.
    pub(crate) moves: bool,
    /// A process on it is to stop, and some service on it is still in discovery.
    pub(crate) leaves_discovery: bool,
}

/// The observed states of all nodes, by their numbers.
pub(crate) type NodeStates = HashMap<u32, NodeState>;

/// A row of `/v1/nodes`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    name: String,
    drain: bool,
}

/// A row of `/v1/allocations`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Allocation {
    name: String,
    node_name: String,
    job_type: String,
    desired_status: String,
    client_status: String,
    allocated_resources: Option<Resources>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Resources {
    shared: Shared,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Shared {
    ports: Option<Vec<Port>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    value: u16,
}

/// A row of `/v1/health/state/any`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    node: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
}

impl Allocation {
    /// It has not ended, by its client status.
    fn is_running(&self) -> bool {
        matches!(&*self.client_status, "pending" | "running")
    }

    fn is_wanted(&self) -> bool {
        self.desired_status == "run"
    }
}

/// Looks until the task is aborted. A look that fails changes nothing.
pub(super) async fn follow(nomad: &Api, consul: &Api, names: &Names, node_states: &watch::Sender<NodeStates>) -> Result<()> {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Ok((nodes, allocations, checks)) = look(nomad, consul).await {
            record_names(names, &allocations);
            node_states.send_replace(states(&nodes, &allocations, &checks));
        }
    }
}

async fn look(nomad: &Api, consul: &Api) -> Result<(Vec<Node>, Vec<Allocation>, Vec<Check>)> {
    let (nodes, allocations, checks) = tokio::try_join!(
        nomad.get("/v1/nodes"),
        nomad.get("/v1/allocations?resources=true"),
        consul.get("/v1/health/state/any")
    )?;
    Ok((serde_json::from_value(nodes)?, serde_json::from_value(allocations)?, serde_json::from_value(checks)?))
}

/// Records which process listens on which address.
fn record_names(names: &Names, allocations: &[Allocation]) {
    let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
    for allocation in allocations.iter().filter(|allocation| allocation.client_status == "running") {
        let ports = allocation.allocated_resources.as_ref().and_then(|resources| resources.shared.ports.as_ref());
        let (Some(number), Some(ports)) = (cluster::number_of(&allocation.node_name), ports) else { continue };
        for Port { value } in ports {
            let address = SocketAddr::new(IpAddr::V4(Plan::address(number)), *value);
            names.insert(address, allocation.name.as_str().into());
        }
    }
}

fn states(nodes: &[Node], allocations: &[Allocation], checks: &[Check]) -> NodeStates {
    let listed: HashSet<&str> =
        checks.iter().filter(|check| check.service_id.starts_with("_nomad-task-")).map(|check| &*check.node).collect();
    let state = |node: &Node| {
        let here = || allocations.iter().filter(|allocation| allocation.node_name == node.name);
        NodeState {
            drains: node.drain,
            stops: here().any(|allocation| allocation.is_running() && !allocation.is_wanted()),
            moves: node.drain && here().any(|allocation| allocation.is_running() && allocation.job_type == "service"),
            leaves_discovery: here().any(|allocation| !allocation.is_wanted()) && listed.contains(&*node.name),
        }
    };
    nodes.iter().filter_map(|node| Some((cluster::number_of(&node.name)?, state(node)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen(drain: bool, desired: &str, client: &str, service: &str) -> NodeState {
        let nodes = json!([{ "ID": "1", "Name": "node-3", "Drain": drain }, { "ID": "2", "Name": "another", "Drain": true }]);
        let allocations = json!([{
            "Name": "service-1.group[0]", "NodeName": "node-3", "JobType": "service", "DesiredStatus": desired,
            "ClientStatus": client, "AllocatedResources": { "Shared": { "Ports": [{ "Value": 20_001 }] } },
        }]);
        let checks = json!([{ "Node": "node-3", "ServiceID": service }, { "Node": "node-3", "ServiceID": "" }]);
        let allocations: Vec<Allocation> = serde_json::from_value(allocations).unwrap();
        let names = Names::default();
        record_names(&names, &allocations);
        let many = usize::from(client == "running");
        assert_eq!(names.lock().unwrap().len(), many);
        assert_eq!(
            names.lock().unwrap().get(&"127.0.0.13:20001".parse().unwrap()).map(|name| &**name == "service-1.group[0]"),
            (many == 1).then_some(true)
        );
        let nodes: Vec<Node> = serde_json::from_value(nodes).unwrap();
        let checks: Vec<Check> = serde_json::from_value(checks).unwrap();
        let node_states = states(&nodes, &allocations, &checks);
        assert_eq!(node_states.len(), 1);
        node_states[&3]
    }

    #[test]
    fn the_state_of_a_node_follows_from_its_allocations() {
        let listed = "_nomad-task-1-group-group-service-1-http";
        let calm = NodeState::default();
        assert_eq!(seen(false, "run", "running", listed), calm);
        assert_eq!(seen(true, "run", "running", listed), NodeState { drains: true, moves: true, ..calm });
        let leaves = NodeState { drains: true, stops: true, moves: true, leaves_discovery: true };
        assert_eq!(seen(true, "stop", "running", listed), leaves);
        assert_eq!(seen(true, "stop", "running", "_nomad-client-x"), NodeState { leaves_discovery: false, ..leaves });
        assert_eq!(seen(false, "stop", "complete", listed), NodeState { leaves_discovery: true, ..calm });
        assert_eq!(seen(false, "stop", "complete", ""), calm);
    }
}
