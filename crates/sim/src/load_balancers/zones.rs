//! Load balancing that does not cross zones: each zone has a node of the load balancer, which sends to the targets of its zone alone. A node
//! without a healthy target there is taken out of DNS, and its clients go on asking it until they have heard of that.

use std::sync::Arc;
use std::time::Duration;

use super::group::Route;
use super::target::Entry;
use decamp_core::time::Time;

/// For how long clients go on asking the node of a zone that lost its last healthy target. A load balancer's name lives for 60 s in DNS,
/// and Route 53 has to notice first (facts/aws.md 3.8).
pub const WITHDRAWN_AFTER: Duration = Duration::from_secs(90);

/// `load_balancing.cross_zone.enabled`, of a target group and of its load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrossZone {
    /// The target group's; `None`: `use_load_balancer_configuration`.
    pub of_group: Option<bool>,
    /// The load balancer's.
    pub of_balancer: bool,
}

impl CrossZone {
    /// Whether nodes send to targets of other zones.
    #[must_use]
    pub fn is_on(self) -> bool {
        self.of_group.unwrap_or(self.of_balancer)
    }
}

/// The node of one zone, while DNS names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZonalNode {
    /// Its zone.
    pub zone: Arc<str>,
    /// Where it sends new requests, by place among the group's routes. None: to nobody, and requests fail.
    pub routes: Vec<usize>,
}

/// The zones of one group.
#[derive(Debug, Clone, Default)]
pub(super) struct Zones {
    /// Every zone that has had a target, and since when it has had no healthy one.
    all: Vec<(Arc<str>, Option<Time>)>,
    nodes: Vec<ZonalNode>,
}

impl Zones {
    /// The nodes that DNS names; none where load balancing crosses zones.
    pub(super) fn nodes(&self) -> &[ZonalNode] {
        &self.nodes
    }

    /// When a node is next taken out of DNS.
    pub(super) fn next(&self, now: Time) -> Time {
        let withdrawn = self.all.iter().filter_map(|(_, since)| since.map(|since| since + WITHDRAWN_AFTER));
        withdrawn.filter(|at| now < *at).min().unwrap_or(Time::NEVER)
    }

    /// Load balancing crosses zones.
    pub(super) fn cross(&mut self) {
        self.all.clear();
        self.nodes.clear();
    }

    /// Where the node of each zone sends, as of now. A target whose zone is not known is sent to from all of them.
    pub(super) fn reckon(&mut self, now: Time, entries: &[Entry]) -> Vec<Route> {
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
        // Where no zone has a healthy target, DNS names them all.
        let fails_open = self.all.iter().all(|(_, since)| since.is_some());
        let named = |since: &Option<Time>| fails_open || since.is_none_or(|since| now < since + WITHDRAWN_AFTER);
        let mut named = self.all.iter().map(|(_, since)| named(since));
        nodes.retain(|_| named.next().unwrap_or(true));
        self.nodes = nodes;
        routes
    }
}

/// The one zone that a target is sent to from. One that is registered for `all` has none, nor one whose zone is not known.
pub(super) fn zone_of(entry: &Entry) -> Option<&Arc<str>> {
    entry.zone.as_ref().filter(|zone| ***zone != *"all")
}
