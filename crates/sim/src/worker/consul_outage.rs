//! Consul goes away a moment after the first drain that is no force, for workers and for the ingress.

use crate::world::{Intervention, SimWorld};
use decamp_core::decide::{Effect, Phase, System};

/// What becomes of Consul after this effect.
pub(super) fn after(world: &mut SimWorld, effect: &Effect) {
    let Effect::Drain { meta, .. } = effect else { return };
    if meta.phase == Phase::Forced {
        return;
    }
    let Some((after, stays_away)) = world.api_faults.consul_vanishes.take() else { return };
    let (from, to) = (world.now + after, world.now + after + stays_away);
    world.api_faults.away(System::Consul, from, to);
    world.interventions.extend([(from, Intervention::DeafIngress(true)), (to, Intervention::DeafIngress(false))]);
    world.interventions.make_contiguous().sort_by_key(|(at, _)| *at);
}
