//! Nomad's API: the instance's nodes and allocations, our token's sight, Nomad's own discovery, eligibility and drains.

mod allocations;
mod before;
mod elsewhere;
mod find;
mod freshness;
mod ingress;
mod jobs;
mod listing;
mod marks;
mod services;
mod sight;
mod translate;
mod watch;
mod wire;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

pub use self::listing::{Listed, Server};
use decamp_config::Connection;
use decamp_core::decide::{DrainMeta, Node, Nomad, NomadSight, Noted, Refusal, Unseen, WholeSeconds, sight_of};
use decamp_core::ids::{InstanceId, NodeId};
use decamp_core::time::Time;
use decamp_net::http;
use decamp_net::http::{Answer, Failure};
use decamp_net::lately::Lately;
use decamp_net::secrets::Fetch;

/// Requests of one look that are under way at the same time.
const AT_ONCE: usize = 8;

/// How long the index of a node's allocations is of use. Without it a blocking query goes on from one answer more.
const INDEX_KEPT: Duration = Duration::from_mins(1);

/// How long it is believed that another node has an address.
const ADDRESSES_KEPT: Duration = Duration::from_mins(1);

/// What tells our time.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// A client of Nomad's API.
pub struct Client {
    http: http::Client,
    clock: Clock,
    freshness: freshness::Freshness,
    /// How far our clock is ahead of the servers', in milliseconds; 0 as long as they about agree.
    ahead: AtomicI64,
    /// The index of each node's allocations when they were last read: where a blocking query goes on from.
    allocations_index: Lately<NodeId, u64>,
    /// Which node had an address, or ran what has it, when that was last looked for.
    addresses: Lately<IpAddr, NodeId>,
    /// Nodes that were read on a cluster whose servers cannot filter.
    before: before::Before,
    /// Nodes whose allocations are too many to be read whole.
    lists: allocations::Lists,
}

impl Client {
    /// A client; nothing is sent yet. `clock` tells our time, which Nomad's times are corrected into.
    ///
    /// # Errors
    ///
    /// If a certificate or key cannot be used.
    pub fn new(connection: &Connection, store: Arc<dyn Fetch>, clock: Clock) -> Result<Self> {
        Ok(Self {
            http: http::Client::new(connection, "x-nomad-token", store)?,
            clock,
            freshness: freshness::Freshness::default(),
            ahead: AtomicI64::new(0),
            allocations_index: Lately::for_a(INDEX_KEPT),
            addresses: Lately::for_a(ADDRESSES_KEPT),
            before: before::Before::default(),
            lists: allocations::Lists::default(),
        })
    }

    /// Looks at the instance's nodes and their allocations. With an earlier look its nodes are read without looking for them
    /// again, as long as all of them are there and heard from.
    ///
    /// # Errors
    ///
    /// Why it cannot be seen. No node at all is not an error: it is an answer without nodes.
    pub async fn look(&self, instance: InstanceId, known: Option<&Nomad>) -> Result<Nomad, Unseen> {
        if let Some(known) = known.filter(|k| !k.nodes.is_empty() && k.set_aside.is_empty()) {
            let ids: Vec<NodeId> = known.nodes.iter().map(|node| node.id).collect();
            let nodes = self.nodes(&ids).await?;
            // A node that went away or quiet may have been replaced by another one of the same instance.
            if nodes.len() == ids.len() && nodes.iter().all(|node| !node.status.is_lost()) {
                return Ok(Nomad { nodes, set_aside: Vec::new() });
            }
        }
        // What an earlier look of this run listed stays in sight although its agent dies: its processes may still run.
        let listed = |id: &NodeId| known.is_some_and(|known| known.nodes.iter().any(|node| node.id == *id));
        let mut found = self.find(instance, |id| listed(&id)).await?;
        let (still, set_aside): (Vec<NodeId>, Vec<NodeId>) = found.set_aside.into_iter().partition(listed);
        found.set_aside = set_aside;
        found.nodes.extend(still);
        let nodes = self.nodes(&found.nodes).await?;
        if nodes.len() != found.nodes.len() {
            return Err(Unseen::Away("a node was purged while it was looked at".into()));
        }
        Ok(Nomad { nodes, set_aside: found.set_aside })
    }

