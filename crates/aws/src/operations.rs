//! Every AWS operation that decamp calls, and how often each was called. Every attempt counts, because AWS counts it against its limits.

use std::sync::atomic::{AtomicU64, Ordering};

/// The program that calls an operation. Each has its own IAM role, which allows exactly the operations that it calls (ADR 0025).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The Lambda.
    Lambda,
    /// `decamp serve`.
    Serve,
    /// `decamp run`, with the permissions of the person who runs it.
    Run,
    /// `decamp refresh`, with the permissions of the person who runs it.
    Refresh,
    /// `decamp check`, `plan` and `status`, which only read.
    Check,
}

/// An operation of AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// The service's prefix in IAM actions.
    pub service: &'static str,
    /// The operation's name.
    pub name: &'static str,
    /// The programs that call it.
    pub callers: &'static [Caller],
}

const fn by(callers: &'static [Caller], service: &'static str, name: &'static str) -> Operation {
    Operation { service, name, callers }
}

const DEPARTS: &[Caller] = &[Caller::Lambda, Caller::Serve, Caller::Run];
const LOOKS: &[Caller] = &[Caller::Lambda, Caller::Serve, Caller::Run, Caller::Refresh, Caller::Check];
const REFRESHES: &[Caller] = &[Caller::Serve, Caller::Refresh];
const READS_REFRESHES: &[Caller] = &[Caller::Serve, Caller::Refresh, Caller::Check];

/// Every operation of AWS that decamp calls.
pub const OPERATIONS: [Operation; 27] = [
    by(DEPARTS, "autoscaling", "CompleteLifecycleAction"),
    by(DEPARTS, "autoscaling", "RecordLifecycleActionHeartbeat"),
    // Only with `DECAMP_REPLACE` (ADR 0014). Without it the role need not allow this.
    by(&[Caller::Lambda, Caller::Serve], "autoscaling", "SetInstanceHealth"),
    by(LOOKS, "autoscaling", "DescribeAutoScalingGroups"),
    by(LOOKS, "autoscaling", "DescribeAutoScalingInstances"),
    by(LOOKS, "autoscaling", "DescribeLifecycleHooks"),
    by(LOOKS, "autoscaling", "DescribeScalingActivities"),
    by(LOOKS, "autoscaling", "DescribeTrafficSources"),
    by(REFRESHES, "autoscaling", "StartInstanceRefresh"),
    by(READS_REFRESHES, "autoscaling", "DescribeInstanceRefreshes"),
    // Only people cancel a refresh or roll it back.
    by(&[Caller::Refresh], "autoscaling", "CancelInstanceRefresh"),
    by(&[Caller::Refresh], "autoscaling", "RollbackInstanceRefresh"),
    by(DEPARTS, "elasticloadbalancing", "DeregisterTargets"),
    // The next four are of Classic Load Balancers; IAM has one name for both APIs. The attributes of Network Load Balancers are read too.
    by(DEPARTS, "elasticloadbalancing", "DeregisterInstancesFromLoadBalancer"),
    by(LOOKS, "elasticloadbalancing", "DescribeInstanceHealth"),
    by(LOOKS, "elasticloadbalancing", "DescribeLoadBalancerAttributes"),
    by(LOOKS, "elasticloadbalancing", "DescribeLoadBalancers"),
    by(LOOKS, "elasticloadbalancing", "DescribeTargetGroupAttributes"),
    by(LOOKS, "elasticloadbalancing", "DescribeTargetGroups"),
    by(LOOKS, "elasticloadbalancing", "DescribeTargetHealth"),
    by(LOOKS, "ssm", "GetParameter"),
    by(LOOKS, "secretsmanager", "GetSecretValue"),
    by(&[Caller::Lambda, Caller::Serve], "sqs", "ChangeMessageVisibility"),
    // For the function, the Lambda service receives and deletes.
    by(&[Caller::Serve], "sqs", "ReceiveMessage"),
    by(&[Caller::Serve], "sqs", "DeleteMessage"),
    by(&[Caller::Serve], "sns", "ConfirmSubscription"),
    // Only with `DECAMP_LOOK_BACK` (ADR 0048). Without it the role need not allow this.
    by(&[Caller::Serve, Caller::Run], "cloudwatch", "GetMetricData"),
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

    /// The operations that were called, with their counts.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let all = OPERATIONS.iter().zip(&self.0).map(|(operation, count)| (operation.name, count.load(Ordering::Relaxed)));
        all.filter(|(_, count)| *count > 0)
    }

    /// The number of all calls.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.each().map(|(_, count)| count).sum()
    }
}

fn place(operation: &str) -> Option<usize> {
    OPERATIONS.iter().position(|known| known.name == operation)
}
