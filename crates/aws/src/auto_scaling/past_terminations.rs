//! Past terminations from Auto Scaling's record of activities. The record has their times, but not what ran on the instances at the end.

use std::sync::Arc;

use aws_sdk_autoscaling::types::{Activity, ScalingActivityStatusCode};

use super::AutoScaling;
use super::group::{is_over, terminated_instance};
use crate::aws::{is_no_such_group, refusal, unseen};
use decamp_core::decide::Unseen;
use decamp_core::ids::InstanceId;
use decamp_core::time::Time;

/// The most activities in one answer. Only one answer per group is read.
const ACTIVITIES_PER_CALL: i32 = 100;
/// A longer cause is cut.
const LONGEST_CAUSE: usize = 300;

/// An instance that a group has terminated, or tried to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminated {
    /// Its group.
    pub asg: Arc<str>,
    /// The instance.
    pub instance: InstanceId,
    /// When it began to leave.
    pub began: Time,
    /// When the activity ended, if the record has it.
    pub ended: Option<Time>,
    /// Whether the instance was terminated.
    pub successful: bool,
    /// Auto Scaling's description of the cause.
    pub cause: String,
}

impl AutoScaling {
    /// The last finished terminations of these groups, or of all groups if none is named. The latest comes first.
    ///
    /// # Errors
    ///
    /// The record could not be read.
    pub async fn terminated(&self, asgs: &[Arc<str>]) -> Result<Vec<Terminated>, Unseen> {
        let mut all = Vec::new();
        let named: Vec<Option<&Arc<str>>> = if asgs.is_empty() { vec![None] } else { asgs.iter().map(Some).collect() };
        for asg in named {
            self.looks.acquire_look().await?;
            let send = |client: &aws_sdk_autoscaling::Client| {
                let call = client.describe_scaling_activities().max_records(ACTIVITIES_PER_CALL);
                call.set_auto_scaling_group_name(asg.map(ToString::to_string)).send()
            };
            let answer = self.looks.call(send).await;
            match answer.map_err(|e| refusal(&e, None)) {
                Ok(answer) => all.extend(answer.activities().iter().filter_map(terminated)),
                // A named group may not exist yet, or no longer. The others are listed anyway.
                Err(refusal) if is_no_such_group(&refusal) => {}
                Err(refusal) => return Err(unseen(refusal)),
            }
        }
        all.sort_by_key(|one| std::cmp::Reverse(one.ended.unwrap_or(one.began)));
        Ok(all)
    }
}

fn terminated(activity: &Activity) -> Option<Terminated> {
    let status = activity.status_code().filter(|status| is_over(Some(status)))?;
    let time = |at: &aws_smithy_types::DateTime| u64::try_from(at.to_millis().ok()?).ok().map(Time);
    Some(Terminated {
        asg: activity.auto_scaling_group_name()?.into(),
        instance: terminated_instance(activity.description()?)?,
        began: activity.start_time().and_then(time)?,
        ended: activity.end_time().and_then(time),
        successful: *status == ScalingActivityStatusCode::Successful,
        cause: activity.cause().unwrap_or_default().chars().take(LONGEST_CAUSE).collect(),
    })
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::DateTime;

    use super::*;

    fn activity(what: &str, status: ScalingActivityStatusCode) -> Activity {
        let builder = Activity::builder().auto_scaling_group_name("web").description(what).status_code(status);
        builder
            .activity_id("a")
            .cause("x".repeat(9_999))
            .start_time(DateTime::from_secs(1))
            .end_time(DateTime::from_secs(61))
            .build()
    }

    #[test]
    fn only_a_finished_termination_is_listed() {
        use ScalingActivityStatusCode::{Failed, InProgress, MidLifecycleAction, Successful};
        let leaves = "Terminating EC2 instance: i-0123456789abcdef0";
        let past = terminated(&activity(leaves, Successful)).expect("it is over");
        assert_eq!((past.began, past.ended, past.successful), (Time(1_000), Some(Time(61_000)), true));
        assert_eq!(past.cause.len(), LONGEST_CAUSE);
        assert_eq!(terminated(&activity(leaves, Failed)).map(|past| past.successful), Some(false));
        for (what, status) in [
            (leaves, InProgress),
            (leaves, MidLifecycleAction),
            ("Launching a new EC2 instance: i-0123456789abcdef0", Successful),
            ("Terminating EC2 instance: <script>", Successful),
        ] {
            assert_eq!(terminated(&activity(what, status)), None, "{what}");
        }
    }
}
