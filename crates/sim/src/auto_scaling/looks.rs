//! The answers of Auto Scaling's Describe calls: as the rules see them, and with AWS's own names for the sandbox.

use std::sync::Arc;

use super::instance::{Activity, Instance};
use super::setup::Transition;
use super::{AutoScaling, GroupSetup};
use crate::api_error::ApiError;
use decamp_core::decide::{self, Launched, Lifecycle, Unseen};
use decamp_core::ids::InstanceId;
use decamp_core::time::Time;

/// The most ids that `DescribeAutoScalingInstances` takes in one call.
pub const IDS_A_CALL: usize = 50;

/// The progress of an activity, as in `DescribeScalingActivities`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// `WaitingForELBConnectionDraining`.
    WaitingForBalancers,
    /// `MidLifecycleAction`.
    MidLifecycleAction,
    /// `InProgress`.
    InProgress,
    /// `Successful`.
    Successful,
}

impl Progress {
    /// AWS's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WaitingForBalancers => "WaitingForELBConnectionDraining",
            Self::MidLifecycleAction => "MidLifecycleAction",
            Self::InProgress => "InProgress",
            Self::Successful => "Successful",
        }
    }
}

impl AutoScaling {
    /// The lifecycle of one instance as the rules see it. One call.
    ///
    /// # Errors
    /// Throttled.
    pub fn look_lifecycle(&mut self, id: InstanceId) -> Result<Lifecycle, Unseen> {
        self.call().map_err(|error| error.unseen())?;
        Ok(self.lifecycle(id))
    }

    /// The lifecycles of many instances. One call for each fifty.
    ///
    /// # Errors
    /// Throttled.
    pub fn look_lifecycles(&mut self, ids: &[InstanceId]) -> Result<Vec<Lifecycle>, Unseen> {
        for _ in ids.chunks(IDS_A_CALL) {
            self.call().map_err(|error| error.unseen())?;
        }
        Ok(ids.iter().map(|&id| self.lifecycle(id)).collect())
    }

    /// The lifecycle of one instance as the rules would see it, without a call.
    #[must_use]
    pub fn lifecycle(&self, id: InstanceId) -> Lifecycle {
        self.instance(id).map_or(Lifecycle::Gone, |instance| instance.state.seen())
    }

    /// A group as the rules see it: `DescribeLifecycleHooks`, `DescribeTrafficSources` and `DescribeAutoScalingGroups`, and with
    /// `activity_of` also `DescribeScalingActivities`. Three or four calls. A group that does not exist has no hooks.
    ///
    /// # Errors
    /// Throttled.
    pub fn look_group(&mut self, asg: &str, activity_of: Option<InstanceId>) -> Result<decide::Group, Unseen> {
        for _ in 0..3 + u32::from(activity_of.is_some()) {
            self.call().map_err(|error| error.unseen())?;
        }
        let Some(setup) = self.group(asg) else {
            let (hooks, attached) = (Vec::new(), Vec::new());
            return Ok(decide::Group {
                hooks,
                attached,
                unhandled: Vec::new(),
                held: false,
                retains: false,
                activity_began: None,
                launched: Launched::Unasked,
            });
        };
        Ok(decide::Group {
            hooks: terminating_hooks(setup),
            attached: setup.attached.clone(),
            unhandled: setup
                .lattice
                .iter()
                .map(|arn| decide::TrafficSource { kind: "vpc-lattice".into(), name: arn.name().into() })
                .collect(),
            held: setup.tags.iter().any(|(key, _)| &**key == "decamp:hold"),
            retains: setup.retains,
            activity_began: activity_of.filter(|_| !self.activities_denied).and_then(|id| self.activity_began(id)),
            launched: match activity_of {
                Some(id) if !self.activities_denied => self.launched(id),
                Some(_) => Launched::Untold,
                None => Launched::Unasked,
            },
        })
    }

    /// When the instance was launched, if its group's activities go back that far.
    #[must_use]
    pub fn launched(&self, id: InstanceId) -> Launched {
        self.instance(id).and_then(|instance| instance.launched).map_or(Launched::Untold, Launched::At)
    }

    /// When the instance's unfinished activity began.
    #[must_use]
    pub fn activity_began(&self, id: InstanceId) -> Option<Time> {
        let activity = self.instance(id)?.activity.filter(|activity| activity.ended.is_none())?;
        Some(activity.began)
    }

    /// The last activity of each listed or delisted instance of a group, the newest first.
    #[must_use]
    pub fn activities(&self, asg: &str) -> Vec<(&Instance, Activity, Progress)> {
        let in_group = |instance: &&Instance| *self.groups[instance.group].setup.name == *asg;
        let mut rows: Vec<_> = (self.instances.iter().filter(in_group))
            .filter_map(|instance| instance.activity.map(|activity| (instance, activity, progress(instance, activity))))
            .collect();
        rows.sort_by_key(|(_, activity, _)| std::cmp::Reverse(activity.began));
        rows
    }

    /// The name of an instance's group.
    #[must_use]
    pub fn group_of(&self, instance: &Instance) -> &Arc<str> {
        &self.groups[instance.group].setup.name
    }

    /// Describes a group. One call.
    ///
    /// # Errors
    /// Throttled, or no such group.
    pub fn describe_group(&mut self, asg: &str) -> Result<&GroupSetup, ApiError> {
        self.call()?;
        self.group(asg).ok_or_else(|| super::actions::no_group(asg))
    }
}

fn terminating_hooks(setup: &GroupSetup) -> Vec<decide::Hook> {
    let hooks = setup.hooks.iter().filter(|hook| hook.transition == Transition::Terminating);
    hooks
        .map(|hook| decide::Hook {
            name: Arc::clone(&hook.name),
            heartbeat_timeout: hook.heartbeat_timeout,
            global_timeout: hook.global_timeout(),
            target_groups: hook.target_groups.clone(),
            misnamed: Vec::new(),
        })
        .collect()
}

fn progress(instance: &Instance, activity: Activity) -> Progress {
    if activity.ended.is_some() {
        return Progress::Successful;
    }
    match instance.state.name() {
        "Terminating" | "Warmed:Pending" if activity.transition == Transition::Terminating => Progress::WaitingForBalancers,
        state if state.ends_with(":Wait") => Progress::MidLifecycleAction,
        _ => Progress::InProgress,
    }
}
