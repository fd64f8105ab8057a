//! S11: how many copies of a job decamp's drain leaves.

use super::Oracle;
use crate::event::{AllocationNumber, Event};
use crate::nomad::{Life, Nomad, Version};
use decamp_core::decide::JobKind;
use decamp_core::time::Time;

impl Oracle {
    /// S11: until its deadline, decamp's drain leaves as many copies as the job's `max_parallel` requires.
    pub(super) fn check_capacity(&mut self, at: Time, event: Event, nomad: &Nomad) {
        let by_us = self.first_drain.is_some_and(|drain| drain <= at)
            && self.forced.is_none()
            && self.earliest_deadline.is_none_or(|deadline| at < deadline)
            && !self.work_stopped_by_operator
            && self.agent_died.is_none()
            && self.operator_drained.is_none()
            && self.machine_stopped.is_none();
        let group = &nomad.groups()[nomad.allocation(event.allocation).group.index()];
        let spec = &group.spec.group;
        // Before 1.10.3 Nomad marks too many copies for concurrent drains (its bug #25979), and no client can prevent that.
        let holds = Version::new(1, 10, 3) <= nomad.version();
        if !by_us || !holds || spec.kind != JobKind::Service || spec.max_parallel == Some(0) {
            return;
        }
        let stays = |n: &&AllocationNumber| {
            let allocation = nomad.allocation(**n);
            allocation.wanted && allocation.life == Life::Running
        };
        let stay = u32::try_from(group.allocations.iter().filter(stays).count()).unwrap_or(u32::MAX);
        let needed = spec.count.saturating_sub(spec.max_parallel.unwrap_or(1));
        if stay < needed {
            self.broke(at, "S11", format!("{} has {stay} copies, and may have no fewer than {needed}", spec.title()));
        }
    }
}
