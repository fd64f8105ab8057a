//! Decisions: look, write, wait or end, and why.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use strum::IntoStaticStr;

use super::observed::System;
use super::outcome::Outcome;
use super::reason::Reason;
use super::snapshot::{DrainMeta, Noted, Target};
use crate::ids::{ActionToken, NodeId, TargetGroupArn};
use crate::time::Time;

/// The next action, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: Reason,
}

/// One action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Look at these parts, at the same time.
    Look(Vec<Part>),
    /// Make these writes, at the same time. They do not depend on one another.
    Do(Vec<Effect>),
    /// Do nothing until then, or until one of the watched parts shows something new.
    Wait {
        /// When to decide again at the latest.
        until: Time,
        /// What to watch until then, by blocking queries.
        watch: Vec<Part>,
    },
    /// The departure has ended.
    End(Outcome),
}

/// A part of the world that can be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The instance's lifecycle state. One call of Auto Scaling.
    Lifecycle,
    /// The group's hooks, attached target groups and tags. Cached by warm workers.
    Group {
        /// Whether the time when the instance entered its hook is wanted as well. It costs a call.
        with_activity: bool,
    },
    /// These target groups: attributes (cached by warm workers) and the health of all their targets.
    TargetGroups {
        /// Which.
        groups: Vec<GroupToRead>,
        /// Whether to read their attributes again even if they are cached.
        attributes_again: bool,
    },
    /// Every target group of the account that lists the instance, or a known address of its node. Opt-in, because it costs a call for each
    /// group of the account.
    Scan,
    /// The instance's nodes and their allocations.
    Nomad,
    /// What our Nomad token may read and write. The JSON of `decamp plan` keeps its first name.
    #[serde(rename = "nomad-sight")]
    NomadToken,
    /// This instance's registrations in Consul.
    Consul,
    /// This instance's registrations in Nomad's own discovery.
    NomadServices,
    /// Who else has these addresses, which target groups list: another ready node, or an allocation on it.
    Addresses(Vec<std::net::IpAddr>),
}

/// A target group to look at. It serialises as a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupToRead {
    /// Its ARN.
    pub arn: TargetGroupArn,
    /// Whether it is attached to the Auto Scaling group.
    pub attached: bool,
}

impl Serialize for GroupToRead {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (&self.arn, self.attached).serialize(to)
    }
}

impl Part {
    /// The system that this part belongs to.
    #[must_use]
    pub fn system(&self) -> System {
        match self {
            Self::Lifecycle | Self::Group { .. } => System::AutoScaling,
            Self::TargetGroups { .. } | Self::Scan => System::LoadBalancers,
            Self::Nomad | Self::NomadToken | Self::NomadServices | Self::Addresses(_) => System::Nomad,
            Self::Consul => System::Consul,
        }
    }
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Restart the action's heartbeat time-out.
    Heartbeat(ActionRef),
    /// Keep new work off the node.
    MakeIneligible(NodeId),
    /// Deregister exactly these targets of one group.
    Deregister {
        /// The group.
        group: TargetGroupArn,
        /// Our targets in it, as they were listed.
        targets: Vec<Target>,
    },
    /// Start or resend a drain.
    Drain {
        /// The node.
        node: NodeId,
        /// Whole seconds until the remaining allocations have to stop. At least 1: 0 means never, and negative values are unreliable.
        deadline: WholeSeconds,
        /// Leave system jobs where they are.
        ignore_system_jobs: bool,
        /// The drain's `Meta`.
        meta: DrainMeta,
    },
    /// Write in a node's metadata when a wait began, for the next worker (ADR 0002).
    Note {
        /// The node.
        node: NodeId,
        /// What began, and when.
        notes: Vec<Noted>,
    },
    /// Complete the lifecycle action.
    Complete {
        /// Which one.
        of: ActionRef,
        /// CONTINUE or ABANDON.
        result: LifecycleResult,
        /// How the departure has ended if this succeeds.
        verdict: Outcome,
    },
}

impl Effect {
    /// Whether it changes what a look at this part shows.
    #[must_use]
    pub fn changes(&self, part: &Part) -> bool {
        match self {
            // A note shows after some seconds, and neither changes anything else.
            Self::Heartbeat(_) | Self::Note { .. } => false,
            Self::MakeIneligible(_) | Self::Drain { .. } => *part == Part::Nomad,
            Self::Deregister { group, .. } => {
                matches!(part, Part::TargetGroups { groups, .. } if groups.iter().any(|one| one.arn == *group))
            }
            Self::Complete { .. } => *part == Part::Lifecycle,
        }
    }
}

/// Names one lifecycle action to Auto Scaling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActionRef {
    /// The hook's name.
    pub hook: Arc<str>,
    /// The token, if it is known and was not refused. Otherwise the instance id names the action.
    pub token: Option<ActionToken>,
}

/// How a lifecycle action is completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LifecycleResult {
    /// Continue: other hooks run, then the instance is terminated.
    Continue,
    /// Skip other hooks. With a retention policy the instance is kept, otherwise it is terminated as well.
    Abandon,
}

/// A positive number of whole seconds: the only deadline that Nomad's drain takes reliably (ADR 0003).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct WholeSeconds(u64);

impl WholeSeconds {
    /// The shortest deadline, which forces a drain.
    pub const ONE: Self = Self(1);

    /// Rounded down, at least 1 s.
    #[must_use]
    pub fn at_most(span: Duration) -> Self {
        Self(span.as_secs().max(1))
    }

    /// As a duration.
    #[must_use]
    pub fn span(self) -> Duration {
        Duration::from_secs(self.0)
    }

    /// As Nomad wants it: an integer of nanoseconds.
    #[must_use]
    pub fn nanoseconds(self) -> u64 {
        self.0.saturating_mul(1_000_000_000)
    }
}

/// Why a write did not succeed. It may have worked all the same, except with `NoActiveAction`, `Missing`, `Denied` and `Rejected`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, IntoStaticStr, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "detail")]
#[strum(serialize_all = "kebab-case")]
pub enum Refusal {
    /// `ValidationError: No active Lifecycle Action found …`.
    #[error("no active lifecycle action")]
    NoActiveAction,
    /// The node or target group no longer exists.
    #[error("it is not there any more")]
    Missing,
    /// Access denied.
    #[error("denied: {0}")]
    Denied(Arc<str>),
    /// Too many requests.
    #[error("throttled")]
    Throttled,
    /// No answer, a 5xx or an answer that cannot be read. It may have worked.
    #[error("{0}")]
    Away(Arc<str>),
    /// Refused for another reason, as the system words it.
    #[error("refused: {0}")]
    Rejected(Arc<str>),
}

impl Refusal {
    /// Whether the write may have worked all the same.
    #[must_use]
    pub fn may_have_worked(&self) -> bool {
        match self {
            Self::NoActiveAction | Self::Missing | Self::Denied(_) | Self::Rejected(_) => false,
            Self::Throttled | Self::Away(_) => true,
        }
    }

    /// The name, to search by.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.into()
    }
}
