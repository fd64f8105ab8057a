//! What is read of the set to be shown often: no more of it is copied than is wanted.

use super::{Departures, lock};
use crate::view::View;

impl Departures {
    /// What somebody makes of each that is under way, this replica's first, and how many are over.
    pub(crate) fn told<T>(&self, of: impl Fn(&View) -> T) -> (Vec<T>, usize) {
        let sets = lock(&self.sets);
        let here = sets.here.values().map(|entry| of(&lock(&entry.view)));
        (here.chain(sets.elsewhere.values().map(&of)).collect(), sets.past.len())
    }

    /// The last ones that are over, the latest first.
    pub(crate) fn last(&self, most: usize) -> Vec<View> {
        lock(&self.sets).past.iter().rev().take(most).cloned().collect()
    }
}
