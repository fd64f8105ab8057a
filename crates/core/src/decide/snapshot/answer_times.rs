//! When an answer came, and what was asked for before that.

use crate::time::Time;

/// The times of one answer. Systems answer in another order than they were asked in: a look that was asked for after this one, and before
/// its answer, did not know what it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerTimes {
    /// When it was asked for. What it shows was so then, or later.
    pub asked: Time,
    /// When the last look was asked for before this answer came.
    pub unaware: Time,
    /// When the answer came.
    pub heard: Time,
}

impl AnswerTimes {
    /// An answer that came at once.
    #[must_use]
    pub fn at_once(at: Time) -> Self {
        Self { asked: at, unaware: at, heard: at }
    }

    /// From when on a look may be asked for that knows what this one shows, or is asked together with it.
    pub(super) fn known_since(self) -> Time {
        if self.unaware <= self.asked { self.asked } else { self.heard }
    }
}
