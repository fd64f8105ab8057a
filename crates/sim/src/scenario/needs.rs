//! What a scenario needs so that its faults can show.

use crate::faults::{Fault, Faults};

/// Whether the first target group is named and has addresses as targets.
pub(super) fn has_addresses(faults: Faults) -> bool {
    [Fault::UnknownAddress, Fault::StrangersAddress, Fault::OwnAddresses].iter().any(|fault| faults.has(*fault))
}

/// Whether the first target group belongs to a Network Load Balancer whose clients keep their connections. Its targets are instances at
/// one port, so that one connection leaves with the instance.
pub(super) fn keeps_connections(faults: Faults) -> bool {
    let others = [Fault::SeveralPorts, Fault::FoundByScan].iter().any(|fault| faults.has(*fault));
    faults.has(Fault::KeptConnections) && !has_addresses(faults) && !others
}

/// Whether the first target group is a Classic Load Balancer. It lists instances, and no scan of target groups finds it.
pub(super) fn is_classic(faults: Faults) -> bool {
    let others = [Fault::SeveralPorts, Fault::FoundByScan, Fault::KeptConnections].iter().any(|fault| faults.has(*fault));
    faults.has(Fault::ClassicBalancer) && !has_addresses(faults) && !others
}

/// Whether load balancing does not cross zones in the first target group, and the instance may be the last target of its zone.
pub(super) fn is_zonal(faults: Faults) -> bool {
    faults.has(Fault::LastOfItsZone) && !has_addresses(faults)
}

/// Whether a VPC Lattice target group is attached. A scan of Elastic Load Balancing finds no such group.
pub(super) fn has_lattice(faults: Faults) -> bool {
    faults.has(Fault::LatticeSource) && !faults.has(Fault::FoundByScan)
}

/// Whether the hook is as short as AWS allows. A hold lasts to the end of its hook, and the shortest hook is long enough.
pub(super) fn has_short_hook(faults: Faults) -> bool {
    let short = [Fault::HookIsShort, Fault::HeartbeatTimesOut, Fault::HeldForHours, Fault::HostVolumes];
    short.iter().any(|fault| faults.has(*fault))
}

/// Whether a fault needs a target group.
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
        Fault::LastOfItsZone,
        Fault::UnknownAddress,
        Fault::StrangersAddress,
        Fault::OwnAddresses,
        Fault::FoundByScan,
        Fault::KeptConnections,
        Fault::NotListed,
        Fault::ClassicBalancer,
    ]
    .iter()
    .any(|fault| faults.has(*fault))
}
