//! An outage of Consul, for workers and the ingress, that begins a moment after the first ordinary drain.

use crate::world::{Intervention, SimWorld};
use decamp_core::decide::{Effect, Phase, System};

/// Plans the outage if this effect is that drain.
pub(super) fn after(world: &mut SimWorld, effect: &Effect) {
    let Effect::Drain { meta, .. } = effect else { return };
    if meta.phase == Phase::Forced {
        return;
    }
    let Some((after, stays_away)) = world.api_faults.consul_vanishes.take() else { return };
    let (from, to) = (world.now + after, world.now + after + stays_away);
    world.api_faults.add_outage(System::Consul, from, to);
    world.interventions.extend([(from, Intervention::IngressLosesConsul(true)), (to, Intervention::IngressLosesConsul(false))]);
    world.interventions.make_contiguous().sort_by_key(|(at, _)| *at);
}
