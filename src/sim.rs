//! The pretend world: Auto Scaling, load balancers, Nomad and Consul as plain state machines with their own clock, and a wire before them.

pub mod consul;
pub mod event;
pub mod luck;
pub mod nomad;
pub mod queue;
