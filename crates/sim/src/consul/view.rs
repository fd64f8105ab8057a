//! The reads of Consul's HTTP API: a node's registrations. They show what the token may read, and a stale read may show what a lagging
//! server knows.

use std::sync::Arc;

use super::{Consul, Entry, NodeNumber, NodeState, Token, Version};
use decamp_core::decide::Unseen;
use decamp_core::decide::snapshot::{HandRegistration, Registration, Registrations};

/// Which server answers a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// The leader, which is the default and the same with `?consistent`.
    Default,
    /// Any server (`?stale`).
    Stale,
}

/// An answer with the values of its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// `X-Consul-Index`.
    pub index: u64,
    /// `X-Consul-KnownLeader`.
    pub known_leader: bool,
    /// `X-Consul-Results-Filtered-By-ACLs: true`. It is never set before 1.11 or for a blank token.
    pub filtered: bool,
    /// The body.
    pub body: T,
}

/// The body of `/v1/catalog/node-services/:node`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeServices {
    /// Whether `Node` is not `null`.
    pub node: bool,
    /// The registrations of allocations.
    pub services: Arc<[Registration]>,
    /// The names of other services.
    pub others: Vec<Arc<str>>,
}

/// A refusal in Consul's own words.
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

    /// How an adapter reports this refusal of a look.
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
    /// A node's registrations as the rules see them. They are whole only if the answer proves it: the version would set the header that
    /// says otherwise, the token is not blank, and the node is in the answer.
    ///
    /// # Errors
    /// Without a leader (unless stale), or with an unknown token.
    pub fn look(&mut self, node: NodeNumber, token: &Token, read: Read) -> Result<Answer<Registrations>, ApiError> {
        self.look_in(node, token, read, &[])
    }

    /// A node's registrations in these namespaces and in the default one.
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
        let whole = (self.reports_filtering(token) || *token == Token::AclsOff) && !filtered && body.node;
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

    /// Whether `PUT /v1/catalog/deregister` is accepted with this token.
    ///
    /// # Errors
    /// Without a leader, or if the token may not write. In the model only a full token may.
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

    /// Whether the header says that the answer was filtered.
    fn says_filtered(&self, node: &NodeState, token: &Token) -> bool {
        let all = node.entries.iter().filter(|e| e.catalog).map(|e| &e.name).chain(&node.others);
        let hides = !token.reads_nodes() || all.into_iter().any(|name| !token.reads_service(name));
        node.registered && hides && self.reports_filtering(token)
    }

    /// Whether a filtered answer to this token would say that it was filtered.
    pub(super) fn reports_filtering(&self, token: &Token) -> bool {
        Version::V1_19_2 <= self.version && *token != Token::Blank
    }

    /// A node, even if the catalog no longer lists it.
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

    /// Whether any registration has been in a namespace, which shows that this is Consul Enterprise.
    #[must_use]
    pub fn has_namespaces(&self) -> bool {
        self.has_namespaces
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// A node's registrations with full read access. The list is cached until something changes.
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

/// The registrations of allocations on a node in these namespaces.
fn within(node: &NodeState, namespaces: &[Arc<str>]) -> Vec<Registration> {
    let asked = |e: &&Entry| e.catalog && e.namespace.as_ref().is_some_and(|namespace| namespaces.contains(namespace));
    let listed = node.entries.iter().filter(asked);
    listed.map(|e| Registration { allocation: e.id, service: e.name.clone(), critical: !e.passing }).collect()
}

/// The part of a node's services that a token may read.
fn shown(node: &NodeState, services: Arc<[Registration]>, token: &Token) -> NodeServices {
    if !node.registered || !token.reads_nodes() {
        return NodeServices { node: false, services: Arc::default(), others: Vec::new() };
    }
    let others = node.others.iter().filter(|name| token.reads_service(name)).cloned().collect();
    let whole = services.iter().all(|s| token.reads_service(&s.service));
    let services = if whole { services } else { services.iter().filter(|s| token.reads_service(&s.service)).cloned().collect() };
    NodeServices { node: true, services, others }
}
