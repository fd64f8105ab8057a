//! AWS: Auto Scaling, Elastic Load Balancing, SQS, SNS and the stores of secrets, one file a system.

mod attempts;
pub mod auto_scaling;
pub mod aws;
mod calls;
pub mod endpoints;
pub mod load_balancers;
mod queues;
pub mod refresh;
pub mod shared;
pub mod signed;
mod topics;
mod xml;

pub use self::auto_scaling::{AutoScaling, Leaving, Listed, Origin, Roster, Template, Terminated, target_groups};
pub use self::aws::{Aws, NO_CREDENTIALS};
pub use self::calls::{Caller, Calls, OPERATIONS, Operation};
pub use self::load_balancers::LoadBalancers;
pub use self::queues::Received;

#[cfg(test)]
mod tests;
