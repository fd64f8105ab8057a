//! The model of Auto Scaling: groups, instances that launch and terminate, lifecycle actions, and instance refreshes.
//!
//! To build it: [`AutoScaling::new`], [`AutoScaling::add_group`] and [`AutoScaling::put_instance`].
//!
//! Like the load balancers it has its own clock. [`AutoScaling::next_event`] says when the next timed event is due, and
//! [`AutoScaling::advance`] processes the events that are due. It advances the load balancers too, because a terminating instance leaves
//! the attached target groups before its hook begins. All other methods act at the time of the last `advance`.
//!
//! Calls of the API are throttled and may be refused: [`AutoScaling::heartbeat`], [`AutoScaling::complete`], and the looks in `looks.rs`.
//! The actions of AWS, EC2 and operators are in `actors.rs`: [`AutoScaling::terminate`], [`AutoScaling::scale_in`], launches, detaching,
//! deletions. [`AutoScaling::take_instance_events`] returns the events of instances since its last call. [`AutoScaling::take_events`]
//! returns the lifecycle actions that began, in a form from which an EventBridge event can be made.

mod actions;
mod actors;
mod events;
mod instance;
mod instance_events;
mod looks;
#[cfg(test)]
mod random_operations;
mod refreshes;
mod rolling;
mod setup;
mod states;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::actions::{Action, Ending};
pub use self::events::{LifecycleEvent, group_arn};
pub use self::instance::{Activity, Destination, Instance};
pub use self::instance_events::{InstanceEvent, MachineEvent};
pub use self::looks::{IDS_A_CALL, Progress};
pub use self::refreshes::InstanceRefresh;
pub use self::setup::{GroupSetup, HookSetup, Transition, WarmPool};
pub use self::states::LifecycleState;
use super::api_error::ApiError;
use super::bucket::{Bucket, Limit};
use super::load_balancers::LoadBalancers;
use super::rng::Rng;
use decamp_core::ids::InstanceId;
use decamp_core::time::Time;

/// How many delisted instances are kept for their activities.
const REMEMBERED: usize = 256;

/// Auto Scaling in one account and Region.
#[derive(Debug, Clone)]
pub struct AutoScaling {
    groups: Vec<Group>,
    instances: Vec<Instance>,
    refreshes: Vec<InstanceRefresh>,
    bucket: Bucket,
    rng: Rng,
    now: Time,
    next: Time,
    contended_until: Time,
    instance_events: Vec<(Time, InstanceEvent)>,
    events: Vec<LifecycleEvent>,
    activities_denied: bool,
}

#[derive(Debug, Clone)]
struct Group {
    setup: GroupSetup,
    deleted: bool,
}

impl AutoScaling {
    /// Auto Scaling without groups, at this time.
    #[must_use]
    pub fn new(now: Time, seed: u64, limit: Limit) -> Self {
        Self {
            groups: Vec::new(),
            instances: Vec::new(),
            refreshes: Vec::new(),
            bucket: Bucket::full(limit),
            rng: Rng::new(seed),
            now,
            next: Time::NEVER,
            contended_until: Time(0),
            instance_events: Vec::new(),
            events: Vec::new(),
            activities_denied: false,
        }
    }

    /// From now on `DescribeScalingActivities` is denied: a group's settings can be read, and the beginning of a termination cannot.
    pub fn deny_activities(&mut self) {
        self.activities_denied = true;
    }

    /// Adds a group.
    pub fn add_group(&mut self, setup: GroupSetup) {
        self.groups.push(Group { setup, deleted: false });
    }

    /// Adds an instance that has long been in this state. The caller registers it with the load balancers.
    pub fn put_instance(&mut self, asg: &str, id: InstanceId, zone: Arc<str>, state: LifecycleState) {
        if let Some(group) = self.group_place(asg) {
            self.instances.push(Instance::new(id, group, zone, state, self.now));
        }
    }

