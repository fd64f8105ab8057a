//! Who or what a departure waits for, by name: what a person has to look at.

use serde::Serialize;

use decamp_core::decide::{Departure, Reason, Snapshot};

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Blocker {
    /// What kind of thing it is.
    pub(crate) kind: &'static str,
    /// Its name: of an allocation, its job and group.
    pub(crate) name: String,
    /// Its id or ARN, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
}

impl Blocker {
    /// What a reason to wait names.
    pub(crate) fn of(reason: &Reason, departure: &Departure, seen: &Snapshot) -> Self {
        let named = |kind, name: &dyn std::fmt::Display| Self { kind, name: name.to_string(), id: None };
        let node = || {
            let node = seen.nomad.last().and_then(|nomad| nomad.nodes.first());
            let name = node.map_or_else(|| departure.instance.to_string(), |node| node.name.to_string());
            Self { kind: "node", name, id: node.map(|node| node.id.to_string()) }
        };
        match reason {
            Reason::AllocationsLeft { example, title, .. } => {
                Self { kind: "allocation", name: title.to_string(), id: Some(example.to_string()) }
            }
            Reason::Vanished { allocation: Some(id), .. } => {
                let known = seen.history.known.iter().find(|known| known.id == *id);
                let name = known.map_or_else(|| id.to_string(), |known| known.group.title().to_string());
                Self { kind: "allocation", name, id: Some(id.to_string()) }
            }
            Reason::LoadBalancerDelay { group, .. } | Reason::LastHealthyTarget(group) | Reason::RegisteredAgain(group) => {
                Self { kind: "target-group", name: group.name().to_owned(), id: Some(group.to_string()) }
            }
            Reason::UnknownTarget { address, .. } => named("target", address),
            Reason::StillRegistered { service, .. } => named("service", service),
            Reason::CannotSee(system) => named("system", system),
            Reason::NoSight(_) => named("token", &"the Nomad token"),
            Reason::Held { .. } => named("group", &departure.asg),
            Reason::Vanished { allocation: None, .. }
            | Reason::AgentDead { .. }
            | Reason::AgentLost { .. }
            | Reason::DrainCancelled
            | Reason::DrainHangs => node(),
            Reason::WriteFailed(_)
            | Reason::MustLook
            | Reason::NextMustKnow
            | Reason::MustConfirm
            | Reason::HeartbeatDue
            | Reason::StillInService
            | Reason::SafeBesideTheDelay
            | Reason::WorkLeft
            | Reason::LandedAfterDrain
            | Reason::TimeIsShort
            | Reason::NothingLeft
            | Reason::TimeIsUp
            | Reason::HookNotBegun
            | Reason::NoNodeYet
            | Reason::RootVolume
            | Reason::NodeMissing
            | Reason::NowhereListed { .. }
            | Reason::NotListed
            | Reason::InState(_)
            | Reason::PastItsHook
            | Reason::NoHookOfOurs
            | Reason::WhichHook
            | Reason::ActionCompleted => named("instance", &departure.instance),
        }
    }
}
