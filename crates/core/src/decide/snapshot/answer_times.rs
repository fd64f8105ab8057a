//! When an answer came, and which look was asked for before it came.

use crate::time::Time;

/// The times of one answer. Systems do not answer in the order in which they were asked. A look that was asked for between this one and its
/// answer did not know what this one shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerTimes {
    /// When it was asked for. What it shows was so at that time or later.
    pub asked: Time,
    /// When the last look before this answer was asked for.
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

    /// The time from which a look knows what this one shows, or is asked together with it.
    pub(super) fn known_since(self) -> Time {
        if self.unaware <= self.asked { self.asked } else { self.heard }
    }
}
