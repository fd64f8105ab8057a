//! What others do to the load balancers: operators, machines that stop, faults. None of it is throttled.

use std::time::Duration;

use super::{LoadBalancers, Oddity};
use decamp_core::ids::{InstanceId, TargetGroupArn, TargetId};

impl LoadBalancers {
    /// An operator changes the deregistration delay. Targets that are draining wait for the new one, counted from their start.
    pub fn set_delay(&mut self, arn: &TargetGroupArn, delay: Duration) {
        let now = self.now;
        self.with(arn, |group| group.set_delay(now, delay));
    }

    /// An operator has connections cut at the end of the delay, or no longer.
    pub fn set_connection_termination(&mut self, arn: &TargetGroupArn, terminates: bool) {
        self.with(arn, |group| group.setup.connection_termination = terminates);
    }

    /// An operator turns cross-zone load balancing on or off for the group, or leaves it to the load balancer.
    pub fn set_cross_zone(&mut self, arn: &TargetGroupArn, of_group: Option<bool>) {
        let now = self.now;
        self.with(arn, |group| {
            group.setup.cross_zone.of_group = of_group;
            group.changed(now);
        });
    }

    /// An operator turns it on or off for the load balancer.
    pub fn set_balancer_cross_zone(&mut self, arn: &TargetGroupArn, of_balancer: bool) {
        let now = self.now;
        self.with(arn, |group| {
            group.setup.cross_zone.of_balancer = of_balancer;
            group.changed(now);
        });
    }

    /// An operator puts the group behind a listener, or takes it away from there.
    pub fn set_in_use(&mut self, arn: &TargetGroupArn, in_use: bool) {
        let now = self.now;
        self.with(arn, |group| {
            group.setup.in_use = in_use;
            group.changed(now);
        });
    }

    /// An operator deletes the group. Nothing is routed by it any more.
    pub fn delete_group(&mut self, arn: &TargetGroupArn) {
        let now = self.now;
        self.with(arn, |group| {
            group.deleted = true;
            group.entries.clear();
            group.changed(now);
        });
    }

    /// From now on, our credentials may or may not read the group, or write to it.
    pub fn set_denied(&mut self, arn: &TargetGroupArn, reads: bool, writes: bool) {
        self.with(arn, |group| (group.denies_reads, group.denies_writes) = (reads, writes));
    }

    /// From now on, the group's attributes can or cannot be read; its targets can.
    pub fn set_attributes_unreadable(&mut self, arn: &TargetGroupArn, unreadable: bool) {
        self.with(arn, |group| group.attributes_unreadable = unreadable);
    }

    /// What listens at this target begins or ceases to pass its checks.
    pub fn set_answers(&mut self, arn: &TargetGroupArn, target: &TargetId, port: u16, answers: bool) {
        let now = self.now;
        self.with(arn, |group| group.set_answers(now, answers, |id, at| at == port && id == target));
    }

    /// Something else is wrong with this target, or right again.
    pub fn set_oddity(&mut self, arn: &TargetGroupArn, target: &TargetId, port: u16, oddity: Option<Oddity>) {
        let now = self.now;
        self.with(arn, |group| group.set_oddity(now, oddity, |id, at| at == port && id == target));
    }

    /// The machine stopped: instance targets are `unused` with `Target.InvalidState`, in every group, and stay registered.
    pub fn machine_stopped(&mut self, instance: InstanceId) {
        let now = self.now;
        for group in self.groups.iter_mut().filter(|group| !group.deleted) {
            if group.listed_until(&TargetId::Instance(instance)).is_some() {
                group.set_oddity(now, Some(Oddity::InvalidState), |id, _| *id == TargetId::Instance(instance));
            }
        }
        self.reckon();
    }

    /// The machine runs again (out of a warm pool).
    pub fn machine_started(&mut self, instance: InstanceId) {
        let now = self.now;
        for group in &mut self.groups {
            group.set_oddity(now, None, |id, _| *id == TargetId::Instance(instance));
        }
        self.reckon();
    }

    /// Somebody else in the account used up both buckets.
    pub fn empty_buckets(&mut self) {
        self.reads.drain(self.now);
        self.writes.drain(self.now);
    }

    fn with(&mut self, arn: &TargetGroupArn, change: impl FnOnce(&mut super::group::Group)) {
        if let Some(group) = self.group_mut(arn) {
            change(group);
            self.reckon();
        }
    }
}
