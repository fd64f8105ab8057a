//! How long is waited before something is sent once more: what was asked for, else twice as long as before, less a part that is drawn.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

use crate::receivers::Unsent;

/// The bounds of pauses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pauses {
    /// After the first try that failed.
    pub(super) first: Duration,
    /// The longest.
    pub(super) longest: Duration,
    /// The longest if it was asked for.
    pub(super) longest_asked: Duration,
}

impl Pauses {
    /// The pause after so many tries, of which the last one failed so.
    pub(super) fn after(&self, tries: u32, why: &Unsent, random: &SystemRandom) -> Duration {
        if let Unsent::Refused { retry_after: Some(asked), .. } = why {
            return (*asked).clamp(self.first, self.longest_asked);
        }
        let whole = self.longest.min(self.first * 2_u32.pow(tries.saturating_sub(1).min(10)));
        let mut drawn = [0_u8; 1];
        // Without randomness all replicas pause alike, which is no harm.
        random.fill(&mut drawn).ok();
        whole - whole / 2 * u32::from(drawn[0]) / 256
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PAUSES: Pauses =
        Pauses { first: Duration::from_millis(500), longest: Duration::from_mins(1), longest_asked: Duration::from_mins(2) };

    #[test]
    fn pauses_grow_to_a_minute_and_are_never_all_alike() {
        let random = SystemRandom::new();
        let away = Unsent::Away("no answer in time".into());
        for (tries, most) in [(1, 500), (2, 1_000), (5, 8_000), (8, 60_000), (99, 60_000)] {
            let most = Duration::from_millis(most);
            let drawn: BTreeSet<Duration> = (0..50).map(|_| PAUSES.after(tries, &away, &random)).collect();
            assert!(drawn.iter().all(|pause| most / 2 <= *pause && *pause <= most), "{tries}: {drawn:?}");
            assert!(3 < drawn.len(), "{tries}: {drawn:?}");
        }
    }

    #[test]
    fn a_receiver_may_ask_for_its_own_pause_within_bounds() {
        let random = SystemRandom::new();
        for (asked, expected) in [(0, PAUSES.first), (7, Duration::from_secs(7)), (86_400, PAUSES.longest_asked)] {
            let refused = Unsent::Refused { status: 429, retry_after: Some(Duration::from_secs(asked)), says: None };
            assert_eq!(PAUSES.after(3, &refused, &random), expected);
        }
    }
}
