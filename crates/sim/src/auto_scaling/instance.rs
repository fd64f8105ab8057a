//! One instance of a group: its state, what it waits for, and the steps it takes by itself.

use std::sync::Arc;

use super::actions::Action;
use super::setup::Transition;
use super::states::LifecycleState;
use super::{AutoScaling, Happening};
use crate::load_balancers::LoadBalancers;
use decamp_core::ids::InstanceId;
use decamp_core::time::Time;

/// Where an instance goes to or comes from, as events name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Away, or from nothing.
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
    /// Which one, unique in this world.
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
    /// `HealthStatus` is `Healthy`.
    pub healthy: bool,
    /// Whether Auto Scaling still lists it.
    pub listed: bool,
    /// Whether the machine runs.
    pub runs: bool,
    /// Its actions, open ones and those that ended in the transition that it is in.
    pub actions: Vec<Action>,
    /// When it was launched, if the activities go back so far.
    pub launched: Option<Time>,
    /// Its last activity.
    pub activity: Option<Activity>,
    /// The version of the launch template that it was launched with.
    pub version: u32,
    /// A refresh told it to go, and sees to what stands in its place.
    pub refreshed: bool,
    pub(super) origin: Destination,
    pub(super) destination: Destination,
    pub(super) group: usize,
    /// When it takes its next step by itself, actions apart.
    pub(super) turns: Time,
}

impl Instance {
    pub(super) fn new(id: InstanceId, group: usize, zone: Arc<str>, state: LifecycleState, now: Time) -> Self {
        let runs = !matches!(state, LifecycleState::WarmedStopped | LifecycleState::WarmedHibernated);
        // An instance that is put in half way goes on from there.
        let turns = if state.is_settled() { Time::NEVER } else { now };
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
            turns,
        }
    }

    pub(super) fn next(&self) -> Time {
        self.actions.iter().map(Action::runs_out).min().unwrap_or(Time::NEVER).min(self.turns)
    }
}

impl AutoScaling {
    /// Takes every step of this instance that is due now.
    pub(super) fn step(&mut self, place: usize, balancers: &mut LoadBalancers) {
        self.run_out(place);
        if self.now < self.instances[place].turns {
            return;
        }
        self.instances[place].turns = Time::NEVER;
        let state = self.instances[place].state;
        match state {
            LifecycleState::Terminating | LifecycleState::WarmedPending if self.leaves_balancers(place, balancers) => {}
            LifecycleState::Terminating | LifecycleState::WarmedPending | LifecycleState::WarmedTerminating => {
                self.begin_hooks(place, Transition::Terminating);
            }
            LifecycleState::ReplacingRootVolume => self.begin_hooks(place, Transition::Terminating),
            LifecycleState::ReplacingRootVolumeProceed => {
                // It is rebooted: what ran on it is gone.
                self.stop_machine(place, balancers);
                self.end_activity(place);
                self.set_state(place, LifecycleState::RootVolumeReplaced);
            }
            LifecycleState::Pending => self.begin_hooks(place, Transition::Launching),
            LifecycleState::PendingProceed => self.enter_service(place, balancers),
            LifecycleState::TerminatingProceed => self.stop(place, LifecycleState::Terminated, balancers),
            LifecycleState::WarmedTerminatingProceed => self.stop(place, LifecycleState::WarmedTerminated, balancers),
            LifecycleState::WarmedPendingProceed => self.rest(place, balancers),
            LifecycleState::Terminated | LifecycleState::WarmedTerminated | LifecycleState::Detaching => self.delist(place),
            LifecycleState::EnteringStandby => self.set_state(place, LifecycleState::Standby),
            // A machine that somebody else terminated; Auto Scaling has noticed.
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

    /// Begins the way out: attached target groups are left first.
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
        instance.turns = self.now;
        self.set_state(place, state);
        let (id, group) = (self.instances[place].id, self.instances[place].group);
        let setup = &self.groups[group].setup;
        for arn in setup.attached.iter().chain(&setup.lattice) {
            balancers.deregister_instance(arn, id);
        }
        self.step(place, balancers);
    }

    /// Begins the replacement of its root volume. Whether attached target groups are left first is not documented: here they are not.
    pub(super) fn begin_root_volume(&mut self, place: usize, balancers: &mut LoadBalancers) {
        let (number, began) = (self.rng.bits(), self.now);
        let instance = &mut self.instances[place];
        (instance.origin, instance.destination) = (Destination::AutoScalingGroup, Destination::AutoScalingGroup);
        instance.actions.clear();
        instance.activity = Some(Activity { number, transition: Transition::Terminating, began, ended: None });
        instance.turns = self.now;
        self.set_state(place, LifecycleState::ReplacingRootVolume);
        self.step(place, balancers);
    }

    /// Whether attached target groups still list the instance, and Auto Scaling waits for that.
    fn leaves_balancers(&mut self, place: usize, balancers: &LoadBalancers) -> bool {
        let instance = &mut self.instances[place];
        let setup = &self.groups[instance.group].setup;
        if !setup.waits_for_deregistration {
            return false;
        }
        let listed = setup.attached.iter().filter_map(|arn| balancers.listed_until(arn, instance.id)).max();
        match listed {
            Some(until) if self.now < until => {
                // Somebody who registers it again is not waited for: one look a minute tells when that is over.
                instance.turns = if until == Time::NEVER { self.now + std::time::Duration::from_secs(60) } else { until };
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
        self.instances[place].turns = self.now + listed_after;
    }

    fn rest(&mut self, place: usize, balancers: &mut LoadBalancers) {
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
        self.tell(Happening::MachineStopped(id));
    }

    pub(super) fn delist(&mut self, place: usize) {
        self.end_activity(place);
        let instance = &mut self.instances[place];
        instance.listed = false;
        instance.turns = Time::NEVER;
        let id = instance.id;
        self.tell(Happening::Delisted(id));
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
        self.tell(Happening::State { instance: id, state });
    }
}
