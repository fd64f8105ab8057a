//! Instance refreshes: start, read, cancel and roll back, with one call each.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_autoscaling::types::{
    DesiredConfiguration, InstanceRefresh, LaunchTemplateSpecification, MixedInstancesPolicy, RefreshPreferences,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::DateTime;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::AutoScaling;
use crate::aws::{is_no_such_group, refusal, unseen};
use crate::integers::{count, seconds};
use decamp_core::decide::{Refusal, Unseen};
use decamp_core::refresh::{NotDone, Preferences, Refresh, Status};
use decamp_core::time::Time;

/// One version of a launch template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Its id.
    pub id: String,
    /// The version's number.
    pub version: u32,
    /// The mixed instances policy that it belongs to, if the group has several instance types.
    pub(crate) mixed: Option<Box<MixedInstancesPolicy>>,
}

impl AutoScaling {
    /// Starts a refresh to the group's settings, or to another version of its launch template. Returns the refresh's id.
    pub async fn start_refresh(&self, asg: &str, preferences: &Preferences, to: Option<&Template>) -> Result<Arc<str>, NotDone> {
        self.writes.acquire_write().await.map_err(NotDone::Refused)?;
        let send = |client: &aws_sdk_autoscaling::Client| {
            let call = client.start_instance_refresh().auto_scaling_group_name(asg).preferences(refresh_preferences(preferences));
            call.set_desired_configuration(to.map(desired)).send()
        };
        let answer = self.writes.call(send).await.map_err(|e| not_done(&e))?;
        id(answer.instance_refresh_id())
    }

    /// The refreshes of a group, in progress and ended, from AWS's first page.
    pub async fn refreshes(&self, asg: &Arc<str>) -> Result<Vec<Refresh>, Unseen> {
        self.refreshes_if_there(asg).await?.ok_or_else(|| Unseen::Away(format!("there is no group {asg}").into()))
    }

    /// The same; `None` if Auto Scaling says that there is no such group.
    pub async fn refreshes_if_there(&self, asg: &Arc<str>) -> Result<Option<Vec<Refresh>>, Unseen> {
        self.looks.acquire_look().await?;
        let answer = self.looks.call(|c| c.describe_instance_refreshes().auto_scaling_group_name(&**asg).send()).await;
        match answer.map_err(|e| refusal(&e, None)) {
            Ok(answer) => Ok(Some(answer.instance_refreshes().iter().filter_map(|listed| seen(asg, listed)).collect())),
            Err(refusal) if is_no_such_group(&refusal) => Ok(None),
            Err(refusal) => Err(unseen(refusal)),
        }
    }

    /// The preferences of the refresh of a group that is in progress, or of the last one: minimum and maximum of healthy instances, and the
    /// warm-up. `None`: AWS remembers none.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub async fn last_preferences(&self, asg: &str) -> Result<Option<Preferences>, Unseen> {
        self.looks.acquire_look().await?;
        // AWS lists the newest first.
        let answer =
            self.looks.call(|c| c.describe_instance_refreshes().auto_scaling_group_name(asg).max_records(1).send()).await;
        let answer = answer.map_err(|e| unseen(refusal(&e, None)))?;
        Ok(answer.instance_refreshes().first().and_then(InstanceRefresh::preferences).map(read_preferences))
    }

    /// Cancels the refresh in progress. AWS waits for the replacements that have begun, and so for decamp's hooks.
    pub async fn cancel_refresh(&self, asg: &str) -> Result<Arc<str>, NotDone> {
        self.writes.acquire_write().await.map_err(NotDone::Refused)?;
        let answer = self.writes.call(|c| c.cancel_instance_refresh().auto_scaling_group_name(asg).send()).await;
        id(answer.map_err(|e| not_done(&e))?.instance_refresh_id())
    }

    /// Rolls back the refresh in progress.
    pub async fn roll_back_refresh(&self, asg: &str) -> Result<Arc<str>, NotDone> {
        self.writes.acquire_write().await.map_err(NotDone::Refused)?;
        let answer = self.writes.call(|c| c.rollback_instance_refresh().auto_scaling_group_name(asg).send()).await;
        id(answer.map_err(|e| not_done(&e))?.instance_refresh_id())
    }

    /// This version of a group's launch template, which the group names directly or in its mixed instances policy. `None` if there is no
    /// such group, or it has no launch template.
    pub async fn template(&self, asg: &str, version: u32) -> Result<Option<Template>, Unseen> {
        self.looks.acquire_look().await?;
        let send = |client: &aws_sdk_autoscaling::Client| {
            client.describe_auto_scaling_groups().auto_scaling_group_names(asg).include_instances(false).send()
        };
        let answer = self.looks.call(send).await.map_err(|e| unseen(refusal(&e, None)))?;
        let group = answer.auto_scaling_groups().iter().find(|group| group.auto_scaling_group_name() == Some(asg));
        let Some(group) = group else { return Ok(None) };
        let (of, mixed) = match (group.launch_template(), group.mixed_instances_policy()) {
            (Some(own), _) => (Some(own), None),
            (None, Some(policy)) => {
                let of = policy.launch_template().and_then(|template| template.launch_template_specification());
                (of, Some(Box::new(policy.clone())))
            }
            (None, None) => (None, None),
        };
        let id = of.and_then(LaunchTemplateSpecification::launch_template_id);
        Ok(id.map(|id| Template { id: id.to_owned(), version, mixed }))
    }
}

