//! Outages of Consul. A request that is lost in an outage because decamp stopped something is the outage's fault only if the outcome names
//! what stopped.

use std::time::Duration;

use super::Oracle;
use crate::nomad::{Life, Nomad};
use crate::world::Subject;
use decamp_core::decide::Provider;
use decamp_core::time::Time;

/// A worker that runs for this long notices that Consul is away: it looks every few seconds, and a call that hangs takes five.
const SEEN_WITHIN: Duration = Duration::from_secs(16);

/// How long a worker was running while Consul was away and services stopped.
#[derive(Debug, Clone, Default)]
pub(super) struct ConsulOutages {
    /// Whether Consul is away for the ingress.
    away: bool,
    /// The number of each running worker, and since when services have been stopping while it ran. A stop takes a few seconds, and the
    /// outage that hides it lasts longer.
    there: Vec<(u64, Option<Time>)>,
    longest: Duration,
}

impl Oracle {
    /// Whether Consul is away for the ingress, so that workers have to notice.
    #[must_use]
    pub fn is_consul_away(&self) -> bool {
        self.consul_outages.away
    }

    /// Called when an outage of Consul for the ingress begins or ends.
    pub(super) fn consul_goes_or_returns(&mut self, at: Time, away: bool) {
        if away && !self.consul_outages.away {
            self.consul_outages_began.push(at);
        }
        if !away {
            self.consul_outages.there.clear();
        }
        self.consul_outages.away = away;
    }

    /// Records that these workers were running from `from` to `to` while Consul was away.
    pub fn was_watched(&mut self, from: Time, to: Time, by: impl Iterator<Item = u64>, nomad: &Nomad, subject: &Subject) {
        let in_consul = |place: usize| {
            let group = &nomad.groups()[place].spec.group;
            // Load balancers find an ingress without Consul.
            group.ingress.is_none() && group.services.iter().any(|service| service.provider == Provider::Consul)
        };
        let stops = || {
            let mut here = nomad.allocations().iter().filter(|a| Some(a.node) == subject.node);
            here.any(|a| a.life == Life::Stopping && in_consul(a.group.index()))
        };
        let stops = self.consul_outages.away && stops();
        let before = std::mem::take(&mut self.consul_outages.there);
        for worker in by.filter(|_| self.consul_outages.away) {
            let since = before.iter().find(|(known, _)| *known == worker).and_then(|(_, since)| *since).or(stops.then_some(from));
            if let Some(since) = since {
                self.consul_outages.longest = self.consul_outages.longest.max(to.since(since));
            }
            self.consul_outages.there.push((worker, since));
        }
    }

    /// Whether the outcome has to name what stopped while Consul was away.
    #[must_use]
    pub fn must_name_what_stopped(&self) -> bool {
        SEEN_WITHIN <= self.consul_outages.longest && (self.workers <= 1 || self.bounds.notes_are_kept)
    }
}
