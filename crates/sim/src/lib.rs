//! The pretend world: Auto Scaling, load balancers, Nomad and Consul as plain state machines with their own clock, and a wire before them.

pub mod api_error;
pub mod auto_scaling;
pub mod bucket;
pub mod consul;
pub mod drivers;
pub mod event;
pub mod faults;
pub mod forecast;
pub mod load_balancers;
pub mod luck;
pub mod nomad;
pub mod oracle;
pub mod play;
pub mod queue;
pub mod setting;
pub mod simulate;
pub mod stage;
pub mod traffic;
pub mod weather;
pub mod worker;
