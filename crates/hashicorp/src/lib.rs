//! Nomad and Consul: what they show of a node, and what is asked of them.

pub mod consul;
pub mod discovery;
pub mod nomad;
