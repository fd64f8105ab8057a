//! The rules of a departure, the snapshot that they read, and the loop that follows them.
//!
//! This crate has no clock, no sockets and no runtime. [`decide`] is a pure function, and [`world::World`] is the only interface to the
//! outside.

pub mod decide;
pub mod denials;
pub mod describe;
pub mod ids;
pub mod lambda_budget;
pub mod metrics;
pub mod proactive_replacement;
pub mod refresh;
pub mod run;
pub mod runbook;
pub mod sweep;
pub mod time;
pub mod world;
