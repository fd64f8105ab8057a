//! How often each source may ask: a source is the credential that it showed, else the address that it came from (D26).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;

use axum::http::HeaderMap;
use tokio::time::Instant;

use crate::departures::lock;

/// Addresses that are remembered. Beyond that no further one may ask, until some have all of it left again. Keys do not count: there
/// are as many as the settings have, and no flood of addresses may lock them out.
const MOST_ADDRESSES: usize = 10_000;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// Whoever showed the credential of this place.
    Key(usize),
    /// Whoever is in this network ([`network`]).
    Address(IpAddr),
}

/// What is left to each source: one second's worth at once, refilled all the while.
#[derive(Debug)]
pub(super) struct Sources {
    a_second: f64,
    left: Mutex<HashMap<Source, (f64, Instant)>>,
}

impl Sources {
    pub(super) fn new(a_second: u32) -> Self {
        Self { a_second: f64::from(a_second), left: Mutex::default() }
    }

    /// Whether a source may ask now.
    pub(super) fn may_ask(&self, source: Source) -> bool {
        let now = Instant::now();
        let mut left = lock(&self.left);
        if matches!(source, Source::Address(_)) && MOST_ADDRESSES <= left.len() && !left.contains_key(&source) {
            // Whoever has all of it left again has nothing to be remembered for.
            left.retain(|_, (tokens, at)| *tokens + now.duration_since(*at).as_secs_f64() * self.a_second < self.a_second);
            if MOST_ADDRESSES <= left.len() {
                return false;
            }
        }
        let (tokens, at) = left.entry(source).or_insert((self.a_second, now));
        *tokens = (*tokens + now.duration_since(*at).as_secs_f64() * self.a_second).min(self.a_second);
        *at = now;
        if *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }
}

/// Whose address it is: of IPv6 its first 64 bits, for whoever has one address there has all of them.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// The address that a request came from: the peer's, or the one that a trusted proxy names, the last that is no such proxy.
pub(super) fn address(peer: IpAddr, headers: &HeaderMap, proxies: &[IpAddr]) -> IpAddr {
    if !proxies.contains(&peer) {
        return peer;
    }
    let named =
        headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    let named: Vec<&str> = named.map(str::trim).collect();
    for text in named.iter().rev() {
        match text.parse() {
            Ok(address) if proxies.contains(&address) => {}
            Ok(address) => return address,
            // Beyond nonsense nothing can be believed.
            Err(_) => return peer,
        }
    }
    peer
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_asks_too_often_waits_and_the_others_do_not() {
        let sources = Sources::new(3);
        let (loud, quiet) = (Source::Address(ip("10.0.0.1")), Source::Key(0));
        let asked = (0..9).filter(|_| sources.may_ask(loud)).count();
        assert_eq!((asked, sources.may_ask(quiet)), (3, true));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(sources.may_ask(loud));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_addresses_is_bounded_and_forgotten() {
        let sources = Sources::new(1);
        for number in 0..20_000_u32 {
            sources.may_ask(Source::Address(IpAddr::V4(number.into())));
        }
        assert_eq!(lock(&sources.left).len(), MOST_ADDRESSES);
        let late = Source::Address(ip("192.0.2.1"));
        assert!(!sources.may_ask(late), "it cannot be told from the flood");
        assert!(sources.may_ask(Source::Key(0)) && sources.may_ask(Source::Key(1)), "whoever has a key can");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(sources.may_ask(late), "the flood is over");
        assert!(lock(&sources.left).len() < 4);
    }

    #[test]
    fn all_addresses_that_one_network_has_are_one_source() {
        assert_eq!(network(ip("2001:db8:1:2:3:4:5:6")), network(ip("2001:db8:1:2:ffff::1")));
        assert_ne!(network(ip("2001:db8:1:2::1")), network(ip("2001:db8:1:3::1")));
        assert_ne!(network(ip("192.0.2.1")), network(ip("192.0.2.2")));
        assert_eq!(network(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }

    #[test]
    fn only_a_trusted_proxy_says_where_a_request_came_from() {
        let proxies = [ip("10.0.0.9"), ip("10.0.0.8")];
        let of = |peer: &str, forwarded: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().expect("a header"));
            address(ip(peer), &headers, &proxies)
        };
        assert_eq!(of("192.0.2.1", "192.0.2.7"), ip("192.0.2.1"), "no proxy of ours");
        assert_eq!(of("10.0.0.9", "192.0.2.7"), ip("192.0.2.7"));
        assert_eq!(of("10.0.0.9", "203.0.113.1, 192.0.2.7, 10.0.0.8"), ip("192.0.2.7"), "what the client claimed comes first");
        assert_eq!(of("10.0.0.9", "192.0.2.7, nonsense"), ip("10.0.0.9"));
    }
}
