//! All instances of an Auto Scaling group, and the group's settings for replacing them. For `decamp check` and the Lambda's check.

use std::sync::Arc;
use std::time::Duration;

use super::{AutoScaling, lifecycle};
use crate::aws::{refusal, unseen};
use crate::integers::seconds;
use decamp_core::decide::{Group, Lifecycle, Unseen};
use decamp_core::ids::InstanceId;

/// A group's instances and its settings for replacing them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    /// The instances with their lifecycle states.
    pub instances: Vec<(InstanceId, Lifecycle)>,
    /// Whether instances that are scaled in return to the warm pool (`ReuseOnScaleIn`).
    pub reuses: bool,
    /// `MinHealthyPercentage` and `MaxHealthyPercentage` of the maintenance policy, if there is one.
    pub healthy_percentages: Option<(i32, i32)>,
    /// `DefaultInstanceWarmup`: how long a new instance is not counted, if the group says so.
    pub warm_up: Option<Duration>,
    /// `HealthCheckGracePeriod`. It is the warm-up of a refresh if neither the group nor the refresh has one.
    pub grace: Option<Duration>,
}

impl AutoScaling {
    /// The roster of a group; `None` if there is no such group.
    pub async fn roster(&self, asg: &str) -> Result<Option<Roster>, Unseen> {
        self.looks.acquire_look().await?;
        let answer = self.looks.call(|client| client.describe_auto_scaling_groups().auto_scaling_group_names(asg).send()).await;
        let answer = answer.map_err(|e| unseen(refusal(&e, None)))?;
        let Some(group) = answer.auto_scaling_groups().iter().find(|g| g.auto_scaling_group_name() == Some(asg)) else {
            return Ok(None);
        };
        let instances = group
            .instances()
            .iter()
            .filter_map(|listed| Some((listed.instance_id()?.parse().ok()?, lifecycle(listed.lifecycle_state()?.as_str()))));
        let reuse = group.warm_pool_configuration().and_then(|pool| pool.instance_reuse_policy());
        let maintenance = group.instance_maintenance_policy();
        Ok(Some(Roster {
            instances: instances.collect(),
            reuses: reuse.and_then(|policy| policy.reuse_on_scale_in()).unwrap_or(false),
            healthy_percentages: maintenance.and_then(|p| Some((p.min_healthy_percentage()?, p.max_healthy_percentage()?))),
            warm_up: group.default_instance_warmup().and_then(seconds),
            grace: group.health_check_grace_period().and_then(seconds),
        }))
    }

    /// The names of all groups of the account and Region.
    pub async fn names(&self) -> Result<Vec<Arc<str>>, Unseen> {
        self.looks.acquire_look().await?;
        let send = |client: &aws_sdk_autoscaling::Client, from| client.describe_auto_scaling_groups().set_next_token(from).send();
        let pages = self.looks.pages(usize::MAX, send, |page| page.next_token()).await?;
        let groups = pages.iter().flat_map(|page| page.auto_scaling_groups());
        Ok(groups.filter_map(|group| group.auto_scaling_group_name()).map(Arc::from).collect())
    }

    /// The settings of a group, without the facts about one instance.
    pub async fn settings_of(&self, asg: &Arc<str>) -> Result<Group, Unseen> {
        self.groups.group(asg).await
    }
}
