//! A departure, as an event, a sweep or a person reports it. It is only a hint: a live look decides what happens.

use std::sync::Arc;

use serde::Serialize;

use crate::ids::{ActionToken, InstanceId, short_hash};
use crate::time::Time;

/// One instance that is reported to be leaving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Departure {
    /// The instance.
    pub instance: InstanceId,
    /// Its Auto Scaling group.
    pub asg: Arc<str>,
    /// Why it leaves.
    pub cause: Cause,
}

/// Why an instance leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It waits in a terminating lifecycle hook.
    Lifecycle(LifecycleAction),
    /// EC2 takes it back (spot interruption) at this time in any case (ADR 0014).
    Interruption {
        /// When the instance is gone: two minutes after the notice.
        at: Time,
    },
}

/// One lifecycle action, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LifecycleAction {
    /// The hook's name. `None`: the group's terminating hook that is ours.
    pub hook: Option<Arc<str>>,
    /// The action's token. Without it the action is completed by instance id.
    pub token: Option<ActionToken>,
    /// When the instance entered the hook: the event's `time`.
    pub began: Option<Time>,
    /// Whether the event said that the instance goes to a warm pool.
    pub to_warm_pool: bool,
}

impl Departure {
    /// The lifecycle action, if there is one.
    #[must_use]
    pub fn action(&self) -> Option<&LifecycleAction> {
        match &self.cause {
            Cause::Lifecycle(action) => Some(action),
            Cause::Interruption { .. } => None,
        }
    }

    /// The marker on this departure's drains. It is a hash of the group, the instance and the kind of departure, so every worker computes
    /// the same, with or without the token. A later action of the same instance (back from a warm pool) has the same marker, so a reader
    /// also compares the drain's `until`.
    #[must_use]
    pub fn mark(&self) -> Arc<str> {
        let kind = match &self.cause {
            Cause::Lifecycle(_) => "action",
            Cause::Interruption { .. } => "interruption",
        };
        short_hash(&[&self.asg, &self.instance.to_string(), kind]).into()
    }
}
