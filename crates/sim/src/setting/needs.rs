//! What a setting must have so that its faults can show.

use crate::faults::{Fault, Faults};

/// Whether the first target group is a named one whose targets are addresses.
pub(super) fn has_addresses(faults: Faults) -> bool {
    [Fault::UnknownAddress, Fault::StrangersAddress, Fault::OwnAddresses].iter().any(|fault| faults.has(*fault))
}

pub(super) fn needs_group(faults: Faults) -> bool {
    [
        Fault::BalancersThrottled,
        Fault::DeregistrationAnswerLost,
        Fault::DrainingSticks,
        Fault::TargetGroupDeleted,
        Fault::TargetGroupDenied,
        Fault::TargetRegisteredAgain,
        Fault::SeveralPorts,
        Fault::AlreadyDraining,
        Fault::DelayUnreadable,
        Fault::DelayRaised,
        Fault::RequestsOutliveTheDelay,
        Fault::LastHealthyTarget,
        Fault::UnknownAddress,
        Fault::StrangersAddress,
        Fault::OwnAddresses,
        Fault::FoundByScan,
    ]
    .iter()
    .any(|fault| faults.has(*fault))
}
