//! A target group that clients send to, and where its requests go. There are many requests and routes change rarely, so that the routes
//! are resolved once for each version.

use super::Backend;
use crate::load_balancers::LoadBalancers;
use decamp_core::ids::{TargetGroupArn, TargetId};

/// What a route of the load balancer leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteTarget {
    /// Another instance.
    Elsewhere,
    /// A port of the leaving instance without a backend.
    Nowhere,
    /// The backend with this number.
    At(usize),
}

/// A target group that clients send to.
#[derive(Debug, Clone)]
pub(super) struct Front {
    pub(super) arn: TargetGroupArn,
    /// Whether an ingress is behind it.
    pub(super) has_ingress: bool,
    /// Whether its clients keep their connections.
    pub(super) keeps: bool,
    /// The backend of the leaving instance to which a connection is kept.
    pub(super) kept: Option<usize>,
    version: Option<u64>,
    targets: Vec<RouteTarget>,
    /// For each zone's node, the indices of the routes that it sends to; empty if load balancing crosses zones.
    nodes: Vec<Vec<usize>>,
    turn: usize,
}

impl Front {
    pub(super) fn new(arn: TargetGroupArn) -> Self {
        Self { arn, has_ingress: false, keeps: false, kept: None, version: None, targets: Vec::new(), nodes: Vec::new(), turn: 0 }
    }

    /// Called when a backend is added behind this target group.
    pub(super) fn note_backend(&mut self, backend: &Backend) {
        self.has_ingress |= backend.is_ingress;
        self.version = None;
    }

    /// Resolves the current routes. `number` is this target group's number in the backends.
    pub(super) fn look_up(&mut self, number: usize, balancers: &LoadBalancers, backends: &[Backend], ours: &[TargetId]) {
        let version = Some(balancers.routes_version(&self.arn));
        if self.version == version {
            return;
        }
        self.version = version;
        self.targets.clear();
        self.targets.extend(balancers.routes(&self.arn).iter().map(|route| {
            if !ours.contains(&route.id) {
                return RouteTarget::Elsewhere;
            }
            let backend = backends.iter().position(|backend| backend.front == number && backend.port == route.port);
            backend.map_or(RouteTarget::Nowhere, RouteTarget::At)
        }));
        self.nodes.clear();
        self.nodes.extend(balancers.zonal_nodes(&self.arn).iter().map(|node| node.routes.clone()));
    }

    /// Where the next request goes: each route in turn; `None` if there is none. If load balancing does not cross zones, clients use the
    /// node of each zone in turn.
    pub(super) fn next(&mut self) -> Option<RouteTarget> {
        if !self.nodes.is_empty() {
            let turn = self.turn;
            self.turn = turn.wrapping_add(1);
            let node = &self.nodes[turn % self.nodes.len()];
            let place = (turn / self.nodes.len()).checked_rem(node.len())?;
            return self.targets.get(node[place]).copied();
        }
        let turn = if self.turn < self.targets.len() { self.turn } else { 0 };
        let target = self.targets.get(turn).copied()?;
        self.turn = turn + 1;
        Some(target)
    }

    /// A client opened a connection to this backend, and keeps it if clients keep their connections.
    pub(super) fn keep(&mut self, backend: usize) {
        if self.keeps {
            self.kept = Some(backend);
        }
    }

    /// The kept connection is closed or cut.
    pub(super) fn closes(&mut self) {
        self.kept = None;
    }

    /// Whether the load balancer still sends to the backend with this number.
    pub(super) fn sends_to(&self, backend: usize) -> bool {
        self.targets.contains(&RouteTarget::At(backend))
    }
}
