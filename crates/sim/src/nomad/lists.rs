//! The lists of Nomad's HTTP API: nodes, allocations, services and counts, as each token may see them.

use super::Nomad;
use std::sync::Arc;

use super::acl::{NodeRule, Token};
use super::api::ApiError;
use super::client::bits;
use super::state::{AllocationState, GroupNumber, NodeNumber};
use super::view::Read;
use crate::event::AllocationNumber;
use decamp_core::decide::snapshot::ClientStatus;
use decamp_core::ids::{AllocationId, NodeId};

/// `GET /v1/job/:id/scale` of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScaleStatus {
    /// How many copies the job has to have.
    pub desired: u32,
    /// How many are placed and wanted.
    pub placed: u32,
    /// How many of those run.
    pub running: u32,
    /// How many of those are healthy.
    pub healthy: u32,
}

/// A namespace and the name of a service in it.
pub type ServiceName = (Arc<str>, Arc<str>);

/// One service instance of Nomad's own discovery: an allocation, and the service's index in `TaskGroup::services`.
pub type Instance = (AllocationNumber, u16);

impl Nomad {
    /// `GET /v1/nodes`.
    ///
    /// # Errors
    /// Without a leader (unless stale), or without `node:read`.
    pub fn list_nodes(&mut self, token: &Token, read: Read) -> Result<Vec<NodeNumber>, ApiError> {
        self.may_read_nodes(token, read)?;
        Ok(self.nodes().map(|(number, _)| number).collect())
    }

    /// `GET /v1/node/:id/allocations`. The answer is 200 and empty for an unknown node and for a token that may not read the jobs.
    ///
    /// # Errors
    /// Without a leader (unless stale), or without `node:read`.
    pub fn list_allocations_of(&mut self, node: NodeId, token: &Token, read: Read) -> Result<Vec<AllocationNumber>, ApiError> {
        self.may_read_nodes(token, read)?;
        let listed = self.node_number(node).map(|number| &self.node(number).allocations);
        let shown = |n: &AllocationNumber| token.reads_jobs(self.namespace(self.allocation(*n)));
        Ok(listed.into_iter().flatten().copied().filter(shown).collect())
    }

    /// `GET /v1/allocations?namespace=*`.
    ///
    /// # Errors
    /// Without a leader (unless stale), or if the token may read jobs in no namespace.
    pub fn list_allocations(&mut self, token: &Token, read: Read) -> Result<Vec<AllocationNumber>, ApiError> {
        self.may_read(token, read)?;
        if !token.reads_some_jobs() {
            return Err(ApiError::PermissionDenied);
        }
        let shown = |a: &AllocationState| a.listed && token.reads_jobs(self.namespace(a));
        let numbered = (0_u32..).zip(self.allocations());
        Ok(numbered.filter(|(_, a)| shown(a)).map(|(number, _)| AllocationNumber(number)).collect())
    }

