//! Reads a lifecycle action: the same fields in EventBridge's `detail` and in Auto Scaling's own notifications.

use std::sync::Arc;

use super::json::Fields;
use super::rejection::{Ours, Rejection};
use super::{EventContent, Informational};
use decamp_core::decide::{Cause, Departure, LifecycleAction};
use decamp_core::ids::InstanceId;
use decamp_core::time::Time;

/// The direction of a lifecycle transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transition {
    Terminating,
    Launching,
    /// A transition that this version does not know.
    Other,
}

impl Transition {
    /// Reads `LifecycleTransition`, if it is there.
    pub(super) fn read(fields: &impl Fields) -> Result<Option<Self>, Rejection> {
        Ok(fields.text("LifecycleTransition")?.map(|text| match text.as_ref() {
            "autoscaling:EC2_INSTANCE_TERMINATING" => Self::Terminating,
            "autoscaling:EC2_INSTANCE_LAUNCHING" => Self::Launching,
            _ => Self::Other,
        }))
    }
}

/// Reads the action in `fields`. Token, hook and time may be missing. The action is then found by its instance.
pub(super) fn read(
    fields: &impl Fields,
    transition: Transition,
    began: Option<Time>,
    ours: Ours<'_>,
) -> Result<EventContent, Rejection> {
    if transition == Transition::Other {
        return Ok(EventContent::Informational(Informational::OtherTransition));
    }
    let asg = group_name(fields)?;
    ours.group(&asg)?;
    let hook = hook_name(fields)?;
    let instance = instance_id(fields, "EC2InstanceId")?;
    let token = fields.text("LifecycleActionToken")?.map(|token| token.parse()).transpose();
    let token = token.map_err(Rejection::bad("LifecycleActionToken"))?;
    let destination = fields.text("Destination")?;
    if transition == Transition::Launching {
        // A launch ends in the warm pool or in the group.
        let away = destination.is_some_and(|place| place == "EC2");
        return if away {
            Err(Rejection::Contradiction("a launch that ends in EC2"))
        } else {
            Ok(EventContent::Arrival { instance, asg })
        };
    }
    // An instance whose root volume is replaced goes from the group to the group.
    let comes_back = fields.text("Action")?.is_some_and(|action| action == "ReplaceRootVolume")
        || fields.text("Origin")?.is_some_and(|origin| origin == "AutoScalingGroup");
    if destination.as_deref() == Some("AutoScalingGroup") && !comes_back {
        return Err(Rejection::Contradiction("a termination that ends in the group"));
    }
    if let Some(hook) = &hook {
        ours.hook(hook)?;
    }
    let to_warm_pool = destination.as_deref() == Some("WarmPool");
    let action = LifecycleAction { hook, token, began, to_warm_pool };
    Ok(EventContent::Departure(Departure { instance, asg, cause: Cause::Lifecycle(action) }))
}

/// An instance's id, in a grammar that is safe in URLs and filters.
pub(super) fn instance_id(fields: &impl Fields, field: &'static str) -> Result<InstanceId, Rejection> {
    fields.required(field)?.parse().map_err(Rejection::bad(field))
}

/// A time, which must be valid if it is there.
pub(super) fn time(fields: &impl Fields, field: &'static str) -> Result<Option<Time>, Rejection> {
    let Some(text) = fields.text(field)? else { return Ok(None) };
    Time::read(&text).map(Some).ok_or(Rejection::Bad { field, expected: "a time such as 2026-01-31T12:00:00Z" })
}

/// A group's name. Auto Scaling allows nearly any characters, up to 255. Control characters, which would break a log line or an
/// ARN, are rejected.
fn group_name(fields: &impl Fields) -> Result<Arc<str>, Rejection> {
    let field = "AutoScalingGroupName";
    let name = fields.required(field)?;
    if 255 < name.chars().count() || name.chars().any(char::is_control) {
        return Err(Rejection::Bad { field, expected: "the name of an Auto Scaling group" });
    }
    Ok(name.as_ref().into())
}

/// A hook's name: `[A-Za-z0-9\-_\/]+`, at most 255 characters, as its API says.
fn hook_name(fields: &impl Fields) -> Result<Option<Arc<str>>, Rejection> {
    let field = "LifecycleHookName";
    let Some(name) = fields.text(field)? else { return Ok(None) };
    let fits = name.len() <= 255 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/".contains(&b));
    if fits { Ok(Some(name.as_ref().into())) } else { Err(Rejection::Bad { field, expected: "the name of a lifecycle hook" }) }
}
