//! One instance of a group: its state, its lifecycle actions, and its timed state changes.

use std::sync::Arc;

use super::actions::Action;
use super::setup::Transition;
use super::states::LifecycleState;
use super::{AutoScaling, InstanceEvent};
use crate::load_balancers::LoadBalancers;
use decamp_core::ids::InstanceId;
use decamp_core::time::Time;

/// Where an instance goes to or comes from, as in events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// EC2: the instance is terminated, or new.
    Ec2,
    /// The group itself.
    AutoScalingGroup,
    /// The warm pool.
    WarmPool,
}

impl Destination {
    /// AWS's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "EC2",
            Self::AutoScalingGroup => "AutoScalingGroup",
            Self::WarmPool => "WarmPool",
        }
    }
}

/// A scaling activity of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activity {
    /// Its unique number.
    pub number: u64,
    /// Launching or terminating.
    pub transition: Transition,
    /// `StartTime`.
    pub began: Time,
    /// `EndTime`, once it is over.
    pub ended: Option<Time>,
}

/// An instance as Auto Scaling knows it.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Its zone.
    pub zone: Arc<str>,
    /// Its state.
    pub state: LifecycleState,
    /// Whether `HealthStatus` is `Healthy`.
    pub healthy: bool,
    /// Whether Auto Scaling still lists it.
    pub listed: bool,
    /// Whether the machine runs.
    pub runs: bool,
    /// Its actions in the current transition, open and ended.
    pub actions: Vec<Action>,
    /// When it was launched, if the activities go back that far.
    pub launched: Option<Time>,
    /// Its last activity.
    pub activity: Option<Activity>,
    /// The version of the launch template that it was launched with.
    pub version: u32,
    /// Whether a refresh terminates it, and launches its replacement.
    pub refreshed: bool,
    pub(super) origin: Destination,
    pub(super) destination: Destination,
    pub(super) group: usize,
    /// When its next timed state change is due. Its actions have their own times.
    pub(super) continues_at: Time,
}

impl Instance {
    pub(super) fn new(id: InstanceId, group: usize, zone: Arc<str>, state: LifecycleState, now: Time) -> Self {
        let runs = !matches!(state, LifecycleState::WarmedStopped | LifecycleState::WarmedHibernated);
        // An instance that is added in a transitional state continues from there.
        let continues_at = if state.is_settled() { Time::NEVER } else { now };
        let (origin, destination) = (Destination::AutoScalingGroup, Destination::Ec2);
        let (actions, activity) = (Vec::new(), None);
        let (healthy, listed, version, refreshed) = (true, true, 1, false);
        let launched = None;
        Self {
            id,
            zone,
            state,
            healthy,
            listed,
            runs,
            actions,
            launched,
            activity,
            version,
            refreshed,
            origin,
            destination,
            group,
            continues_at,
        }
    }

    pub(super) fn next(&self) -> Time {
        self.actions.iter().map(Action::runs_out).min().unwrap_or(Time::NEVER).min(self.continues_at)
    }
}

impl AutoScaling {
    /// Makes every state change of this instance that is due now.
    pub(super) fn step(&mut self, place: usize, balancers: &mut LoadBalancers) {
        self.expire(place);
        if self.now < self.instances[place].continues_at {
            return;
        }
        self.instances[place].continues_at = Time::NEVER;
        let state = self.instances[place].state;
        match state {
            LifecycleState::Terminating | LifecycleState::WarmedPending if self.waits_for_balancers(place, balancers) => {}
            LifecycleState::Terminating | LifecycleState::WarmedPending | LifecycleState::WarmedTerminating => {
                self.begin_hooks(place, Transition::Terminating);
            }
            LifecycleState::ReplacingRootVolume => self.begin_hooks(place, Transition::Terminating),
            LifecycleState::ReplacingRootVolumeProceed => {
                // The instance is rebooted, which ends every process on it.
                self.stop_machine(place, balancers);
                self.end_activity(place);
                self.set_state(place, LifecycleState::RootVolumeReplaced);
            }
            LifecycleState::Pending => self.begin_hooks(place, Transition::Launching),
            LifecycleState::PendingProceed => self.enter_service(place, balancers),
            LifecycleState::TerminatingProceed => self.stop(place, LifecycleState::Terminated, balancers),
            LifecycleState::WarmedTerminatingProceed => self.stop(place, LifecycleState::WarmedTerminated, balancers),
            LifecycleState::WarmedPendingProceed => self.enter_pool(place, balancers),
            LifecycleState::Terminated | LifecycleState::WarmedTerminated | LifecycleState::Detaching => self.delist(place),
            LifecycleState::EnteringStandby => self.set_state(place, LifecycleState::Standby),
            // Auto Scaling has noticed that another party terminated the machine.
            LifecycleState::InService | LifecycleState::Standby | LifecycleState::RootVolumeReplaced => {
                self.instances[place].healthy = false;
                self.depart(place, Destination::Ec2, balancers);
            }
            LifecycleState::PendingWait
            | LifecycleState::Quarantined
            | LifecycleState::TerminatingWait
            | LifecycleState::TerminatingRetained
            | LifecycleState::Detached
            | LifecycleState::ReplacingRootVolumeWait
            | LifecycleState::WarmedPendingWait
            | LifecycleState::WarmedPendingRetained
            | LifecycleState::WarmedTerminatingWait
            | LifecycleState::WarmedTerminatingRetained
            | LifecycleState::WarmedStopped
            | LifecycleState::WarmedRunning
            | LifecycleState::WarmedHibernated => {}
        }
    }

