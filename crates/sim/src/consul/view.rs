//! Consul's HTTP API, the reads: what the catalog lists for a node, as a token may see it, now or as a server lags.

use std::sync::Arc;

use super::{Consul, Entry, NodeNumber, NodeState, Token, Version};
use decamp_core::decide::Unseen;
use decamp_core::decide::snapshot::{HandRegistration, Registration, Registrations};

/// Who answers a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// The leader, as by default and with `?consistent`.
    Default,
    /// Any server (`?stale`).
    Stale,
}

/// An answer, with what its headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// `X-Consul-Index`.
    pub index: u64,
    /// `X-Consul-KnownLeader`.
    pub known_leader: bool,
    /// `X-Consul-Results-Filtered-By-ACLs: true`. Never there before 1.11, nor for a blank token.
    pub filtered: bool,
    /// The body.
    pub body: T,
}

/// The body of `/v1/catalog/node-services/:node`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeServices {
    /// Whether `Node` is there, and not `null`.
    pub node: bool,
    /// The services of allocations.
    pub services: Arc<[Registration]>,
    /// The names of the others.
    pub others: Vec<Arc<str>>,
}

/// A refusal, as Consul words it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiError {
    /// 403 `ACL not found`.
    AclNotFound,
    /// 403 `Permission denied`.
    PermissionDenied,
    /// 500 `No cluster leader`.
    NoLeader,
}

impl ApiError {
    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::AclNotFound | Self::PermissionDenied => 403,
            Self::NoLeader => 500,
        }
    }

    /// The body, in plain text.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::AclNotFound => "ACL not found",
            Self::PermissionDenied => "Permission denied",
            Self::NoLeader => "No cluster leader",
        }
    }

    /// As an adapter tells it of a look.
    #[must_use]
    pub fn unseen(self) -> Unseen {
        let line = format!("{} {}", self.status(), self.text()).into();
        match self {
            Self::AclNotFound | Self::PermissionDenied => Unseen::Denied(line),
            Self::NoLeader => Unseen::Away(line),
        }
    }
}

impl Consul {
    /// What the rules see of a node's registrations. Whole only if the answer itself proves it: a header that could have said
    /// otherwise, a token that is one, and a node that is there.
    ///
    /// # Errors
    /// Without a leader (unless stale), or to an unknown token.
    pub fn look(&mut self, node: NodeNumber, token: &Token, read: Read) -> Result<Answer<Registrations>, ApiError> {
        self.look_in(node, token, read, &[])
    }

    /// The same, in these namespaces as well as in the default one.
    ///
    /// # Errors
    /// As for [`Consul::look`].
    pub fn look_in(
        &mut self,
        node: NodeNumber,
        token: &Token,
        read: Read,
        namespaces: &[Arc<str>],
    ) -> Result<Answer<Registrations>, ApiError> {
        self.may_read(token, read)?;
        let stale = self.frozen.as_ref().filter(|_| read == Read::Stale);
        let (index, seen) = match stale {
            Some((index, nodes)) if node.index() < nodes.len() => (*index, nodes[node.index()].clone()),
            Some(_) | None => (self.nodes[node.index()].index, self.seen(node)),
        };
        let (node, agent_dead) = (&self.nodes[node.index()], seen.agent_dead);
        let further = within(node, namespaces);
        let services = if further.is_empty() { seen.services } else { seen.services.iter().cloned().chain(further).collect() };
        let body = shown(node, services, token);
        let by_hand = if body.node { seen.by_hand } else { Arc::default() };
        let filtered = self.says_filtered(node, token);
        let whole = (self.admits_filtering(token) || *token == Token::AclsOff) && !filtered && body.node;
        let body = Registrations { whole, agent_dead: agent_dead && body.node, services: body.services, by_hand };
        Ok(Answer { index, known_leader: self.has_leader(), filtered, body })
    }

    /// `GET /v1/catalog/node-services/:node`.
    ///
    /// # Errors
    /// As for [`Consul::look`].
    pub fn node_services(&mut self, name: &str, token: &Token, read: Read) -> Result<Answer<NodeServices>, ApiError> {
        self.may_read(token, read)?;
        let known_leader = self.has_leader();
        let Some(number) = self.node_number(name) else {
            let body = NodeServices { node: false, services: Arc::default(), others: Vec::new() };
            return Ok(Answer { index: 1, known_leader, filtered: false, body });
        };
        let services = self.seen(number).services;
        let node = &self.nodes[number.index()];
        let body = shown(node, services, token);
        Ok(Answer { index: node.index, known_leader, filtered: self.says_filtered(node, token), body })
    }

