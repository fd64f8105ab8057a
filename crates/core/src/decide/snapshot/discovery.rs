//! What service discovery shows of the instance.

use std::sync::Arc;

use serde::Serialize;

use crate::ids::AllocationId;

/// What service discovery still lists for this instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registrations {
    /// Whether the answer is known to be complete: not filtered by ACLs, or confirmed by an earlier look (ADR 0011).
    pub whole: bool,
    /// Whether the node's own agent is dead there (`serfHealth` critical). Then none of its services is routable.
    pub agent_dead: bool,
    /// Registrations made by allocations (`_nomad-task-…`).
    pub services: Arc<[Registration]>,
    /// Services on the node's agent that neither an allocation nor Nomad's own agent registered, but a person or another tool.
    pub by_hand: Arc<[HandRegistration]>,
}

impl Registrations {
    /// Describes the routable services that were registered by hand. Empty if there are none.
    #[must_use]
    pub fn said_of_hands(&self) -> String {
        let routable: Vec<&str> = self.by_hand.iter().filter(|one| !one.critical).map(|one| &*one.service).collect();
        match (routable.is_empty(), self.agent_dead) {
            (true, _) | (_, true) => String::new(),
            (false, false) => format!("{}, registered by hand with the node's agent", routable.join(", ")),
        }
    }

    /// Describes how many registrations are left, and why those that are not routable do not count.
    #[must_use]
    pub fn said(&self) -> String {
        let critical = self.services.iter().filter(|one| one.critical).count();
        let why = match (self.services.len(), critical) {
            (0, _) => return "lists none of its services".to_owned(),
            _ if self.agent_dead => "; none of them is routable, because the node's agent is dead there".to_owned(),
            (all, critical) if all == critical => "; none of them is routable, because their checks fail".to_owned(),
            (_, 0) => "; all of them are routable".to_owned(),
            (all, critical) => format!("; {} of them are routable", all - critical),
        };
        format!("lists {} of its services{why}", self.services.len())
    }
}

/// A service on the node's Consul agent that Nomad did not register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HandRegistration {
    /// The service's name.
    pub service: Arc<str>,
    /// Whether one of its own checks or of the node's is critical. Then it is not routable.
    pub critical: bool,
}

/// One registration of an allocation's service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registration {
    /// The allocation that registered it.
    pub allocation: AllocationId,
    /// The service's name.
    pub service: Arc<str>,
    /// Whether one of its own checks is critical. Then it is not routable.
    pub critical: bool,
}
