//! AWS: Auto Scaling, Elastic Load Balancing, SQS, SNS, CloudWatch and the stores of secrets, one file for each.

mod attempts;
pub mod auto_scaling;
pub mod aws;
mod cloudwatch;
pub mod coalescing;
pub mod endpoints;
mod integers;
pub mod load_balancers;
mod operations;
mod rate_limiter;
pub mod refresh;
pub mod signed;
mod sns;
mod sqs;
mod xml;

pub use self::auto_scaling::{AutoScaling, Leaving, Listed, Origin, Roster, Template, Terminated, target_groups};
pub use self::aws::{Aws, NO_CREDENTIALS};
pub use self::cloudwatch::CountsOf;
pub use self::load_balancers::{HealthCheck, LoadBalancers};
pub use self::operations::{Caller, Calls, OPERATIONS, Operation};
pub use self::sqs::Received;

#[cfg(test)]
mod tests;
