//! One target group: its targets and its routes, which are rebuilt only when something changes.

use std::sync::Arc;
use std::time::Duration;

use super::target::{Entry, HealthTimes, TargetProblem, TargetStage};
use super::zones::{CrossZone, ZonalNode, Zones, zone_of};
use super::{ALB_LAG, NLB_LAG};
use crate::api_error::ApiError;
use decamp_core::decide::{BalancerKind, Target};
use decamp_core::ids::{TargetGroupArn, TargetId};
use decamp_core::time::Time;

/// The kind of load balancer, as in the rules.
pub type Kind = BalancerKind;

/// What identifies the targets of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetType {
    /// Instance ids.
    Instance,
    /// Addresses.
    Ip,
}

/// The setup of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSetup {
    /// Its ARN.
    pub arn: TargetGroupArn,
    /// The kind of its load balancer.
    pub kind: Kind,
    /// What identifies its targets.
    pub target_type: TargetType,
    /// The port of a target that was registered without one.
    pub port: u16,
    /// `deregistration_delay.timeout_seconds`.
    pub delay: Duration,
    /// `deregistration_delay.connection_termination.enabled`. Only groups of a Network Load Balancer have it.
    pub connection_termination: bool,
    /// Whether load balancing crosses zones.
    pub cross_zone: CrossZone,
    /// Whether a listener sends to it. If not, its targets are `unused` with `Target.NotInUse`.
    pub in_use: bool,
    /// How long routing lags behind a deregistration: least and most.
    pub lag: (Duration, Duration),
    /// How long its checks take.
    pub health: HealthTimes,
}

impl GroupSetup {
    /// AWS's defaults: instance targets, a delay of 300 s, in use. Load balancing crosses zones except with a Network Load Balancer.
    #[must_use]
    pub fn new(arn: TargetGroupArn, kind: Kind, port: u16) -> Self {
        let (lag, unhealthy_draining) = match kind {
            Kind::Alb | Kind::Classic => (ALB_LAG, Duration::ZERO),
            Kind::Nlb => (NLB_LAG, Duration::ZERO),
        };
        let health = HealthTimes { unhealthy_draining, ..HealthTimes::default() };
        let (target_type, delay, in_use) = (TargetType::Instance, Duration::from_secs(300), true);
        let cross_zone = CrossZone { of_group: None, of_balancer: kind != Kind::Nlb };
        Self { arn, kind, target_type, port, delay, connection_termination: false, cross_zone, in_use, lag, health }
    }
}

/// A target to which new requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The target.
    pub id: TargetId,
    /// Its port.
    pub port: u16,
}

#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) setup: GroupSetup,
    pub(super) deleted: bool,
    pub(super) attributes_unreadable: bool,
    pub(super) denies_reads: bool,
    pub(super) denies_writes: bool,
    pub(super) entries: Vec<Entry>,
    routes: Vec<Route>,
    zones: Zones,
    version: u64,
    next: Time,
    /// The list that `DescribeTargetHealth` shows, cached until it changes.
    shown: Option<Arc<[Target]>>,
}

impl Group {
    pub(super) fn new(setup: GroupSetup) -> Self {
        Self {
            setup,
            deleted: false,
            attributes_unreadable: false,
            denies_reads: false,
            denies_writes: false,
            entries: Vec::new(),
            routes: Vec::new(),
            zones: Zones::default(),
            version: 0,
            next: Time::NEVER,
            shown: None,
        }
    }

    pub(super) fn next(&self) -> Time {
        self.next
    }

    pub(super) fn routes(&self) -> &[Route] {
        &self.routes
    }

