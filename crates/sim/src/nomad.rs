//! The pretend Nomad: servers, drainer, scheduler and clients as one plain state machine with its own clock.
//!
//! Build it: [`Nomad::new`], [`Nomad::add_node`], [`Nomad::add_group`], [`Nomad::place`] for what runs at the start.
//!
//! A node, group or allocation is known by its number, in the order they were made: an index into [`Nomad::groups`],
//! [`Nomad::allocations`] and whatever is kept beside them. What was placed at the start says nothing: read it there.
//!
//! Time: [`Nomad::next_event`] says when something happens by itself (ask [`Consul::next_event`] too), [`Nomad::advance`] makes it
//! happen, Consul's part of it included and in order, and appends to a list of [`Event`]s what happened to processes and to
//! their places in discovery. Everything else acts at [`Nomad::now`].
//!
//! Its HTTP API, in `api`: [`Nomad::set_drain`], [`Nomad::cancel_drain`], [`Nomad::set_eligibility`], [`Nomad::purge_node`],
//! [`Nomad::stop_job`], [`Nomad::scale`]; in `view`: [`Nomad::look`] (node and allocations together, as the rules want them),
//! [`Nomad::registrations`] (its own discovery), [`Nomad::sight`]; in `lists` what the wire needs beside them. Each takes the [`Token`] that asks, reads also say which
//! [`Read`] they are, and a refusal is an [`ApiError`] with status and text for the wire.
//!
//! What goes wrong, in `failures`: [`Nomad::lose_leader`], [`Nomad::kill_agent`], [`Nomad::revive_agent`],
//! [`Nomad::end_machine`], [`Nomad::lag`] and [`Nomad::catch_up`] (a follower that stale reads meet), [`Nomad::restore_index`],
//! [`Nomad::collect_node`], [`Nomad::start_on`] (an allocation that lands where it should not).

mod acl;
mod api;
mod client;
mod deadlines;
mod drainer;
mod failures;
mod lists;
mod metadata;
mod placement;
mod state;
mod stopping;
#[cfg(test)]
mod tests;
mod version;
mod view;

use std::time::Duration;

pub use self::acl::{NamespaceRule, NodeRule, Policy, Token};
pub use self::api::{ApiError, DrainSpec, Written};
pub(crate) use self::drainer::BATCH;
pub use self::lists::{Instance, ScaleStatus, ServiceName};
pub use self::metadata::Metadata;
pub use self::state::*;
pub use self::stopping::{Stopping, TaskState};
pub use self::version::Version;
pub use self::view::{Answer, Read};
use super::consul::Consul;
use super::event::{AllocationNumber, Event, What};
use super::rng::Rng;
use super::timer_queue::TimerQueue;
use decamp_core::time::Time;

/// The pretend Nomad.
#[derive(Debug, Clone)]
pub struct Nomad {
    version: Version,
    version_text: std::sync::Arc<str>,
    now: Time,
    rng: Rng,
    queue: TimerQueue<Due>,
    index: u64,
    nodes: Vec<NodeState>,
    groups: Vec<GroupState>,
    allocations: Vec<AllocationState>,
    drainer: drainer::Drainer,
    leader_back: Option<Time>,
    frozen: Option<view::Frozen>,
    metadata_refused: bool,
}

/// What happens by itself, sooner or later.
#[derive(Debug, Clone, Copy)]
enum Due {
    /// The scheduler's plan for a marked or unwanted allocation is applied: it is told to stop, and perhaps replaced.
    Plan { allocation: AllocationNumber, replace: bool },
    /// An allocation's client hears that it is to stop.
    Learn { allocation: AllocationNumber, epoch: u32 },
    /// A layer of a stop has its turn.
    Turn { allocation: AllocationNumber, epoch: u32, place: u8 },
    /// The serving task gets its kill signal.
    Signal { allocation: AllocationNumber, epoch: u32 },
    /// The serving task's process is gone, others of the allocation are not.
    Ended { allocation: AllocationNumber, epoch: u32 },
    /// The last process is gone.
    Over { allocation: AllocationNumber, epoch: u32 },
    /// It ends by itself: batch work is done.
    Finish { allocation: AllocationNumber, epoch: u32 },
    /// It comes up.
    Start { allocation: AllocationNumber, epoch: u32 },
    /// It has been up for long enough.
    Healthy { allocation: AllocationNumber, epoch: u32 },
    /// Its client asks Consul's agent to register its services.
    Register { allocation: AllocationNumber, epoch: u32 },
    /// Its client asks Consul's agent to remove these services of it.
    Deregister { allocation: AllocationNumber, services: u32 },
    /// A client tells the servers how its allocations are.
    Sync { node: NodeNumber, epoch: u32 },
    /// The drainer sees that a node's drain changed.
    DrainSeen { node: NodeNumber, epoch: u32 },
    /// The drainer's watcher of jobs wakes.
    Wake { epoch: u32 },
    /// The drainer's batch is written.
    Flush { epoch: u32 },
    /// A deadline of the drainer may have come.
    Deadline { epoch: u32, generation: u32 },
    /// No heartbeat came for too long.
    Down { node: NodeNumber, epoch: u32 },
    /// An allocation on a node that is down is given up.
    GiveUp { allocation: AllocationNumber },
    /// There is a leader again.
    LeaderBack,
    /// An agent that lives finds its node's row gone and registers anew.
    Rejoin { node: NodeNumber },
    /// An agent registers anew because its metadata changed.
    Metadata { node: NodeNumber, epoch: u32 },
}

/// What a step acts on beside Nomad itself.
struct Outside<'a> {
    consul: &'a mut Consul,
    log: &'a mut Vec<Event>,
}

