//! Load balancing that does not cross zones. Each zone has a node of the load balancer, which sends only to the targets of its zone. A
//! node without a healthy target is removed from DNS, and clients use it until they have noticed.

use std::sync::Arc;
use std::time::Duration;

use super::group::Route;
use super::target::Entry;
use decamp_core::time::Time;

/// How long clients still use the node of a zone after it lost its last healthy target. The DNS name of a load balancer has a TTL of 60 s,
/// and Route 53 has to notice first (facts/aws.md 3.8).
pub const WITHDRAWN_AFTER: Duration = Duration::from_secs(90);

/// `load_balancing.cross_zone.enabled` of a target group and of its load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrossZone {
    /// The target group's value; `None` is `use_load_balancer_configuration`.
    pub of_group: Option<bool>,
    /// The load balancer's value.
    pub of_balancer: bool,
}

impl CrossZone {
    /// Whether nodes send to targets of other zones.
    #[must_use]
    pub fn is_on(self) -> bool {
        self.of_group.unwrap_or(self.of_balancer)
    }
}

/// The node of one zone that DNS names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZonalNode {
    /// Its zone.
    pub zone: Arc<str>,
    /// Where it sends new requests: indices into the group's routes. If empty, requests fail.
    pub routes: Vec<usize>,
}

/// The zones of one group.
#[derive(Debug, Clone, Default)]
pub(super) struct Zones {
    /// All zones that have had a target, and since when each has had no healthy one.
    all: Vec<(Arc<str>, Option<Time>)>,
    nodes: Vec<ZonalNode>,
}

impl Zones {
    /// The nodes that DNS names; empty if load balancing crosses zones.
    pub(super) fn nodes(&self) -> &[ZonalNode] {
        &self.nodes
    }

    /// When the next node is removed from DNS.
    pub(super) fn next(&self, now: Time) -> Time {
        let withdrawn = self.all.iter().filter_map(|(_, since)| since.map(|since| since + WITHDRAWN_AFTER));
        withdrawn.filter(|at| now < *at).min().unwrap_or(Time::NEVER)
    }

    /// Forgets all zones, because load balancing crosses zones.
    pub(super) fn forget(&mut self) {
        self.all.clear();
        self.nodes.clear();
    }

    /// Computes where the node of each zone sends now. All nodes send to a target whose zone is not known.
    pub(super) fn compute_routes(&mut self, now: Time, entries: &[Entry]) -> Vec<Route> {
        for zone in entries.iter().filter_map(zone_of) {
            if !self.all.iter().any(|(known, _)| known == zone) {
                self.all.push((Arc::clone(zone), None));
            }
        }
        let mut routes = Vec::new();
        let mut nodes = Vec::with_capacity(self.all.len());
        for (zone, empty_since) in &mut self.all {
            let here = || entries.iter().filter(|entry| zone_of(entry).is_none_or(|of| of == zone));
            let is_healthy = here().any(Entry::is_fit);
            *empty_since = if is_healthy { None } else { empty_since.or(Some(now)) };
            let sent_to = here().filter(|entry| entry.lags(now) || entry.is_fit() || !is_healthy && entry.is_last_resort());
            let mut node = ZonalNode { zone: Arc::clone(zone), routes: Vec::new() };
            for entry in sent_to {
                let place = routes.iter().position(|route: &Route| route.port == entry.port && route.id == entry.id);
                node.routes.push(place.unwrap_or_else(|| {
                    routes.push(Route { id: entry.id.clone(), port: entry.port });
                    routes.len() - 1
                }));
            }
            nodes.push(node);
        }
        // If no zone has a healthy target, DNS names all nodes.
        let fails_open = self.all.iter().all(|(_, since)| since.is_some());
        let named = |since: &Option<Time>| fails_open || since.is_none_or(|since| now < since + WITHDRAWN_AFTER);
        let mut named = self.all.iter().map(|(_, since)| named(since));
        nodes.retain(|_| named.next().unwrap_or(true));
        self.nodes = nodes;
        routes
    }
}

/// The one zone whose node sends to a target. A target registered for `all`, or without a known zone, has none.
pub(super) fn zone_of(entry: &Entry) -> Option<&Arc<str>> {
    entry.zone.as_ref().filter(|zone| ***zone != *"all")
}
