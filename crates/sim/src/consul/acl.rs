//! Who may see what in Consul's catalog.

use std::sync::Arc;

/// A token that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// No ACLs: whoever asks reads everything, and that there are none is answered.
    AclsOff,
    /// Reads everything: management, or node and service read on all.
    Full,
    /// `node_prefix "" { policy = "read" }` alone.
    NodesOnly,
    /// Nodes, and one service.
    OneService(Arc<str>),
    /// `service_prefix "" { policy = "read" }` alone.
    ServicesOnly,
    /// No token, where the default is to deny: it sees nothing, and nothing says so.
    Blank,
    /// Unknown to the servers.
    Unknown,
}

impl Token {
    /// Whether it may read nodes.
    #[must_use]
    pub fn reads_nodes(&self) -> bool {
        match self {
            Self::AclsOff | Self::Full | Self::NodesOnly | Self::OneService(_) => true,
            Self::ServicesOnly | Self::Blank | Self::Unknown => false,
        }
    }

    /// Whether it may read this service.
    #[must_use]
    pub fn reads_service(&self, name: &str) -> bool {
        match self {
            Self::AclsOff | Self::Full | Self::ServicesOnly => true,
            Self::OneService(one) => **one == *name,
            Self::NodesOnly | Self::Blank | Self::Unknown => false,
        }
    }
}