    /// Looks for the instance's nodes, and confirms each by reading it: a server before 1.3 ignores the filter and lists all.
    async fn find(&self, instance: InstanceId, listed: impl Fn(NodeId) -> bool) -> Result<find::Found, Unseen> {
        let candidates = self.candidates(&find::by_instance_id(&[instance])).await?;
        let found = find::that_know(instance, &candidates);
        if !found.nodes.is_empty() {
            return Ok(found);
        }
        let candidates = self.candidates(&find::that_do_not_tell()).await?;
        let carries = find::that_carries(instance, &candidates, listed)?;
        Ok(find::Found { nodes: carries.into_iter().collect(), set_aside: Vec::new() })
    }

    /// All nodes that the servers list for a filter, read whole. What was read before and has not changed is not read again.
    async fn candidates(&self, filter: &str) -> Result<Vec<(NodeId, wire::Node)>, Unseen> {
        let answer = self.http.get("/v1/nodes", &[("filter", filter)]).await.map_err(Failure::unseen)?;
        let stubs: Vec<wire::Stub> = answer.json().map_err(Failure::unseen)?;
        // No instance has so many nodes: the filter was ignored, and all will be listed again next time.
        let ignored = AT_ONCE < stubs.len();
        if ignored {
            self.before.forget_all_but(&stubs);
        }
        let read = stubs.iter().map(|stub| async {
            let id: NodeId =
                stub.id.parse().map_err(|why| Unseen::Away(format!("Nomad lists a node whose id is {why}").into()))?;
            if let Some(node) = self.before.node(id, stub.modify_index) {
                return Ok(Some((id, node)));
            }
            let node = self.node(id).await?.map(|(node, _)| node);
            if let Some(node) = node.as_ref().filter(|_| ignored) {
                self.before.keep(id, node);
            }
            Ok(node.map(|node| (id, node)))
        });
        let read: Vec<Option<_>> = stream::iter(read).buffered(AT_ONCE).try_collect().await?;
        // Purged since it was listed: it is no candidate any more.
        Ok(read.into_iter().flatten().collect())
    }

    /// Reads one node; `None` if Nomad says that there is none of this id.
    async fn node(&self, id: NodeId) -> Result<Option<(wire::Node, Answer)>, Unseen> {
        let answer = match self.http.get(&format!("/v1/node/{id}"), &[]).await {
            Ok(answer) => answer,
            Err(failure) if failure.is_missing() => return Ok(None),
            Err(failure) => return Err(failure.unseen()),
        };
        let node: wire::Node = answer.json().map_err(Failure::unseen)?;
        if node.id != id.to_string() {
            return Err(Unseen::Away(format!("asked for node {id}, Nomad answered with another").into()));
        }
        if answer.header("x-nomad-knownleader") == Some("false") || !self.freshness.is_fresh(id, node.modify_index) {
            return Err(Unseen::Stale);
        }
        Ok(Some((node, answer)))
    }

    /// Reads nodes with their allocations, leaving out those that are not there.
    async fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Node>, Unseen> {
        let read = ids.iter().map(|&id| self.node_with_allocations(id));
        let read: Vec<Option<Node>> = stream::iter(read).buffered(AT_ONCE).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }

    /// The node first, then its allocations: an unknown node has an empty list of allocations, and 200 (facts/nomad.md 8.1).
    async fn node_with_allocations(&self, id: NodeId) -> Result<Option<Node>, Unseen> {
        let Some((node, answer)) = self.node(id).await? else { return Ok(None) };
        let ahead = self.ahead(&answer);
        let allocations = self.list(id, node.attribute("nomad.version").unwrap_or_default()).await?;
        translate::node(id, &node, &allocations, ahead).map(Some).map_err(Failure::unseen)
    }

    fn ahead(&self, answer: &Answer) -> i64 {
        let ahead = translate::ahead(answer.date(), (self.clock)(), self.ahead.load(Ordering::Relaxed));
        self.ahead.store(ahead, Ordering::Relaxed);
        ahead
    }

