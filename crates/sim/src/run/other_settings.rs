//! The changed settings that a later worker may run with.

use std::time::Duration;

use decamp_core::decide::Policy;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Settings that were deployed during the departure.
pub(super) fn other_settings(policy: &Policy) -> Policy {
    Policy {
        overlap: !policy.overlap,
        guard_alb: policy.guard_alb + secs(5),
        max_departure: policy.max_departure / 2,
        poststop: policy.poststop * 2,
        ..policy.clone()
    }
}
