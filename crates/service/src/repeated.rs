//! Limits log lines that unauthenticated clients can cause. The first few of a kind in a second are written. One line sums up the
//! others, so that a flood cannot fill the log.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{info, warn};

use super::Service;
use super::departures::lock;

/// How often the sums are written.
const EVERY: Duration = Duration::from_secs(1);

/// The kinds of limited lines. There are few, whatever clients send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A request was answered.
    Answered {
        /// By which listener.
        listener: &'static str,
        /// With which HTTP status.
        status: u16,
    },
    /// A message to this route was not authentic.
    Doubted(&'static str),
    /// A secret was not available.
    NoSecret,
    /// A certificate of SNS was not available.
    NoCertificate,
}

impl Kind {
    /// How many lines a second are written in full. Accepted requests come from authenticated clients, so each is worth a line.
    fn most(self) -> u32 {
        match self {
            Self::Answered { status, .. } if status < 400 => 10,
            Self::Answered { .. } | Self::Doubted(_) | Self::NoSecret | Self::NoCertificate => 1,
        }
    }
}

/// The lines of each kind since the last sum.
#[derive(Debug, Default)]
pub(crate) struct Repeated(Mutex<HashMap<Kind, u32>>);

impl Repeated {
    /// Whether a line of this kind may be written in full. If not, it is counted.
    pub(crate) fn may_write(&self, kind: Kind) -> bool {
        let mut counts = lock(&self.0);
        let count = counts.entry(kind).or_default();
        *count = count.saturating_add(1);
        *count <= kind.most()
    }

    /// Takes the number of unwritten lines of each kind. If a kind continues, the next second has only a sum.
    fn take_counts(&self) -> Vec<(Kind, u32)> {
        let mut sums = Vec::new();
        lock(&self.0).retain(|kind, count| {
            let more = count.saturating_sub(kind.most());
            if 0 < more {
                sums.push((*kind, more));
            }
            // The limit counts as used, so that the next lines are counted.
            *count = kind.most();
            0 < more
        });
        sums
    }
}

/// Writes the sums every second.
pub(crate) async fn write_summaries_regularly(service: &Service) {
    loop {
        sleep(EVERY).await;
        write_summaries(service);
    }
}

/// Writes a line for each kind that had unwritten lines.
pub(crate) fn write_summaries(service: &Service) {
    for (kind, more) in service.repeated.take_counts() {
        match kind {
            Kind::Answered { listener, status } => info!(listener, status, more, "answered {more} more requests like this"),
            Kind::Doubted(route) => warn!(route, more, "{more} more were not authentic"),
            Kind::NoSecret => warn!(more, "a secret was not available for {more} more requests"),
            Kind::NoCertificate => warn!(more, "SNS's certificate was not available for {more} more messages"),
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
        assert_eq!(repeated.take_counts(), [(REFUSED, 999)]);
        assert_eq!((written(REFUSED, 500), repeated.take_counts()), (0, vec![(REFUSED, 500)]), "a sum follows the last sum");
        assert_eq!(repeated.take_counts(), [], "the flood is over");
        assert_eq!(written(REFUSED, 1), 1, "a single line is written in full");
    }

    #[test]
    fn accepted_requests_are_logged_one_by_one_up_to_a_limit() {
        let repeated = Repeated::default();
        assert_eq!((0..100).filter(|_| repeated.may_write(TAKEN)).count(), 10);
        assert_eq!(repeated.take_counts(), [(TAKEN, 90)]);
    }
}
