//! A client of Nomad's API: the instance's nodes and allocations, the token's capabilities, Nomad's own discovery, eligibility and drains.

mod acl;
mod allocations;
mod claims;
mod disks;
mod drain_meta;
mod find;
mod freshness;
mod ingress;
mod jobs;
mod listing;
mod node_cache;
mod other_nodes;
mod past_stops;
mod process;
mod services;
mod stops;
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
use decamp_core::decide::{DrainMeta, Node, Nomad, Noted, Refusal, TokenAccess, Unseen, WholeSeconds, token_access};
use decamp_core::ids::{AllocationId, InstanceId, NodeId};
use decamp_core::time::Time;
use decamp_net::http;
use decamp_net::http::{Answer, RequestFailure};
use decamp_net::secrets::Fetch;
use decamp_net::ttl_map::TtlMap;

/// The most concurrent requests of one look.
const CONCURRENT_REQUESTS: usize = 8;

/// How long the index of a node's allocations is cached. Without it a blocking query needs one more request.
const INDEX_CACHED_FOR: Duration = Duration::from_mins(1);

/// How long it is cached that another node has an address.
const ADDRESSES_CACHED_FOR: Duration = Duration::from_mins(1);

/// How long it is cached that an ended allocation's disk has moved on, or that its volumes are released. Neither comes back.
const DISKS_CACHED_FOR: Duration = Duration::from_mins(30);

/// decamp's clock.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// A client of Nomad's API.
pub struct Client {
    http: http::Client,
    clock: Clock,
    freshness: freshness::Freshness,
    /// How far decamp's clock is ahead of the servers', in milliseconds; 0 while they roughly agree.
    ahead: AtomicI64,
    /// The index of each node's allocations at the last look. A blocking query waits for a change after it.
    allocations_index: TtlMap<NodeId, u64>,
    /// The node that has an address, or runs an allocation that has it, at the last search.
    addresses: TtlMap<IpAddr, NodeId>,
    /// Nodes of a cluster whose servers cannot filter.
    node_cache: node_cache::NodeCache,
    /// Nodes with too many allocations to read all of them in full.
    lists: allocations::Lists,
    /// Ended allocations whose disks have moved on.
    moved: TtlMap<AllocationId, ()>,
    /// Ended allocations that claim no volume any more.
    released: TtlMap<AllocationId, ()>,
}

impl Client {
    /// Makes a client. Nothing is sent yet. Nomad's times are converted to `clock`.
    ///
    /// # Errors
    ///
    /// A certificate or key cannot be used.
    pub fn new(connection: &Connection, store: Arc<dyn Fetch>, clock: Clock) -> Result<Self> {
        Ok(Self {
            http: http::Client::new(connection, "x-nomad-token", store)?,
            clock,
            freshness: freshness::Freshness::default(),
            ahead: AtomicI64::new(0),
            allocations_index: TtlMap::with_ttl(INDEX_CACHED_FOR),
            addresses: TtlMap::with_ttl(ADDRESSES_CACHED_FOR),
            node_cache: node_cache::NodeCache::default(),
            lists: allocations::Lists::default(),
            moved: TtlMap::with_ttl(DISKS_CACHED_FOR),
            released: TtlMap::with_ttl(DISKS_CACHED_FOR),
        })
    }

    /// An answer; `None` if what the path names does not exist, or no longer.
    async fn get_if_there(&self, path: &str, query: &[(&str, &str)]) -> Result<Option<Answer>, Unseen> {
        match self.http.get(path, query).await {
            Ok(answer) => Ok(Some(answer)),
            Err(RequestFailure::Status { status: 404, text }) if text.contains("not found") => Ok(None),
            Err(failure) => Err(failure.unseen()),
        }
    }

