//! Notes for the next worker about when waits began, kept as a node's dynamic metadata (ADR 0002).

use std::sync::Arc;

use serde::Serialize;

use crate::time::Time;

/// What may begin in one run and be waited for in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Beginning {
    /// The departure, if neither an event nor an activity shows when it entered its hook.
    Departure,
    /// Nothing of the instance has been registered in any target group.
    Deregistered,
    /// Allocations that a drain counted have not been listed any more.
    Vanished,
    /// Targets that may be the instance's have been listed.
    Unknown,
    /// A scan of all target groups found none that lists the instance.
    Scanned,
    /// Consul could not be read while allocations stopped.
    Unseen,
    /// As `Deregistered`, but a group that the hook names did not list the instance at the first look, before anybody had begun.
    Unlisted,
}

/// One note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Noted {
    /// What began.
    pub what: Beginning,
    /// Hash of the lifecycle action that it belongs to.
    pub action: Arc<str>,
    /// When.
    pub since: Time,
    /// For `Vanished`, how many allocations were listed then: if fewer are now, more have vanished since. For `Unknown`, how many targets
    /// there were: if more are now, some have come since. For `Unseen`, after how many seconds Consul was read again, or 0 if it was not
    /// yet. Else 0.
    pub listed: u32,
}

/// A time span between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Interval {
    /// It began after this.
    pub after: Time,
    /// It was over before this. `None` while it lasts.
    pub before: Option<Time>,
}

impl Beginning {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Departure, Self::Deregistered, Self::Vanished, Self::Unknown, Self::Scanned, Self::Unseen, Self::Unlisted];

    /// The key of the node's metadata that holds it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Departure => "decamp.began",
            Self::Deregistered => "decamp.deregistered",
            Self::Vanished => "decamp.vanished",
            Self::Unknown => "decamp.unknown",
            Self::Scanned => "decamp.scanned",
            Self::Unseen => "decamp.unseen",
            Self::Unlisted => "decamp.unlisted",
        }
    }
}

impl Noted {
    /// The value of the key, as `read` reads it: time, action, allocations listed.
    #[must_use]
    pub fn text(&self) -> String {
        let since =
            i64::try_from(self.since.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
        format!("{since:.3} {} {}", self.action, self.listed)
    }

    /// Reads a note. `None` if it is not one, or is incomplete.
    #[must_use]
    pub fn read(what: Beginning, text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (since, action, listed) = (words.next()?, words.next()?, words.next()?);
        let (since, listed) = (Time::read(since)?, listed.parse().ok()?);
        (words.next().is_none() && !action.is_empty()).then(|| Self { what, action: action.into(), since, listed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back_as_it_was_written() {
        for what in Beginning::ALL {
            let note = Noted { what, action: "0123456789ab".into(), since: Time(1_795_375_337_137), listed: 7 };
            assert_eq!(note.text(), "2026-11-22T19:22:17.137Z 0123456789ab 7");
            assert_eq!(Noted::read(what, &note.text()), Some(note));
        }
    }

    #[test]
    fn what_is_no_whole_note_is_none() {
        for text in ["", "soon 0123 7", "2026-11-22T19:22:17Z", "2026-11-22T19:22:17Z  7", "2026-11-22T19:22:17Z 01 7 8"] {
            assert_eq!(Noted::read(Beginning::Deregistered, text), None, "{text}");
        }
    }
}
