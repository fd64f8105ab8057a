//! The pretend Elastic Load Balancing v2: target groups, their targets, and a routing that lags what the API says.
//!
//! Build it with [`LoadBalancers::new`] and [`LoadBalancers::add_group`], put targets in with [`LoadBalancers::put_target`]. Its
//! clock moves only in [`LoadBalancers::advance`]; every call happens at the time that it was last advanced to
//! ([`LoadBalancers::next_event`] says when something happens by itself). [`LoadBalancers::look_group`] is what the rules see,
//! [`LoadBalancers::routes`] what the request model routes by. `register` and `deregister` are the API's writes (throttled,
//! refused); `hands.rs` holds what operators, machines and faults do; `looks.rs` what the Describe calls answer.

mod group;
mod hands;
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
pub use self::target::{HealthTimes, Oddity};
pub use self::zones::{CrossZone, WITHDRAWN_AFTER, ZonalNode};
use super::api_error::ApiError;
use super::bucket::{Bucket, Limit};
use super::luck::Luck;
use decamp_core::ids::{InstanceId, TargetGroupArn, TargetId};
use decamp_core::time::Time;

/// The load balancers of one account and Region.
#[derive(Debug, Clone)]
pub struct LoadBalancers {
    groups: Vec<Group>,
    reads: Bucket,
    writes: Bucket,
    luck: Luck,
    now: Time,
    next: Time,
}

/// Names one target to `register` and `deregister`, as a client sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The id.
    pub id: TargetId,
    /// The port, if it was named. Without it, the group's own port is meant.
    pub port: Option<u16>,
    /// The zone, if it was named.
    pub zone: Option<Arc<str>>,
}

impl LoadBalancers {
    /// No groups yet, at this time. `reads` throttles the Describe calls, `writes` the others.
    #[must_use]
    pub fn new(now: Time, seed: u64, reads: Limit, writes: Limit) -> Self {
        Self {
            groups: Vec::new(),
            reads: Bucket::full(reads),
            writes: Bucket::full(writes),
            luck: Luck::new(seed),
            now,
            next: Time::NEVER,
        }
    }

    /// Adds a target group.
    pub fn add_group(&mut self, setup: GroupSetup) {
        self.groups.push(Group::new(setup));
    }

    /// Puts in a target that has long been healthy.
    pub fn put_target(&mut self, arn: &TargetGroupArn, id: TargetId, port: u16, zone: Option<Arc<str>>) {
        self.put_targets(arn, [(id, port, zone)]);
    }

    /// Puts in many of them at once.
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

    /// When something happens by itself: a delay ends, a check passes or fails, routing catches up.
    #[must_use]
    pub fn next_event(&self) -> Time {
        self.next
    }

    /// Lets everything happen that is due until `to`.
    pub fn advance(&mut self, to: Time) {
        while self.next <= to {
            let at = self.next;
            for group in &mut self.groups {
                group.step(at);
            }
            self.reckon();
        }
        self.now = self.now.max(to);
    }

    /// `DeregisterTargets`. A target that is not registered under that very port is passed over in silence, as AWS does.
    ///
    /// # Errors
    /// Throttled, denied, or the group is gone.
    pub fn deregister(&mut self, arn: &TargetGroupArn, targets: &[Named]) -> Result<(), ApiError> {
        self.write_to(arn)?;
        for named in targets {
            // A Classic Load Balancer takes out instances, whatever the port.
            let fits = |port, default| arn.is_classic() || port == named.port.unwrap_or(default);
            self.leave(arn, |id, port, default| *id == named.id && fits(port, default));
        }
        Ok(())
    }