    /// `GET /v1/services?namespace=*`: names by namespace. A valid token without rights gets an empty list instead of a refusal.
    ///
    /// # Errors
    /// Without a leader (unless stale), or without a valid token.
    pub fn list_services(&mut self, token: &Token, read: Read) -> Result<Vec<ServiceName>, ApiError> {
        self.may_read(token, read)?;
        let mut names = Vec::new();
        for allocation in self.allocations() {
            let group = self.group_of(allocation);
            for place in bits(allocation.in_nomad_discovery).filter(|_| token.reads_jobs(&group.namespace)) {
                names.push((group.namespace.clone(), group.services[usize::from(place)].name.clone()));
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// `GET /v1/service/:name`, in one namespace. `*` is no namespace, and its list is empty.
    ///
    /// # Errors
    /// Without a leader (unless stale), or if the token may not read that namespace.
    pub fn list_service(&mut self, name: &str, namespace: &str, token: &Token, read: Read) -> Result<Vec<Instance>, ApiError> {
        self.may_read(token, read)?;
        if !token.reads_jobs(namespace) {
            return Err(ApiError::PermissionDenied);
        }
        let mut found = Vec::new();
        for (number, allocation) in (0_u32..).zip(self.allocations()) {
            let group = self.group_of(allocation);
            let named = |place: &u16| *group.services[usize::from(*place)].name == *name;
            if *group.namespace == *namespace {
                found.extend(bits(allocation.in_nomad_discovery).filter(named).map(|place| (AllocationNumber(number), place)));
            }
        }
        Ok(found)
    }

    /// `GET /v1/allocation/:id/services`, in the allocation's own namespace.
    ///
    /// # Errors
    /// Without a leader (unless stale), if the token may not read the given namespace, or if the allocation is not in it.
    pub fn list_services_of(
        &mut self,
        allocation: AllocationId,
        namespace: &str,
        token: &Token,
        read: Read,
    ) -> Result<Vec<Instance>, ApiError> {
        self.may_read(token, read)?;
        if !token.reads_jobs(namespace) {
            return Err(ApiError::PermissionDenied);
        }
        let number = self.allocation_number(allocation).ok_or(ApiError::NoSuchAllocation)?;
        let state = self.allocation(number);
        if *self.namespace(state) != *namespace {
            return Err(ApiError::NoSuchAllocation);
        }
        Ok(bits(state.in_nomad_discovery).map(|place| (number, place)).collect())
    }

    /// `GET /v1/namespaces`: the namespaces in which the token may read.
    ///
    /// # Errors
    /// Without a leader, or to something that is no valid token.
    pub fn list_namespaces(&mut self, token: &Token, read: Read) -> Result<Vec<Arc<str>>, ApiError> {
        self.may_read(token, read)?;
        let mut names: Vec<_> = self.groups().iter().map(|g| g.spec.group.namespace.clone()).collect();
        names.sort();
        names.dedup();
        names.retain(|name| token.reads_jobs(name));
        Ok(names)
    }

    /// Whether `GET /v1/agent/members` is answered.
    ///
    /// # Errors
    /// Without `node:read`.
    pub fn may_list_members(&mut self, token: &Token) -> Result<(), ApiError> {
        self.may_read_nodes(token, Read::Stale)
    }

    /// Whether `GET /v1/operator/autopilot/health` is answered. No policy of the model grants `operator`.
    ///
    /// # Errors
    /// Without a leader, or without a management token.
    pub fn may_read_autopilot(&mut self, token: &Token) -> Result<(), ApiError> {
        self.may_read(token, Read::Default)?;
        match token {
            Token::AclsOff | Token::Management => Ok(()),
            Token::Client(_) | Token::Anonymous | Token::Unknown | Token::Expired | Token::Garbage => {
                Err(ApiError::PermissionDenied)
            }
        }
    }

    /// `GET /v1/acl/policy/:name`: a token may read its own policies.
    ///
    /// # Errors
    /// Without a leader, or if the policy is not one of the token's.
    pub fn policy<'a>(&mut self, name: &str, token: &'a Token) -> Result<Option<&'a super::Policy>, ApiError> {
        self.may_read(token, Read::Default)?;
        match token {
            Token::AclsOff | Token::Management => Ok(None),
            Token::Client(policies) => policies.iter().find(|p| *p.name == *name).map(Some).ok_or(ApiError::PermissionDenied),
            Token::Anonymous | Token::Unknown | Token::Expired | Token::Garbage => Err(ApiError::PermissionDenied),
        }
    }

    /// `GET /v1/job/:id/scale` of one group. The caller has checked the token.
    #[must_use]
    pub fn scale_status(&self, group: GroupNumber) -> ScaleStatus {
        let state = &self.groups()[group.index()];
        let mut status = ScaleStatus { desired: state.spec.group.count, placed: 0, running: 0, healthy: 0 };
        for allocation in state.allocations.iter().map(|n| self.allocation(*n)).filter(|a| !a.is_terminal()) {
            status.placed += 1;
            status.running += u32::from(allocation.client == ClientStatus::Running);
            status.healthy += u32::from(allocation.healthy == Some(true));
        }
        status
    }

    fn may_read_nodes(&mut self, token: &Token, read: Read) -> Result<(), ApiError> {
        self.may_read(token, read)?;
        if token.node() < NodeRule::Read { Err(ApiError::PermissionDenied) } else { Ok(()) }
    }

    fn namespace(&self, allocation: &AllocationState) -> &str {
        &self.group_of(allocation).namespace
    }
}
