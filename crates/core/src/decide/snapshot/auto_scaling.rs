//! What Auto Scaling shows of an instance and its group.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::ids::TargetGroupArn;
use crate::time::Time;

/// Where an instance stands in its lifecycle, as Auto Scaling tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifecycle {
    /// In service, pending, standby, detaching: not on its way out. The state as AWS names it.
    Staying(Arc<str>),
    /// `Terminating`: leaving, but its hook has not begun (AWS deregisters attached targets first).
    Terminating,
    /// `Terminating:Wait`, `Warmed:Terminating:Wait`: it waits in a hook.
    Waiting,
    /// `Warmed:Pending:Wait`: on its way into a warm pool, waiting in a hook.
    WaitingForWarmPool,
    /// `ReplacingRootVolume:Wait`: it waits in a terminating hook, and comes back with another root volume.
    ReplacingRootVolume,
    /// `Terminating:Proceed`, `Terminated` and their twins: past its hook.
    Past,
    /// `Terminating:Retained` and its twins: kept after an ABANDON.
    Retained,
    /// Auto Scaling no longer lists it.
    Gone,
    /// A state that this version does not know. Nothing is done about it.
    Unknown(Arc<str>),
}

/// What the instance's group is set to, read once a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Every terminating hook of the group.
    pub hooks: Vec<Hook>,
    /// Target groups and Classic Load Balancers attached to the group: Auto Scaling deregisters those itself, before the hook.
    pub attached: Vec<TargetGroupArn>,
    /// What else is attached, and is of a type that decamp cannot leave, such as VPC Lattice.
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

/// Something that sends requests to a group's instances, by Auto Scaling's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrafficSource {
    /// Its type, as AWS names it: `elb`, `elbv2`, `vpc-lattice`, or one yet unknown.
    pub kind: Arc<str>,
    /// Its name or its ARN.
    pub name: Arc<str>,
}

impl fmt::Display for TrafficSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// When an instance was launched, as its group's activities tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Launched {
    /// Nobody asked.
    #[default]
    Unasked,
    /// The activities do not tell, or cannot be seen. It may be long ago.
    Untold,
    /// Then.
    At(Time),
}

/// One terminating lifecycle hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// Its name.
    pub name: Arc<str>,
    /// How long an action lives without a heartbeat.
    pub heartbeat_timeout: Duration,
    /// How long an action lives at all: min(48 h, 100 × heartbeat).
    pub global_timeout: Duration,
    /// Target groups named in the hook's NotificationMetadata.
    pub target_groups: Vec<TargetGroupArn>,
    /// What in that metadata seems to name target groups and cannot be read, in sentences.
    pub misnamed: Vec<Arc<str>>,
}