fn not_done<E>(error: &SdkError<E, HttpResponse>) -> NotDone
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    match code.trim_end_matches("Fault") {
        "InstanceRefreshInProgress" => NotDone::UnderWay,
        "ActiveInstanceRefreshNotFound" => NotDone::NoneUnderWay,
        "IrreversibleInstanceRefresh" => NotDone::Irreversible,
        _ => NotDone::Refused(refusal(error, None)),
    }
}

/// The id in an answer. Auto Scaling sends no answer without one.
fn id(given: Option<&str>) -> Result<Arc<str>, NotDone> {
    given.map(Arc::from).ok_or_else(|| NotDone::Refused(Refusal::Away("an answer without a refresh's id".into())))
}

/// The preferences that decide when instances leave. The others do not matter to a check.
fn read_preferences(preferences: &RefreshPreferences) -> Preferences {
    Preferences {
        min_healthy: preferences.min_healthy_percentage().and_then(count),
        max_healthy: preferences.max_healthy_percentage().and_then(count),
        warm_up: preferences.instance_warmup().and_then(seconds),
        skip_matching: preferences.skip_matching().unwrap_or(false),
        auto_rollback: preferences.auto_rollback().unwrap_or(false),
        ..Preferences::default()
    }
}

fn refresh_preferences(preferences: &Preferences) -> RefreshPreferences {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let whole_seconds = |span: Duration| i32::try_from(span.as_secs()).unwrap_or(i32::MAX);
    let checkpoints: Vec<i32> = preferences.checkpoints.iter().copied().map(number).collect();
    RefreshPreferences::builder()
        .set_min_healthy_percentage(preferences.min_healthy.map(number))
        .set_max_healthy_percentage(preferences.max_healthy.map(number))
        .set_instance_warmup(preferences.warm_up.map(whole_seconds))
        // With an empty list a refresh stays pending forever.
        .set_checkpoint_percentages((!checkpoints.is_empty()).then_some(checkpoints))
        .set_checkpoint_delay(preferences.checkpoint_delay.map(whole_seconds))
        .set_bake_time(preferences.bake.map(whole_seconds))
        .skip_matching(preferences.skip_matching)
        .auto_rollback(preferences.auto_rollback)
        .build()
}

fn desired(to: &Template) -> DesiredConfiguration {
    let template = LaunchTemplateSpecification::builder().launch_template_id(&to.id).version(to.version.to_string()).build();
    let Some(mixed) = &to.mixed else { return DesiredConfiguration::builder().launch_template(template).build() };
    // A launch template alone would remove the policy, so its types, weights and share of spot instances are sent unchanged.
    let mut policy = (**mixed).clone();
    if let Some(of) = &mut policy.launch_template {
        for other in of.overrides.iter_mut().flatten() {
            other.launch_template_specification = other.launch_template_specification.take().map(by_id);
        }
        of.launch_template_specification = Some(template);
    }
    DesiredConfiguration::builder().mixed_instances_policy(policy).build()
}

/// Auto Scaling returns a template's id and its name, but accepts only one of them.
fn by_id(mut template: LaunchTemplateSpecification) -> LaunchTemplateSpecification {
    if template.launch_template_id.is_some() {
        template.launch_template_name = None;
    }
    template
}

fn seen(asg: &Arc<str>, listed: &InstanceRefresh) -> Option<Refresh> {
    let time = |at: &DateTime| u64::try_from(at.secs()).ok().map(|seconds| Time(seconds.saturating_mul(1000)));
    Some(Refresh {
        id: listed.instance_refresh_id()?.into(),
        group: Arc::clone(asg),
        status: Status::named(listed.status()?.as_str()),
        why: listed.status_reason().map(Arc::from),
        began: listed.start_time().and_then(time),
        ended: listed.end_time().and_then(time),
        percentage: listed.percentage_complete().and_then(count).map(|share| share.min(100)),
        to_update: listed.instances_to_update().and_then(count),
    })
}
