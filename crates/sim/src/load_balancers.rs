//! The model of Elastic Load Balancing v2: target groups, their targets, and routing that lags behind the API.
//!
//! To build it: [`LoadBalancers::new`], [`LoadBalancers::add_group`] and [`LoadBalancers::put_target`].
//!
//! Its clock moves only in [`LoadBalancers::advance`], and all other methods act at that time. [`LoadBalancers::next_event`] says when the
//! next timed event is due. The rules see [`LoadBalancers::look_group`], and the model of requests routes by [`LoadBalancers::routes`].
//! `register` and `deregister` are the writes of the API, which may be throttled or refused. The actions of operators, machines and faults
//! are in `actors.rs`, and the answers of the Describe calls in `looks.rs`.

mod actors;
mod group;
mod looks;
mod target;
#[cfg(test)]
mod tests;
mod zones;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use self::group::Group;
pub use self::group::{GroupSetup, Kind, Route, TargetType};
pub use self::looks::{AwsState, Known, TargetView};
pub use self::target::{HealthTimes, TargetProblem};
pub use self::zones::{CrossZone, WITHDRAWN_AFTER, ZonalNode};
use super::api_error::ApiError;
use super::bucket::{Bucket, Limit};
use super::rng::Rng;
use decamp_core::ids::{InstanceId, TargetGroupArn, TargetId};
use decamp_core::time::Time;

/// The load balancers of one account and Region.
#[derive(Debug, Clone)]
pub struct LoadBalancers {
    groups: Vec<Group>,
    reads: Bucket,
    writes: Bucket,
    rng: Rng,
    now: Time,
    next: Time,
}

/// One target in a `register` or `deregister` call, as a client sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The id.
    pub id: TargetId,
    /// The port, if the client sent one. Otherwise the group's own port applies.
    pub port: Option<u16>,
    /// The zone, if the client sent one.
    pub zone: Option<Arc<str>>,
}

impl LoadBalancers {
    /// Load balancers without groups, at this time. `reads` throttles the Describe calls, `writes` the others.
    #[must_use]
    pub fn new(now: Time, seed: u64, reads: Limit, writes: Limit) -> Self {
        Self {
            groups: Vec::new(),
            reads: Bucket::full(reads),
            writes: Bucket::full(writes),
            rng: Rng::new(seed),
            now,
            next: Time::NEVER,
        }
    }

    /// Adds a target group.
    pub fn add_group(&mut self, setup: GroupSetup) {
        self.groups.push(Group::new(setup));
    }

    /// Adds a target that has long been healthy.
    pub fn put_target(&mut self, arn: &TargetGroupArn, id: TargetId, port: u16, zone: Option<Arc<str>>) {
        self.put_targets(arn, [(id, port, zone)]);
    }

    /// Adds many targets that have long been healthy.
    pub fn put_targets(&mut self, arn: &TargetGroupArn, targets: impl IntoIterator<Item = (TargetId, u16, Option<Arc<str>>)>) {
        let now = self.now;
        if let Some(group) = self.group_mut(arn) {
            group.put_healthy(now, targets);
        }
    }

    /// The time that it was last advanced to.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// When the next timed event is due: a delay ends, a check passes or fails, routing catches up.
    #[must_use]
    pub fn next_event(&self) -> Time {
        self.next
    }

    /// Processes all events that are due by `to`.
    pub fn advance(&mut self, to: Time) {
        while self.next <= to {
            let at = self.next;
            for group in &mut self.groups {
                group.step(at);
            }
            self.reschedule();
        }
        self.now = self.now.max(to);
    }

