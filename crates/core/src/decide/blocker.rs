//! What a departure waits for, by name, so that a person knows where to look.

use serde::Serialize;
use strum::{EnumIter, IntoStaticStr};

use super::{Departure, Reason, Snapshot, System};

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blocker {
    /// Its kind.
    pub kind: BlockerKind,
    /// Its name: of an allocation, its job and group.
    pub name: String,
    /// Its id or ARN, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Kinds of things that are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, IntoStaticStr, EnumIter)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum BlockerKind {
    /// An allocation that has not stopped.
    Allocation,
    /// A volume that is still claimed.
    Volume,
    /// A Nomad node.
    Node,
    /// A target group.
    TargetGroup,
    /// A target whose owner is unknown.
    Target,
    /// A service that is still registered.
    Service,
    /// A system that cannot be read.
    System,
    /// Our Nomad token.
    Token,
    /// The Auto Scaling group.
    Group,
    /// The instance itself.
    Instance,
}

impl BlockerKind {
    /// The name for logs, searches and notifications.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }
}

impl Blocker {
    /// What a reason to wait names.
    #[must_use]
    pub fn of(reason: &Reason, departure: &Departure, seen: &Snapshot) -> Self {
        let named = |kind, name: &dyn std::fmt::Display| Self { kind, name: name.to_string(), id: None };
        let node = || {
            let node = seen.nomad.last().and_then(|nomad| nomad.nodes.first());
            let name = node.map_or_else(|| departure.instance.to_string(), |node| node.name.to_string());
            Self { kind: BlockerKind::Node, name, id: node.map(|node| node.id.to_string()) }
        };
        match reason {
            Reason::DiskCopying { replacement, title, .. } => {
                Self { kind: BlockerKind::Allocation, name: title.to_string(), id: Some(replacement.to_string()) }
            }
            Reason::DiskUnplaced { title, .. } | Reason::LocalData { title, .. } => named(BlockerKind::Allocation, title),
            Reason::VolumeClaimed { volume, .. } => named(BlockerKind::Volume, volume),
            Reason::AllocationsLeft { example, title, .. } => {
                Self { kind: BlockerKind::Allocation, name: title.to_string(), id: Some(example.to_string()) }
            }
            Reason::Vanished { allocation: Some(id), .. } => {
                let known = seen.history.known.iter().find(|known| known.id == *id);
                let name = known.map_or_else(|| id.to_string(), |known| known.group.title().to_string());
                Self { kind: BlockerKind::Allocation, name, id: Some(id.to_string()) }
            }
            Reason::LoadBalancerDelay { group, .. }
            | Reason::LastHealthyTarget(group)
            | Reason::LastOfItsZone { group, .. }
            | Reason::RegisteredAgain(group) => {
                Self { kind: BlockerKind::TargetGroup, name: group.name().to_owned(), id: Some(group.to_string()) }
            }
            Reason::UnknownTarget { address, .. } => named(BlockerKind::Target, address),
            Reason::StillRegistered { service, .. } | Reason::RegisteredByHand { service, .. } => {
                named(BlockerKind::Service, service)
            }
            Reason::NotRegisteredYet { title, .. } => named(BlockerKind::Service, title),
            Reason::CannotSee(system) => named(BlockerKind::System, system),
            Reason::StopsUnseen { .. } => named(BlockerKind::System, &System::Consul),
            Reason::NoSight(_) => named(BlockerKind::Token, &"the Nomad token"),
            Reason::Held { .. } => named(BlockerKind::Group, &departure.asg),
            Reason::Vanished { allocation: None, .. }
            | Reason::AgentDead { .. }
            | Reason::AgentLost { .. }
            | Reason::DrainCancelled
            | Reason::DrainHangs => node(),
            Reason::WriteFailed(_)
            | Reason::NotKnownYet
            | Reason::MayHaveChanged
            | Reason::NextMustKnow
            | Reason::MustConfirm
            | Reason::HeartbeatDue
            | Reason::TakesNewWork
            | Reason::TakesRequests
            | Reason::SafeBesideTheDelay
            | Reason::WorkLeft
            | Reason::LandedAfterDrain
            | Reason::TimeIsShort
            | Reason::NothingLeft
            | Reason::NoneKnownToRun
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
            | Reason::ActionCompleted => named(BlockerKind::Instance, &departure.instance),
        }
    }
    /// The blocker as a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { kind, name, .. } = self;
        match kind {
            BlockerKind::System => format!("Blocked: {name} cannot be seen."),
            BlockerKind::Allocation
            | BlockerKind::Volume
            | BlockerKind::Node
            | BlockerKind::TargetGroup
            | BlockerKind::Target
            | BlockerKind::Service
            | BlockerKind::Token
            | BlockerKind::Group => format!("Blocked by {} {name}.", kind.word()),
            // The card or message already names the instance and its reason.
            BlockerKind::Instance => "Blocked.".to_owned(),
        }
    }
}
