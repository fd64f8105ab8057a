//! A target group that clients send to, and where its requests land. Requests are many and routes change seldom: where they lead is
//! looked up once for each version of them.

use super::Backend;
use crate::load_balancers::LoadBalancers;
use decamp_core::ids::{TargetGroupArn, TargetId};

/// What a request meets that the load balancer sends to one of its routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lands {
    /// Another instance.
    Elsewhere,
    /// A port of ours at which there is no backend.
    Nowhere,
    /// The backend at this place.
    At(usize),
}

/// A target group that clients send to.
#[derive(Debug, Clone)]
pub(super) struct Front {
    pub(super) arn: TargetGroupArn,
    /// Whether an ingress is behind it.
    pub(super) has_ingress: bool,
    /// Whether its clients keep connections.
    pub(super) keeps: bool,
    /// The backend of ours that they keep one to.
    pub(super) kept: Option<usize>,
    version: Option<u64>,
    lands: Vec<Lands>,
    /// The places among them that each zone's node sends to; none where load balancing crosses zones.
    nodes: Vec<Vec<usize>>,
    turn: usize,
}

impl Front {
    pub(super) fn new(arn: TargetGroupArn) -> Self {
        Self { arn, has_ingress: false, keeps: false, kept: None, version: None, lands: Vec::new(), nodes: Vec::new(), turn: 0 }
    }

    /// One more backend is behind it.
    pub(super) fn note_backend(&mut self, backend: &Backend) {
        self.has_ingress |= backend.is_ingress;
        self.version = None;
    }

    /// Where its requests land, as of now. Its own number is by which backends know it.
    pub(super) fn look_up(&mut self, number: usize, balancers: &LoadBalancers, backends: &[Backend], ours: &[TargetId]) {
        let version = Some(balancers.routes_version(&self.arn));
        if self.version == version {
            return;
        }
        self.version = version;
        self.lands.clear();
        self.lands.extend(balancers.routes(&self.arn).iter().map(|route| {
            if !ours.contains(&route.id) {
                return Lands::Elsewhere;
            }
            let backend = backends.iter().position(|backend| backend.front == number && backend.port == route.port);
            backend.map_or(Lands::Nowhere, Lands::At)
        }));
        self.nodes.clear();
        self.nodes.extend(balancers.zonal_nodes(&self.arn).iter().map(|node| node.routes.clone()));
    }

    /// Where the next request lands, each route in turn; `None` if there is none. Its client asks each zone's node in turn, where those
    /// send to their own zones.
    pub(super) fn next(&mut self) -> Option<Lands> {
        if !self.nodes.is_empty() {
            let turn = self.turn;
            self.turn = turn.wrapping_add(1);
            let node = &self.nodes[turn % self.nodes.len()];
            let place = (turn / self.nodes.len()).checked_rem(node.len())?;
            return self.lands.get(node[place]).copied();
        }
        let turn = if self.turn < self.lands.len() { self.turn } else { 0 };
        let lands = self.lands.get(turn).copied()?;
        self.turn = turn + 1;
        Some(lands)
    }

    /// A client that keeps its connections opened one to this backend.
    pub(super) fn keep(&mut self, backend: usize) {
        if self.keeps {
            self.kept = Some(backend);
        }
    }

    /// The connection is closed, or cut.
    pub(super) fn closes(&mut self) {
        self.kept = None;
    }

    /// Whether it still sends to the backend at this place.
    pub(super) fn sends_to(&self, backend: usize) -> bool {
        self.lands.contains(&Lands::At(backend))
    }
}