    /// Sets when an instance was launched, as its group's activities show it.
    pub fn launched_at(&mut self, id: InstanceId, at: Time) {
        if let Some(instance) = self.instances.iter_mut().find(|instance| instance.id == id) {
            instance.launched = Some(at);
        }
    }

    /// The time that it was last advanced to.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// When the next timed event is due: a wait is over, an action expires, a machine stops.
    #[must_use]
    pub fn next_event(&self) -> Time {
        self.next
    }

    /// Processes all events that are due by `to`, here and in the load balancers.
    pub fn advance(&mut self, to: Time, balancers: &mut LoadBalancers) {
        while self.next <= to {
            let at = self.next;
            balancers.advance(at);
            self.now = self.now.max(at);
            for place in 0..self.instances.len() {
                if self.instances[place].next() <= at {
                    self.step(place, balancers);
                    self.wake_refreshes();
                }
            }
            self.continue_refreshes(balancers);
            self.next = self.earliest();
        }
        self.now = self.now.max(to);
        balancers.advance(to);
        self.forget();
    }

    /// Drops the oldest delisted instances. They are kept only for their activities.
    fn forget(&mut self) {
        if self.instances.len() <= REMEMBERED {
            return;
        }
        let gone = self.instances.iter().filter(|instance| !instance.listed).count();
        let mut surplus = gone.saturating_sub(REMEMBERED);
        self.instances.retain(|instance| {
            let forgotten = !instance.listed && 0 < surplus;
            surplus -= usize::from(forgotten);
            !forgotten
        });
    }

    /// The events of instances since the last call.
    pub fn take_instance_events(&mut self) -> Vec<(Time, InstanceEvent)> {
        std::mem::take(&mut self.instance_events)
    }

    /// The same, as far as they change a machine or its place in service.
    pub fn take_machine_events(&mut self) -> impl Iterator<Item = MachineEvent> + use<> {
        self.take_instance_events().into_iter().filter_map(|(_, event)| event.of_machine())
    }

    /// The lifecycle actions that have begun since the last call.
    pub fn take_events(&mut self) -> Vec<LifecycleEvent> {
        std::mem::take(&mut self.events)
    }

    /// How many calls were accepted and how many throttled so far.
    #[must_use]
    pub fn calls(&self) -> (u64, u64) {
        self.bucket.counts()
    }

    /// Computes the next event after a change from outside.
    fn reschedule(&mut self) {
        self.wake_refreshes();
        self.next = self.earliest();
    }

    fn earliest(&self) -> Time {
        let refreshes = self.refreshes.iter().map(|refresh| refresh.continues_at);
        self.instances.iter().map(Instance::next).chain(refreshes).min().unwrap_or(Time::NEVER)
    }

    /// Takes one token for a call out of the bucket that all calls share.
    ///
    /// # Errors
    /// Throttled.
    pub fn call(&mut self) -> Result<(), ApiError> {
        if self.bucket.take(self.now) { Ok(()) } else { Err(ApiError::Throttled) }
    }

    fn group_place(&self, asg: &str) -> Option<usize> {
        self.groups.iter().position(|group| !group.deleted && *group.setup.name == *asg)
    }

    /// The setup of a group that exists.
    #[must_use]
    pub fn group(&self, asg: &str) -> Option<&GroupSetup> {
        self.group_place(asg).map(|place| &self.groups[place].setup)
    }

    /// The setups of all groups that exist.
    pub fn groups(&self) -> impl Iterator<Item = &GroupSetup> {
        self.groups.iter().filter(|group| !group.deleted).map(|group| &group.setup)
    }

    fn instance_place(&self, id: InstanceId) -> Option<usize> {
        self.instances.iter().position(|instance| instance.id == id && instance.listed)
    }

    /// A listed instance.
    #[must_use]
    pub fn instance(&self, id: InstanceId) -> Option<&Instance> {
        self.instance_place(id).map(|place| &self.instances[place])
    }

    /// All listed instances.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.iter().filter(|instance| instance.listed)
    }

    fn record(&mut self, event: InstanceEvent) {
        self.instance_events.push((self.now, event));
    }
}
