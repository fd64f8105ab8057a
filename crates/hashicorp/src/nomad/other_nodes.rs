//! Which addresses belong to other ready nodes of the cluster, or to allocations on them that have their own network.

use std::net::IpAddr;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{CONCURRENT_REQUESTS, Client, find, translate, wire};
use decamp_core::decide::{Elsewhere, Node, NodeStatus, Nomad, Unseen};
use decamp_core::ids::{InstanceId, NodeId};
use decamp_net::http::RequestFailure;

/// The most nodes that are read in full for the addresses of their allocations, because no list of allocations has addresses. In a larger
/// cluster an address that is not found by then stays unknown, and the departure waits for it.
const MOST_NODES: usize = 100;

impl Client {
    /// Which of these addresses belong to other ready nodes, or to allocations on them. Results are cached for a minute.
    ///
    /// # Errors
    ///
    /// The nodes cannot be read. That no node has an address is not an error.
    pub async fn elsewhere(&self, instance: InstanceId, known: Option<&Nomad>, asked: &[IpAddr]) -> Result<Elsewhere, Unseen> {
        let ours: Vec<NodeId> = known.iter().flat_map(|nomad| &nomad.nodes).map(|node| node.id).collect();
        let of_another = |id: &NodeId| !ours.contains(id);
        let found = |address: &IpAddr| self.addresses.get(address).filter(of_another).is_some();
        let missing: Vec<IpAddr> = asked.iter().copied().filter(|address| !found(address)).collect();
        let mut held: Vec<IpAddr> = asked.iter().copied().filter(found).collect();
        if !missing.is_empty() {
            held.extend(self.search(instance, &ours, missing).await?);
        }
        Ok(Elsewhere { asked: asked.to_vec(), held })
    }

    /// Searches for addresses: first in the list of nodes, then on one node after the other until all are found.
    async fn search(&self, instance: InstanceId, ours: &[NodeId], mut missing: Vec<IpAddr>) -> Result<Vec<IpAddr>, Unseen> {
        let answer = self.http.get("/v1/nodes", &[]).await.map_err(RequestFailure::unseen)?;
        let stubs: Vec<wire::Stub> = answer.json().map_err(RequestFailure::unseen)?;
        let listed = |stub: &wire::Stub| {
            let id: NodeId = stub.id.parse().ok()?;
            let ready = translate::status(&stub.status) == NodeStatus::Ready;
            (ready && !ours.contains(&id)).then(|| (id, stub.address.parse::<IpAddr>().ok()))
        };
        let mut others: Vec<(NodeId, Option<IpAddr>)> = stubs.iter().filter_map(listed).collect();
        let mut held = Vec::new();
        if !ours.is_empty() {
            // The instance's own nodes are known, so every other node is another instance's.
            for (id, address) in &others {
                if let Some(place) = missing.iter().position(|asked| Some(*asked) == *address) {
                    let address = missing.swap_remove(place);
                    self.addresses.put(address, *id);
                    held.push(address);
                }
            }
        }
        // Nodes that advertise a missing address come first. If the instance's own nodes are unknown, a node counts only after it is read.
        others.sort_by_key(|(_, address)| !address.is_some_and(|address| missing.contains(&address)));
        let ids = others.into_iter().map(|(id, _)| id).take(MOST_NODES);
        let mut read = stream::iter(ids.map(|id| self.read_another(id))).buffered(CONCURRENT_REQUESTS);
        while !missing.is_empty() {
            let Some(next) = read.try_next().await? else { break };
            let Some((node, is_of)) = next else { continue };
            if is_of.map_or(ours.is_empty(), |of| of == instance) {
                continue;
            }
            for place in (0..missing.len()).rev() {
                if has(&node, missing[place]) {
                    let address = missing.swap_remove(place);
                    self.addresses.put(address, node.id);
                    held.push(address);
                }
            }
        }
        Ok(held)
    }

    /// A node with its allocations, and the instance that its fingerprint names.
    async fn read_another(&self, id: NodeId) -> Result<Option<(Node, Option<InstanceId>)>, Unseen> {
        let Some((node, _)) = self.node(id).await? else { return Ok(None) };
        let is_of = node.attribute(find::INSTANCE_ID).and_then(|text| text.parse().ok());
        let answer = self.http.get(&format!("/v1/node/{id}/allocations"), &[]).await.map_err(RequestFailure::unseen)?;
        let allocations: Vec<wire::Allocation> = answer.json().map_err(RequestFailure::unseen)?;
        translate::node(id, &node, &allocations, 0).map(|node| Some((node, is_of))).map_err(RequestFailure::unseen)
    }
}

/// Whether a node, or an allocation on it that has not ended, has an address.
fn has(node: &Node, address: IpAddr) -> bool {
    let own = node.allocations.iter().filter(|a| !a.client.is_over()).filter_map(|a| a.own.as_ref());
    node.addresses.contains(&address) || own.into_iter().any(|own| !own.bridge && own.address == address)
}
