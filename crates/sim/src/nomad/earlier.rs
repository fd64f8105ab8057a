//! Allocations that ended before the departure. Nomad lists them for a day or longer.

use std::time::Duration;

use super::Nomad;
use super::state::{GroupNumber, Life, NodeNumber};
use super::stopping::Stopping;
use crate::event::AllocationNumber;
use crate::rng::Rng;
use decamp_core::decide::snapshot::ClientStatus;
use decamp_core::time::Time;

/// How long an earlier allocation ran.
const RAN_FOR: Duration = Duration::from_mins(10);

/// How an earlier allocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// By itself: its work is done.
    Done,
    /// By itself, with an error.
    Failed,
    /// A deployment or an operator stopped it.
    Stopped,
    /// A drain moved it. This allocation replaced it, if there was room.
    Drained(Option<AllocationNumber>),
}

impl Nomad {
    /// Draws from another generator from now on. Returns the one before.
    pub fn draw_from(&mut self, rng: Rng) -> Rng {
        std::mem::replace(&mut self.rng, rng)
    }

    /// Adds an allocation that ended at this time. It causes no events and counts for no group.
    pub fn add_earlier(&mut self, group: GroupNumber, node: NodeNumber, ended: Time, earlier: Earlier) {
        let number = self.allocate(group, 0, node, None);
        // The scheduler keeps no count of what ended.
        self.groups[group.index()].allocations.pop();
        let spec = &self.groups[group.index()].spec;
        let mut plan = Stopping::plan(&spec.group, &spec.behaviour, ended, self.kill_cap());
        let lasts = plan.over.since(ended);
        plan = Stopping::plan(&spec.group, &spec.behaviour, ended - lasts, self.kill_cap());
        let failed = earlier == Earlier::Failed;
        let state = &mut self.allocations[number.index()];
        state.life = Life::Over { failed };
        state.client = if failed { ClientStatus::Failed } else { ClientStatus::Complete };
        state.started = Some(ended - lasts - RAN_FOR);
        state.ended = Some(ended);
        state.synced = ended;
        state.has_events = true;
        state.reported_over = true;
        match earlier {
            Earlier::Done | Earlier::Failed => {}
            Earlier::Stopped => {
                state.wanted = false;
                state.stopping = Some(plan);
            }
            Earlier::Drained(next) => {
                state.wanted = false;
                state.marked = true;
                state.stopping = Some(plan);
                state.next = next;
            }
        }
        self.nodes[node.index()].cached = None;
    }
}
