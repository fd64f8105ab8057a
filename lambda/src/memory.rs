//! The beginnings of waits that a warm process remembers between two passes (ADR 0002). A cold process reads them from the live systems.

use std::sync::Arc;
use std::time::Duration;

use decamp_core::decide::{Departure, Noted};
use decamp_core::ids::InstanceId;
use decamp_net::ttl_map::TtlMap;

/// No departure lasts longer than a hook can.
const KEPT_FOR: Duration = Duration::from_hours(48);

/// The beginnings of waits, for all departures that this process has handled.
#[derive(Debug)]
pub(crate) struct Memory(TtlMap<(Arc<str>, InstanceId), Vec<Noted>>);

impl Default for Memory {
    fn default() -> Self {
        Self(TtlMap::with_ttl(KEPT_FOR))
    }
}

impl Memory {
    /// The beginnings that are remembered of a departure.
    pub(crate) fn of(&self, departure: &Departure) -> Vec<Noted> {
        self.0.get(&(Arc::clone(&departure.asg), departure.instance)).unwrap_or_default()
    }

    /// Remembers the beginnings that a pass has found.
    pub(crate) fn keep(&self, departure: &Departure, noted: Vec<Noted>) {
        if !noted.is_empty() {
            self.0.put((Arc::clone(&departure.asg), departure.instance), noted);
        }
    }

    /// Forgets a departure that has ended.
    pub(crate) fn forget(&self, departure: &Departure) {
        self.0.take(&(Arc::clone(&departure.asg), departure.instance));
    }
}
