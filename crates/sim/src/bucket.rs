//! A token bucket, with which AWS throttles its APIs: a number of calls at once, then a number a second.

use decamp_core::time::Time;

/// A bucket of one account and Region.
#[derive(Debug, Clone)]
pub struct Bucket {
    limit: Limit,
    /// Thousandths of a call that are left. Not used without a limit.
    left: u64,
    at: Time,
    taken: u64,
    refused: u64,
}

/// How large a bucket is and how fast it fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Every call is accepted.
    None,
    /// At most `size` calls at once, `refill` more a second.
    Calls {
        /// How many at once.
        size: u32,
        /// How many more a second.
        refill: u32,
    },
}

impl Limit {
    /// The limit of ELBv2's Describe calls (facts/aws.md 3.4).
    pub const ELB_READS: Self = Self::Calls { size: 40, refill: 10 };
    /// The limit of ELBv2's writes. It is smaller, and AWS publishes no figure.
    pub const ELB_WRITES: Self = Self::Calls { size: 20, refill: 5 };
    /// The limit of the one bucket that all calls of Auto Scaling share, with the figure of ADR 0020.
    pub const AUTO_SCALING: Self = Self::Calls { size: 100, refill: 20 };
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn full(limit: Limit) -> Self {
        let left = match limit {
            Limit::None => 0,
            Limit::Calls { size, .. } => u64::from(size) * 1000,
        };
        Self { limit, left, at: Time(0), taken: 0, refused: 0 }
    }

    /// Takes one token for a call, if there is one.
    pub fn take(&mut self, now: Time) -> bool {
        let Limit::Calls { size, refill } = self.limit else {
            self.taken += 1;
            return true;
        };
        // A refill of n calls a second is n thousandths of a call a millisecond.
        let gained = now.0.saturating_sub(self.at.0).saturating_mul(u64::from(refill));
        self.left = self.left.saturating_add(gained).min(u64::from(size) * 1000);
        self.at = self.at.max(now);
        let fits = 1000 <= self.left;
        if fits {
            self.left -= 1000;
            self.taken += 1;
        } else {
            self.refused += 1;
        }
        fits
    }

    /// Empties the bucket, as another client in the account would.
    pub fn drain(&mut self, now: Time) {
        self.left = 0;
        self.at = self.at.max(now);
    }

    /// How many calls were accepted and how many were refused.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.taken, self.refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forty_calls_go_at_once_and_then_ten_a_second() {
        let mut bucket = Bucket::full(Limit::ELB_READS);
        let at_once = (0..60).filter(|_| bucket.take(Time(5_000))).count();
        let in_the_next_second = (0..1000).filter(|ms| bucket.take(Time(5_001 + ms))).count();
        assert_eq!((at_once, in_the_next_second), (40, 10));
        assert_eq!(bucket.counts(), (50, 20 + 990));
    }

    #[test]
    fn a_bucket_never_holds_more_than_its_size() {
        let mut bucket = Bucket::full(Limit::Calls { size: 2, refill: 1000 });
        assert_eq!((0..10).filter(|_| bucket.take(Time(1_000_000))).count(), 2);
    }

    #[test]
    fn a_bucket_without_a_limit_refuses_nothing() {
        let mut bucket = Bucket::full(Limit::None);
        assert!((0..10_000).all(|_| bucket.take(Time(1))));
    }
}
