//! Thinking: what is seen goes in, the next step and its reason come out. No I/O, no clock, no `.await`.

mod action;
mod departure;
mod outcome;
mod policy;
mod reason;
mod sight;
pub mod snapshot;

pub use self::action::*;
pub use self::departure::*;
pub use self::outcome::*;
pub use self::policy::*;
pub use self::reason::*;
pub use self::sight::*;
pub use self::snapshot::*;