    /// Begins a termination or the way to the warm pool. The instance leaves the attached target groups first.
    pub(super) fn depart(&mut self, place: usize, destination: Destination, balancers: &mut LoadBalancers) {
        let from = self.instances[place].state;
        let state = match destination {
            Destination::WarmPool => LifecycleState::WarmedPending,
            Destination::Ec2 | Destination::AutoScalingGroup if from.is_warm() => LifecycleState::WarmedTerminating,
            Destination::Ec2 | Destination::AutoScalingGroup => LifecycleState::Terminating,
        };
        let (number, began) = (self.rng.bits(), self.now);
        let instance = &mut self.instances[place];
        instance.origin = if from.is_warm() { Destination::WarmPool } else { Destination::AutoScalingGroup };
        instance.destination = destination;
        instance.actions.clear();
        instance.activity = Some(Activity { number, transition: Transition::Terminating, began, ended: None });
        instance.continues_at = self.now;
        self.set_state(place, state);
        let (id, group) = (self.instances[place].id, self.instances[place].group);
        let setup = &self.groups[group].setup;
        for arn in setup.attached.iter().chain(&setup.lattice) {
            balancers.deregister_instance(arn, id);
        }
        self.step(place, balancers);
    }

    /// Begins the replacement of the root volume. AWS does not document whether the instance leaves the attached target groups first. In
    /// the model it does not.
    pub(super) fn begin_root_volume(&mut self, place: usize, balancers: &mut LoadBalancers) {
        let (number, began) = (self.rng.bits(), self.now);
        let instance = &mut self.instances[place];
        (instance.origin, instance.destination) = (Destination::AutoScalingGroup, Destination::AutoScalingGroup);
        instance.actions.clear();
        instance.activity = Some(Activity { number, transition: Transition::Terminating, began, ended: None });
        instance.continues_at = self.now;
        self.set_state(place, LifecycleState::ReplacingRootVolume);
        self.step(place, balancers);
    }

    /// Whether attached target groups still list the instance, and Auto Scaling waits for that.
    fn waits_for_balancers(&mut self, place: usize, balancers: &LoadBalancers) -> bool {
        let instance = &mut self.instances[place];
        let setup = &self.groups[instance.group].setup;
        if !setup.waits_for_deregistration {
            return false;
        }
        let listed = setup.attached.iter().filter_map(|arn| balancers.listed_until(arn, instance.id)).max();
        match listed {
            Some(until) if self.now < until => {
                // If another party has registered the instance again, there is no end to wait for. Check again in a minute.
                instance.continues_at = if until == Time::NEVER { self.now + std::time::Duration::from_secs(60) } else { until };
                true
            }
            Some(_) | None => false,
        }
    }

    fn enter_service(&mut self, place: usize, balancers: &mut LoadBalancers) {
        let (id, group, zone) = (self.instances[place].id, self.instances[place].group, Arc::clone(&self.instances[place].zone));
        for arn in &self.groups[group].setup.attached {
            balancers.register_instance(arn, id, Some(Arc::clone(&zone)));
        }
        self.end_activity(place);
        self.set_state(place, LifecycleState::InService);
    }

    fn stop(&mut self, place: usize, state: LifecycleState, balancers: &mut LoadBalancers) {
        self.stop_machine(place, balancers);
        self.end_activity(place);
        self.set_state(place, state);
        let listed_after = self.groups[self.instances[place].group].setup.listed_after;
        self.instances[place].continues_at = self.now + listed_after;
    }

    fn enter_pool(&mut self, place: usize, balancers: &mut LoadBalancers) {
        let pool = self.groups[self.instances[place].group].setup.warm_pool;
        let rests = pool.map_or(LifecycleState::WarmedStopped, |pool| pool.rests);
        if rests != LifecycleState::WarmedRunning {
            self.stop_machine(place, balancers);
        }
        self.end_activity(place);
        self.set_state(place, rests);
    }

    pub(super) fn stop_machine(&mut self, place: usize, balancers: &mut LoadBalancers) {
        let instance = &mut self.instances[place];
        if !std::mem::replace(&mut instance.runs, false) {
            return;
        }
        let id = instance.id;
        balancers.machine_stopped(id);
        self.record(InstanceEvent::MachineStopped(id));
    }

    pub(super) fn delist(&mut self, place: usize) {
        self.end_activity(place);
        let instance = &mut self.instances[place];
        instance.listed = false;
        instance.continues_at = Time::NEVER;
        let id = instance.id;
        self.record(InstanceEvent::Delisted(id));
    }

    fn end_activity(&mut self, place: usize) {
        if let Some(activity) = &mut self.instances[place].activity {
            activity.ended.get_or_insert(self.now);
        }
    }

    pub(super) fn set_state(&mut self, place: usize, state: LifecycleState) {
        let instance = &mut self.instances[place];
        instance.state = state;
        let id = instance.id;
        self.record(InstanceEvent::State { instance: id, state });
    }
}
