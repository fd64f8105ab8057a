//! How often each source may ask, as token buckets. A source is an API key, or the address of a client without one (ADR 0030).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;

use tokio::time::Instant;

use super::subnet::Subnet;
use crate::departures::lock;

/// The most buckets. At capacity, new subnets are rejected until buckets refill. Keys are not bounded by it: the settings have only so
/// many, and a flood of addresses must not lock them out.
const MOST_BUCKETS: usize = 10_000;

/// Who shares a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    /// The clients with the key of this number.
    Key(usize),
    /// The clients without a key in this subnet.
    Subnet(Subnet),
}

/// A token bucket for each key and for each subnet.
#[derive(Debug)]
pub(super) struct RateLimit {
    a_second: f64,
    buckets: Mutex<HashMap<Owner, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// How many tokens it holds at most, and how many it gains in a second.
    capacity: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// The tokens that it has now.
    fn tokens(&self, now: Instant) -> f64 {
        (self.tokens + now.duration_since(self.at).as_secs_f64() * self.capacity).min(self.capacity)
    }
}

impl RateLimit {
    pub(super) fn new(a_second: u32) -> Self {
        Self { a_second: f64::from(a_second), buckets: Mutex::default() }
    }

    /// Takes a token of this key, else one of each subnet that the address is in. False: one of them has none left.
    pub(super) fn allows(&self, key: Option<usize>, address: IpAddr) -> bool {
        let now = Instant::now();
        let mut buckets = lock(&self.buckets);
        let owners: Vec<(Owner, u8)> = match key {
            Some(key) => vec![(Owner::Key(key), 1)],
            None => Subnet::all(address).map(|(subnet, share)| (Owner::Subnet(subnet), share)).collect(),
        };
        if owners.iter().any(|(owner, _)| buckets.get(owner).is_some_and(|bucket| bucket.tokens(now) < 1.0)) {
            return false;
        }
        let is_new = owners.iter().any(|(owner, _)| !buckets.contains_key(owner));
        if key.is_none() && is_new && MOST_BUCKETS <= buckets.len() {
            // A full bucket is the same as none.
            buckets.retain(|_, bucket| bucket.tokens(now) < bucket.capacity);
            if MOST_BUCKETS <= buckets.len() {
                return false;
            }
        }
        for (owner, share) in owners {
            let capacity = self.a_second * f64::from(share);
            let tokens = buckets.get(&owner).map_or(capacity, |bucket| bucket.tokens(now));
            buckets.insert(owner, Bucket { capacity, tokens: tokens - 1.0, at: now });
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Whether a client without a key may ask from this address.
    fn allows(limit: &RateLimit, address: impl Into<IpAddr>) -> bool {
        limit.allows(None, address.into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_over_its_limit_is_refused_and_the_others_are_not() {
        let limit = RateLimit::new(3);
        let loud = [10, 0, 0, 1];
        let allowed = (0..9).filter(|_| allows(&limit, loud)).count();
        assert_eq!((allowed, limit.allows(Some(0), loud.into())), (3, true));
        assert_eq!((0..9).filter(|_| limit.allows(Some(0), loud.into())).count(), 2, "a key has a limit too");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(allows(&limit, loud) && limit.allows(Some(0), loud.into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_addresses_is_bounded_and_forgotten() {
        let limit = RateLimit::new(1);
        for number in 0..20_000_u32 {
            allows(&limit, number.to_be_bytes());
        }
        assert_eq!(lock(&limit.buckets).len(), MOST_BUCKETS);
        let late = [192, 0, 2, 1];
        assert!(!allows(&limit, late), "nothing distinguishes it from the flood");
        assert!(limit.allows(Some(0), late.into()) && limit.allows(Some(1), late.into()), "a key does");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(allows(&limit, late), "the flood is over");
        assert!(lock(&limit.buckets).len() < 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscriber_of_ipv6_has_little_more_than_one_address_and_fills_no_memory() {
        let limit = RateLimit::new(100);
        let allows_64 = |number: u128| allows(&limit, (0x2001_0db8_0001_u128 << 80 | number << 64).to_be_bytes());
        assert_eq!((0..1_000).filter(|_| allows_64(7)).count(), 100, "one /64");
        assert_eq!((0..1_000).filter(|number| allows_64(16 + number % 64)).count(), 100, "the rest of its /56");
        assert_eq!((0..60_000).filter(|number| allows_64(*number)).count(), 200, "the rest of its /48");
        assert!(lock(&limit.buckets).len() < 500, "{}", lock(&limit.buckets).len());
        assert!(allows(&limit, [0x2001, 0x0db8, 2, 0, 0, 0, 0, 1]), "another subscriber");
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_of_ipv6_has_sixteen_times_the_rate_of_one_network() {
        let limit = RateLimit::new(10);
        let allows_48 = |number: u128| allows(&limit, (0x2001_0db8_u128 << 96 | number << 80).to_be_bytes());
        assert_eq!((0..60_000).filter(|number| allows_48(*number)).count(), 160);
        assert!(allows(&limit, [0x2001, 0x0db9, 0, 0, 0, 0, 0, 1]), "another provider");
    }
}