    /// `RegisterTargets`, by whoever it is. A draining instance target comes back; an ip target must have left first.
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
        self.reckon();
        Ok(())
    }

    /// What a deregistration by Auto Scaling does: every port of this instance, out of a bucket of AWS's own.
    pub fn deregister_instance(&mut self, arn: &TargetGroupArn, instance: InstanceId) {
        self.leave(arn, |id, _, _| *id == TargetId::Instance(instance));
    }

    /// An operator, or a controller, takes out every port of this address.
    pub fn deregister_address(&mut self, arn: &TargetGroupArn, address: IpAddr) {
        self.leave(arn, |id, _, _| *id == TargetId::Ip(address));
    }

    /// What a registration by Auto Scaling does: the instance at the group's own port.
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
            self.reckon();
        }
    }

    /// Until when a target of this instance is listed as draining there. `None`: none is registered or draining.
    /// A target that is registered counts as draining without end.
    #[must_use]
    pub fn listed_until(&self, arn: &TargetGroupArn, instance: InstanceId) -> Option<Time> {
        self.group(arn)?.listed_until(&TargetId::Instance(instance))
    }

    /// The same of a target by its address.
    #[must_use]
    pub fn address_listed_until(&self, arn: &TargetGroupArn, address: IpAddr) -> Option<Time> {
        self.group(arn)?.listed_until(&TargetId::Ip(address))
    }

    /// Until when this target is listed; see `listed_until`.
    #[must_use]
    pub fn target_listed_until(&self, arn: &TargetGroupArn, id: &TargetId, port: u16) -> Option<Time> {
        self.group(arn)?.target_listed_until(id, port)
    }

    /// Where the balancer in front of this group sends new requests, as of now. Empty for a group that is not there or not in use.
    #[must_use]
    pub fn routes(&self, arn: &TargetGroupArn) -> &[Route] {
        self.group(arn).map_or(&[], Group::routes)
    }

    /// The nodes of the balancer in front of this group that DNS names, one a zone, and where each sends. None where load balancing
    /// crosses zones: then each sends to all routes.
    #[must_use]
    pub fn zonal_nodes(&self, arn: &TargetGroupArn) -> &[ZonalNode] {
        self.group(arn).map_or(&[], Group::zonal_nodes)
    }

    /// Changes whenever `routes` of this group, or what is listed in it, may have changed.
    #[must_use]
    pub fn routes_version(&self, arn: &TargetGroupArn) -> u64 {
        self.group(arn).map_or(0, Group::version)
    }

    /// Whether the balancer still sends new requests to this target.
    #[must_use]
    pub fn is_routed(&self, arn: &TargetGroupArn, id: &TargetId, port: u16) -> bool {
        self.routes(arn).iter().any(|route| route.port == port && route.id == *id)
    }

    /// Calls let through and refused so far: of the Describe calls, and of the writes.
    #[must_use]
    pub fn calls(&self) -> [(u64, u64); 2] {
        [self.reads.counts(), self.writes.counts()]
    }

    /// Every group that was added and not deleted.
    pub fn arns(&self) -> impl Iterator<Item = &TargetGroupArn> {
        self.groups.iter().filter(|group| !group.deleted).map(|group| &group.setup.arn)
    }

    /// The target groups that list a target that is one of these.
    pub fn holding(&mut self, which: impl Fn(&TargetId) -> bool) -> Vec<TargetGroupArn> {
        let there = self.groups.iter_mut().filter(|group| !group.deleted && !group.setup.arn.is_classic());
        there.filter_map(|g| g.shown().iter().any(|t| which(&t.id)).then(|| g.setup.arn.clone())).collect()
    }

    /// How a group is set up, while it exists.
    #[must_use]
    pub fn setup(&self, arn: &TargetGroupArn) -> Option<&GroupSetup> {
        self.group(arn).map(|group| &group.setup)
    }

    fn leave(&mut self, arn: &TargetGroupArn, which: impl Fn(&TargetId, u16, u16) -> bool) {
        let (now, next) = (self.now, self.next);
        let Some(place) = self.place(arn) else { return };
        let group = &mut self.groups[place];
        let (least, most) = group.setup.lag;
        let luck = &mut self.luck;
        group.deregister(now, which, || luck.span(least, most));
        self.next = next.min(group.next());
    }

    fn write_to(&mut self, arn: &TargetGroupArn) -> Result<(), ApiError> {
        if !self.writes.take(self.now) {
            return Err(ApiError::Throttled);
        }
        let group = self.group(arn).ok_or(ApiError::TargetGroupNotFound)?;
        if group.denies_writes { Err(ApiError::AccessDenied) } else { Ok(()) }
    }

    fn reckon(&mut self) {
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

/// How long routing lags a deregistration, drawn for each: of an Application Load Balancer.
pub const ALB_LAG: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(10));
/// The same for a Network or Gateway Load Balancer: up to two minutes, as the field reports (facts/aws.md 3.2).
pub const NLB_LAG: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(120));
