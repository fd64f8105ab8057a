//! The model of Nomad: servers, drainer, scheduler and clients as one state machine with its own clock.
//!
//! To build it: [`Nomad::new`], [`Nomad::add_node`], [`Nomad::add_group`], and [`Nomad::place`] for allocations that run at the start.
//!
//! Nodes, groups and allocations have numbers in the order they were made. The number is the index into [`Nomad::groups`],
//! [`Nomad::allocations`] and similar lists. Allocations that were placed at the start cause no events.
//!
//! Time: [`Nomad::next_event`] says when the next timed event is due (ask [`Consul::next_event`] too). [`Nomad::advance`] processes the
//! events of Nomad and Consul in order, and appends an [`Event`] for each change of a process or of its entries in discovery. All other
//! methods act at [`Nomad::now`].
//!
//! The HTTP API. Writes, in `api`: [`Nomad::set_drain`], [`Nomad::cancel_drain`], [`Nomad::set_eligibility`], [`Nomad::purge_node`],
//! [`Nomad::stop_job`], [`Nomad::scale`]. Reads, in `view`: [`Nomad::look`] (a node with its allocations, as the rules need them),
//! [`Nomad::registrations`] (its own discovery), [`Nomad::token_access`]. Further lists for the sandbox, in `lists`. Each call takes the
//! [`Token`] of the caller, and a read takes its [`Read`] mode. A refusal is an [`ApiError`] with status and text.
//!
//! Failures, in `failures`: [`Nomad::lose_leader`], [`Nomad::kill_agent`], [`Nomad::revive_agent`], [`Nomad::end_machine`],
//! [`Nomad::lag`] and [`Nomad::catch_up`] (a follower that answers stale reads), [`Nomad::restore_index`], [`Nomad::collect_node`],
//! [`Nomad::start_on`] (an allocation that starts on a node that should get none).

mod acl;
mod api;
mod client;
mod deadlines;
mod disks;
mod drainer;
mod earlier;
mod failures;
mod lists;
mod metadata;
mod placement;
mod state;
mod stopping;
mod task_ends;
#[cfg(test)]
mod tests;
mod version;
mod view;
mod volumes;

use std::time::Duration;

pub use self::acl::{NamespaceRule, NodeRule, Policy, Token};
pub use self::api::{ApiError, DrainSpec, Written};
pub use self::disks::DiskCopy;
pub(crate) use self::drainer::BATCH;
pub use self::earlier::Earlier;
pub use self::lists::{Instance, ScaleStatus, ServiceName};
pub use self::metadata::Metadata;
pub use self::state::*;
pub use self::stopping::{Stopping, TaskState};
pub use self::version::Version;
pub use self::view::{Answer, Read};
pub use self::volumes::Release;
use super::consul::Consul;
use super::event::{AllocationNumber, Event, EventKind};
use super::rng::Rng;
use super::timer_queue::TimerQueue;
use decamp_core::time::Time;

/// The model of Nomad.
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
    volumes_denied: bool,
    max_kill_timeout: Duration,
}

