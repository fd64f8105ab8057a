//! An Auto Scaling group's ARN. `decamp init` writes policies for it.

use super::AutoScaling;
use crate::aws::{refusal, unseen};
use decamp_core::decide::Unseen;

impl AutoScaling {
    /// The ARN of a group; `None` if there is no such group.
    pub async fn arn(&self, asg: &str) -> Result<Option<String>, Unseen> {
        self.looks.acquire_look().await?;
        let answer = self.looks.call(|client| client.describe_auto_scaling_groups().auto_scaling_group_names(asg).send()).await;
        let answer = answer.map_err(|e| unseen(refusal(&e, None)))?;
        let group = answer.auto_scaling_groups().iter().find(|group| group.auto_scaling_group_name() == Some(asg));
        Ok(group.and_then(|group| group.auto_scaling_group_arn()).map(str::to_owned))
    }
}
