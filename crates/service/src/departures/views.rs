//! Cheap reads of the set for the page and the stream: they copy only what is shown.

use super::{Departures, lock};
use crate::view::View;

impl Departures {
    /// A summary of each departure in progress, this replica's first, and the number of ended departures.
    pub(crate) fn summaries<T>(&self, of: impl Fn(&View) -> T) -> (Vec<T>, usize) {
        let sets = lock(&self.sets);
        let here = sets.here.values().map(|entry| of(&lock(&entry.view)));
        (here.chain(sets.elsewhere.values().map(&of)).collect(), sets.past.len())
    }

    /// The views of the last departures that ended, the latest first.
    pub(crate) fn last(&self, most: usize) -> Vec<View> {
        lock(&self.sets).past.iter().rev().take(most).cloned().collect()
    }
}
