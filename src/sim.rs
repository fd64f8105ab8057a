//! The pretend world: Auto Scaling, load balancers, Nomad and Consul as plain state machines with their own clock, and a wire before them.

pub mod api_error;
pub mod auto_scaling;
pub mod bucket;
pub mod load_balancers;
pub mod luck;
pub mod wire;
