//! Further lists of Consul's HTTP API: nodes, service names, instances of a service, checks of a node.

use std::sync::Arc;

use super::view::{Answer, ApiError, Read};
use super::{Consul, Entry, NodeNumber, NodeState, Token};

/// One check of a node: of an allocation's service, or `serfHealth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The service that it checks; `None` is the agent itself.
    pub service: Option<(decamp_core::ids::AllocationId, Arc<str>)>,
    /// Whether it is critical. Otherwise it passes.
    pub critical: bool,
}

impl Consul {
    /// `GET /v1/catalog/nodes`.
    ///
    /// # Errors
    /// As for [`Consul::look`].
    pub fn list_nodes(&self, token: &Token, read: Read) -> Result<Answer<Vec<NodeNumber>>, ApiError> {
        self.may_read(token, read)?;
        let all = (0_u32..).zip(self.nodes()).filter(|(_, node)| node.registered).map(|(number, _)| NodeNumber(number));
        Ok(self.shown(all, |_| token.reads_nodes(), token))
    }

    /// `GET /v1/catalog/services`: the names of services.
    ///
    /// # Errors
    /// As for [`Consul::look`].
    pub fn list_names(&self, token: &Token, read: Read) -> Result<Answer<Vec<Arc<str>>>, ApiError> {
        self.may_read(token, read)?;
        let mut names: Vec<_> = self.nodes().iter().filter(|n| n.registered).flat_map(names_on).cloned().collect();
        names.sort();
        names.dedup();
        Ok(self.shown(names.into_iter(), |name| token.reads_service(name), token))
    }

    /// `GET /v1/catalog/service/:name`: the nodes of its instances. The token must have read access to the node and the service.
    ///
    /// # Errors
    /// As for [`Consul::look`].
    pub fn list_instances(&self, name: &str, token: &Token, read: Read) -> Result<Answer<Vec<NodeNumber>>, ApiError> {
        self.may_read(token, read)?;
        let here = |node: &NodeState| names_on(node).filter(|n| ***n == *name).count();
        let all = (0_u32..).zip(self.nodes()).filter(|(_, node)| node.registered);
        let all = all.flat_map(|(number, node)| std::iter::repeat_n(NodeNumber(number), here(node)));
        Ok(self.shown(all, |_| token.reads_nodes() && token.reads_service(name), token))
    }

    /// `GET /v1/health/service/:name?passing`: the allocations of its passing instances.
    ///
    /// # Errors
    /// As for [`Consul::look`].
    pub fn list_passing(
        &self,
        name: &str,
        token: &Token,
        read: Read,
    ) -> Result<Answer<Vec<decamp_core::ids::AllocationId>>, ApiError> {
        self.may_read(token, read)?;
        let passing = self.nodes().iter().flat_map(|node| node.entries().filter(|e| super::is_routable(node, e)));
        let all = passing.filter(|e| *e.name == *name).map(|e| e.id);
        Ok(self.shown(all, |_| token.reads_nodes() && token.reads_service(name), token))
    }

    /// `GET /v1/health/node/:node`.
    ///
    /// # Errors
    /// As for [`Consul::look`].
    pub fn list_checks(&self, name: &str, token: &Token, read: Read) -> Result<Answer<Vec<Check>>, ApiError> {
        self.may_read(token, read)?;
        let node = self.node_number(name).map(|number| &self.nodes()[number.index()]).filter(|node| node.registered);
        let serf = node.map(|node| Check { service: None, critical: node.serf_critical });
        let listed = node.into_iter().flat_map(NodeState::entries).filter(|e| e.is_listed());
        let of = |e: &Entry| Check { service: Some((e.id, e.name.clone())), critical: !e.is_passing() };
        let readable =
            |check: &Check| token.reads_nodes() && check.service.as_ref().is_none_or(|(_, service)| token.reads_service(service));
        Ok(self.shown(serf.into_iter().chain(listed.map(of)), readable, token))
    }

    /// The part of a list that a token may read, and whether the header says that the list was filtered.
    fn shown<T>(&self, all: impl Iterator<Item = T>, readable: impl Fn(&T) -> bool, token: &Token) -> Answer<Vec<T>> {
        let (body, hidden): (Vec<T>, Vec<T>) = all.partition(readable);
        let filtered = !hidden.is_empty() && self.reports_filtering(token);
        Answer { index: self.index, known_leader: self.has_leader(), filtered, body }
    }
}

fn names_on(node: &NodeState) -> impl Iterator<Item = &Arc<str>> {
    node.entries().filter(|e| e.is_listed()).map(|e| &e.name).chain(&node.others)
}