    /// Keeps new work off a node.
    ///
    /// # Errors
    ///
    /// Why it did not succeed; it may have worked all the same.
    pub async fn make_ineligible(&self, node: NodeId) -> Result<(), Refusal> {
        // No `NodeID` in the body: it would win over the path.
        self.write(node, "eligibility", &json!({ "Eligibility": "ineligible" })).await
    }

    /// Starts a drain, or sends it again: every call moves the deadline to that many seconds from now.
    ///
    /// # Errors
    ///
    /// Why it did not succeed; it may have worked all the same.
    pub async fn drain(
        &self,
        node: NodeId,
        deadline: WholeSeconds,
        ignore_system_jobs: bool,
        meta: &DrainMeta,
    ) -> Result<(), Refusal> {
        self.write(node, "drain", &drain_body(deadline, ignore_system_jobs, meta)).await
    }

    /// Writes down beginnings as dynamic metadata of a node (Nomad 1.5). The servers ask its agent, and show it some seconds later.
    ///
    /// # Errors
    ///
    /// Why it did not succeed; it may have worked all the same.
    pub async fn note(&self, node: NodeId, notes: &[Noted]) -> Result<(), Refusal> {
        let meta: BTreeMap<&str, String> = notes.iter().map(|note| (note.what.key(), note.text())).collect();
        let body = json!({ "NodeID": node.to_string(), "Meta": meta });
        let answer = self.http.post("/v1/client/metadata", &body).await.map_err(Failure::refusal)?;
        let kept: wire::Metadata = answer.json().map_err(Failure::refusal)?;
        match notes.iter().all(|note| kept.meta.get(note.what.key()) == Some(&note.text())) {
            true => Ok(()),
            // Whoever answers with something else than Nomad would may not have passed it on.
            false => Err(Refusal::Rejected("Nomad's answer does not show what was written".into())),
        }
    }

    async fn write(&self, node: NodeId, what: &str, body: &serde_json::Value) -> Result<(), Refusal> {
        let answer = self.http.put(&format!("/v1/node/{node}/{what}"), body).await.map_err(Failure::refusal)?;
        // Whoever answers with something else than Nomad would may not have passed it on.
        let written: wire::Written = answer.json().map_err(Failure::refusal)?;
        let header = answer.number("x-nomad-index").unwrap_or(0);
        self.freshness.wrote(node, written.index.max(written.node_modify_index).max(header));
        Ok(())
    }
}

/// Reads what `GET /v1/node/:id` and `GET /v1/node/:id/allocations` answer.
///
/// # Errors
///
/// If they are not a node and a list of allocations.
pub fn read_node(id: NodeId, node: &[u8], allocations: &[u8]) -> Result<Node, Unseen> {
    let node: wire::Node = http::read_json(node).map_err(Failure::unseen)?;
    let allocations: Vec<wire::Allocation> = http::read_json(allocations).map_err(Failure::unseen)?;
    translate::node(id, &node, &allocations, 0).map_err(Failure::unseen)
}

/// What a token with this one policy may see, from the answer of `GET /v1/acl/policy/:name`; `None` if Nomad did not parse it.
///
/// # Errors
///
/// If it is no policy.
pub fn read_policy(answer: &[u8]) -> Result<Option<NomadSight>, Unseen> {
    let policy: wire::Policy = http::read_json(answer).map_err(Failure::unseen)?;
    Ok(policy.parsed.map(|rules| sight_of(&[("policy".to_owned(), rules.into())])))
}

/// Without `DrainSpec` Nomad cancels the drain, without `Deadline` it never ends, and a fraction is refused (facts/nomad.md 2.1 and 2.2).
fn drain_body(deadline: WholeSeconds, ignore_system_jobs: bool, meta: &DrainMeta) -> serde_json::Value {
    json!({
        "DrainSpec": { "Deadline": deadline.nanoseconds(), "IgnoreSystemJobs": ignore_system_jobs },
        "MarkEligible": false,
        "Meta": marks::write(meta),
    })
}
