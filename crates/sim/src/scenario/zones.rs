//! The zones of a cluster's instances, where load balancing does not cross zones.

use std::sync::Arc;

use crate::load_balancers::{CrossZone, Kind};
use decamp_core::ids::InstanceId;

/// The zones of the instances. The first is that of the instance that leaves.
pub(super) struct Zones {
    all: Vec<Arc<str>>,
    /// The zones that Auto Scaling reports.
    pub(super) reported: Arc<[(InstanceId, Arc<str>)]>,
    /// Whether Auto Scaling leaves one out.
    pub(super) leaves_one_out: bool,
}

/// A target group in which load balancing crosses zones.
pub(super) fn crossed() -> CrossZone {
    CrossZone { of_group: None, of_balancer: true }
}

/// A target group in which it does not. An Application Load Balancer crosses zones unless the target group says otherwise.
pub(super) fn not_crossed(kind: Kind) -> CrossZone {
    match kind {
        Kind::Alb => CrossZone { of_group: Some(false), of_balancer: true },
        Kind::Classic | Kind::Nlb => CrossZone { of_group: None, of_balancer: false },
    }
}

/// An instance that may become a target later.
pub(super) fn joining() -> InstanceId {
    InstanceId::from_number(77)
}

impl Zones {
    /// The instance is alone in its zone, and the others are in two zones. In one cluster of four another instance is in the same zone. In
    /// one of eight Auto Scaling does not report the zone of another instance, because that is in no Auto Scaling group.
    pub(super) fn draw(seed: u64, instance: InstanceId, others: u64) -> Self {
        let [ours, b, c]: [Arc<str>; 3] = ["eu-west-1a", "eu-west-1b", "eu-west-1c"].map(Into::into);
        let (beside, leaves_one_out) = (1 < others && (seed / 2).is_multiple_of(4), seed / 2 % 8 == 1);
        let zone = |place: u64| match place {
            0 => &ours,
            1 => &b,
            2 if beside => &ours,
            _ => &c,
        };
        let all: Vec<Arc<str>> = (0..=others).map(|place| Arc::clone(zone(place))).collect();
        let ids = (0..=others).map(|place| if place == 0 { instance } else { InstanceId::from_number(place) });
        // An instance that may join later is in the same zone.
        let ids = ids.chain([joining()]);
        let reported = ids.zip(all.iter().chain([&ours])).enumerate().filter(|(place, _)| !(leaves_one_out && *place == 1));
        let reported = reported.map(|(_, (id, zone))| (id, Arc::clone(zone))).collect();
        Self { all, reported, leaves_one_out }
    }

    /// The zone of the instance with this number.
    pub(super) fn of(&self, place: u64) -> Arc<str> {
        let place = usize::try_from(place).unwrap_or(0).min(self.all.len() - 1);
        Arc::clone(&self.all[place])
    }
}
