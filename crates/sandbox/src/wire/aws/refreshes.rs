//! Auto Scaling's query calls about instance refreshes.

use std::time::Duration;

use super::QueryError;
use super::query::{Params, page};
use super::xml::Xml;
use decamp_core::refresh::Preferences;
use decamp_sim::auto_scaling::{AutoScaling, InstanceRefresh};

/// The id of every group's launch template.
pub(super) const TEMPLATE: &str = "lt-0123456789abcdef0";

/// `StartInstanceRefresh`.
pub(super) fn start(asg: &mut AutoScaling, params: &Params) -> Result<Xml, QueryError> {
    let name = params.needed("AutoScalingGroupName")?;
    if params.text("Strategy").is_some_and(|strategy| strategy != "Rolling") {
        return Err(QueryError::invalid("The sandbox supports only the strategy Rolling"));
    }
    let id = asg.start_refresh(name, preferences(params)?, version(params, "DesiredConfiguration.LaunchTemplate.Version")?)?;
    Ok(with_id(&id))
}

/// `DescribeInstanceRefreshes`.
pub(super) fn describe(asg: &mut AutoScaling, params: &Params) -> Result<Xml, QueryError> {
    let wanted = params.list("InstanceRefreshIds");
    let all = asg.describe_refreshes(params.needed("AutoScalingGroupName")?)?;
    let all: Vec<&InstanceRefresh> = all.into_iter().filter(|r| wanted.is_empty() || wanted.contains(&&*r.id)).collect();
    let size = params.parsed("MaxRecords")?.unwrap_or(50).min(100);
    let (rows, next) = page(&all, params.parsed("NextToken")?, size);
    let mut xml = Xml::default();
    xml.list("InstanceRefreshes", rows, |xml, refresh| one(xml, refresh));
    xml.maybe("NextToken", next);
    Ok(xml)
}

/// `CancelInstanceRefresh`.
pub(super) fn cancel(asg: &mut AutoScaling, params: &Params) -> Result<Xml, QueryError> {
    let waits = params.parsed("WaitForTransitioningInstances")?.unwrap_or(true);
    Ok(with_id(&asg.cancel_refresh(params.needed("AutoScalingGroupName")?, waits)?))
}

/// `RollbackInstanceRefresh`.
pub(super) fn roll_back(asg: &mut AutoScaling, params: &Params) -> Result<Xml, QueryError> {
    Ok(with_id(&asg.roll_back_refresh(params.needed("AutoScalingGroupName")?)?))
}

/// `UpdateAutoScalingGroup`, as far as it changes the version of the launch template.
pub(super) fn update_group(asg: &mut AutoScaling, params: &Params) -> Result<Xml, QueryError> {
    let name = params.needed("AutoScalingGroupName")?;
    asg.describe_group(name)?;
    if let Some(version) = version(params, "LaunchTemplate.Version")? {
        asg.change_group(name, |setup| setup.version = version);
    }
    Ok(Xml::default())
}

/// The launch template of a group or an instance.
pub(super) fn template(xml: &mut Xml, asg: &str, version: u32) {
    xml.within("LaunchTemplate", |xml| {
        xml.text("LaunchTemplateId", TEMPLATE).text("LaunchTemplateName", asg).text("Version", version);
    });
}

fn with_id(id: &str) -> Xml {
    let mut xml = Xml::default();
    xml.text("InstanceRefreshId", id);
    xml
}

fn version(params: &Params, name: &str) -> Result<Option<u32>, QueryError> {
    match params.text(name) {
        // A rollback needs a fixed version, and the sandbox has only numbered ones.
        Some("$Latest" | "$Default") => Err(QueryError::invalid("The sandbox supports only numbered versions")),
        Some(_) | None => params.parsed(name),
    }
}

fn preferences(params: &Params) -> Result<Preferences, QueryError> {
    let name = |name: &str| format!("Preferences.{name}");
    let span = |what: &str| Ok::<_, QueryError>(params.parsed(&name(what))?.map(Duration::from_secs));
    let checkpoints = params.list(&name("CheckpointPercentages")).into_iter().map(str::parse).collect::<Result<_, _>>();
    Ok(Preferences {
        min_healthy: params.parsed(&name("MinHealthyPercentage"))?,
        max_healthy: params.parsed(&name("MaxHealthyPercentage"))?,
        warm_up: span("InstanceWarmup")?,
        checkpoints: checkpoints.map_err(|_| QueryError::invalid("Checkpoint percentages are whole numbers"))?,
        checkpoint_delay: span("CheckpointDelay")?,
        bake: span("BakeTime")?,
        skip_matching: params.parsed(&name("SkipMatching"))?.unwrap_or(false),
        auto_rollback: params.parsed(&name("AutoRollback"))?.unwrap_or(false),
    })
}

fn one(xml: &mut Xml, refresh: &InstanceRefresh) {
    let input = &refresh.preferences;
    xml.text("InstanceRefreshId", &refresh.id)
        .text("AutoScalingGroupName", &refresh.asg)
        .text("Status", refresh.status.name())
        .maybe("StatusReason", refresh.reason.as_deref())
        .text("StartTime", refresh.began)
        .maybe("EndTime", refresh.ended)
        .text("PercentageComplete", refresh.percentage)
        .text("InstancesToUpdate", refresh.to_update)
        .text("Strategy", "Rolling")
        .within("Preferences", |xml| {
            xml.maybe("MinHealthyPercentage", input.min_healthy)
                .maybe("MaxHealthyPercentage", input.max_healthy)
                .maybe("InstanceWarmup", input.warm_up.map(|span| span.as_secs()))
                .texts("CheckpointPercentages", &input.checkpoints)
                .maybe("CheckpointDelay", input.checkpoint_delay.map(|span| span.as_secs()))
                .maybe("BakeTime", input.bake.map(|span| span.as_secs()))
                .text("SkipMatching", input.skip_matching)
                .text("AutoRollback", input.auto_rollback);
        });
    if let Some(version) = refresh.version {
        xml.within("DesiredConfiguration", |xml| template(xml, &refresh.asg, version));
    }
}
