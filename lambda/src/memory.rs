//! What a warm process remembers of departures between two passes: since when they wait (ADR 0002). A cold one reads it from the world.

use std::sync::Arc;
use std::time::Duration;

use decamp_core::decide::{Departure, Noted};
use decamp_core::ids::InstanceId;
use decamp_net::lately::Lately;

/// No departure lasts longer than a hook may.
const KEPT: Duration = Duration::from_hours(48);

/// The beginnings of all departures that this process has passed over.
#[derive(Debug)]
pub(crate) struct Memory(Lately<(Arc<str>, InstanceId), Vec<Noted>>);

impl Default for Memory {
    fn default() -> Self {
        Self(Lately::for_a(KEPT))
    }
}

impl Memory {
    /// What is remembered of a departure.
    pub(crate) fn of(&self, departure: &Departure) -> Vec<Noted> {
        self.0.get(&(Arc::clone(&departure.asg), departure.instance)).unwrap_or_default()
    }

    /// Keeps what a pass has come to know.
    pub(crate) fn keep(&self, departure: &Departure, noted: Vec<Noted>) {
        if !noted.is_empty() {
            self.0.put((Arc::clone(&departure.asg), departure.instance), noted);
        }
    }

    /// Forgets a departure that is over.
    pub(crate) fn forget(&self, departure: &Departure) {
        self.0.take(&(Arc::clone(&departure.asg), departure.instance));
    }
}
