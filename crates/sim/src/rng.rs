//! A seeded random number generator: the same seed draws the same numbers on every machine.

use std::time::Duration;

/// SplitMix64: small and fast, and every seed is a good one.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`, or 0 if `bound` is 0. The bias is below 2^-32 for every bound that is used here.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.bits()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number below `bound` from 32 bits that were drawn already. It avoids the division, because a simulated request needs five of
    /// these.
    #[must_use]
    pub fn share(bits: u64, bound: u64) -> u64 {
        (bits & 0xffff_ffff).wrapping_mul(bound) >> 32
    }

    /// True once in `times` draws, on average.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A duration from `least` to `most`, both included, in whole milliseconds.
    pub fn span(&mut self, least: Duration, most: Duration) -> Duration {
        let width = u64::try_from(most.saturating_sub(least).as_millis()).unwrap_or(u64::MAX - 1);
        least + Duration::from_millis(self.below(width + 1))
    }

    /// The text of a random UUID, as AWS uses for tokens and request ids.
    pub fn uuid(&mut self) -> String {
        let (high, low) = (self.bits(), self.bits());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_numbers() {
        let (mut one, mut two) = (Rng::new(7), Rng::new(7));
        let draws: Vec<u64> = (0..100).map(|_| one.bits()).collect();
        assert!(draws.iter().all(|&bits| bits == two.bits()));
        assert_ne!(draws[0], Rng::new(8).bits());
    }

    #[test]
    fn a_span_reaches_both_of_its_ends_and_never_leaves_them() {
        let mut rng = Rng::new(1);
        let (least, most) = (Duration::from_millis(3), Duration::from_millis(6));
        let drawn: Vec<Duration> = (0..200).map(|_| rng.span(least, most)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&least), Some(&most)));
        assert_eq!(rng.span(most, least), most);
    }

    #[test]
    fn a_uuid_fits_the_grammar_of_a_token() {
        assert!(Rng::new(3).uuid().parse::<decamp_core::ids::ActionToken>().is_ok());
        assert!(Rng::new(3).uuid().parse::<decamp_core::ids::NodeId>().is_ok());
    }
}
