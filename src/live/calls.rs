//! How often AWS was called, by operation. Every attempt counts: that is what fills AWS's own buckets.

use std::sync::atomic::{AtomicU64, Ordering};

/// Every operation of AWS that decamp calls. Its IAM policy must name each of them.
pub const OPERATIONS: [&str; 15] = [
    "CompleteLifecycleAction",
    "RecordLifecycleActionHeartbeat",
    "SetInstanceHealth",
    "DescribeAutoScalingGroups",
    "DescribeAutoScalingInstances",
    "DescribeLifecycleHooks",
    "DescribeScalingActivities",
    "DescribeTrafficSources",
    "DeregisterTargets",
    "DescribeTargetGroupAttributes",
    "DescribeTargetGroups",
    "DescribeTargetHealth",
    "GetParameter",
    "GetSecretValue",
    "ChangeMessageVisibility",
];

/// One counter for each of [`OPERATIONS`].
#[derive(Debug, Default)]
pub struct Calls([AtomicU64; OPERATIONS.len()]);

impl Calls {
    /// Counts one attempt.
    pub(super) fn count(&self, operation: &str) {
        if let Some(place) = OPERATIONS.iter().position(|o| *o == operation) {
            self.0[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often an operation was called.
    #[must_use]
    pub fn of(&self, operation: &str) -> u64 {
        OPERATIONS.iter().position(|o| *o == operation).map_or(0, |place| self.0[place].load(Ordering::Relaxed))
    }

    /// How often each was called that was called at all.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        OPERATIONS
            .iter()
            .zip(&self.0)
            .map(|(operation, count)| (*operation, count.load(Ordering::Relaxed)))
            .filter(|(_, n)| *n > 0)
    }

    /// How often any was called.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.each().map(|(_, count)| count).sum()
    }
}
