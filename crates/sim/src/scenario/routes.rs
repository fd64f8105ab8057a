//! The services that the ingress routes to.

use std::ops::Range;

use crate::event::AllocationNumber;
use crate::nomad::{GroupState, Nomad};
use crate::traffic::Traffic;
use decamp_core::decide::{JobKind, Provider};

/// Numbers the services that the ingress routes to: all registered services of these groups except those of the ingress itself. `late` is
/// not registered yet.
pub(super) fn number(
    nomad: &Nomad,
    traffic: &mut Traffic,
    groups: Range<usize>,
    late: Option<AllocationNumber>,
) -> Vec<Vec<Option<usize>>> {
    let number_group = |(place, group): (usize, &GroupState)| {
        let routed = group.spec.group.kind == JobKind::Service && group.spec.group.ingress.is_none() && groups.contains(&place);
        let services = group.spec.group.services.iter();
        services
            .map(|service| {
                let routed = routed && matches!(service.provider, Provider::Consul | Provider::Nomad);
                let in_consul = service.provider == Provider::Consul;
                let copies = || group.allocations.iter().copied().filter(|copy| Some(*copy) != late).collect();
                routed.then(|| traffic.ingress.add_service(copies(), in_consul))
            })
            .collect()
    };
    nomad.groups().iter().enumerate().map(number_group).collect()
}
