//! Reads EventBridge's envelope and the details of the services that report on instances.

use std::time::Duration;

use super::json::{Fields, Object, string};
use super::lifecycle::{self, Transition, instance_id};
use super::rejection::{Ours, Rejection};
use super::{EventContent, Informational, health};
use decamp_core::ids::InstanceId;

/// The time from EC2's warning to the end of a spot instance.
const WARNING: Duration = Duration::from_mins(2);

/// The most resources of an envelope.
const MOST_RESOURCES: usize = 100;

/// Reads an envelope. Only AWS can send as `aws.…`, so the source proves that the event is not forged.
pub(super) fn read(envelope: &Object<'_>, ours: Ours<'_>) -> Result<Vec<Result<EventContent, Rejection>>, Rejection> {
    let (account, region) = (envelope.required("account")?, envelope.required("region")?);
    let (source, kind) = (envelope.required("source")?, envelope.required("detail-type")?);
    if (source.as_ref(), kind.as_ref()) == ("aws.health", "AWS Health Event") {
        // It may be delivered to another Region or account than it affects.
        return health::read(envelope, ours);
    }
    ours.account(&account)?;
    ours.region(&region)?;
    Ok(vec![Ok(one(envelope, &source, &kind, ours)?)])
}

/// An envelope with one event.
fn one(envelope: &Object<'_>, source: &str, kind: &str, ours: Ours<'_>) -> Result<EventContent, Rejection> {
    match (source, kind) {
        ("aws.autoscaling", "EC2 Instance-terminate Lifecycle Action") => action(envelope, Transition::Terminating, ours),
        ("aws.autoscaling", "EC2 Instance-launch Lifecycle Action") => action(envelope, Transition::Launching, ours),
        ("aws.autoscaling", kind) if kind.starts_with("EC2 Auto Scaling Instance Refresh") => {
            Ok(EventContent::Informational(Informational::InstanceRefresh))
        }
        ("aws.autoscaling", _) => Ok(EventContent::Informational(Informational::GroupActivity)),
        ("aws.ec2", "EC2 Spot Instance Interruption Warning") => {
            let instance = instance_of(envelope)?;
            let warned = lifecycle::time(envelope, "time")?.ok_or(Rejection::Missing { field: "time" })?;
            Ok(EventContent::Interruption { instance, at: warned + WARNING })
        }
        ("aws.ec2", "EC2 Instance Rebalance Recommendation") => Ok(EventContent::Rebalance { instance: instance_of(envelope)? }),
        ("aws.ec2", "EC2 Instance State-change Notification") => Ok(EventContent::Informational(Informational::StateChange)),
        ("aws.health", _) => Ok(EventContent::Informational(Informational::Health)),
        ("aws.events" | "aws.scheduler", "Scheduled Event") => Ok(EventContent::Sweep),
        ("aws.ec2" | "aws.events" | "aws.scheduler", _) => Ok(EventContent::Informational(Informational::Other)),
        (_, kind) if kind.contains("Lifecycle Action") => {
            Err(Rejection::Contradiction("a lifecycle action that Auto Scaling did not send"))
        }
        _ => Err(Rejection::Unknown { shape: "an EventBridge event of another service".to_owned() }),
    }
}

pub(super) fn detail<'a>(envelope: &Object<'a>) -> Result<Object<'a>, Rejection> {
    envelope.object("detail")?.ok_or(Rejection::Missing { field: "detail" })
}

/// A lifecycle action. The envelope and its detail must agree.
fn action(envelope: &Object<'_>, transition: Transition, ours: Ours<'_>) -> Result<EventContent, Rejection> {
    let detail = detail(envelope)?;
    let stated = Transition::read(&detail)?;
    if stated.is_some_and(|stated| stated != transition) {
        return Err(Rejection::Contradiction("its detail-type and its transition"));
    }
    let group = detail.required("AutoScalingGroupName")?;
    for resource in resources(envelope)? {
        let mut parts = resource.splitn(6, ':').skip(2);
        let (service, region, account) = (parts.next(), parts.next(), parts.next());
        let Some((_, name)) = parts.next().and_then(|rest| rest.split_once("autoScalingGroupName/")) else { continue };
        if service != Some("autoscaling") || name != group {
            return Err(Rejection::Contradiction("the group in its resources and in its detail"));
        }
        if region != envelope.text("region")?.as_deref() || account != envelope.text("account")?.as_deref() {
            return Err(Rejection::Contradiction("its own account and Region, and those of its resources"));
        }
    }
    lifecycle::read(&detail, transition, lifecycle::time(envelope, "time")?, ours)
}

/// The instance that an event of EC2 is about.
fn instance_of(envelope: &Object<'_>) -> Result<InstanceId, Rejection> {
    let instance = instance_id(&detail(envelope)?, "instance-id")?;
    let named = instance.to_string();
    for resource in resources(envelope)? {
        if resource.rsplit_once("instance/").is_some_and(|(_, other)| other != named) {
            return Err(Rejection::Contradiction("the instance in its resources and in its detail"));
        }
    }
    Ok(instance)
}

fn resources(envelope: &Object<'_>) -> Result<Vec<String>, Rejection> {
    let all = envelope.array("resources", MOST_RESOURCES)?.unwrap_or_default();
    let texts: Option<Vec<String>> = all.into_iter().map(|text| string(text).map(|text| text.into_owned())).collect();
    texts.ok_or(Rejection::WrongType { field: "resources", expected: "an array of strings" })
}
