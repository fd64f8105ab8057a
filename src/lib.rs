//! decamp takes a Nomad node out of service without dropping a request, whenever AWS decides that its instance must go.
//!
//! ```text
//! decide (pure)  <-  World (the only seam)  <-  run (the loop)  <-  Lambda | command line
//!                       |-- live: the real systems, one file a system
//!                       `-- sim:  one pretend world with its own clock and seeded faults
//! ```

pub mod decide;
pub mod events;
pub mod fit;
pub mod ids;
#[cfg(feature = "live")]
pub mod live;
pub mod metrics;
#[cfg(feature = "rehearse")]
pub mod rehearse;
pub mod replacing;
pub mod run;
#[cfg(feature = "serve")]
pub mod serve;
pub mod settings;
#[cfg(feature = "sim")]
pub mod sim;
pub mod telling;
pub mod time;
pub mod world;
