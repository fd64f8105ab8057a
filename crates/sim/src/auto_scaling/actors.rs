//! The actions of AWS, EC2, operators and faults on groups and instances. Only the calls of the API itself are throttled.

use std::sync::Arc;

use super::actions::{Action, Ending, no_group};
use super::instance::{Activity, Destination, Instance};
use super::setup::{HookSetup, Transition};
use super::states::LifecycleState;
use super::{AutoScaling, GroupSetup};
use crate::api_error::ApiError;
use crate::load_balancers::LoadBalancers;
use decamp_core::ids::InstanceId;
use decamp_core::time::Time;

impl AutoScaling {
    /// Auto Scaling begins to terminate an instance for any reason. A retained instance is terminated without hooks.
    ///
    /// # Errors
    /// The instance is not listed, or is already terminating.
    pub fn terminate(&mut self, id: InstanceId, balancers: &mut LoadBalancers) -> Result<(), ApiError> {
        let place = self.instance_place(id).ok_or_else(|| no_instance(id))?;
        let instance = &self.instances[place];
        if instance.state.is_retained() {
            let warm = instance.state.is_warm();
            let state = if warm { LifecycleState::WarmedTerminatingProceed } else { LifecycleState::TerminatingProceed };
            self.instances[place].continues_at = self.now + self.groups[instance.group].setup.stop_after;
            self.set_state(place, state);
        } else if instance.state.is_settled() {
            self.depart(place, Destination::Ec2, balancers);
        } else {
            return Err(ApiError::ScalingActivityInProgress);
        }
        self.reschedule();
        Ok(())
    }

    /// Auto Scaling scales in. The instance goes to the warm pool if the group has one with reuse.
    ///
    /// # Errors
    /// As `terminate`.
    pub fn scale_in(&mut self, id: InstanceId, balancers: &mut LoadBalancers) -> Result<(), ApiError> {
        let place = self.instance_place(id).ok_or_else(|| no_instance(id))?;
        let instance = &self.instances[place];
        let reuses = self.groups[instance.group].setup.warm_pool.is_some_and(|pool| pool.reuse_on_scale_in);
        if !reuses || instance.state != LifecycleState::InService {
            return self.terminate(id, balancers);
        }
        self.depart(place, Destination::WarmPool, balancers);
        self.reschedule();
        Ok(())
    }

    /// An instance refresh with the strategy `ReplaceRootVolume` begins with this instance.
    ///
    /// # Errors
    /// There is no such instance, or it is not in service.
    pub fn replace_root_volume(&mut self, id: InstanceId, balancers: &mut LoadBalancers) -> Result<(), ApiError> {
        let place = self.instance_place(id).ok_or_else(|| no_instance(id))?;
        if self.instances[place].state != LifecycleState::InService {
            return Err(ApiError::ScalingActivityInProgress);
        }
        self.begin_root_volume(place, balancers);
        self.reschedule();
        Ok(())
    }

    /// `TerminateInstanceInAutoScalingGroup`: a call of the API.
    ///
    /// # Errors
    /// Throttled, contended, in the warm pool, or as `terminate`.
    pub fn terminate_by_api(&mut self, id: InstanceId, balancers: &mut LoadBalancers) -> Result<(), ApiError> {
        self.write()?;
        let warm = self.instance(id).is_some_and(|instance| instance.state.is_warm() && !instance.state.is_retained());
        if warm {
            return Err(ApiError::Validation(format!("The instance {id} is in a warm pool").into()));
        }
        self.terminate(id, balancers)
    }

    /// `SetInstanceHealth`: an unhealthy instance is terminated through its hooks.
    ///
    /// # Errors
    /// Throttled, contended, or not listed.
    pub fn set_health(&mut self, id: InstanceId, healthy: bool, balancers: &mut LoadBalancers) -> Result<(), ApiError> {
        self.write()?;
        let place = self.instance_place(id).ok_or_else(|| no_instance(id))?;
        self.instances[place].healthy = healthy;
        if !healthy && self.instances[place].state == LifecycleState::InService {
            self.terminate(id, balancers)?;
        }
        Ok(())
    }

    /// The machine itself ends (console, EC2's API, spot, a failed host). Auto Scaling notices later and still runs the hooks. An instance
    /// that waits in a hook continues to wait.
    pub fn machine_dies(&mut self, id: InstanceId, balancers: &mut LoadBalancers) {
        if let Some(place) = self.instance_place(id) {
            self.stop_machine(place, balancers);
            let instance = &self.instances[place];
            if instance.state.is_settled() {
                self.instances[place].continues_at = self.now + self.groups[instance.group].setup.notices_after;
            }
            self.reschedule();
        }
    }

    /// A new instance starts. It goes through the launching hooks, then into service and the attached target groups.
    ///
    /// # Errors
    /// No such group.
    pub fn launch(&mut self, asg: &str, id: InstanceId, zone: Arc<str>) -> Result<(), ApiError> {
        let group = self.group_place(asg).ok_or_else(|| no_group(asg))?;
        let mut instance = Instance::new(id, group, zone, LifecycleState::Pending, self.now);
        instance.origin = Destination::Ec2;
        self.instances.push(instance);
        self.start(self.instances.len() - 1);
        Ok(())
    }

