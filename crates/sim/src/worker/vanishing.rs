//! Consul goes away a moment after the first drain that is no force, for workers and for the ingress.

use crate::stage::{Hand, Stage};
use decamp_core::decide::{Effect, Phase, System};

/// What becomes of Consul after this effect.
pub(super) fn after(stage: &mut Stage, effect: &Effect) {
    let Effect::Drain { meta, .. } = effect else { return };
    if meta.phase == Phase::Forced {
        return;
    }
    let Some((after, stays_away)) = stage.weather.consul_vanishes.take() else { return };
    let (from, to) = (stage.now + after, stage.now + after + stays_away);
    stage.weather.away(System::Consul, from, to);
    stage.hands.extend([(from, Hand::DeafIngress(true)), (to, Hand::DeafIngress(false))]);
    stage.hands.make_contiguous().sort_by_key(|(at, _)| *at);
}
