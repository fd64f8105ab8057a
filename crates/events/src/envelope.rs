//! EventBridge's envelope, and what the services that tell of instances put into it.

use std::time::Duration;

use super::json::{Fields, Object, string};
use super::lifecycle::{self, Transition, instance_id};
use super::rejection::{Foreign, Ours, Rejection};
use super::{Informational, Told};
use decamp_core::ids::InstanceId;

/// From EC2's warning to the end of a spot instance.
const WARNING: Duration = Duration::from_mins(2);

/// The most resources that an envelope names.
const MOST_RESOURCES: usize = 100;

/// The most entities that a health event names.
const MOST_ENTITIES: usize = 1_000;

/// Reads an envelope. Only AWS can send as `aws.…`: the source is the proof that nobody made the event up.
pub(super) fn read(envelope: &Object<'_>, ours: Ours<'_>) -> Result<Told, Rejection> {
    let account = envelope.required("account")?;
    let region = envelope.required("region")?;
    ours.account(&account)?;
    ours.region(&region)?;
    let source = envelope.required("source")?;
    let kind = envelope.required("detail-type")?;
    match (source.as_ref(), kind.as_ref()) {
        ("aws.autoscaling", "EC2 Instance-terminate Lifecycle Action") => action(envelope, Transition::Terminating, ours),
        ("aws.autoscaling", "EC2 Instance-launch Lifecycle Action") => action(envelope, Transition::Launching, ours),
        ("aws.autoscaling", kind) if kind.starts_with("EC2 Auto Scaling Instance Refresh") => {
            Ok(Told::Informational(Informational::InstanceRefresh))
        }
        ("aws.autoscaling", _) => Ok(Told::Informational(Informational::GroupActivity)),
        ("aws.ec2", "EC2 Spot Instance Interruption Warning") => {
            let instance = instance_of(envelope)?;
            let warned = lifecycle::time(envelope, "time")?.ok_or(Rejection::Missing { field: "time" })?;
            Ok(Told::Interruption { instance, at: warned + WARNING })
        }
        ("aws.ec2", "EC2 Instance Rebalance Recommendation") => Ok(Told::Rebalance { instance: instance_of(envelope)? }),
        ("aws.ec2", "EC2 Instance State-change Notification") => Ok(Told::Informational(Informational::StateChange)),
        ("aws.health", "AWS Health Event") => health(envelope, &account),
        ("aws.events" | "aws.scheduler", "Scheduled Event") => Ok(Told::Sweep),
        ("aws.ec2" | "aws.health" | "aws.events" | "aws.scheduler", _) => Ok(Told::Informational(Informational::Other)),
        (_, kind) if kind.contains("Lifecycle Action") => {
            Err(Rejection::Contradiction("a lifecycle action that Auto Scaling did not send"))
        }
        _ => Err(Rejection::Unknown { shape: "an EventBridge event of another service".to_owned() }),
    }
}

fn detail<'a>(envelope: &Object<'a>) -> Result<Object<'a>, Rejection> {
    envelope.object("detail")?.ok_or(Rejection::Missing { field: "detail" })
}

/// A lifecycle action: the envelope and its detail must say the same.
fn action(envelope: &Object<'_>, transition: Transition, ours: Ours<'_>) -> Result<Told, Rejection> {
    let detail = detail(envelope)?;
    let said = Transition::read(&detail)?;
    if said.is_some_and(|said| said != transition) {
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

/// A health event, if it is a change to come for instances of this account.
fn health(envelope: &Object<'_>, account: &str) -> Result<Told, Rejection> {
    let detail = detail(envelope)?;
    let is = |field, value| Ok::<_, Rejection>(detail.text(field)?.is_some_and(|text| text == value));
    if detail.text("affectedAccount")?.is_some_and(|affected| affected != account) {
        return Err(Rejection::Foreign(Foreign::Account));
    }
    if !is("service", "EC2")? || !is("eventTypeCategory", "scheduledChange")? || is("statusCode", "closed")? {
        return Ok(Told::Informational(Informational::Health));
    }
    let field = "affectedEntities";
    let entities = detail.array(field, MOST_ENTITIES)?.ok_or(Rejection::Missing { field })?;
    let mut instances = Vec::new();
    for entity in entities {
        let value = Object::read(entity).map_err(|_| Rejection::WrongType { field, expected: "an array of objects" })?;
        // Other things than instances have scheduled changes too.
        let id = value.required("entityValue")?.parse();
        instances.extend(id.ok().filter(|id| !instances.contains(id)));
    }
    if instances.is_empty() { Ok(Told::Informational(Informational::Health)) } else { Ok(Told::ScheduledChange { instances }) }
}