/// The timed events.
#[derive(Debug, Clone, Copy)]
enum Due {
    /// The scheduler's plan for a marked or unwanted allocation is applied: the allocation has to stop, and may be replaced.
    Plan { allocation: AllocationNumber, replace: bool },
    /// An allocation's client receives the request to stop it.
    StopReceived { allocation: AllocationNumber, epoch: u32 },
    /// A layer of a stop begins.
    Turn { allocation: AllocationNumber, epoch: u32, place: u8 },
    /// The serving task gets its kill signal.
    Signal { allocation: AllocationNumber, epoch: u32 },
    /// The serving task's process is gone, and other processes of the allocation still run.
    Ended { allocation: AllocationNumber, epoch: u32 },
    /// The last process is gone.
    Over { allocation: AllocationNumber, epoch: u32 },
    /// The allocation ends by itself: its batch work is done.
    Finish { allocation: AllocationNumber, epoch: u32 },
    /// The allocation has the disk of the one that it replaces, and its client receives its tasks.
    Copied { allocation: AllocationNumber, epoch: u32 },
    /// The claims of its CSI volumes are released.
    Released { allocation: AllocationNumber },
    /// The allocation starts.
    Start { allocation: AllocationNumber, epoch: u32 },
    /// The allocation has run for long enough to be healthy.
    Healthy { allocation: AllocationNumber, epoch: u32 },
    /// The client asks the Consul agent to register the allocation's services.
    Register { allocation: AllocationNumber, epoch: u32 },
    /// The client asks the Consul agent to deregister these services of the allocation.
    Deregister { allocation: AllocationNumber, services: u32 },
    /// A client reports the states of its allocations to the servers.
    Sync { node: NodeNumber, epoch: u32 },
    /// The drainer notices that a node's drain changed.
    DrainSeen { node: NodeNumber, epoch: u32 },
    /// The drainer's watcher of jobs wakes.
    Wake { epoch: u32 },
    /// The drainer's batch is written.
    Flush { epoch: u32 },
    /// A deadline of the drainer may be reached.
    Deadline { epoch: u32, generation: u32 },
    /// A node's heartbeats have been missing for too long.
    Down { node: NodeNumber, epoch: u32 },
    /// The servers give up an allocation on a node that is down.
    GiveUp { allocation: AllocationNumber },
    /// There is a leader again.
    LeaderBack,
    /// A live agent finds its node's row gone and registers again.
    Rejoin { node: NodeNumber },
    /// An agent registers again because its metadata changed.
    Metadata { node: NodeNumber, epoch: u32 },
}