    /// `PUT /v1/catalog/deregister`: whether it is taken from this token.
    ///
    /// # Errors
    /// Without a leader, or if the token may not. No token here may write but a full one.
    pub fn may_deregister(&self, token: &Token) -> Result<(), ApiError> {
        self.may_read(token, Read::Default)?;
        if matches!(token, Token::AclsOff | Token::Full) { Ok(()) } else { Err(ApiError::PermissionDenied) }
    }

    pub(super) fn may_read(&self, token: &Token, read: Read) -> Result<(), ApiError> {
        if *token == Token::Unknown {
            return Err(ApiError::AclNotFound);
        }
        if read == Read::Default && !self.has_leader() { Err(ApiError::NoLeader) } else { Ok(()) }
    }

    /// Whether the header says that something was left out.
    fn says_filtered(&self, node: &NodeState, token: &Token) -> bool {
        let all = node.entries.iter().filter(|e| e.catalog).map(|e| &e.name).chain(&node.others);
        let hides = !token.reads_nodes() || all.into_iter().any(|name| !token.reads_service(name));
        node.registered && hides && self.admits_filtering(token)
    }

    /// Whether an answer to this token would say that it was filtered.
    pub(super) fn admits_filtering(&self, token: &Token) -> bool {
        Version::V1_19_2 <= self.version && *token != Token::Blank
    }

    /// One node of the catalog, listed or not.
    #[must_use]
    pub fn node(&self, number: NodeNumber) -> &NodeState {
        &self.nodes[number.index()]
    }

    /// The nodes, in the order they were added.
    #[must_use]
    pub fn nodes(&self) -> &[NodeState] {
        &self.nodes
    }

    /// The number of the node with this name.
    #[must_use]
    pub fn node_number(&self, name: &str) -> Option<NodeNumber> {
        (0_u32..).zip(&self.nodes).find(|(_, node)| *node.name == *name).map(|(number, _)| NodeNumber(number))
    }

    /// Whether somebody has registered something in a namespace: then it is Enterprise's.
    #[must_use]
    pub fn has_namespaces(&self) -> bool {
        self.has_namespaces
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// What the catalog lists, to whoever may see all of it. The list is made anew only when something changed.
    pub(super) fn seen(&mut self, node: NodeNumber) -> Registrations {
        let NodeState { cached, entries, serf_critical, .. } = &mut self.nodes[node.index()];
        let services = cached.get_or_insert_with(|| {
            let listed = entries.iter().filter(|e| e.catalog && e.namespace.is_none() && !e.allocation.is_by_hand());
            listed.map(|e| Registration { allocation: e.id, service: e.name.clone(), critical: !e.passing }).collect()
        });
        let services = services.clone();
        let by_hand = entries.iter().filter(|e| e.catalog && e.allocation.is_by_hand());
        let by_hand = by_hand.map(|e| HandRegistration { service: e.name.clone(), critical: !e.passing }).collect();
        Registrations { whole: true, agent_dead: *serf_critical, services, by_hand }
    }
}

/// What allocations registered on a node in these namespaces.
fn within(node: &NodeState, namespaces: &[Arc<str>]) -> Vec<Registration> {
    let asked = |e: &&Entry| e.catalog && e.namespace.as_ref().is_some_and(|namespace| namespaces.contains(namespace));
    let listed = node.entries.iter().filter(asked);
    listed.map(|e| Registration { allocation: e.id, service: e.name.clone(), critical: !e.passing }).collect()
}

/// What a token sees of a node's services.
fn shown(node: &NodeState, services: Arc<[Registration]>, token: &Token) -> NodeServices {
    if !node.registered || !token.reads_nodes() {
        return NodeServices { node: false, services: Arc::default(), others: Vec::new() };
    }
    let others = node.others.iter().filter(|name| token.reads_service(name)).cloned().collect();
    let whole = services.iter().all(|s| token.reads_service(&s.service));
    let services = if whole { services } else { services.iter().filter(|s| token.reads_service(&s.service)).cloned().collect() };
    NodeServices { node: true, services, others }
}