    /// `DeregisterTargets`. Like AWS it ignores targets that are not registered with that exact port.
    ///
    /// # Errors
    /// Throttled, denied, or the group is gone.
    pub fn deregister(&mut self, arn: &TargetGroupArn, targets: &[Named]) -> Result<(), ApiError> {
        self.write_to(arn)?;
        for named in targets {
            // A Classic Load Balancer deregisters instances with any port.
            let fits = |port, default| arn.is_classic() || port == named.port.unwrap_or(default);
            self.deregister_where(arn, |id, port, default| *id == named.id && fits(port, default));
        }
        Ok(())
    }

    /// `RegisterTargets` by any client. A draining instance target can be registered again; an ip target must have left first.
    ///
    /// # Errors
    /// Throttled, denied, the group is gone, or the target does not fit the group.
    pub fn register(&mut self, arn: &TargetGroupArn, targets: &[Named]) -> Result<(), ApiError> {
        self.write_to(arn)?;
        let now = self.now;
        let group = self.group_mut(arn).ok_or(ApiError::TargetGroupNotFound)?;
        for named in targets {
            group.fits(&named.id, named.port.unwrap_or(group.setup.port))?;
        }
        for named in targets {
            group.register(now, named.id.clone(), named.port.unwrap_or(group.setup.port), named.zone.clone());
        }
        self.reschedule();
        Ok(())
    }

    /// A deregistration by Auto Scaling: every port of this instance. AWS does not throttle it.
    pub fn deregister_instance(&mut self, arn: &TargetGroupArn, instance: InstanceId) {
        self.deregister_where(arn, |id, _, _| *id == TargetId::Instance(instance));
    }

    /// An operator or a controller deregisters every port of this address.
    pub fn deregister_address(&mut self, arn: &TargetGroupArn, address: IpAddr) {
        self.deregister_where(arn, |id, _, _| *id == TargetId::Ip(address));
    }

    /// A registration by Auto Scaling: the instance with the group's own port.
    pub fn register_instance(&mut self, arn: &TargetGroupArn, instance: InstanceId, zone: Option<Arc<str>>) {
        self.put_at_its_port(arn, TargetId::Instance(instance), zone);
    }

    /// An operator registers the instance: by its id, or by this address in a group of addresses, which refuses ids.
    pub fn register_by_hand(&mut self, arn: &TargetGroupArn, instance: InstanceId, address: IpAddr, zone: Option<Arc<str>>) {
        let id = match self.group(arn).map(|group| group.setup.target_type) {
            Some(TargetType::Ip) => TargetId::Ip(address),
            Some(TargetType::Instance) | None => TargetId::Instance(instance),
        };
        self.put_at_its_port(arn, id, zone);
    }

    fn put_at_its_port(&mut self, arn: &TargetGroupArn, id: TargetId, zone: Option<Arc<str>>) {
        let now = self.now;
        if let Some(group) = self.group_mut(arn).filter(|group| group.fits(&id, group.setup.port).is_ok()) {
            group.register(now, id, group.setup.port, zone);
            self.reschedule();
        }
    }

    /// Until when the group lists a target of this instance as draining. `None`: none is registered or draining. A registered target
    /// counts as draining without end.
    #[must_use]
    pub fn listed_until(&self, arn: &TargetGroupArn, instance: InstanceId) -> Option<Time> {
        self.group(arn)?.listed_until(&TargetId::Instance(instance))
    }

    /// Until when the group lists a target with this address, as in `listed_until`.
    #[must_use]
    pub fn address_listed_until(&self, arn: &TargetGroupArn, address: IpAddr) -> Option<Time> {
        self.group(arn)?.listed_until(&TargetId::Ip(address))
    }

    /// Until when the group lists this target, as in `listed_until`.
    #[must_use]
    pub fn target_listed_until(&self, arn: &TargetGroupArn, id: &TargetId, port: u16) -> Option<Time> {
        self.group(arn)?.target_listed_until(id, port)
    }

    /// The targets to which the load balancer of this group sends new requests now. Empty if the group does not exist or is not in use.
    #[must_use]
    pub fn routes(&self, arn: &TargetGroupArn) -> &[Route] {
        self.group(arn).map_or(&[], Group::routes)
    }