    /// Reads the instance's nodes with their allocations. The nodes of an earlier look (`known`) are read without a new search, as long as
    /// all of them exist and none is lost.
    ///
    /// # Errors
    ///
    /// They cannot be read. That there is no node is not an error, but an answer without nodes.
    pub async fn look(&self, instance: InstanceId, known: Option<&Nomad>) -> Result<Nomad, Unseen> {
        if let Some(known) = known.filter(|k| !k.nodes.is_empty() && k.set_aside.is_empty()) {
            let ids: Vec<NodeId> = known.nodes.iter().map(|node| node.id).collect();
            let nodes = self.nodes(&ids).await?;
            // A node that was purged or is lost may have been replaced by another node of the same instance.
            if nodes.len() == ids.len() && nodes.iter().all(|node| !node.status.is_lost()) {
                return Ok(Nomad { nodes, set_aside: Vec::new() });
            }
        }
        // A node that an earlier look of this run listed is kept although its agent has died, because its processes may still run.
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

    /// Searches for the instance's nodes, and confirms each by reading it: servers before 1.3 ignore the filter and list all nodes.
    async fn find(&self, instance: InstanceId, listed: impl Fn(NodeId) -> bool) -> Result<find::Found, Unseen> {
        let candidates = self.candidates(&find::by_instance_id(&[instance])).await?;
        let found = find::by_fingerprint(instance, &candidates);
        if !found.nodes.is_empty() {
            return Ok(found);
        }
        let candidates = self.candidates(&find::without_fingerprint()).await?;
        let node = find::by_name_or_meta(instance, &candidates, listed)?;
        Ok(find::Found { nodes: node.into_iter().collect(), set_aside: Vec::new() })
    }

    /// All nodes that the servers list for a filter, each read in full. A cached node that has not changed is not read again.
    async fn candidates(&self, filter: &str) -> Result<Vec<(NodeId, wire::Node)>, Unseen> {
        let answer = self.http.get("/v1/nodes", &[("filter", filter)]).await.map_err(RequestFailure::unseen)?;
        let stubs: Vec<wire::Stub> = answer.json().map_err(RequestFailure::unseen)?;
        // No instance has so many nodes, so the servers ignored the filter, and will list all nodes again next time.
        let ignored = CONCURRENT_REQUESTS < stubs.len();
        if ignored {
            self.node_cache.retain(&stubs);
        }
        let read = stubs.iter().map(|stub| async {
            let id: NodeId =
                stub.id.parse().map_err(|why| Unseen::Away(format!("Nomad lists a node whose id is {why}").into()))?;
            if let Some(node) = self.node_cache.get(id, stub.modify_index) {
                return Ok(Some((id, node)));
            }
            let node = self.node(id).await?.map(|(node, _)| node);
            if let Some(node) = node.as_ref().filter(|_| ignored) {
                self.node_cache.put(id, node);
            }
            Ok(node.map(|node| (id, node)))
        });
        let read: Vec<Option<_>> = stream::iter(read).buffered(CONCURRENT_REQUESTS).try_collect().await?;
        // A node that was purged since it was listed is no candidate.
        Ok(read.into_iter().flatten().collect())
    }

    /// Reads one node; `None` if Nomad says that there is no node with this id.
    async fn node(&self, id: NodeId) -> Result<Option<(wire::Node, Answer)>, Unseen> {
        let answer = match self.http.get(&format!("/v1/node/{id}"), &[]).await {
            Ok(answer) => answer,
            Err(failure) if failure.is_missing() => return Ok(None),
            Err(failure) => return Err(failure.unseen()),
        };
        let node: wire::Node = answer.json().map_err(RequestFailure::unseen)?;
        if node.id != id.to_string() {
            return Err(Unseen::Away(format!("asked for node {id}, Nomad answered with another").into()));
        }
        must_know_leader(&answer)?;
        if !self.freshness.is_fresh(id, node.modify_index) {
            return Err(Unseen::Stale);
        }
        Ok(Some((node, answer)))
    }

    /// Reads nodes with their allocations. Nodes that do not exist are left out.
    async fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Node>, Unseen> {
        let read = ids.iter().map(|&id| self.node_with_allocations(id));
        let read: Vec<Option<Node>> = stream::iter(read).buffered(CONCURRENT_REQUESTS).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }

    /// Reads the node before its allocations: for an unknown node Nomad answers 200 with an empty list of allocations (facts/nomad.md 8.1).
    async fn node_with_allocations(&self, id: NodeId) -> Result<Option<Node>, Unseen> {
        let Some((node, answer)) = self.node(id).await? else { return Ok(None) };
        let ahead = self.ahead(&answer);
        let allocations = self.list(id, node.attribute("nomad.version").unwrap_or_default()).await?;
        let node = translate::node(id, &node, &allocations, ahead).map_err(RequestFailure::unseen)?;
        self.follow_data(node, &allocations).await.map(Some)
    }

    fn ahead(&self, answer: &Answer) -> i64 {
        let ahead = translate::ahead(answer.date(), (self.clock)(), self.ahead.load(Ordering::Relaxed));
        self.ahead.store(ahead, Ordering::Relaxed);
        ahead
    }

    /// Makes a node ineligible, so that Nomad places no new work on it.
    ///
    /// # Errors
    ///
    /// The write did not succeed, or it is unknown whether it did.
    pub async fn make_ineligible(&self, node: NodeId) -> Result<(), Refusal> {
        // The body has no `NodeID`, because that would override the path.
        self.write(node, "eligibility", &json!({ "Eligibility": "ineligible" })).await
    }

    /// Starts a drain, or sends it again. Every call moves the deadline to this long from now.
    ///
    /// # Errors
    ///
    /// The write did not succeed, or it is unknown whether it did.
    pub async fn drain(
        &self,
        node: NodeId,
        deadline: WholeSeconds,
        ignore_system_jobs: bool,
        meta: &DrainMeta,
    ) -> Result<(), Refusal> {
        self.write(node, "drain", &drain_body(deadline, ignore_system_jobs, meta)).await
    }

    /// Stores the beginnings of waits as dynamic metadata of a node (Nomad 1.5). The servers pass them to the node's agent, and show them
    /// some seconds later.
    ///
    /// # Errors
    ///
    /// The write did not succeed, or it is unknown whether it did.
    pub async fn note(&self, node: NodeId, notes: &[Noted]) -> Result<(), Refusal> {
        let meta: BTreeMap<&str, String> = notes.iter().map(|note| (note.what.key(), note.text())).collect();
        let body = json!({ "NodeID": node.to_string(), "Meta": meta });
        let answer = self.http.post("/v1/client/metadata", &body).await.map_err(RequestFailure::refusal)?;
        let kept: wire::Metadata = answer.json().map_err(RequestFailure::refusal)?;
        match notes.iter().all(|note| kept.meta.get(note.what.key()) == Some(&note.text())) {
            true => Ok(()),
            // Another answer than Nomad's may come from a proxy that did not pass the request on.
            false => Err(Refusal::Rejected("Nomad's answer does not contain the written metadata".into())),
        }
    }

    async fn write(&self, node: NodeId, what: &str, body: &serde_json::Value) -> Result<(), Refusal> {
        let answer = self.http.put(&format!("/v1/node/{node}/{what}"), body).await.map_err(RequestFailure::refusal)?;
        // Another answer than Nomad's may come from a proxy that did not pass the request on.
        let written: wire::Written = answer.json().map_err(RequestFailure::refusal)?;
        let header = answer.number("x-nomad-index").unwrap_or(0);
        self.freshness.wrote(node, written.index.max(written.node_modify_index).max(header));
        Ok(())
    }
}

/// Reads the answers to `GET /v1/node/:id` and `GET /v1/node/:id/allocations`.
///
/// # Errors
///
/// They are not a node and a list of allocations.
pub fn read_node(id: NodeId, node: &[u8], allocations: &[u8]) -> Result<Node, Unseen> {
    let node: wire::Node = http::read_json(node).map_err(RequestFailure::unseen)?;
    let allocations: Vec<wire::Allocation> = http::read_json(allocations).map_err(RequestFailure::unseen)?;
    translate::node(id, &node, &allocations, 0).map_err(RequestFailure::unseen)
}

/// The capabilities of a token with one policy, from the answer to `GET /v1/acl/policy/:name`; `None` if Nomad did not parse the policy.
///
/// # Errors
///
/// The answer is not a policy.
pub fn read_policy(answer: &[u8]) -> Result<Option<TokenAccess>, Unseen> {
    let policy: wire::Policy = http::read_json(answer).map_err(RequestFailure::unseen)?;
    Ok(policy.parsed.map(|rules| token_access(&[("policy".to_owned(), rules.into())])))
}

/// What a server answers without a leader may be old.
fn must_know_leader(answer: &Answer) -> Result<(), Unseen> {
    if answer.header("x-nomad-knownleader") == Some("false") { Err(Unseen::Stale) } else { Ok(()) }
}

/// The body of a drain. Without `DrainSpec` Nomad cancels the drain, without `Deadline` the drain never ends, and Nomad rejects a fraction
/// (facts/nomad.md 2.1 and 2.2).
fn drain_body(deadline: WholeSeconds, ignore_system_jobs: bool, meta: &DrainMeta) -> serde_json::Value {
    json!({
        "DrainSpec": { "Deadline": deadline.nanoseconds(), "IgnoreSystemJobs": ignore_system_jobs },
        "MarkEligible": false,
        "Meta": drain_meta::write(meta),
    })
}
