//! What nobody could hear of Consul: a request that is lost then, by a stop of ours, is the outage's only if the outcome says so.

use std::time::Duration;

use super::Oracle;
use crate::nomad::{Life, Nomad};
use crate::world::Subject;
use decamp_core::decide::Provider;
use decamp_core::time::Time;

/// A worker that is there for so long sees that Consul is away: it looks every few seconds, and a call that hangs takes five.
const SEEN_WITHIN: Duration = Duration::from_secs(16);

/// For how long a worker was there while Consul was away, if services stopped meanwhile.
#[derive(Debug, Clone, Default)]
pub(super) struct Blindness {
    /// Whether Consul is away for the ingress.
    deaf: bool,
    /// Each worker that is there, and since when something has stopped in its presence. A stop takes a few seconds, and the outage that hides
    /// it lasts on.
    there: Vec<(u64, Option<Time>)>,
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
        if !deaf {
            self.blindness.there.clear();
        }
        self.blindness.deaf = deaf;
    }

    /// While Consul was away, time has gone by, with these workers there.
    pub fn attended(&mut self, from: Time, to: Time, by: impl Iterator<Item = u64>, nomad: &Nomad, subject: &Subject) {
        let in_consul = |place: usize| {
            let group = &nomad.groups()[place].spec.group;
            // An ingress is found by load balancers.
            group.ingress.is_none() && group.services.iter().any(|service| service.provider == Provider::Consul)
        };
        let stops = || {
            let mut here = nomad.allocations().iter().filter(|a| Some(a.node) == subject.node);
            here.any(|a| a.life == Life::Stopping && in_consul(a.group.index()))
        };
        let stops = self.blindness.deaf && stops();
        let before = std::mem::take(&mut self.blindness.there);
        for worker in by.filter(|_| self.blindness.deaf) {
            let since = before.iter().find(|(known, _)| *known == worker).and_then(|(_, since)| *since).or(stops.then_some(from));
            if let Some(since) = since {
                self.blindness.longest = self.blindness.longest.max(to.since(since));
            }
            self.blindness.there.push((worker, since));
        }
    }

    /// Whether the outcome has to name what was stopped while Consul was away.
    #[must_use]
    pub fn must_name_what_stopped_unseen(&self) -> bool {
        SEEN_WITHIN <= self.blindness.longest && (self.workers <= 1 || self.bounds.notes_are_kept)
    }
}
