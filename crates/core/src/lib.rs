//! The rules of a departure, the snapshot that they read, and the loop that follows them.
//!
//! Nothing here knows a clock, a socket or a runtime: [`decide`] is a pure function, and [`world::World`] is the only way out.

pub mod decide;
pub mod denials;
pub mod fit;
pub mod ids;
pub mod metrics;
pub mod refresh;
pub mod replacing;
pub mod run;
pub mod runbook;
pub mod sweep;
pub mod telling;
pub mod time;
pub mod world;
