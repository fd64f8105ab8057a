//! How often AWS was called, by operation. Every attempt counts: that is what fills AWS's own buckets.

use std::sync::atomic::{AtomicU64, Ordering};

/// Every operation of AWS that decamp calls, with the prefix that IAM knows its service by.
pub const OPERATIONS: [(&str, &str); 15] = [
    ("autoscaling", "CompleteLifecycleAction"),
    ("autoscaling", "RecordLifecycleActionHeartbeat"),
    ("autoscaling", "SetInstanceHealth"),
    ("autoscaling", "DescribeAutoScalingGroups"),
    ("autoscaling", "DescribeAutoScalingInstances"),
    ("autoscaling", "DescribeLifecycleHooks"),
    ("autoscaling", "DescribeScalingActivities"),
    ("autoscaling", "DescribeTrafficSources"),
    ("elasticloadbalancing", "DeregisterTargets"),
    ("elasticloadbalancing", "DescribeTargetGroupAttributes"),
    ("elasticloadbalancing", "DescribeTargetGroups"),
    ("elasticloadbalancing", "DescribeTargetHealth"),
    ("ssm", "GetParameter"),
    ("secretsmanager", "GetSecretValue"),
    ("sqs", "ChangeMessageVisibility"),
];

/// One counter for each of [`OPERATIONS`].
#[derive(Debug, Default)]
pub struct Calls([AtomicU64; OPERATIONS.len()]);

impl Calls {
    /// Counts one attempt.
    pub(super) fn count(&self, operation: &str) {
        if let Some(place) = place(operation) {
            self.0[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often an operation was called.
    #[must_use]
    pub fn of(&self, operation: &str) -> u64 {
        place(operation).map_or(0, |place| self.0[place].load(Ordering::Relaxed))
    }

    /// How often each was called that was called at all.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let all = OPERATIONS.iter().zip(&self.0).map(|((_, operation), count)| (*operation, count.load(Ordering::Relaxed)));
        all.filter(|(_, count)| *count > 0)
    }

    /// How often any was called.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.each().map(|(_, count)| count).sum()
    }
}

fn place(operation: &str) -> Option<usize> {
    OPERATIONS.iter().position(|(_, name)| *name == operation)
}