/// What an event acts on in addition to Nomad itself.
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
            volumes_denied: false,
            max_kill_timeout: Duration::from_secs(30),
        }
    }

    /// The same cluster with this `max_kill_timeout` in its clients' configuration. Nomad's default is 30 s.
    #[must_use]
    pub fn capped_at(self, max_kill_timeout: Duration) -> Self {
        Self { max_kill_timeout, ..self }
    }

    /// The clients' `max_kill_timeout` (facts/nomad.md 5.4).
    #[must_use]
    pub fn max_kill_timeout(&self) -> Duration {
        self.max_kill_timeout
    }

    /// The most that a client allows between a task's signal and SIGKILL, even if the job claims more. `None` for old versions.
    pub(crate) fn kill_cap(&self) -> Option<Duration> {
        self.version.caps_kill_timeout().then_some(self.max_kill_timeout)
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

    /// When the next timed event is due.
    #[must_use]
    pub fn next_event(&self) -> Time {
        self.queue.next()
    }

    /// Processes all events of Nomad and Consul that are due by `to`, and sets both clocks to it.
    pub fn advance(&mut self, to: Time, consul: &mut Consul, log: &mut Vec<Event>) {
        while let Some((at, due)) = self.queue.take(to) {
            self.now = at;
            consul.advance(at, log);
            self.handle(due, &mut Outside { consul, log });
        }
        self.now = self.now.max(to);
        consul.advance(to, log);
    }

    fn handle(&mut self, due: Due, outside: &mut Outside<'_>) {
        if let Some(back) = self.leader_back
            && due.needs_leader()
        {
            let later = back + self.rng.span(Duration::from_millis(20), Duration::from_millis(400));
            return self.queue.put(later, due);
        }
        match due {
            Due::Plan { allocation, replace } => self.apply_plan(allocation, replace),
            Due::StopReceived { allocation, epoch } if self.is_current(allocation, epoch) => {
                self.receive_stop(allocation, outside)
            }
            Due::Turn { allocation, epoch, place } if self.is_current(allocation, epoch) => self.turn(allocation, place, outside),
            Due::Signal { allocation, epoch } if self.is_current(allocation, epoch) => {
                self.emit(allocation, EventKind::Signalled, outside)
            }
            Due::Ended { allocation, epoch } if self.is_current(allocation, epoch) => self.serving_ended(allocation, outside),
            Due::Over { allocation, epoch } if self.is_current(allocation, epoch) => self.last_process_ended(allocation, outside),
            Due::Finish { allocation, epoch } if self.is_current(allocation, epoch) => self.end_by_itself(allocation, outside),
            Due::Copied { allocation, epoch } if self.is_current(allocation, epoch) => self.end_copy(allocation),
            Due::Start { allocation, epoch } if self.is_current(allocation, epoch) => self.start(allocation, outside),
            Due::Healthy { allocation, epoch } if self.is_current(allocation, epoch) => self.become_healthy(allocation),
            Due::Register { allocation, epoch } if self.is_current(allocation, epoch) => self.register(allocation, outside),
            Due::StopReceived { .. }
            | Due::Turn { .. }
            | Due::Signal { .. }
            | Due::Ended { .. }
            | Due::Over { .. }
            | Due::Finish { .. }
            | Due::Copied { .. }
            | Due::Start { .. }
            | Due::Healthy { .. }
            | Due::Register { .. } => {}
            Due::Released { allocation } => self.release_claims(allocation),
            Due::Deregister { allocation, services } => self.deregister(allocation, services, outside),
            Due::Sync { node, epoch } => self.sync(node, epoch, outside),
            Due::DrainSeen { node, epoch } => self.drain_seen(node, epoch),
            Due::Wake { epoch } => self.watcher_wakes(epoch),
            Due::Flush { epoch } => self.flush(epoch),
            Due::Deadline { epoch, generation } => self.deadline_reached(epoch, generation),
            Due::Down { node, epoch } => self.node_down(node, epoch),
            Due::GiveUp { allocation } => self.give_up(allocation, outside),
            Due::LeaderBack => self.leader_returns(),
            Due::Rejoin { node } => self.rejoin(node),
            Due::Metadata { node, epoch } => self.register_metadata(node, epoch),
        }
    }

    /// Whether an event of this epoch is still valid for the allocation.
    fn is_current(&self, allocation: AllocationNumber, epoch: u32) -> bool {
        self.allocations[allocation.index()].epoch == epoch
    }

    fn emit(&self, allocation: AllocationNumber, kind: EventKind, outside: &mut Outside<'_>) {
        outside.log.push(Event { at: self.now, allocation, kind });
    }

    /// Draws a time from now plus `least` to now plus `most` milliseconds.
    fn soon(&mut self, least: u64, most: u64) -> Time {
        Time(self.now.0 + least + self.rng.below(most - least + 1))
    }

    /// Makes a write and returns its raft index.
    fn write(&mut self) -> u64 {
        self.index += 1;
        self.index
    }

    /// Records a change of an allocation for reads and watches.
    fn allocation_changed(&mut self, allocation: AllocationNumber) {
        let index = self.write();
        let state = &mut self.allocations[allocation.index()];
        state.modified = index;
        let (node, group) = (state.node, state.group);
        let node = &mut self.nodes[node.index()];
        node.allocations_index = index;
        node.cached = None;
        self.predecessors_changed(allocation);
        self.group_changed(group);
    }
}

impl Due {
    /// Whether the event needs a write by the leader.
    fn needs_leader(self) -> bool {
        match self {
            Self::Plan { .. }
            | Self::Healthy { .. }
            | Self::Sync { .. }
            | Self::Down { .. }
            | Self::GiveUp { .. }
            | Self::Released { .. }
            | Self::Rejoin { .. }
            | Self::Metadata { .. } => true,
            Self::StopReceived { .. }
            | Self::Turn { .. }
            | Self::Signal { .. }
            | Self::Ended { .. }
            | Self::Over { .. }
            | Self::Finish { .. }
            | Self::Copied { .. }
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
