//! An early warning about an instance: by policy Auto Scaling is asked to replace it, and its hook departs it (D12).

use std::sync::Arc;

use decamp::decide::{Cause, Departure, Group, Lifecycle, LifecycleAction, Part, Refusal, Showing, Snapshot};
use decamp::ids::InstanceId;
use decamp::metrics;
use tracing::{error, info, warn};

use crate::departing::{BETWEEN_PASSES, Became};
use crate::fleet::Fleet;
use crate::pass::Invocation;

/// Asks Auto Scaling to replace an instance of ours that is in service. A live look says whether it is; none of its own rules is
/// anticipated: it launches and terminates as the group is set, and the hook holds what it terminates.
pub(crate) async fn replace<F: Fleet>(at: &Invocation<'_, F>, instance: InstanceId) -> Became {
    let again = Became::HandedBack(BETWEEN_PASSES);
    let asg = match at.in_time(at.fleet.group_of(instance)).await {
        Some(Ok(Some(asg))) if at.settings.allowed.group(&asg) => asg,
        Some(Ok(_)) => {
            info!(instance.id = %instance, action = "leave alone", "the instance is in no group of ours");
            return Became::Over;
        }
        Some(Err(unseen)) => {
            warn!(instance.id = %instance, why = %unseen, "Auto Scaling cannot be seen: {unseen}");
            return again;
        }
        None => return again,
    };
    let Some((lifecycle, group)) = at.in_time(look(at.fleet, instance, &asg)).await.flatten() else {
        warn!(instance.id = %instance, asg.name = &*asg, "Auto Scaling cannot be seen, or the time was up");
        return again;
    };
    if lifecycle != Lifecycle::Staying("InService".into()) || group.held {
        let why = if group.held { "its group is held" } else { "it is not in service" };
        info!(instance.id = %instance, asg.name = &*asg, action = "leave alone", "{why}");
        return Became::Over;
    }
    if at.observes() {
        info!(instance.id = %instance, asg.name = &*asg, action = "replace", "would ask Auto Scaling to replace it; only observing");
        return Became::Over;
    }
    match at.in_time(at.fleet.ask_to_replace(instance)).await {
        Some(Ok(())) => {
            at.count(metrics::WARNINGS, "replaced");
            info!(instance.id = %instance, asg.name = &*asg, action = "replace", "Auto Scaling is to replace it; its hook takes it out");
            Became::Over
        }
        Some(Err(refused @ (Refusal::Denied(_) | Refusal::Rejected(_) | Refusal::Missing | Refusal::NoActiveAction))) => {
            at.count(metrics::EVENTS_REJECTED, "replacement");
            error!(instance.id = %instance, asg.name = &*asg, action = "replace", why = %refused, "Auto Scaling does not replace it: {refused}");
            Became::Over
        }
        Some(Err(Refusal::Throttled | Refusal::Away(_))) | None => again,
    }
}

async fn look<F: Fleet>(fleet: &F, instance: InstanceId, asg: &Arc<str>) -> Option<(Lifecycle, Group)> {
    let departure = Departure { instance, asg: Arc::clone(asg), cause: Cause::Lifecycle(LifecycleAction::default()) };
    let parts = [Part::Lifecycle, Part::Group { with_activity: false }];
    let (mut lifecycle, mut group) = (None, None);
    for showing in fleet.look(&departure, &Snapshot::begin(fleet.now()), &parts).await {
        match showing {
            Showing::Lifecycle(Ok(shown)) => lifecycle = Some(shown),
            Showing::Group(Ok(shown)) => group = Some(shown),
            Showing::Lifecycle(Err(_)) | Showing::Group(Err(_)) => {}
            Showing::TargetGroup(..)
            | Showing::Scan(_)
            | Showing::Nomad(_)
            | Showing::NomadSight(_)
            | Showing::Consul(_)
            | Showing::NomadServices(_) => {}
        }
    }
    lifecycle.zip(group)
}
