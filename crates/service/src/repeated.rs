//! Log lines that strangers can cause. The first few of a kind in a second are written; the others are added up in one line, so that
//! no flood fills a log.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{info, warn};

use super::Service;
use super::departures::lock;

/// How often each kind is added up.
const EVERY: Duration = Duration::from_secs(1);

/// What is said again and again. There are few kinds, whatever strangers send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A request was answered.
    Answered {
        /// By which listener.
        listener: &'static str,
        /// With which HTTP status.
        status: u16,
    },
    /// What came to this route was not believed.
    Doubted(&'static str),
    /// A secret could not be had.
    NoSecret,
    /// A certificate of SNS could not be had.
    NoCertificate,
}

impl Kind {
    /// Lines a second that are written in full. Accepted requests come from those who have a key: each of theirs is worth a line.
    fn most(self) -> u32 {
        match self {
            Self::Answered { status, .. } if status < 400 => 10,
            Self::Answered { .. } | Self::Doubted(_) | Self::NoSecret | Self::NoCertificate => 1,
        }
    }
}

/// How often each kind was said since it was last added up.
#[derive(Debug, Default)]
pub(crate) struct Repeated(Mutex<HashMap<Kind, u32>>);

impl Repeated {
    /// Whether a line of this kind may be written in full. If not, it is counted.
    pub(crate) fn may_write(&self, kind: Kind) -> bool {
        let mut said = lock(&self.0);
        let count = said.entry(kind).or_default();
        *count = count.saturating_add(1);
        *count <= kind.most()
    }

    /// The kinds of which more were said than were written, with how many. Where a kind goes on, the next second has its sum alone.
    fn add_up(&self) -> Vec<(Kind, u32)> {
        let mut sums = Vec::new();
        lock(&self.0).retain(|kind, count| {
            let more = count.saturating_sub(kind.most());
            if 0 < more {
                sums.push((*kind, more));
            }
            // Full already: what comes next is counted.
            *count = kind.most();
            0 < more
        });
        sums
    }
}

/// Writes the sums, every second.
pub(crate) async fn adding_up(service: &Service) {
    loop {
        sleep(EVERY).await;
        write(service);
    }
}

/// Writes the sums of what was said and not written.
pub(crate) fn write(service: &Service) {
    for (kind, more) in service.repeated.add_up() {
        match kind {
            Kind::Answered { listener, status } => info!(listener, status, more, "answered {more} more requests like this"),
            Kind::Doubted(route) => warn!(route, more, "{more} more were not believed"),
            Kind::NoSecret => warn!(more, "a secret could not be had for {more} more requests"),
            Kind::NoCertificate => warn!(more, "SNS's certificate could not be had for {more} more messages"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Kind = Kind::Answered { listener: "webhooks", status: 401 };
    const TAKEN: Kind = Kind::Answered { listener: "webhooks", status: 202 };

    #[test]
    fn a_flood_is_one_line_a_second_of_its_kind() {
        let repeated = Repeated::default();
        let written = |kind: Kind, times: u32| (0..times).filter(|_| repeated.may_write(kind)).count();
        assert_eq!((written(REFUSED, 1_000), written(TAKEN, 5), written(Kind::NoSecret, 1)), (1, 5, 1));
        assert_eq!(repeated.add_up(), [(REFUSED, 999)]);
        assert_eq!((written(REFUSED, 500), repeated.add_up()), (0, vec![(REFUSED, 500)]), "a sum follows the last sum");
        assert_eq!(repeated.add_up(), [], "the flood is over");
        assert_eq!(written(REFUSED, 1), 1, "one that is alone is written in full");
    }

    #[test]
    fn those_who_have_a_key_are_logged_one_by_one_up_to_a_bound() {
        let repeated = Repeated::default();
        assert_eq!((0..100).filter(|_| repeated.may_write(TAKEN)).count(), 10);
        assert_eq!(repeated.add_up(), [(TAKEN, 90)]);
    }
}