    pub(super) fn zonal_nodes(&self) -> &[ZonalNode] {
        self.zones.nodes()
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Processes what is due at `now`.
    pub(super) fn step(&mut self, now: Time) {
        if now < self.next {
            return;
        }
        for entry in &mut self.entries {
            if entry.changes_at <= now {
                entry.change_stage(now, &self.setup.health);
            }
        }
        self.changed(now);
    }

    pub(super) fn put_healthy(&mut self, now: Time, targets: impl IntoIterator<Item = (TargetId, u16, Option<Arc<str>>)>) {
        self.entries.extend(targets.into_iter().map(|(id, port, zone)| Entry::new(id, port, zone)));
        self.changed(now);
    }

    /// Whether this target can be registered here now.
    pub(super) fn fits(&self, id: &TargetId, port: u16) -> Result<(), ApiError> {
        match (self.setup.target_type, id) {
            (TargetType::Instance, TargetId::Instance(_)) => Ok(()),
            (TargetType::Ip, TargetId::Ip(_)) => {
                let leaving = self.find(id, port).is_some_and(|e| matches!(e.stage, TargetStage::Draining { .. }));
                // An address has to leave before it can come back (facts/aws.md 3.2).
                if leaving { Err(ApiError::InvalidTarget(format!("The target '{id}' is draining").into())) } else { Ok(()) }
            }
            (TargetType::Instance, _) => Err(ApiError::InvalidTarget(format!("Instance ID '{id}' is not valid").into())),
            (TargetType::Ip, _) => Err(ApiError::InvalidTarget(format!("The IP address '{id}' is not valid").into())),
        }
    }

    pub(super) fn register(&mut self, now: Time, id: TargetId, port: u16, zone: Option<Arc<str>>) {
        let times = self.setup.health;
        match self.entries.iter_mut().find(|e| e.port == port && e.id == id) {
            // Registering a registered target changes nothing.
            Some(entry) if entry.is_registered() => return,
            Some(entry) => entry.register(now, &times),
            None => {
                let mut entry = Entry::new(id, port, zone);
                entry.register(now, &times);
                self.entries.push(entry);
            }
        }
        self.changed(now);
    }

    /// Deregisters the registered targets for which `which` is true, given the id, the port and the group's own port. Draining targets
    /// continue to drain.
    pub(super) fn deregister(
        &mut self,
        now: Time,
        which: impl Fn(&TargetId, u16, u16) -> bool,
        mut lag: impl FnMut() -> Duration,
    ) {
        let (default, delay) = (self.setup.port, self.setup.delay);
        let mut any = false;
        for at in 0..self.entries.len() {
            let entry = &self.entries[at];
            if !entry.is_registered() || !which(&entry.id, entry.port, default) {
                continue;
            }
            let routed = self.routes.iter().any(|route| route.port == entry.port && route.id == entry.id);
            let lags_until = if routed { now + lag() } else { Time(0) };
            self.entries[at].deregister(now, delay, lags_until);
            any = true;
        }
        if any {
            self.changed(now);
        }
    }

    pub(super) fn set_delay(&mut self, now: Time, delay: Duration) {
        self.setup.delay = delay;
        for entry in &mut self.entries {
            if let TargetStage::Draining { since } = entry.stage {
                entry.changes_at = (since + delay).max(now);
            }
        }
        self.changed(now);
    }

    pub(super) fn set_problem(&mut self, now: Time, problem: Option<TargetProblem>, which: impl Fn(&TargetId, u16) -> bool) {
        for entry in &mut self.entries {
            if which(&entry.id, entry.port) {
                entry.problem = problem;
            }
        }
        self.changed(now);
    }

    pub(super) fn set_answers(&mut self, now: Time, answers: bool, which: impl Fn(&TargetId, u16) -> bool) {
        for entry in &mut self.entries {
            if which(&entry.id, entry.port) && entry.answers != answers {
                entry.answer(now, answers, &self.setup.health);
            }
        }
        self.changed(now);
    }

    pub(super) fn find(&self, id: &TargetId, port: u16) -> Option<&Entry> {
        self.entries.iter().find(|e| e.port == port && e.id == *id && e.is_listed())
    }

    pub(super) fn listed_until(&self, id: &TargetId) -> Option<Time> {
        self.entries.iter().filter(|e| e.id == *id).filter_map(until).max()
    }

    pub(super) fn target_listed_until(&self, id: &TargetId, port: u16) -> Option<Time> {
        self.find(id, port).and_then(until)
    }

    pub(super) fn shown(&mut self) -> Arc<[Target]> {
        let in_use = self.setup.in_use;
        let build = || {
            let listed = self.entries.iter().filter(|e| e.is_listed());
            let row = |e: &Entry| Target { id: e.id.clone(), port: e.port, zone: e.shown_zone(), health: e.health(in_use) };
            listed.map(row).collect()
        };
        Arc::clone(self.shown.get_or_insert_with(build))
    }

    /// Called after each change: drops targets that are over, and computes the routes and the next event again.
    pub(super) fn changed(&mut self, now: Time) {
        self.entries.retain(|entry| !entry.is_over(now));
        self.route(now);
        let changes = self.entries.iter().map(|entry| entry.next(now)).min().unwrap_or(Time::NEVER);
        self.next = changes.min(self.zones.next(now));
        self.shown = None;
        self.version += 1;
    }

    fn route(&mut self, now: Time) {
        self.routes.clear();
        let is_used = self.setup.in_use && !self.deleted;
        if is_used && !self.setup.cross_zone.is_on() && self.entries.iter().any(|entry| zone_of(entry).is_some()) {
            self.routes = self.zones.compute_routes(now, &self.entries);
            return;
        }
        self.zones.forget();
        if !is_used {
            return;
        }
        let fails_open = !self.entries.iter().any(Entry::is_fit);
        for entry in &self.entries {
            if entry.lags(now) || entry.is_fit() || fails_open && entry.is_last_resort() {
                self.routes.push(Route { id: entry.id.clone(), port: entry.port });
            }
        }
    }
}

/// Until when a target is listed. While it is registered there is no end.
fn until(entry: &Entry) -> Option<Time> {
    match entry.stage {
        TargetStage::Gone => None,
        TargetStage::Draining { .. } => Some(entry.changes_at),
        TargetStage::Registering
        | TargetStage::FirstChecks
        | TargetStage::Healthy
        | TargetStage::Unhealthy
        | TargetStage::UnhealthyDraining => Some(Time::NEVER),
    }
}
