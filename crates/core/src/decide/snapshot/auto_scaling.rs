//! What Auto Scaling shows of an instance and its group.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::ids::TargetGroupArn;
use crate::time::Time;

/// An instance's lifecycle state, as Auto Scaling reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifecycle {
    /// In service, pending, standby, detaching: not leaving. The state as AWS names it.
    Staying(Arc<str>),
    /// `Terminating`: leaving, but its hook has not begun (AWS deregisters attached targets first).
    Terminating,
    /// `Terminating:Wait`, `Warmed:Terminating:Wait`: it waits in a hook.
    Waiting,
    /// `Warmed:Pending:Wait`: on its way into a warm pool, waiting in a hook.
    WaitingForWarmPool,
    /// `ReplacingRootVolume:Wait`: it waits in a terminating hook, and comes back with another root volume.
    ReplacingRootVolume,
    /// `Terminating:Proceed`, `Terminated` and their warm-pool counterparts: past its hook.
    Past,
    /// `Terminating:Retained` and its warm-pool counterpart: kept after an ABANDON.
    Retained,
    /// Auto Scaling no longer lists it.
    Gone,
    /// A state that this version does not know. decamp does nothing about it.
    Unknown(Arc<str>),
}

/// The settings of the instance's group, read once a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Every terminating hook of the group.
    pub hooks: Vec<Hook>,
    /// Target groups and Classic Load Balancers that are attached to the group. Auto Scaling deregisters those itself, before the hook.
    pub attached: Vec<TargetGroupArn>,
    /// Other attached traffic sources of types that decamp cannot leave, such as VPC Lattice.
    pub unhandled: Vec<TrafficSource>,
    /// Whether the group carries the tag `decamp:hold`.
    pub held: bool,
    /// Whether an abandoned instance is kept (`RetentionTriggers.TerminateHookAbandon = retain`).
    pub retains: bool,
    /// When the instance's unfinished activity began, if that was asked for.
    pub activity_began: Option<Time>,
    /// When the instance was launched, if that was asked for.
    pub launched: Launched,
}

/// A traffic source of a group, as Auto Scaling reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrafficSource {
    /// Its type, as AWS names it: `elb`, `elbv2`, `vpc-lattice`, or an unknown one.
    pub kind: Arc<str>,
    /// Its name or its ARN.
    pub name: Arc<str>,
}

impl fmt::Display for TrafficSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// When an instance was launched, by its group's activities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Launched {
    /// Nobody asked.
    #[default]
    Unasked,
    /// The activities do not show it, or cannot be read. It may be long ago.
    Untold,
    /// At this time.
    At(Time),
}

/// One terminating lifecycle hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// Its name.
    pub name: Arc<str>,
    /// How long an action lasts without a heartbeat.
    pub heartbeat_timeout: Duration,
    /// How long an action lasts at most: min(48 h, 100 × heartbeat).
    pub global_timeout: Duration,
    /// Target groups named in the hook's NotificationMetadata.
    pub target_groups: Vec<TargetGroupArn>,
    /// The parts of that metadata that seem to name target groups and cannot be read, as sentences.
    pub misnamed: Vec<Arc<str>>,
}
