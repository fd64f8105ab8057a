//! Clients of Nomad and Consul: the facts about a node, and the writes to it.

pub mod consul;
pub mod discovery;
pub mod nomad;
