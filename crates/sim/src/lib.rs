//! The simulator: Auto Scaling, load balancers, Nomad and Consul as state machines on one simulated clock, with faults, drivers and a
//! judge.

pub mod api_error;
pub mod api_faults;
pub mod auto_scaling;
pub mod bucket;
pub mod consul;
pub mod drivers;
pub mod event;
pub mod faults;
pub mod forecast;
pub mod load_balancers;
pub mod nomad;
pub mod oracle;
pub mod rng;
pub mod run;
pub mod scenario;
pub mod simulate;
pub mod timer_queue;
pub mod traffic;
pub mod worker;
pub mod world;
