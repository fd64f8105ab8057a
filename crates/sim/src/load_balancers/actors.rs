//! The actions of operators, machines and faults on the load balancers. They are not throttled.

use std::time::Duration;

use super::{LoadBalancers, TargetProblem};
use decamp_core::ids::{InstanceId, TargetGroupArn, TargetId};

impl LoadBalancers {
    /// An operator changes the deregistration delay. The new delay applies to draining targets too, from the beginning of their draining.
    pub fn set_delay(&mut self, arn: &TargetGroupArn, delay: Duration) {
        let now = self.now;
        self.with(arn, |group| group.set_delay(now, delay));
    }

    /// An operator sets whether the load balancer cuts connections at the end of the delay.
    pub fn set_connection_termination(&mut self, arn: &TargetGroupArn, terminates: bool) {
        self.with(arn, |group| group.setup.connection_termination = terminates);
    }

    /// An operator changes_at cross-zone load balancing on or off for the group, or leaves it to the load balancer.
    pub fn set_cross_zone(&mut self, arn: &TargetGroupArn, of_group: Option<bool>) {
        let now = self.now;
        self.with(arn, |group| {
            group.setup.cross_zone.of_group = of_group;
            group.changed(now);
        });
    }

    /// An operator changes_at cross-zone load balancing on or off for the load balancer.
    pub fn set_balancer_cross_zone(&mut self, arn: &TargetGroupArn, of_balancer: bool) {
        let now = self.now;
        self.with(arn, |group| {
            group.setup.cross_zone.of_balancer = of_balancer;
            group.changed(now);
        });
    }

    /// An operator attaches the group to a listener, or detaches it.
    pub fn set_in_use(&mut self, arn: &TargetGroupArn, in_use: bool) {
        let now = self.now;
        self.with(arn, |group| {
            group.setup.in_use = in_use;
            group.changed(now);
        });
    }

    /// An operator deletes the group, which ends its routing.
    pub fn delete_group(&mut self, arn: &TargetGroupArn) {
        let now = self.now;
        self.with(arn, |group| {
            group.deleted = true;
            group.entries.clear();
            group.changed(now);
        });
    }

    /// Sets whether decamp's credentials may not read the group, and whether they may not write to it.
    pub fn set_denied(&mut self, arn: &TargetGroupArn, reads: bool, writes: bool) {
        self.with(arn, |group| (group.denies_reads, group.denies_writes) = (reads, writes));
    }

    /// Sets whether the group's attributes cannot be read. Its targets still can.
    pub fn set_attributes_unreadable(&mut self, arn: &TargetGroupArn, unreadable: bool) {
        self.with(arn, |group| group.attributes_unreadable = unreadable);
    }

    /// Sets whether the process at this target passes its checks.
    pub fn set_answers(&mut self, arn: &TargetGroupArn, target: &TargetId, port: u16, answers: bool) {
        let now = self.now;
        self.with(arn, |group| group.set_answers(now, answers, |id, at| at == port && id == target));
    }

    /// Sets or clears another problem of this target.
    pub fn set_problem(&mut self, arn: &TargetGroupArn, target: &TargetId, port: u16, problem: Option<TargetProblem>) {
        let now = self.now;
        self.with(arn, |group| group.set_problem(now, problem, |id, at| at == port && id == target));
    }

    /// The machine stopped. In every group its instance targets become `unused` with `Target.InvalidState`, and stay registered.
    pub fn machine_stopped(&mut self, instance: InstanceId) {
        let now = self.now;
        for group in self.groups.iter_mut().filter(|group| !group.deleted) {
            if group.listed_until(&TargetId::Instance(instance)).is_some() {
                group.set_problem(now, Some(TargetProblem::InvalidState), |id, _| *id == TargetId::Instance(instance));
            }
        }
        self.reschedule();
    }

    /// The machine runs again, after it left a warm pool.
    pub fn machine_started(&mut self, instance: InstanceId) {
        let now = self.now;
        for group in &mut self.groups {
            group.set_problem(now, None, |id, _| *id == TargetId::Instance(instance));
        }
        self.reschedule();
    }

    /// Another client in the account uses up both buckets.
    pub fn empty_buckets(&mut self) {
        self.reads.drain(self.now);
        self.writes.drain(self.now);
    }

    fn with(&mut self, arn: &TargetGroupArn, change: impl FnOnce(&mut super::group::Group)) {
        if let Some(group) = self.group_mut(arn) {
            change(group);
            self.reschedule();
        }
    }
}