    /// The nodes of the group's load balancer that DNS names, one for each zone, and where each sends. Empty if load balancing crosses
    /// zones: then each node sends to all routes.
    #[must_use]
    pub fn zonal_nodes(&self, arn: &TargetGroupArn) -> &[ZonalNode] {
        self.group(arn).map_or(&[], Group::zonal_nodes)
    }

    /// A number that changes whenever the group's routes or its list of targets may have changed.
    #[must_use]
    pub fn routes_version(&self, arn: &TargetGroupArn) -> u64 {
        self.group(arn).map_or(0, Group::version)
    }

    /// Whether the load balancer still sends new requests to this target.
    #[must_use]
    pub fn is_routed(&self, arn: &TargetGroupArn, id: &TargetId, port: u16) -> bool {
        self.routes(arn).iter().any(|route| route.port == port && route.id == *id)
    }

    /// How many calls were accepted and how many throttled so far: first the Describe calls, then the writes.
    #[must_use]
    pub fn calls(&self) -> [(u64, u64); 2] {
        [self.reads.counts(), self.writes.counts()]
    }

    /// The ARNs of all groups that exist.
    pub fn arns(&self) -> impl Iterator<Item = &TargetGroupArn> {
        self.groups.iter().filter(|group| !group.deleted).map(|group| &group.setup.arn)
    }

    /// The target groups that list one of these targets.
    pub fn groups_listing(&mut self, which: impl Fn(&TargetId) -> bool) -> Vec<TargetGroupArn> {
        let there = self.groups.iter_mut().filter(|group| !group.deleted && !group.setup.arn.is_classic());
        there.filter_map(|g| g.shown().iter().any(|t| which(&t.id)).then(|| g.setup.arn.clone())).collect()
    }

    /// The setup of a group that exists.
    #[must_use]
    pub fn setup(&self, arn: &TargetGroupArn) -> Option<&GroupSetup> {
        self.group(arn).map(|group| &group.setup)
    }

    fn deregister_where(&mut self, arn: &TargetGroupArn, which: impl Fn(&TargetId, u16, u16) -> bool) {
        let (now, next) = (self.now, self.next);
        let Some(place) = self.place(arn) else { return };
        let group = &mut self.groups[place];
        let (least, most) = group.setup.lag;
        let rng = &mut self.rng;
        group.deregister(now, which, || rng.span(least, most));
        self.next = next.min(group.next());
    }

    fn write_to(&mut self, arn: &TargetGroupArn) -> Result<(), ApiError> {
        if !self.writes.take(self.now) {
            return Err(ApiError::Throttled);
        }
        let group = self.group(arn).ok_or(ApiError::TargetGroupNotFound)?;
        if group.denies_writes { Err(ApiError::AccessDenied) } else { Ok(()) }
    }

    fn reschedule(&mut self) {
        self.next = self.groups.iter().map(Group::next).min().unwrap_or(Time::NEVER);
    }

    fn place(&self, arn: &TargetGroupArn) -> Option<usize> {
        let clone = self.groups.iter().position(|group| !group.deleted && group.setup.arn.is_clone_of(arn));
        clone.or_else(|| self.groups.iter().position(|group| !group.deleted && group.setup.arn == *arn))
    }

    fn group(&self, arn: &TargetGroupArn) -> Option<&Group> {
        self.place(arn).map(|place| &self.groups[place])
    }

    fn group_mut(&mut self, arn: &TargetGroupArn) -> Option<&mut Group> {
        self.place(arn).map(|place| &mut self.groups[place])
    }
}

/// How long the routing of an Application Load Balancer lags behind a deregistration: least and most. It is drawn for each.
pub const ALB_LAG: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(10));
/// The same for a Network or Gateway Load Balancer. Users report up to two minutes (facts/aws.md 3.2).
pub const NLB_LAG: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(120));
