//! Auto Scaling's query calls about instances, hooks and lifecycle actions.

use std::time::Duration;

use super::query::{Params, page};
use super::xml::Xml;
use super::{QueryError, groups, refreshes, unknown};
use crate::wire::Shared;
use decamp_core::decide::LifecycleResult;
use decamp_core::ids::{ActionToken, InstanceId};
use decamp_core::time::Time;
use decamp_sim::auto_scaling::{Activity, AutoScaling, HookSetup, IDS_A_CALL, Instance, Progress, Transition};

/// Answers one call.
pub(super) fn answer(shared: &Shared, action: &str, params: &Params) -> Result<Xml, QueryError> {
    let account = &shared.account;
    let now = shared.clock.now();
    match action {
        "DescribeAutoScalingInstances" => shared.look(|models| instances(models.aws().0, params)),
        "DescribeAutoScalingGroups" => shared.look(|models| groups::groups(models.aws().0, params, account)),
        "DescribeTrafficSources" => shared.look(|models| groups::traffic_sources(models.aws().0, params)),
        "DescribeLoadBalancerTargetGroups" => shared.look(|models| groups::target_groups(models.aws().0, params)),
        "DescribeLifecycleHooks" => shared.look(|models| hooks(models.aws().0, params)),
        "DescribeScalingActivities" => shared.look(|models| activities(models.aws().0, params, now)),
        "DescribeInstanceRefreshes" => shared.look(|models| refreshes::describe(models.aws().0, params)),
        "StartInstanceRefresh" => shared.with(|models| refreshes::start(models.aws().0, params)),
        "CancelInstanceRefresh" => shared.with(|models| refreshes::cancel(models.aws().0, params)),
        "RollbackInstanceRefresh" => shared.with(|models| refreshes::roll_back(models.aws().0, params)),
        "UpdateAutoScalingGroup" => shared.with(|models| refreshes::update_group(models.aws().0, params)),
        "CreateOrUpdateTags" => shared.with(|models| groups::tag(models.aws().0, params, true)),
        "DeleteTags" => shared.with(|models| groups::tag(models.aws().0, params, false)),
        "PutLifecycleHook" => shared.with(|models| put_hook(models.aws().0, params)),
        "DeleteLifecycleHook" => shared.with(|models| {
            let asg = models.aws().0;
            asg.call()?;
            asg.delete_hook(params.needed("AutoScalingGroupName")?, params.needed("LifecycleHookName")?);
            Ok(Xml::default())
        }),
        "RecordLifecycleActionHeartbeat" => shared.with(|models| {
            let (asg, hook, token, instance) = names(params)?;
            models.aws().0.heartbeat(asg, hook, token.as_ref(), instance)?;
            Ok(Xml::default())
        }),
        "CompleteLifecycleAction" => shared.with(|models| {
            let (asg, hook, token, instance) = names(params)?;
            let result = result(params.needed("LifecycleActionResult")?)?;
            models.aws().0.complete(asg, hook, token.as_ref(), instance, result)?;
            Ok(Xml::default())
        }),
        "TerminateInstanceInAutoScalingGroup" => shared.with(|models| {
            let id = instance_id(params.needed("InstanceId")?)?;
            params.needed("ShouldDecrementDesiredCapacity")?;
            let (asg, elb) = models.aws();
            asg.terminate_by_api(id, elb)?;
            let mut xml = Xml::default();
            if let Some((instance, activity)) = asg.instance(id).and_then(|i| Some((i, i.activity?))) {
                let name = asg.group_of(instance).to_string();
                xml.within("Activity", |xml| one_activity(xml, &name, instance, activity, Progress::InProgress));
            }
            Ok(xml)
        }),
        "SetInstanceHealth" => shared.with(|models| {
            let id = instance_id(params.needed("InstanceId")?)?;
            let healthy = match params.needed("HealthStatus")? {
                "Healthy" => true,
                "Unhealthy" => false,
                other => return Err(QueryError::invalid(format!("Invalid health status: {other}"))),
            };
            let (asg, elb) = models.aws();
            asg.set_health(id, healthy, elb)?;
            Ok(Xml::default())
        }),
        _ => Err(unknown(action)),
    }
}

type Names<'a> = (&'a str, &'a str, Option<ActionToken>, Option<InstanceId>);

fn names(params: &Params) -> Result<Names<'_>, QueryError> {
    let instance = params.text("InstanceId").map(instance_id).transpose()?;
    let token = params.parsed("LifecycleActionToken")?;
    Ok((params.needed("AutoScalingGroupName")?, params.needed("LifecycleHookName")?, token, instance))
}

fn instance_id(text: &str) -> Result<InstanceId, QueryError> {
    text.parse().map_err(|_| QueryError::invalid(format!("Invalid instance ID: {text}")))
}

fn result(text: &str) -> Result<LifecycleResult, QueryError> {
    match text {
        "CONTINUE" => Ok(LifecycleResult::Continue),
        "ABANDON" => Ok(LifecycleResult::Abandon),
        other => Err(QueryError::invalid(format!("Invalid lifecycle action result: {other}"))),
    }
}

fn result_name(result: LifecycleResult) -> &'static str {
    match result {
        LifecycleResult::Continue => "CONTINUE",
        LifecycleResult::Abandon => "ABANDON",
    }
}

