//! What actions, writes and looks are called, in logs and searches and for people. They are named nowhere else.

use std::fmt::Display;

use serde::{Serialize, Serializer};
use strum::{EnumIter, IntoStaticStr};

use super::{Action, Effect, Part};
use crate::time::{Time, plain};

/// The kind of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionKind {
    /// A look.
    Look,
    /// Writes, with the kind of the first.
    Write(EffectKind),
    /// A wait.
    Wait,
    /// The end.
    End,
}

impl ActionKind {
    /// The name for logs, metrics and searches.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Write(kind) => kind.word(),
            Self::Wait => "wait",
            Self::End => "end",
        }
    }
}

impl Serialize for ActionKind {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.word())
    }
}

/// The kinds of writes, for counting failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, IntoStaticStr, EnumIter)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum EffectKind {
    /// Heartbeat.
    Heartbeat,
    /// Ineligibility.
    MakeIneligible,
    /// Deregistration, of any group.
    Deregister,
    /// Drain.
    Drain,
    /// Completion.
    Complete,
    /// Notes for the next worker.
    Note,
}

impl EffectKind {
    /// The name for logs, metrics and searches.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }
}

impl Action {
    /// The kind of this action.
    #[must_use]
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Look(_) => ActionKind::Look,
            // A decision to write has at least one write.
            Self::Do(effects) => effects.first().map_or(ActionKind::Wait, |effect| ActionKind::Write(effect.kind())),
            Self::Wait { .. } => ActionKind::Wait,
            Self::End(_) => ActionKind::End,
        }
    }

    /// A description with the ids of the objects and the length of a wait.
    #[must_use]
    pub fn title(&self, now: Time) -> String {
        match self {
            Self::Wait { until, .. } if *until != Time::NEVER => format!("wait {} at most", plain(until.since(now))),
            Self::Do(effects) => joined("; ", effects.iter().map(Effect::title)),
            Self::Look(_) | Self::Wait { .. } | Self::End(_) => self.brief(),
        }
    }

    /// A short description for the story of one departure. The node needs no name, and a wait reads the same each time.
    #[must_use]
    pub fn brief(&self) -> String {
        match self {
            Self::Look(parts) => format!("look at {}", joined(", ", parts.iter().map(Part::title))),
            Self::Do(effects) => joined("; ", effects.iter().map(Effect::brief)),
            Self::Wait { .. } => "wait".to_owned(),
            Self::End(outcome) => format!("end: {outcome}"),
        }
    }
}

impl Effect {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> EffectKind {
        match self {
            Self::Heartbeat(_) => EffectKind::Heartbeat,
            Self::MakeIneligible(_) => EffectKind::MakeIneligible,
            Self::Deregister { .. } => EffectKind::Deregister,
            Self::Drain { .. } => EffectKind::Drain,
            Self::Complete { .. } => EffectKind::Complete,
            Self::Note { .. } => EffectKind::Note,
        }
    }

    /// A description with the id of the node.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::MakeIneligible(node) => format!("make node {node} ineligible"),
            Self::Drain { node, deadline, meta, .. } => {
                format!("drain node {node} ({}, {})", meta.phase.word(), plain(deadline.span()))
            }
            Self::Note { node, .. } => format!("{} on node {node}", self.brief()),
            Self::Heartbeat(_) | Self::Deregister { .. } | Self::Complete { .. } => self.brief(),
        }
    }

    /// A short description for the story of one departure.
    #[must_use]
    pub fn brief(&self) -> String {
        match self {
            Self::Heartbeat(_) => "heartbeat".to_owned(),
            Self::MakeIneligible(_) => "make the node ineligible".to_owned(),
            Self::Deregister { group, targets } => format!("deregister {} of {}", targets.len(), group.name()),
            Self::Drain { deadline, meta, .. } => format!("drain {} ({})", meta.phase.word(), plain(deadline.span())),
            Self::Complete { result, .. } => format!("complete: {result:?}"),
            Self::Note { notes, .. } => format!("note {}", joined(", ", notes.iter().map(|note| note.what.key()))),
        }
    }
}

impl Part {
    /// A description.
    #[must_use]
    pub fn title(&self) -> &'static str {
        match self {
            Self::Lifecycle => "the instance",
            Self::Group { .. } => "its group",
            Self::TargetGroups { .. } => "its target groups",
            Self::Scan => "all target groups",
            Self::Nomad => "its node",
            Self::NomadToken => "our Nomad token",
            Self::Consul => "Consul",
            Self::NomadServices => "Nomad's services",
            Self::Addresses(_) => "the addresses of other nodes",
        }
    }
}

fn joined(between: &str, words: impl Iterator<Item = impl Display>) -> String {
    words.map(|word| word.to_string()).collect::<Vec<_>>().join(between)
}
