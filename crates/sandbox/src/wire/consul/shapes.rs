//! Nodes, services and checks in Consul's JSON.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::version_text;
use crate::wire::Cluster;
use decamp_core::ids::short_hash;
use decamp_sim::consul::{Entry, NodeState, Token};

/// The port of a service that is registered by hand.
const BY_HAND_PORT: u16 = 9000;

/// A UUID derived from a name.
fn uuid(name: &str) -> String {
    let (one, two) = (short_hash(&["node", name]), short_hash(&[name, "node"]));
    format!("{}-{}-4{}-8{}-{}", &one[..8], &one[8..12], &two[..3], &two[3..6], &one)
}

/// The address of a node, which is that of its Nomad client.
pub(super) fn address(cluster: &Cluster<'_>, node: &NodeState) -> String {
    let client = cluster.nomad.nodes().find(|(_, n)| n.spec.consul.as_ref().is_some_and(|(_, name)| *name == node.name));
    client.and_then(|(_, n)| n.spec.addresses.first().map(ToString::to_string)).unwrap_or_else(|| "127.0.0.1".to_owned())
}

fn addresses(address: &str) -> Value {
    json!({ "lan": address, "lan_ipv4": address, "wan": address, "wan_ipv4": address })
}

fn meta(cluster: &Cluster<'_>) -> Value {
    // Since Consul 1.13 nodes have their version in their metadata.
    match version_text(cluster.consul.version()) {
        "1.8.7" => json!({ "consul-network-segment": "" }),
        version => json!({ "consul-network-segment": "", "consul-version": version }),
    }
}

/// A row of `/v1/catalog/nodes`, and `Node` in other answers.
pub(super) fn node(cluster: &Cluster<'_>, node: &NodeState) -> Value {
    let address = address(cluster, node);
    json!({ "ID": uuid(&node.name), "Node": &*node.name, "Address": address, "Datacenter": "dc1",
        "TaggedAddresses": addresses(&address), "Meta": meta(cluster), "CreateIndex": 10, "ModifyIndex": 10 })
}

/// A service on a node, with the fields that all answers need.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) id: String,
    pub(super) name: Arc<str>,
    port: u16,
    /// Whether its check passes. `None` if it has no check.
    passing: Option<bool>,
}

/// The id of an allocation's registration, as Nomad builds it.
pub fn service_id(cluster: &Cluster<'_>, entry: &Entry) -> String {
    if entry.allocation.is_by_hand() {
        return entry.name.to_string();
    }
    let group = cluster.nomad.allocation(entry.allocation).group;
    let group = &cluster.nomad.groups()[group.index()].spec.group;
    format!("_nomad-task-{}-group-{}-{}-http", entry.id, group.name, entry.name)
}

/// The services of a node in a namespace that a token can see. `None` is the default namespace.
pub(super) fn services(cluster: &Cluster<'_>, node: &NodeState, token: &Token, namespace: Option<&str>) -> Vec<Listed> {
    let other = |name: &Arc<str>| {
        let (id, port) = if **name == *"consul" {
            ("consul".to_owned(), 8300)
        } else {
            (format!("_{name}-{}", short_hash(&[&node.name])), 4646)
        };
        Listed { id, name: Arc::clone(name), port, passing: None }
    };
    let port = |entry: &Entry| match entry.allocation.is_by_hand() {
        true => BY_HAND_PORT,
        false => cluster.nomad.allocation(entry.allocation).ports.first().copied().unwrap_or(0),
    };
    let own = |entry: &Entry| Listed {
        id: service_id(cluster, entry),
        name: Arc::clone(&entry.name),
        port: port(entry),
        passing: Some(entry.is_passing()),
    };
    let is_in = |entry: &&Entry| entry.is_listed() && entry.namespace.as_deref() == namespace;
    let others = node.others.iter().filter(|_| namespace.is_none()).map(other);
    let listed = others.chain(node.entries().filter(is_in).map(own));
    listed.filter(|service| node.registered && token.reads_service(&service.name)).collect()
}

