//! Registrations that outlive their allocations.

use super::BRIEF;
use super::discovery::Registrations;
use super::history::{History, Known};
use crate::time::Time;

impl History {
    /// Records services of allocations that are over and that discovery still lists as routable.
    pub(super) fn see_leftovers(&mut self, asked: Time, seen: &Registrations) {
        for left in seen.services.iter().filter(|one| !one.critical && !seen.agent_dead) {
            // When an allocation is over, `shown` is the look that first showed that. Catalogs may lag a little behind it.
            let is_over = |known: &&mut Known| known.id == left.allocation && known.over && known.shown + BRIEF <= asked;
            if let Some(known) = self.known.iter_mut().find(is_over) {
                known.listed_after.get_or_insert(asked);
            }
        }
    }
}
