//! The real world: AWS, Nomad and Consul, one file a system.

mod auto_scaling;
pub mod aws;
mod calls;
mod clock;
mod load_balancers;
mod shared;

pub use self::auto_scaling::{AutoScaling, Leaving, Listed};
pub use self::calls::{Calls, OPERATIONS};
pub use self::clock::Clock;
pub use self::load_balancers::LoadBalancers;
