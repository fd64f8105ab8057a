//! What nobody could hear of Consul: a request that is lost then, by a stop of ours, is the outage's only if the outcome says so.

use std::time::Duration;

use super::Oracle;
use crate::nomad::{Life, Nomad};
use crate::stage::Cast;
use decamp_core::decide::Provider;
use decamp_core::time::Time;

/// A worker that is there for so long sees that Consul is away: it looks every ten seconds at least, and a call that hangs takes five.
const SEEN_WITHIN: Duration = Duration::from_secs(16);

/// For how long a worker was there while Consul was away and services stopped.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Blindness {
    /// Whether Consul is away for the ingress.
    deaf: bool,
    /// Since when a worker has been there without a break, while something stops.
    since: Option<Time>,
    longest: Duration,
}

impl Oracle {
    /// Whether what happens now has to be noticed by workers.
    #[must_use]
    pub fn is_deaf(&self) -> bool {
        self.blindness.deaf
    }

    /// The ingress hears nothing more from Consul, or hears again.
    pub(super) fn goes_deaf(&mut self, at: Time, deaf: bool) {
        if deaf && !self.blindness.deaf {
            self.went_deaf.push(at);
        }
        self.blindness.deaf = deaf;
    }

    /// While Consul was away, time has gone by, with a worker there or without.
    pub fn attended(&mut self, from: Time, to: Time, attended: bool, nomad: &Nomad, cast: &Cast) {
        let in_consul = |place: usize| {
            let group = &nomad.groups()[place].spec.group;
            // An ingress is found by load balancers.
            group.ingress.is_none() && group.services.iter().any(|service| service.provider == Provider::Consul)
        };
        let stops = || {
            let mut here = nomad.allocations().iter().filter(|a| Some(a.node) == cast.node);
            here.any(|a| a.life == Life::Stopping && in_consul(a.group.index()))
        };
        if !(attended && self.blindness.deaf && stops()) {
            self.blindness.since = None;
            return;
        }
        let since = *self.blindness.since.get_or_insert(from);
        self.blindness.longest = self.blindness.longest.max(to.since(since));
    }

    /// Whether the outcome has to name what was stopped while Consul was away.
    #[must_use]
    pub fn must_name_what_stopped_unseen(&self) -> bool {
        SEEN_WITHIN <= self.blindness.longest && (self.workers <= 1 || self.bounds.notes_are_kept)
    }
}