fn tagged(address: &str, port: u16) -> Value {
    let one = json!({ "Address": address, "Port": port });
    json!({ "lan_ipv4": one, "wan_ipv4": one })
}

/// A row of `/v1/catalog/node-services/:node`.
pub(super) fn of_node(service: &Listed, address: &str, index: u64) -> Value {
    json!({ "ID": service.id, "Service": &*service.name, "Tags": [], "Address": address,
        "TaggedAddresses": tagged(address, service.port), "Meta": { "external-source": "nomad" }, "Port": service.port,
        "Weights": { "Passing": 1, "Warning": 1 }, "EnableTagOverride": false,
        "Proxy": { "Mode": "", "MeshGateway": {}, "Expose": {} }, "Connect": {}, "PeerName": "", "CreateIndex": 10, "ModifyIndex": index })
}

/// A row of `/v1/catalog/service/:name`.
pub(super) fn of_service(cluster: &Cluster<'_>, on: &NodeState, service: &Listed) -> Value {
    let address = address(cluster, on);
    json!({ "ID": uuid(&on.name), "Node": &*on.name, "Address": address, "Datacenter": "dc1", "TaggedAddresses": addresses(&address),
        "NodeMeta": meta(cluster), "ServiceKind": "", "ServiceID": service.id, "ServiceName": &*service.name, "ServiceTags": [],
        "ServiceAddress": address, "ServiceTaggedAddresses": tagged(&address, service.port),
        "ServiceWeights": { "Passing": 1, "Warning": 1 }, "ServiceMeta": { "external-source": "nomad" }, "ServicePort": service.port,
        "ServiceEnableTagOverride": false, "CreateIndex": 10, "ModifyIndex": on.index })
}

fn check(node: &str, id: &str, name: &str, passing: bool, service: Option<&Listed>) -> Value {
    let status = if passing { "passing" } else { "critical" };
    let (service_id, service_name) = service.map(|s| (s.id.as_str(), &*s.name)).unwrap_or_default();
    json!({ "Node": node, "CheckID": id, "Name": name, "Status": status, "Notes": "", "Output": "", "ServiceID": service_id,
        "ServiceName": service_name, "ServiceTags": [], "Type": "http", "Interval": "1s", "Timeout": "1s", "ExposedPort": 0,
        "Definition": {}, "CreateIndex": 10, "ModifyIndex": 10 })
}

/// The checks of a node: that of its agent, which is in the default namespace, and those of the given services.
pub(super) fn checks(node: &NodeState, in_default: bool, services: &[Listed]) -> Vec<Value> {
    let mut rows = if in_default { vec![serf(node)] } else { Vec::new() };
    rows.extend(services.iter().filter_map(|service| service_check(node, service)));
    rows
}

fn serf(node: &NodeState) -> Value {
    check(&node.name, "serfHealth", "Serf Health Status", !node.serf_critical, None)
}

fn service_check(node: &NodeState, service: &Listed) -> Option<Value> {
    let passing = service.passing?;
    let (id, name) = (format!("_nomad-check-{}", short_hash(&[&service.id])), format!("service: \"{}\" check", service.name));
    Some(check(&node.name, &id, &name, passing, Some(service)))
}

/// A row of `/v1/health/service/:name`, and whether all its checks pass.
pub(super) fn health(cluster: &Cluster<'_>, on: &NodeState, service: &Listed) -> (Value, bool) {
    let rows: Vec<Value> = [Some(serf(on)), service_check(on, service)].into_iter().flatten().collect();
    let passing = !on.serf_critical && service.passing != Some(false);
    let address = address(cluster, on);
    (json!({ "Node": node(cluster, on), "Service": of_node(service, &address, on.index), "Checks": rows }), passing)
}

/// The services of a node by id, as in `/v1/catalog/node/:node`.
pub(super) fn by_id(services: &[Listed], address: &str, index: u64) -> Map<String, Value> {
    services.iter().map(|service| (service.id.clone(), of_node(service, address, index))).collect()
}