impl Nomad {
    /// An empty cluster of this version at this time.
    #[must_use]
    pub fn new(version: Version, now: Time, rng: Rng) -> Self {
        Self {
            version,
            version_text: version.text(),
            now,
            rng,
            queue: TimerQueue::default(),
            index: 10,
            nodes: Vec::new(),
            groups: Vec::new(),
            allocations: Vec::new(),
            drainer: drainer::Drainer::default(),
            leader_back: None,
            frozen: None,
            metadata_refused: false,
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// When something next happens by itself.
    #[must_use]
    pub fn next_event(&self) -> Time {
        self.queue.next()
    }

    /// Lets everything happen that is due by `to`, in Consul too, and sets both clocks to it.
    pub fn advance(&mut self, to: Time, consul: &mut Consul, log: &mut Vec<Event>) {
        while let Some((at, due)) = self.queue.take(to) {
            self.now = at;
            consul.advance(at, log);
            self.happen(due, &mut Outside { consul, log });
        }
        self.now = self.now.max(to);
        consul.advance(to, log);
    }

    fn happen(&mut self, due: Due, outside: &mut Outside<'_>) {
        if let Some(back) = self.leader_back
            && due.needs_leader()
        {
            let later = back + self.rng.span(Duration::from_millis(20), Duration::from_millis(400));
            return self.queue.put(later, due);
        }
        match due {
            Due::Plan { allocation, replace } => self.apply_plan(allocation, replace),
            Due::Learn { allocation, epoch } if self.is_of(allocation, epoch) => self.learn(allocation, outside),
            Due::Turn { allocation, epoch, place } if self.is_of(allocation, epoch) => self.turn(allocation, place, outside),
            Due::Signal { allocation, epoch } if self.is_of(allocation, epoch) => self.say(allocation, What::Signalled, outside),
            Due::Ended { allocation, epoch } if self.is_of(allocation, epoch) => self.serving_ended(allocation, outside),
            Due::Over { allocation, epoch } if self.is_of(allocation, epoch) => self.over(allocation, outside),
            Due::Finish { allocation, epoch } if self.is_of(allocation, epoch) => self.finish(allocation, outside),
            Due::Start { allocation, epoch } if self.is_of(allocation, epoch) => self.start(allocation, outside),
            Due::Healthy { allocation, epoch } if self.is_of(allocation, epoch) => self.become_healthy(allocation),
            Due::Register { allocation, epoch } if self.is_of(allocation, epoch) => self.register(allocation, outside),
            Due::Learn { .. }
            | Due::Turn { .. }
            | Due::Signal { .. }
            | Due::Ended { .. }
            | Due::Over { .. }
            | Due::Finish { .. }
            | Due::Start { .. }
            | Due::Healthy { .. }
            | Due::Register { .. } => {}
            Due::Deregister { allocation, services } => self.deregister(allocation, services, outside),
            Due::Sync { node, epoch } => self.sync(node, epoch, outside),
            Due::DrainSeen { node, epoch } => self.drain_seen(node, epoch),
            Due::Wake { epoch } => self.watcher_wakes(epoch),
            Due::Flush { epoch } => self.flush(epoch),
            Due::Deadline { epoch, generation } => self.deadline_comes(epoch, generation),
            Due::Down { node, epoch } => self.node_down(node, epoch),
            Due::GiveUp { allocation } => self.give_up(allocation, outside),
            Due::LeaderBack => self.leader_returns(),
            Due::Rejoin { node } => self.rejoin(node),
            Due::Metadata { node, epoch } => self.metadata_comes(node, epoch),
        }
    }

    /// Whether this is still what was planned for the allocation, and nothing came between.
    fn is_of(&self, allocation: AllocationNumber, epoch: u32) -> bool {
        self.allocations[allocation.index()].epoch == epoch
    }

    fn say(&self, allocation: AllocationNumber, what: What, outside: &mut Outside<'_>) {
        outside.log.push(Event { at: self.now, allocation, what });
    }

    /// A moment from now, between so many milliseconds.
    fn soon(&mut self, least: u64, most: u64) -> Time {
        Time(self.now.0 + least + self.rng.below(most - least + 1))
    }

    /// The raft index of one more write.
    fn write(&mut self) -> u64 {
        self.index += 1;
        self.index
    }

    /// Writes down that an allocation changed for whoever reads or watches it.
    fn allocation_changed(&mut self, allocation: AllocationNumber) {
        let index = self.write();
        let state = &mut self.allocations[allocation.index()];
        state.modified = index;
        let (node, group) = (state.node, state.group);
        let node = &mut self.nodes[node.index()];
        node.allocations_index = index;
        node.cached = None;
        self.group_changed(group);
    }
}

impl Due {
    /// Whether the servers must write for it.
    fn needs_leader(self) -> bool {
        match self {
            Self::Plan { .. }
            | Self::Healthy { .. }
            | Self::Sync { .. }
            | Self::Down { .. }
            | Self::GiveUp { .. }
            | Self::Rejoin { .. }
            | Self::Metadata { .. } => true,
            Self::Learn { .. }
            | Self::Turn { .. }
            | Self::Signal { .. }
            | Self::Ended { .. }
            | Self::Over { .. }
            | Self::Finish { .. }
            | Self::Start { .. }
            | Self::Register { .. }
            | Self::Deregister { .. }
            | Self::DrainSeen { .. }
            | Self::Wake { .. }
            | Self::Flush { .. }
            | Self::Deadline { .. }
            | Self::LeaderBack => false,
        }
    }
}
