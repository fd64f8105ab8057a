//! An early warning about an instance: by policy Auto Scaling is asked to replace it, and its hook departs it (ADR 0014).

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::decide::{Cause, Departure, Group, Lifecycle, LifecycleAction, Observation, Part, Refusal, Snapshot, Unseen};
use crate::ids::InstanceId;
use crate::time::Time;
use crate::world::World;

/// When AWS changes what an instance runs on, as far as its notice says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// From then on.
    pub begins: Option<Time>,
    /// Until then.
    pub ends: Option<Time>,
}

/// When something is to be done about a change to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// At once.
    Now,
    /// Not before this time.
    Later(Time),
    /// Not any more: the change is over, and the instance is still there.
    Over,
}

impl Window {
    /// When an instance that the change affects is to be replaced: `ahead` of its beginning. At once, if that is not known.
    #[must_use]
    pub fn due(self, ahead: Duration, now: Time) -> Due {
        let Some(begins) = self.begins else { return Due::Now };
        // A retirement may end when it begins: it is over when the instance is gone.
        if self.ends.is_some_and(|ends| begins < ends && ends <= now) {
            return Due::Over;
        }
        let due = begins - ahead;
        if due <= now { Due::Now } else { Due::Later(due) }
    }
}

/// The longest that a message is hidden for at a time; SQS hides none for longer than 12 h.
pub const LONGEST_HIDDEN: Duration = Duration::from_hours(11);
/// A message that a queue soon loses by its age is acted on before.
const BEFORE_IT_IS_LOST: Duration = Duration::from_hours(12);
/// A message that was received so often no longer counts towards the age of a queue's oldest message, of which an alarm tells.
const NOT_COUNTED: u32 = 3;

/// How long a message about something that is due at `due` stays hidden now; `None`: its time has come. `sent` is when the queue took
/// the message in, `keeps` how long it keeps one, `soon` the shortest pause between two looks at it.
#[must_use]
pub fn hidden_for(due: Time, sent: Option<Time>, keeps: Duration, receives: u32, soon: Duration, now: Time) -> Option<Duration> {
    let lost = sent.map_or(Time::NEVER, |sent| sent + keeps.saturating_sub(BEFORE_IT_IS_LOST));
    let left = due.min(lost).since(now);
    if left.is_zero() {
        return None;
    }
    Some(if receives < NOT_COUNTED { soon.min(left) } else { LONGEST_HIDDEN.min(left) })
}

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
    for observation in world.look(&departure, &Snapshot::begin(instance, world.now()), &parts).await {
        match observation {
            Observation::Lifecycle(shown) => lifecycle = shown,
            Observation::Group(shown) => group = shown,
            Observation::TargetGroup(..)
            | Observation::Scan(_)
            | Observation::Nomad(_)
            | Observation::NomadSight(_)
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
