//! An early warning about an instance: by policy Auto Scaling is asked to replace it, and its hook departs it (D12).

use std::sync::Arc;

use tracing::{error, info, warn};

use crate::decide::{Cause, Departure, Group, Lifecycle, LifecycleAction, Part, Refusal, Showing, Snapshot, Unseen};
use crate::ids::InstanceId;
use crate::world::World;

/// What replacing needs of a world besides what a departure needs.
#[expect(async_fn_in_trait, reason = "as for World")]
pub trait Replaces: World {
    /// The group of an instance; `None` if Auto Scaling lists it in none.
    async fn group_of(&self, instance: InstanceId) -> Result<Option<Arc<str>>, Unseen>;

    /// Asks Auto Scaling to replace an instance, through its hook.
    async fn ask_to_replace(&self, instance: InstanceId) -> Result<(), Refusal>;
}

/// What became of a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Auto Scaling replaces the instance; its hook takes it out.
    Replaced,
    /// There is nothing to replace: it is not ours, not in service, held, or this process only observes.
    LeftAlone,
    /// Auto Scaling does not replace it, however often it is asked.
    Refused,
    /// Auto Scaling could not be seen or did not answer: ask again.
    Again,
}

/// Asks Auto Scaling to replace an instance of ours that is in service. A live look says whether it is; none of its own rules is
/// anticipated: it launches and terminates as the group is set, and the hook holds what it terminates.
pub async fn replace<W: Replaces>(
    world: &W,
    may_touch: impl Fn(&str) -> bool,
    only_observes: bool,
    instance: InstanceId,
) -> Asked {
    let asg = match world.group_of(instance).await {
        Ok(Some(asg)) if may_touch(&asg) => asg,
        Ok(_) => {
            info!(instance.id = %instance, action = "leave alone", "the instance is in no group of ours");
            return Asked::LeftAlone;
        }
        Err(unseen) => {
            warn!(instance.id = %instance, why = %unseen, "Auto Scaling cannot be seen: {unseen}");
            return Asked::Again;
        }
    };
    let (lifecycle, group) = match look(world, instance, &asg).await {
        Ok(seen) => seen,
        Err(unseen) => {
            warn!(instance.id = %instance, asg.name = &*asg, why = %unseen, "Auto Scaling cannot be seen: {unseen}");
            return Asked::Again;
        }
    };
    if lifecycle != Lifecycle::Staying("InService".into()) || group.held {
        let why = if group.held { "its group is held" } else { "it is not in service" };
        info!(instance.id = %instance, asg.name = &*asg, action = "leave alone", "{why}");
        return Asked::LeftAlone;
    }
    if only_observes {
        info!(instance.id = %instance, asg.name = &*asg, action = "replace", "would ask Auto Scaling to replace it; only observing");
        return Asked::LeftAlone;
    }
    match world.ask_to_replace(instance).await {
        Ok(()) => {
            info!(instance.id = %instance, asg.name = &*asg, action = "replace", "Auto Scaling is to replace it; its hook takes it out");
            Asked::Replaced
        }
        Err(refused @ (Refusal::Denied(_) | Refusal::Rejected(_) | Refusal::Missing | Refusal::NoActiveAction)) => {
            error!(instance.id = %instance, asg.name = &*asg, action = "replace", why = %refused, "Auto Scaling does not replace it: {refused}");
            Asked::Refused
        }
        Err(refused @ (Refusal::Throttled | Refusal::Away(_))) => {
            warn!(instance.id = %instance, asg.name = &*asg, action = "replace", why = %refused, "Auto Scaling did not answer: {refused}");
            Asked::Again
        }
    }
}

/// Where the instance stands, and what its group is set to.
async fn look<W: World>(world: &W, instance: InstanceId, asg: &Arc<str>) -> Result<(Lifecycle, Group), Unseen> {
    let departure = Departure { instance, asg: Arc::clone(asg), cause: Cause::Lifecycle(LifecycleAction::default()) };
    let parts = [Part::Lifecycle, Part::Group { with_activity: false }];
    let unanswered = || Unseen::Away("a look was not answered".into());
    let (mut lifecycle, mut group) = (Err(unanswered()), Err(unanswered()));
    for showing in world.look(&departure, &Snapshot::begin(instance, world.now()), &parts).await {
        match showing {
            Showing::Lifecycle(shown) => lifecycle = shown,
            Showing::Group(shown) => group = shown,
            Showing::TargetGroup(..)
            | Showing::Scan(_)
            | Showing::Nomad(_)
            | Showing::NomadSight(_)
            | Showing::Consul(_)
            | Showing::NomadServices(_) => {}
        }
    }
    Ok((lifecycle?, group?))
}
