//! The volumes of drawn services.

use std::time::Duration;

use super::jobs::name;
use crate::faults::{Fault, Faults};
use crate::nomad::{Behaviour, Release};
use crate::rng::Rng;
use decamp_core::decide::{TaskGroup, Volume, VolumeKind};

/// Whether services mount CSI volumes, which a plugin on each node serves.
pub(super) fn has_csi(faults: Faults) -> bool {
    faults.has(Fault::CsiVolumes) || faults.has(Fault::VolumesDenied)
}

/// The first service mounts volumes, and every other one of the rest.
pub(super) fn mount(rng: &mut Rng, faults: Faults, place: u64, group: &mut TaskGroup, behaviour: &mut Behaviour) {
    if has_csi(faults) && (place == 0 || rng.one_in(2)) {
        let is_gone = place != 0 && rng.one_in(3) || rng.one_in(8);
        let source = name(if is_gone { "gone-" } else { "volume-" }, place);
        let kind = VolumeKind::Csi { per_alloc: rng.one_in(2) };
        group.volumes.push(Volume { name: name("data", 0), source, read_only: rng.one_in(4), kind });
        behaviour.releases = match rng.below(8) {
            _ if is_gone => Release::Gone,
            0 => Release::Never,
            1 | 2 => Release::After(Duration::from_secs(60 + rng.below(540))),
            _ => Release::After(Duration::from_millis(200 + rng.below(20_000))),
        };
    }
    if faults.has(Fault::HostVolumes) && (place == 0 || rng.one_in(2)) {
        let kind = VolumeKind::Host { sticky: rng.one_in(3) };
        group.volumes.push(Volume { name: name("local", 0), source: name("host-", place), read_only: rng.one_in(2), kind });
    }
}
