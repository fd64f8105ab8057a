//! Consul goes away a moment after the first drain that is no force, for workers and for the ingress.

use super::{Hand, Stage};
use decamp_core::decide::{Effect, Phase, System};

impl Stage {
    /// What becomes of Consul after this effect.
    pub(super) fn vanishes_after(&mut self, effect: &Effect) {
        let Effect::Drain { meta, .. } = effect else { return };
        if meta.phase == Phase::Forced {
            return;
        }
        let Some((after, stays_away)) = self.weather.consul_vanishes.take() else { return };
        let (from, to) = (self.now + after, self.now + after + stays_away);
        self.weather.away(System::Consul, from, to);
        self.hands.extend([(from, Hand::DeafIngress(true)), (to, Hand::DeafIngress(false))]);
        self.hands.make_contiguous().sort_by_key(|(at, _)| *at);
    }
}
