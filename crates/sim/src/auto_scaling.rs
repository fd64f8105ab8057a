//! The pretend Auto Scaling: groups, instances on their way in and out, lifecycle actions and what ends them.
//!
//! Build it with [`AutoScaling::new`], [`AutoScaling::add_group`] and [`AutoScaling::put_instance`]. Like the load balancers it has
//! its own clock: [`AutoScaling::next_event`] says when something happens by itself, [`AutoScaling::advance`] lets it happen (and
//! takes the load balancers along, because a terminating instance leaves the attached target groups before its hook begins), and
//! every call happens at the time that was last advanced to. Calls of the API that decamp makes are throttled and may be refused:
//! [`AutoScaling::heartbeat`], [`AutoScaling::complete`], the looks in `looks.rs`. What AWS, EC2 and operators do is in
//! `actors.rs`: [`AutoScaling::terminate`], [`AutoScaling::scale_in`], launches, detaching, deletions. [`AutoScaling::happened`] hands
//! out what happened since it was last called; [`AutoScaling::take_events`] the lifecycle actions that began, each of which an
//! EventBridge event can be made of.

mod actions;
mod actors;
mod events;
mod instance;
mod looks;
mod refreshes;
mod rolling;
mod setup;
mod states;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod whatever_happens;

use std::sync::Arc;

pub use self::actions::{Action, Ending};
pub use self::events::{LifecycleEvent, group_arn};
pub use self::instance::{Activity, Destination, Instance};
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

/// How many instances that are gone are remembered for their activities.
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
    happened: Vec<(Time, Happening)>,
    events: Vec<LifecycleEvent>,
    activities_denied: bool,
}

#[derive(Debug, Clone)]
struct Group {
    setup: GroupSetup,
    deleted: bool,
}

/// Something that happened, for whoever keeps the log, stops the processes or judges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// An instance is in another state now.
    State {
        /// Which.
        instance: InstanceId,
        /// The new state.
        state: LifecycleState,
    },
    /// An instance began to wait in a hook.
    ActionBegan {
        /// Which.
        instance: InstanceId,
        /// The hook's name.
        hook: Arc<str>,
    },
    /// A lifecycle action ended.
    ActionEnded {
        /// Which instance's.
        instance: InstanceId,
        /// The hook's name.
        hook: Arc<str>,
        /// What ended it.
        ending: Ending,
    },
    /// The machine is gone or switched off, and every process on it.
    MachineStopped(InstanceId),
    /// The machine was switched on again.
    MachineStarted(InstanceId),
    /// Auto Scaling does not list the instance any more.
    Delisted(InstanceId),
    /// Auto Scaling launched an instance of its own accord.
    Launched(InstanceId),
}

impl AutoScaling {
    /// No groups yet, at this time.
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
            happened: Vec::new(),
            events: Vec::new(),
            activities_denied: false,
        }
    }

    /// From now on `DescribeScalingActivities` is denied: what a group is set to is told, and not since when an instance leaves.
    pub fn deny_activities(&mut self) {
        self.activities_denied = true;
    }

    /// Adds a group.
    pub fn add_group(&mut self, setup: GroupSetup) {
        self.groups.push(Group { setup, deleted: false });
    }

    /// Puts in an instance that has long been in this state. The load balancers are the caller's to fill.
    pub fn put_instance(&mut self, asg: &str, id: InstanceId, zone: Arc<str>, state: LifecycleState) {
        if let Some(group) = self.group_place(asg) {
            self.instances.push(Instance::new(id, group, zone, state, self.now));
        }
    }

    /// An instance was launched lately: its group's activities tell when.
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

    /// When something happens by itself: a wait is over, an action runs out, a machine stops.
    #[must_use]
    pub fn next_event(&self) -> Time {
        self.next
    }

    /// Lets everything happen that is due until `to`, and the same in the load balancers.
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
            self.carry_on_refreshes(balancers);
            self.next = self.earliest();
        }
        self.now = self.now.max(to);
        balancers.advance(to);
        self.forget();
    }

    /// Old instances are kept for their activities only, and not for ever.
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

    /// What happened since this was last called.
    pub fn happened(&mut self) -> Vec<(Time, Happening)> {
        std::mem::take(&mut self.happened)
    }

    /// The lifecycle actions that began since this was last called.
    pub fn take_events(&mut self) -> Vec<LifecycleEvent> {
        std::mem::take(&mut self.events)
    }

    /// Calls let through and refused so far.
    #[must_use]
    pub fn calls(&self) -> (u64, u64) {
        self.bucket.counts()
    }

    /// After a change that came from outside.
    fn reckon(&mut self) {
        self.wake_refreshes();
        self.next = self.earliest();
    }

    fn earliest(&self) -> Time {
        let refreshes = self.refreshes.iter().map(|refresh| refresh.turns);
        self.instances.iter().map(Instance::next).chain(refreshes).min().unwrap_or(Time::NEVER)
    }

    /// Takes one call out of the bucket that all calls share.
    ///
    /// # Errors
    /// Throttled.
    pub fn call(&mut self) -> Result<(), ApiError> {
        if self.bucket.take(self.now) { Ok(()) } else { Err(ApiError::Throttled) }
    }

    fn group_place(&self, asg: &str) -> Option<usize> {
        self.groups.iter().position(|group| !group.deleted && *group.setup.name == *asg)
    }

    /// How a group is set up, while it exists.
    #[must_use]
    pub fn group(&self, asg: &str) -> Option<&GroupSetup> {
        self.group_place(asg).map(|place| &self.groups[place].setup)
    }

    /// Every group that was not deleted.
    pub fn groups(&self) -> impl Iterator<Item = &GroupSetup> {
        self.groups.iter().filter(|group| !group.deleted).map(|group| &group.setup)
    }

    fn instance_place(&self, id: InstanceId) -> Option<usize> {
        self.instances.iter().position(|instance| instance.id == id && instance.listed)
    }

    /// An instance that is listed, with all there is to know about it.
    #[must_use]
    pub fn instance(&self, id: InstanceId) -> Option<&Instance> {
        self.instance_place(id).map(|place| &self.instances[place])
    }

    /// Every instance that is listed.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.iter().filter(|instance| instance.listed)
    }

    fn tell(&mut self, what: Happening) {
        self.happened.push((self.now, what));
    }
}