    /// An instance leaves the warm pool and goes into service.
    ///
    /// # Errors
    /// The instance does not rest in the pool.
    pub fn take_from_pool(&mut self, id: InstanceId, balancers: &mut LoadBalancers) -> Result<(), ApiError> {
        let place = self.instance_place(id).ok_or_else(|| no_instance(id))?;
        let state = self.instances[place].state;
        if !state.is_warm() || !state.is_settled() {
            return Err(ApiError::ScalingActivityInProgress);
        }
        self.instances[place].origin = Destination::WarmPool;
        if !std::mem::replace(&mut self.instances[place].runs, true) {
            balancers.machine_started(id);
            self.record(super::InstanceEvent::MachineStarted(id));
        }
        self.set_state(place, LifecycleState::Pending);
        self.start(place);
        Ok(())
    }

    fn start(&mut self, place: usize) {
        let (number, began) = (self.rng.bits(), self.now);
        let instance = &mut self.instances[place];
        instance.destination = Destination::AutoScalingGroup;
        instance.activity = Some(Activity { number, transition: Transition::Launching, began, ended: None });
        instance.actions.clear();
        instance.continues_at = self.now + self.groups[instance.group].setup.start_takes;
        self.reschedule();
    }

    /// An operator detaches the instance in any state. No hook runs, open actions are dropped, and the machine keeps running.
    pub fn detach(&mut self, id: InstanceId, balancers: &mut LoadBalancers) {
        self.leave_service(id, LifecycleState::Detaching, balancers);
    }

    /// An operator puts the instance into standby in any state. No hook runs, and open actions are dropped.
    pub fn stand_by(&mut self, id: InstanceId, balancers: &mut LoadBalancers) {
        self.leave_service(id, LifecycleState::EnteringStandby, balancers);
    }

    fn leave_service(&mut self, id: InstanceId, state: LifecycleState, balancers: &mut LoadBalancers) {
        let Some(place) = self.instance_place(id) else { return };
        self.drop_actions(place);
        let group = self.instances[place].group;
        let setup = &self.groups[group].setup;
        for arn in setup.attached.iter().chain(&setup.lattice) {
            balancers.deregister_instance(arn, id);
        }
        self.instances[place].continues_at = self.now + self.groups[group].setup.stop_after;
        self.set_state(place, state);
        self.reschedule();
    }

    fn drop_actions(&mut self, place: usize) {
        for at in 0..self.instances[place].actions.len() {
            self.close(place, at, Ending::Dropped);
        }
    }

    /// `PutLifecycleHook`: adds the hook, or changes it for actions that begin later.
    ///
    /// # Errors
    /// Throttled, or no such group.
    pub fn put_hook(&mut self, asg: &str, hook: HookSetup) -> Result<(), ApiError> {
        self.write()?;
        let place = self.group_place(asg).ok_or_else(|| no_group(asg))?;
        let hooks = &mut self.groups[place].setup.hooks;
        match hooks.iter_mut().find(|h| h.name == hook.name) {
            Some(old) => *old = hook,
            None => hooks.push(hook),
        }
        Ok(())
    }

    /// An operator deletes a hook. As in AWS, its open actions end with CONTINUE.
    pub fn delete_hook(&mut self, asg: &str, hook: &str) {
        let Some(group) = self.group_place(asg) else { return };
        self.groups[group].setup.hooks.retain(|h| *h.name != *hook);
        for place in 0..self.instances.len() {
            if self.instances[place].group != group {
                continue;
            }
            for at in 0..self.instances[place].actions.len() {
                let action: &Action = &self.instances[place].actions[at];
                if action.is_open() && *action.hook == *hook {
                    self.end_action(place, at, Ending::HookDeleted);
                }
            }
        }
        self.reschedule();
    }

    /// An operator force-deletes the group: no hook runs, and every machine stops.
    pub fn delete_group(&mut self, asg: &str, balancers: &mut LoadBalancers) {
        let Some(group) = self.group_place(asg) else { return };
        for place in 0..self.instances.len() {
            if self.instances[place].group == group && self.instances[place].listed {
                self.drop_actions(place);
                self.stop_machine(place, balancers);
                self.delist(place);
            }
        }
        self.groups[group].deleted = true;
        self.reschedule();
    }

    /// An operator changes a group's settings: tags, retention, attached groups, hooks for actions that begin later.
    pub fn change_group(&mut self, asg: &str, change: impl FnOnce(&mut GroupSetup)) {
        if let Some(place) = self.group_place(asg) {
            change(&mut self.groups[place].setup);
        }
    }

    /// Until this time, writes are refused because of another operation on the same group.
    pub fn contend(&mut self, until: Time) {
        self.contended_until = until;
    }

    /// Another client in the account uses up the bucket.
    pub fn empty_bucket(&mut self) {
        self.bucket.drain(self.now);
    }

    pub(super) fn write(&mut self) -> Result<(), ApiError> {
        self.call()?;
        if self.now < self.contended_until { Err(ApiError::ResourceContention) } else { Ok(()) }
    }
}

fn no_instance(id: InstanceId) -> ApiError {
    ApiError::Validation(format!("Instance Id not found - No managed instance found for instance ID: {id}").into())
}
