//! How long to wait before sending again: as long as the server asked for, else twice as long as before, minus a random part.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

use crate::webhook_client::SendError;

/// The limits of the delays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    /// The delay after the first failed try.
    pub(super) first: Duration,
    /// The longest delay.
    pub(super) longest: Duration,
    /// The longest delay that a server may ask for.
    pub(super) longest_asked: Duration,
}

impl Backoff {
    /// The delay after this many tries, the last of which failed with this error.
    pub(super) fn delay(&self, tries: u32, why: &SendError, random: &SystemRandom) -> Duration {
        if let SendError::Refused { retry_after: Some(asked), .. } = why {
            return (*asked).clamp(self.first, self.longest_asked);
        }
        let whole = self.longest.min(self.first * 2_u32.pow(tries.saturating_sub(1).min(10)));
        let mut drawn = [0_u8; 1];
        // Without randomness all replicas wait equally long, which does no harm.
        random.fill(&mut drawn).ok();
        whole - whole / 2 * u32::from(drawn[0]) / 256
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const BACKOFF: Backoff =
        Backoff { first: Duration::from_millis(500), longest: Duration::from_mins(1), longest_asked: Duration::from_mins(2) };

    #[test]
    fn delays_grow_to_a_minute_and_vary() {
        let random = SystemRandom::new();
        let unreachable = SendError::Unreachable("no answer in time".into());
        for (tries, most) in [(1, 500), (2, 1_000), (5, 8_000), (8, 60_000), (99, 60_000)] {
            let most = Duration::from_millis(most);
            let drawn: BTreeSet<Duration> = (0..50).map(|_| BACKOFF.delay(tries, &unreachable, &random)).collect();
            assert!(drawn.iter().all(|pause| most / 2 <= *pause && *pause <= most), "{tries}: {drawn:?}");
            assert!(3 < drawn.len(), "{tries}: {drawn:?}");
        }
    }

    #[test]
    fn a_receiver_may_ask_for_a_delay_within_limits() {
        let random = SystemRandom::new();
        for (asked, expected) in [(0, BACKOFF.first), (7, Duration::from_secs(7)), (86_400, BACKOFF.longest_asked)] {
            let refused = SendError::Refused { status: 429, retry_after: Some(Duration::from_secs(asked)), message: None };
            assert_eq!(BACKOFF.delay(3, &refused, &random), expected);
        }
    }
}