fn instances(asg: &mut AutoScaling, params: &Params) -> Result<Xml, QueryError> {
    asg.call()?;
    let named = params.list("InstanceIds");
    if IDS_A_CALL < named.len() {
        return Err(QueryError::invalid(format!("The number of instance IDs must be less than or equal to {IDS_A_CALL}")));
    }
    let all: Vec<&Instance> = match named.as_slice() {
        [] => asg.instances().collect(),
        // AWS ignores unknown and invalid ids.
        ids => ids.iter().filter_map(|id| asg.instance(id.parse().ok()?)).collect(),
    };
    let size = params.parsed("MaxRecords")?.unwrap_or(IDS_A_CALL).min(IDS_A_CALL);
    let (rows, next) = page(&all, params.parsed("NextToken")?, size);
    let mut xml = Xml::default();
    xml.list("AutoScalingInstances", rows, |xml, instance| {
        xml.text("AutoScalingGroupName", asg.group_of(instance));
        groups::instance(xml, asg, instance, if instance.healthy { "HEALTHY" } else { "UNHEALTHY" });
    });
    xml.maybe("NextToken", next);
    Ok(xml)
}

fn hooks(asg: &mut AutoScaling, params: &Params) -> Result<Xml, QueryError> {
    let name = params.needed("AutoScalingGroupName")?;
    let wanted = params.list("LifecycleHookNames");
    let setup = asg.describe_group(name)?;
    let listed = setup.hooks.iter().filter(|hook| wanted.is_empty() || wanted.contains(&&*hook.name));
    let mut xml = Xml::default();
    xml.list("LifecycleHooks", listed, |xml, hook| {
        xml.text("LifecycleHookName", &hook.name)
            .text("AutoScalingGroupName", name)
            .text("LifecycleTransition", hook.transition.name())
            .maybe("NotificationMetadata", hook.metadata.as_deref())
            .text("HeartbeatTimeout", hook.heartbeat_timeout.as_secs())
            .text("GlobalTimeout", hook.global_timeout().as_secs())
            .text("DefaultResult", result_name(hook.default_result));
    });
    Ok(xml)
}

fn put_hook(asg: &mut AutoScaling, params: &Params) -> Result<Xml, QueryError> {
    let (group, name) = (params.needed("AutoScalingGroupName")?, params.needed("LifecycleHookName")?);
    let old = asg.group(group).and_then(|setup| setup.hooks.iter().find(|hook| *hook.name == *name)).cloned();
    let mut hook = old.unwrap_or_else(|| HookSetup {
        // The default result of a new hook is ABANDON.
        default_result: LifecycleResult::Abandon,
        ..HookSetup::terminating(name.into(), Duration::from_secs(3600))
    });
    if let Some(transition) = params.text("LifecycleTransition") {
        hook.transition = Transition::named(transition).ok_or_else(|| QueryError::invalid("Invalid lifecycle transition"))?;
    }
    if let Some(timeout) = params.parsed("HeartbeatTimeout")? {
        if !(30..=7200).contains(&timeout) {
            return Err(QueryError::invalid("Heartbeat timeout must be between 30 and 7200 seconds"));
        }
        hook.heartbeat_timeout = Duration::from_secs(timeout);
    }
    if let Some(given) = params.text("DefaultResult") {
        hook.default_result = result(given)?;
    }
    if let Some(metadata) = params.text("NotificationMetadata") {
        hook.metadata = Some(metadata.into());
    }
    asg.put_hook(group, hook)?;
    Ok(Xml::default())
}

fn activities(asg: &mut AutoScaling, params: &Params, now: Time) -> Result<Xml, QueryError> {
    asg.call()?;
    let name = params.needed("AutoScalingGroupName")?.to_owned();
    if asg.group(&name).is_none() {
        return Err(QueryError::invalid(format!("AutoScalingGroup name not found - {name}")));
    }
    let mut all = asg.activities(&name);
    // Activities in progress come first.
    all.sort_by_key(|(_, activity, _)| activity.ended.is_some());
    all.retain(|(_, activity, _)| activity.began <= now);
    let size = params.parsed("MaxRecords")?.unwrap_or(100).min(100);
    let (rows, next) = page(&all, params.parsed("NextToken")?, size);
    let mut xml = Xml::default();
    xml.list("Activities", rows, |xml, &(instance, activity, progress)| one_activity(xml, &name, instance, activity, progress));
    xml.maybe("NextToken", next);
    Ok(xml)
}

fn one_activity(xml: &mut Xml, asg: &str, instance: &Instance, activity: Activity, progress: Progress) {
    let what = match activity.transition {
        Transition::Launching => "Launching a new EC2 instance",
        Transition::Terminating => "Terminating EC2 instance",
    };
    let waiting = match progress {
        Progress::WaitingForBalancers => " - Waiting For ELB connection draining.",
        Progress::MidLifecycleAction | Progress::InProgress | Progress::Successful => "",
    };
    let id = activity.number;
    let (percent, zone) = (if activity.ended.is_some() { 100 } else { 50 }, &instance.zone);
    xml.text("ActivityId", format!("{:08x}-0000-4000-8000-{:012x}", id >> 32, id & 0xffff_ffff))
        .text("AutoScalingGroupName", asg)
        .text("Description", format!("{what}: {}{waiting}", instance.id))
        .text("Cause", format!("At {} the instance was taken out of service.", activity.began))
        .text("StartTime", activity.began)
        .maybe("EndTime", activity.ended)
        .text("StatusCode", progress.name())
        .text("Progress", percent)
        .text("Details", format!("{{\"Availability Zone\":\"{zone}\"}}"));
}
