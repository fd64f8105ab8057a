//! When a target group counts a new target as healthy, and an old one as unhealthy. Only checks ask for it.

use std::time::Duration;

use super::LoadBalancers;
use crate::aws::{refusal, unseen};
use crate::integers::{count, seconds};
use decamp_core::decide::{Refusal, Unseen};
use decamp_core::ids::TargetGroupArn;

/// The health check of a target group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthCheck {
    /// `HealthCheckIntervalSeconds`.
    pub interval: Duration,
    /// `HealthyThresholdCount`: how many checks in a row a target passes before it is healthy.
    pub healthy_threshold: u32,
    /// `UnhealthyThresholdCount`.
    pub unhealthy_threshold: u32,
    /// `slow_start.duration_seconds`: how long an ALB raises the share of requests of a new healthy target. Zero: at once.
    pub slow_start: Duration,
}

impl HealthCheck {
    /// How long a new target that answers at once takes to get its whole share of requests.
    #[must_use]
    pub fn takes_traffic_after(&self) -> Duration {
        self.interval * self.healthy_threshold + self.slow_start
    }
}

impl LoadBalancers {
    /// The health check of a target group. `None`: it does not exist, it is a Classic Load Balancer, or AWS does not say.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub async fn health_check(&self, arn: &TargetGroupArn) -> Result<Option<HealthCheck>, Unseen> {
        if arn.is_classic() {
            return Ok(None);
        }
        self.looks.acquire_look().await?;
        let answer = self.looks.call(|sdk| sdk.describe_target_groups().target_group_arns(arn.as_str()).send()).await;
        let answer = match answer.map_err(|e| refusal(&e, None)) {
            Ok(answer) => answer,
            Err(Refusal::Missing) => return Ok(None),
            Err(why) => return Err(unseen(why)),
        };
        let Some(group) = answer.target_groups().iter().find(|group| group.target_group_arn() == Some(arn.as_str())) else {
            return Ok(None);
        };
        let interval = group.health_check_interval_seconds().and_then(seconds);
        let thresholds = (group.healthy_threshold_count().and_then(count), group.unhealthy_threshold_count().and_then(count));
        let (Some(interval), (Some(healthy_threshold), Some(unhealthy_threshold))) = (interval, thresholds) else {
            return Ok(None);
        };
        let slow_start = self.facts.attributes(arn, false).await?.slow_start.unwrap_or_default();
        Ok(Some(HealthCheck { interval, healthy_threshold, unhealthy_threshold, slow_start }))
    }
}
