//! The real world: AWS, Nomad and Consul over HTTP, one file a system.

pub mod consul;
pub mod http;
pub mod nomad;
pub mod secrets;
mod tls;
