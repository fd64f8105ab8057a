//! The setup of groups and hooks.

use std::sync::Arc;
use std::time::Duration;

use super::states::LifecycleState;
use decamp_core::decide::LifecycleResult;
use decamp_core::ids::TargetGroupArn;

/// One Auto Scaling group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSetup {
    /// Its name.
    pub name: Arc<str>,
    /// Its lifecycle hooks, of either transition.
    pub hooks: Vec<HookSetup>,
    /// Target groups attached to it.
    pub attached: Vec<TargetGroupArn>,
    /// VPC Lattice target groups attached to it. The model treats them as load balancers that decamp cannot see.
    pub lattice: Vec<TargetGroupArn>,
    /// Its tags.
    pub tags: Vec<(Arc<str>, Arc<str>)>,
    /// Whether it has `RetentionTriggers.TerminateHookAbandon = retain`.
    pub retains: bool,
    /// Its warm pool, if it has one.
    pub warm_pool: Option<WarmPool>,
    /// Whether AWS waits for the deregistration from attached groups before the hook begins. By its documentation it does.
    pub waits_for_deregistration: bool,
    /// How long after the last hook the machine is stopped.
    pub stop_after: Duration,
    /// How long a machine takes to start.
    pub start_takes: Duration,
    /// How long a terminated instance is still listed.
    pub listed_after: Duration,
    /// How long Auto Scaling takes to notice that another party terminated a machine.
    pub notices_after: Duration,
    /// The version of its launch template.
    pub version: u32,
    /// The number in the id of the next instance that Auto Scaling itself launches.
    pub next_instance: u64,
}

/// A warm pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmPool {
    /// `InstanceReusePolicy.ReuseOnScaleIn`: whether scaling in sends instances to the pool.
    pub reuse_on_scale_in: bool,
    /// The state of instances in the pool: `Warmed:Stopped`, `Warmed:Running` or `Warmed:Hibernated`.
    pub rests: LifecycleState,
}

/// The direction in which an instance passes a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// `autoscaling:EC2_INSTANCE_LAUNCHING`.
    Launching,
    /// `autoscaling:EC2_INSTANCE_TERMINATING`.
    Terminating,
}

impl Transition {
    /// AWS's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Launching => "autoscaling:EC2_INSTANCE_LAUNCHING",
            Self::Terminating => "autoscaling:EC2_INSTANCE_TERMINATING",
        }
    }

    /// The transition of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Launching, Self::Terminating].into_iter().find(|transition| transition.name() == name)
    }
}

/// One lifecycle hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookSetup {
    /// Its name.
    pub name: Arc<str>,
    /// The hook's transition.
    pub transition: Transition,
    /// How long an action lives without a heartbeat.
    pub heartbeat_timeout: Duration,
    /// What AWS does when no client completes the action.
    pub default_result: LifecycleResult,
    /// `NotificationMetadata` as it was written.
    pub metadata: Option<Arc<str>>,
    /// The target groups that the metadata names.
    pub target_groups: Vec<TargetGroupArn>,
}

/// The longest life of an action. Another limit is a hundred heartbeat time-outs.
const LONGEST_WAIT: Duration = Duration::from_secs(48 * 3600);

impl HookSetup {
    /// A terminating hook that continues by default.
    #[must_use]
    pub fn terminating(name: Arc<str>, heartbeat_timeout: Duration) -> Self {
        let (transition, default_result) = (Transition::Terminating, LifecycleResult::Continue);
        Self { name, transition, heartbeat_timeout, default_result, metadata: None, target_groups: Vec::new() }
    }

    /// The same hook with metadata that names these target groups.
    #[must_use]
    pub fn naming(self, target_groups: Vec<TargetGroupArn>) -> Self {
        let metadata = serde_json::json!({ "target_groups": target_groups }).to_string();
        Self { metadata: Some(metadata.into()), target_groups, ..self }
    }

    /// The longest that an action lives.
    #[must_use]
    pub fn global_timeout(&self) -> Duration {
        LONGEST_WAIT.min(self.heartbeat_timeout * 100)
    }
}

impl GroupSetup {
    /// A group without hooks, target groups, tags or a warm pool.
    #[must_use]
    pub fn new(name: Arc<str>) -> Self {
        Self {
            name,
            hooks: Vec::new(),
            attached: Vec::new(),
            lattice: Vec::new(),
            tags: Vec::new(),
            retains: false,
            warm_pool: None,
            waits_for_deregistration: true,
            stop_after: Duration::from_secs(1),
            start_takes: Duration::from_secs(30),
            listed_after: Duration::from_secs(30),
            notices_after: Duration::from_secs(60),
            version: 1,
            next_instance: 0x0aaa_0000_0000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_lives_for_a_hundred_heartbeats_and_never_longer_than_two_days() {
        let global = |seconds| HookSetup::terminating("h".into(), Duration::from_secs(seconds)).global_timeout().as_secs();
        assert_eq!((global(30), global(60), global(300), global(7200)), (3_000, 6_000, 30_000, 172_800));
    }
}
