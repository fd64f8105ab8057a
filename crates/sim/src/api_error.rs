//! Refusals of the simulated AWS, in AWS's own words.

use std::fmt;
use std::sync::Arc;

use decamp_core::decide::{Refusal, Unseen};

/// A refused call. It had no effect, unless the caller says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiError {
    /// Too many requests.
    Throttled,
    /// No open action has that token or instance id.
    NoActiveAction(
        /// The token or instance id, as AWS repeats it: `token …` or `instance ID …`.
        Arc<str>,
    ),
    /// Another operation on the same resource is in progress. AWS answers with status 500.
    ResourceContention,
    /// The instance is already terminating.
    ScalingActivityInProgress,
    /// A refresh of the group is in progress.
    RefreshInProgress,
    /// No refresh of this group is in progress.
    NoRefresh(Arc<str>),
    /// The refresh has no configuration to roll back to.
    IrreversibleRefresh,
    /// The caller is not allowed to do this.
    AccessDenied,
    /// No such target group.
    TargetGroupNotFound,
    /// A target that cannot be registered.
    InvalidTarget(Arc<str>),
    /// Another error in the request.
    Validation(Arc<str>),
}

impl ApiError {
    /// AWS's error code. Throttling has one code in Auto Scaling and another in ELB; this is Auto Scaling's.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Throttled => "Throttling",
            Self::NoActiveAction(_) | Self::Validation(_) => "ValidationError",
            Self::ResourceContention => "ResourceContention",
            Self::ScalingActivityInProgress => "ScalingActivityInProgress",
            Self::RefreshInProgress => "InstanceRefreshInProgress",
            Self::NoRefresh(_) => "ActiveInstanceRefreshNotFound",
            Self::IrreversibleRefresh => "IrreversibleInstanceRefresh",
            Self::AccessDenied => "AccessDenied",
            Self::TargetGroupNotFound => "TargetGroupNotFound",
            Self::InvalidTarget(_) => "InvalidTarget",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::ResourceContention => 500,
            Self::AccessDenied => 403,
            Self::Throttled
            | Self::NoActiveAction(_)
            | Self::ScalingActivityInProgress
            | Self::RefreshInProgress
            | Self::NoRefresh(_)
            | Self::IrreversibleRefresh
            | Self::TargetGroupNotFound
            | Self::InvalidTarget(_)
            | Self::Validation(_) => 400,
        }
    }

    /// How an adapter reports this refusal of a write.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Throttled => Refusal::Throttled,
            Self::NoActiveAction(_) => Refusal::NoActiveAction,
            Self::ResourceContention => Refusal::Away("ResourceContention".into()),
            Self::AccessDenied => Refusal::Denied("AccessDenied".into()),
            Self::TargetGroupNotFound => Refusal::Missing,
            Self::ScalingActivityInProgress
            | Self::RefreshInProgress
            | Self::NoRefresh(_)
            | Self::IrreversibleRefresh
            | Self::InvalidTarget(_)
            | Self::Validation(_) => Refusal::Rejected(self.to_string().into()),
        }
    }

    /// How an adapter reports this refusal of a look.
    #[must_use]
    pub fn unseen(&self) -> Unseen {
        match self {
            Self::Throttled => Unseen::Throttled,
            Self::AccessDenied => Unseen::Denied("AccessDenied".into()),
            Self::NoActiveAction(_)
            | Self::ResourceContention
            | Self::ScalingActivityInProgress
            | Self::RefreshInProgress
            | Self::NoRefresh(_)
            | Self::IrreversibleRefresh
            | Self::TargetGroupNotFound
            | Self::InvalidTarget(_)
            | Self::Validation(_) => Unseen::Away(self.to_string().into()),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Throttled => f.write_str("Rate exceeded"),
            Self::NoActiveAction(what) => write!(f, "No active Lifecycle Action found with {what}"),
            Self::ResourceContention => f.write_str("Another operation on this resource is in progress"),
            Self::ScalingActivityInProgress => f.write_str("Activity is in progress for this instance"),
            Self::RefreshInProgress => {
                f.write_str("An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.")
            }
            Self::NoRefresh(asg) => write!(f, "No in progress or pending Instance Refresh found for Auto Scaling group {asg}"),
            Self::IrreversibleRefresh => f.write_str("The instance refresh has no desired configuration to roll back from"),
            Self::AccessDenied => f.write_str("User is not authorized to perform this operation"),
            Self::TargetGroupNotFound => f.write_str("One or more target groups not found"),
            Self::InvalidTarget(what) | Self::Validation(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ApiError {}
