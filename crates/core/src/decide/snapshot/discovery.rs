//! What service discovery shows of the instance.

use std::sync::Arc;

use serde::Serialize;

use crate::ids::AllocationId;

/// What service discovery still lists for this instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registrations {
    /// Whether the answer is known to be whole: not filtered by ACLs, or controlled by an earlier look (D9).
    pub whole: bool,
    /// Whether the node's own agent is dead there (`serfHealth` critical): none of its services is routable.
    pub agent_dead: bool,
    /// Registrations made by allocations (`_nomad-task-…`).
    pub services: Arc<[Registration]>,
}

/// One registration of an allocation's service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registration {
    /// The allocation that registered it.
    pub allocation: AllocationId,
    /// The service's name.
    pub service: Arc<str>,
    /// Whether one of its own checks is critical: then it is not routable.
    pub critical: bool,
}
