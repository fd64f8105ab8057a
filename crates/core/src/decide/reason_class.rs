//! What each reason to wait means for a person: nothing, to look at it, or to act.

use strum::EnumIter;

use super::reason::ReasonKind;

/// What a reason to wait means for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter)]
pub enum ReasonClass {
    /// Nothing: decamp itself looks, writes or ends, or the wait ends by itself.
    Own,
    /// The load balancers' deregistration delay, which nobody can shorten.
    Delay,
    /// Allocations stop, and each has its time.
    Stopping,
    /// Service discovery has not removed it yet.
    Discovery,
    /// Waiting alone may not end it, so a person should look.
    Blocked,
    /// Waiting does not end it, so a person has to act.
    NeedsAPerson,
}

impl ReasonKind {
    /// What it means for a person.
    #[must_use]
    pub fn class(self) -> ReasonClass {
        match self {
            Self::LoadBalancerDelay => ReasonClass::Delay,
            Self::AllocationsLeft => ReasonClass::Stopping,
            Self::StillRegistered | Self::RegisteredByHand | Self::NotRegisteredYet => ReasonClass::Discovery,
            Self::CannotSee
            | Self::StopsUnseen
            | Self::WriteFailed
            | Self::DrainHangs
            | Self::Held
            | Self::NoSight
            | Self::AgentDead
            | Self::AgentLost
            | Self::DrainCancelled => ReasonClass::Blocked,
            Self::RootVolume | Self::NodeMissing | Self::WhichHook | Self::DiskUnplaced | Self::LocalData => {
                ReasonClass::NeedsAPerson
            }
            Self::NotKnownYet
            | Self::MayHaveChanged
            | Self::MustConfirm
            | Self::HeartbeatDue
            | Self::TakesNewWork
            | Self::TakesRequests
            | Self::RegisteredAgain
            | Self::SafeBesideTheDelay
            | Self::WorkLeft
            | Self::LandedAfterDrain
            | Self::TimeIsShort
            | Self::NothingLeft
            | Self::NoneKnownToRun
            | Self::TimeIsUp
            | Self::NextMustKnow
            | Self::HookNotBegun
            | Self::NoNodeYet
            | Self::NowhereListed
            | Self::UnknownTarget
            | Self::LastHealthyTarget
            | Self::LastOfItsZone
            | Self::Vanished
            | Self::DiskCopying
            | Self::VolumeClaimed
            | Self::NotListed
            | Self::InState
            | Self::PastItsHook
            | Self::NoHookOfOurs
            | Self::ActionCompleted => ReasonClass::Own,
        }
    }
}

impl ReasonClass {
    /// Whether a person should look at it, or has to act.
    #[must_use]
    pub fn is_blocked(self) -> bool {
        match self {
            Self::Own | Self::Delay | Self::Stopping | Self::Discovery => false,
            Self::Blocked | Self::NeedsAPerson => true,
        }
    }
}
