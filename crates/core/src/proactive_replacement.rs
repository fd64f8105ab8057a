//! An early warning about an instance. If the settings say so, decamp asks Auto Scaling to replace the instance, and the hook starts its
//! departure (ADR 0014).

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::decide::{Cause, Departure, Group, Lifecycle, LifecycleAction, Observation, Part, Refusal, Snapshot, Unseen};
use crate::ids::InstanceId;
use crate::time::Time;
use crate::world::World;

/// The time window in which AWS changes an instance's hardware, as far as its notice says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// The beginning.
    pub begins: Option<Time>,
    /// The end.
    pub ends: Option<Time>,
}

/// When to act on an announced change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// At once.
    Now,
    /// Not before this time.
    Later(Time),
    /// Never: the change is over, and the instance is still there.
    Over,
}

impl Window {
    /// When to replace an instance that the change affects: `ahead` of its beginning, or at once if the beginning is unknown.
    #[must_use]
    pub fn due(self, ahead: Duration, now: Time) -> Due {
        let Some(begins) = self.begins else { return Due::Now };
        // A retirement may have the same beginning and end. It is over when the instance is gone.
        if self.ends.is_some_and(|ends| begins < ends && ends <= now) {
            return Due::Over;
        }
        let due = begins - ahead;
        if due <= now { Due::Now } else { Due::Later(due) }
    }
}

/// The longest time for which a message is hidden at once. SQS allows 12 h.
pub const LONGEST_HIDDEN: Duration = Duration::from_hours(11);
/// The time before a queue deletes a message by its age, in which decamp acts on the message.
const BEFORE_IT_IS_LOST: Duration = Duration::from_hours(12);
/// A message with this many receives no longer counts towards the age of the oldest message, for which there is an alarm.
const NOT_COUNTED: u32 = 3;

/// How long to hide a message about an action that is due at `due`. `None`: it is due now. `sent` is when the queue received the message,
/// `keeps` is its retention, and `soon` is the shortest pause between two receives.
#[must_use]
pub fn hidden_for(due: Time, sent: Option<Time>, keeps: Duration, receives: u32, soon: Duration, now: Time) -> Option<Duration> {
    let lost = sent.map_or(Time::NEVER, |sent| sent + keeps.saturating_sub(BEFORE_IT_IS_LOST));
    let left = due.min(lost).since(now);
    if left.is_zero() {
        return None;
    }
    Some(if receives < NOT_COUNTED { soon.min(left) } else { LONGEST_HIDDEN.min(left) })
}

/// The calls that a replacement needs, besides those of a departure.
#[expect(async_fn_in_trait, reason = "as for World")]
pub trait Replaces: World {
    /// The group of an instance. `None` if the instance is in no group.
    async fn group_of(&self, instance: InstanceId) -> Result<Option<Arc<str>>, Unseen>;

    /// Asks Auto Scaling to replace an instance, through its hook.
    async fn ask_to_replace(&self, instance: InstanceId) -> Result<(), Refusal>;
}

/// The result of a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Auto Scaling replaces the instance, and its hook starts the departure.
    Replaced,
    /// There is nothing to replace: the instance is not ours, not in service or held, or this process only observes.
    LeftAlone,
    /// Auto Scaling refuses to replace it, and will refuse again.
    Refused,
    /// Auto Scaling cannot be read or did not answer. Try again.
    Again,
}

/// Asks Auto Scaling to replace an instance of ours, if a live look shows that it is in service. Auto Scaling launches and terminates by
/// the group's settings, and the hook holds the instance that it terminates.
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
        info!(
            instance.id = %instance, asg.name = &*asg, action = "replace",
            "this process only observes, so it does not ask Auto Scaling to replace the instance"
        );
        return Asked::LeftAlone;
    }
    match world.ask_to_replace(instance).await {
        Ok(()) => {
            info!(
                instance.id = %instance, asg.name = &*asg, action = "replace",
                "Auto Scaling accepted the replacement; the hook starts the departure"
            );
            Asked::Replaced
        }
        Err(refused @ (Refusal::Denied(_) | Refusal::Rejected(_) | Refusal::Missing | Refusal::NoActiveAction)) => {
            error!(
                instance.id = %instance, asg.name = &*asg, action = "replace", why = %refused,
                "Auto Scaling refused to replace it: {refused}"
            );
            Asked::Refused
        }
        Err(refused @ (Refusal::Throttled | Refusal::Away(_))) => {
            warn!(instance.id = %instance, asg.name = &*asg, action = "replace", why = %refused, "Auto Scaling did not answer: {refused}");
            Asked::Again
        }
    }
}

/// The instance's lifecycle state, and its group's settings.
async fn look<W: World>(world: &W, instance: InstanceId, asg: &Arc<str>) -> Result<(Lifecycle, Group), Unseen> {
    let departure = Departure { instance, asg: Arc::clone(asg), cause: Cause::Lifecycle(LifecycleAction::default()) };
    let parts = [Part::Lifecycle, Part::Group { with_activity: false }];
    let unanswered = || Unseen::Away("a look was not answered".into());
    let (mut lifecycle, mut group) = (Err(unanswered()), Err(unanswered()));
    for observation in world.look(&departure, &Snapshot::begin(instance, world.now()), &parts).await {
        match observation {
            Observation::Lifecycle(shown) => lifecycle = shown,
            Observation::Group(shown) => group = shown,
            Observation::TargetGroup(..)
            | Observation::Scan(_)
            | Observation::Nomad(_)
            | Observation::NomadToken(_)
            | Observation::Consul(_)
            | Observation::NomadServices(_)
            | Observation::Addresses(_) => {}
        }
    }
    Ok((lifecycle?, group?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn a_change_is_acted_on_when_its_time_comes_near() {
        let (now, at) = (Time(1_000_000_000_000), Time(1_000_000_000_000) + 14 * DAY);
        let window = |begins, ends| Window { begins, ends };
        assert_eq!(window(Some(at), None).due(DAY, now), Due::Later(at - DAY));
        assert_eq!(window(Some(at), None).due(DAY, at - DAY), Due::Now);
        assert_eq!(window(Some(at), Some(at)).due(DAY, at + DAY), Due::Now, "it may be retired at any moment");
        assert_eq!(window(Some(at), Some(at + DAY)).due(DAY, at + DAY), Due::Over);
        assert_eq!(window(None, None).due(DAY, now), Due::Now);
        assert_eq!(window(None, Some(at)).due(DAY, now), Due::Now);
    }

    #[test]
    fn a_message_is_hidden_until_its_time_and_never_lost_by_its_age() {
        let (sent, soon) = (Time(1_000_000_000_000), Duration::from_secs(5));
        let of = |due, receives, now| hidden_for(due, Some(sent), 4 * DAY, receives, soon, now);
        assert_eq!(of(sent + 14 * DAY, 1, sent), Some(soon), "it must be received thrice, or an alarm counts its age");
        assert_eq!(of(sent + 14 * DAY, 3, sent), Some(LONGEST_HIDDEN));
        assert_eq!(of(sent + 2 * DAY, 9, sent + DAY + 20 * Duration::from_hours(1)), Some(Duration::from_hours(4)));
        assert_eq!(of(sent + 2 * DAY, 9, sent + 2 * DAY), None);
        assert_eq!(of(sent + 14 * DAY, 9, sent + 4 * DAY - Duration::from_hours(12)), None, "it would be lost with the message");
        assert_eq!(hidden_for(sent + DAY, None, DAY, 3, soon, sent), Some(LONGEST_HIDDEN));
    }
}
