//! How often each source may ask, as a token bucket for each. A source is an API key, or the subnet of a client without one (ADR 0030).

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::time::Instant;

use super::subnet::Subnet;
use crate::departures::lock;

/// The most buckets. At capacity, new subnets are rejected until buckets refill. Keys are not bounded by it: the settings have only so
/// many, and a flood of addresses must not lock them out.
const MOST_BUCKETS: usize = 10_000;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A client with the key of this number.
    Key(usize),
    /// A client without a key.
    Subnet(Subnet),
}

/// A token bucket for each source. It holds one second's worth.
#[derive(Debug)]
pub(super) struct RateLimit {
    a_second: f64,
    buckets: Mutex<HashMap<Source, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl RateLimit {
    pub(super) fn new(a_second: u32) -> Self {
        Self { a_second: f64::from(a_second), buckets: Mutex::default() }
    }

    /// Takes a token of this source. False: it has none left.
    pub(super) fn allows(&self, source: Source) -> bool {
        let now = Instant::now();
        let mut buckets = lock(&self.buckets);
        let is_new_subnet = matches!(source, Source::Subnet(_)) && !buckets.contains_key(&source);
        if is_new_subnet && MOST_BUCKETS <= buckets.len() {
            // A full bucket is the same as none.
            buckets.retain(|_, bucket| self.tokens(bucket, now) < self.a_second);
            if MOST_BUCKETS <= buckets.len() {
                return false;
            }
        }
        let bucket = buckets.entry(source).or_insert(Bucket { tokens: self.a_second, at: now });
        let tokens = self.tokens(bucket, now);
        let allows = 1.0 <= tokens;
        *bucket = Bucket { tokens: if allows { tokens - 1.0 } else { tokens }, at: now };
        allows
    }

    /// What a bucket has refilled to.
    fn tokens(&self, bucket: &Bucket, now: Instant) -> f64 {
        (bucket.tokens + now.duration_since(bucket.at).as_secs_f64() * self.a_second).min(self.a_second)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;

    fn from(address: impl Into<IpAddr>) -> Source {
        Source::Subnet(Subnet::of(address.into()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_over_its_limit_is_refused_and_the_others_are_not() {
        let limit = RateLimit::new(3);
        let (loud, quiet) = (from([10, 0, 0, 1]), Source::Key(0));
        let allowed = (0..9).filter(|_| limit.allows(loud)).count();
        assert_eq!((allowed, limit.allows(quiet)), (3, true));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(limit.allows(loud));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_addresses_is_bounded_and_forgotten() {
        let limit = RateLimit::new(1);
        for number in 0..20_000_u32 {
            limit.allows(from(number.to_be_bytes()));
        }
        assert_eq!(lock(&limit.buckets).len(), MOST_BUCKETS);
        let late = from([192, 0, 2, 1]);
        assert!(!limit.allows(late), "nothing distinguishes it from the flood");
        assert!(limit.allows(Source::Key(0)) && limit.allows(Source::Key(1)), "a key does");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(limit.allows(late), "the flood is over");
        assert!(lock(&limit.buckets).len() < 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscriber_of_ipv6_has_one_bucket_for_all_its_addresses() {
        let limit = RateLimit::new(100);
        let of_subscriber = |number: u128| from((0x2001_0db8_0001_u128 << 80 | number << 56).to_be_bytes());
        assert_eq!((0..60_000).filter(|number| limit.allows(of_subscriber(*number))).count(), 100);
        assert_eq!(lock(&limit.buckets).len(), 1);
        assert!(limit.allows(from([0x2001, 0x0db8, 2, 0, 0, 0, 0, 1])), "another subscriber");
    }
}
