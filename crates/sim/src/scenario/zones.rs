//! Which zones the instances of a cluster stand in, where load balancing does not cross them.

use std::sync::Arc;

use crate::load_balancers::{CrossZone, Kind};
use decamp_core::ids::InstanceId;

/// The zones of the instances, the one that leaves first.
pub(super) struct Zones {
    all: Vec<Arc<str>>,
    /// What Auto Scaling tells of them.
    pub(super) told: Arc<[(InstanceId, Arc<str>)]>,
    /// Whether that is not all.
    pub(super) untold: bool,
}

/// Load balancing crosses zones.
pub(super) fn crossed() -> CrossZone {
    CrossZone { of_group: None, of_balancer: true }
}

/// It does not: an Application Load Balancer's always does, if its target group does not say otherwise.
pub(super) fn not_crossed(kind: Kind) -> CrossZone {
    match kind {
        Kind::Alb => CrossZone { of_group: Some(false), of_balancer: true },
        Kind::Classic | Kind::Nlb => CrossZone { of_group: None, of_balancer: false },
    }
}

/// An instance that may become a target later.
pub(super) fn joins() -> InstanceId {
    InstanceId::from_number(77)
}

impl Zones {
    /// The instance alone in its zone, the others in two. In one cluster of four another stands beside it, and in one of eight an other's
    /// zone is not told: it is in no Auto Scaling group.
    pub(super) fn draw(seed: u64, instance: InstanceId, others: u64) -> Self {
        let [ours, b, c]: [Arc<str>; 3] = ["eu-west-1a", "eu-west-1b", "eu-west-1c"].map(Into::into);
        let (beside, untold) = (1 < others && (seed / 2).is_multiple_of(4), seed / 2 % 8 == 1);
        let zone = |place: u64| match place {
            0 => &ours,
            1 => &b,
            2 if beside => &ours,
            _ => &c,
        };
        let all: Vec<Arc<str>> = (0..=others).map(|place| Arc::clone(zone(place))).collect();
        let ids = (0..=others).map(|place| if place == 0 { instance } else { InstanceId::from_number(place) });
        // One that may come stands beside ours.
        let ids = ids.chain([joins()]);
        let told = ids.zip(all.iter().chain([&ours])).enumerate().filter(|(place, _)| !(untold && *place == 1));
        let told = told.map(|(_, (id, zone))| (id, Arc::clone(zone))).collect();
        Self { all, told, untold }
    }

    /// The zone of the instance at this place.
    pub(super) fn of(&self, place: u64) -> Arc<str> {
        let place = usize::try_from(place).unwrap_or(0).min(self.all.len() - 1);
        Arc::clone(&self.all[place])
    }
}
