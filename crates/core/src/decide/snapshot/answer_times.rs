//! When an answer came, and which look was asked for before it came.

use crate::time::Time;

/// The times of one answer. Systems do not answer in the order in which they were asked. A look that was asked for between this one and its
/// answer did not know what this one shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerTimes {
    /// When it was asked for. What it shows was so at that time or later.
    pub asked: Time,
    /// When the last look before this answer was asked for.
    pub last_asked: Time,
    /// When the answer came.
    pub answered: Time,
}

impl AnswerTimes {
    /// An answer that came at once.
    #[must_use]
    pub fn at_once(at: Time) -> Self {
        Self { asked: at, last_asked: at, answered: at }
    }

    /// The time from which a look knows what this one shows, or is asked together with it.
    pub(super) fn known_since(self) -> Time {
        if self.last_asked <= self.asked { self.asked } else { self.answered }
    }
}
