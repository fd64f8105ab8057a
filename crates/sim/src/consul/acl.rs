//! ACLs: what each token may read in Consul's catalog.

use std::sync::Arc;

/// The token of a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// No ACLs: every caller may read everything, and Consul's answers say that there are no ACLs.
    AclsOff,
    /// May read everything: management, or read access to all nodes and services.
    Full,
    /// Only `node_prefix "" { policy = "read" }`.
    NodesOnly,
    /// Read access to all nodes and one service.
    OneService(Arc<str>),
    /// Only `service_prefix "" { policy = "read" }`.
    ServicesOnly,
    /// No token, with a default policy of deny: answers are empty, and do not say that they were filtered.
    Blank,
    /// A token that the servers do not know.
    Unknown,
}

impl Token {
    /// Whether the token may read nodes.
    #[must_use]
    pub fn reads_nodes(&self) -> bool {
        match self {
            Self::AclsOff | Self::Full | Self::NodesOnly | Self::OneService(_) => true,
            Self::ServicesOnly | Self::Blank | Self::Unknown => false,
        }
    }

    /// Whether the token may read this service.
    #[must_use]
    pub fn reads_service(&self, name: &str) -> bool {
        match self {
            Self::AclsOff | Self::Full | Self::ServicesOnly => true,
            Self::OneService(one) => **one == *name,
            Self::NodesOnly | Self::Blank | Self::Unknown => false,
        }
    }
}
