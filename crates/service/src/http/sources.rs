//! How often each source may ask: a source is the credential that it showed, else the address that it came from (ADR 0030).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use axum::http::HeaderMap;
use tokio::time::Instant;

use super::blocks::{Block, blocks};
use crate::departures::lock;
use decamp_config::Network;

/// Blocks of addresses that are remembered. Beyond that no further one may ask, until some have all of it left again. Keys do not
/// count: there are as many as the settings have, and no flood of addresses may lock them out.
const MOST_BLOCKS: usize = 10_000;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Whoever showed the credential of this place.
    Key(usize),
    /// Whoever has this address.
    Address(IpAddr),
}

/// What something is left to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    Key(usize),
    Block(Block),
}

/// What is left to each source: one second's worth at once, refilled all the while. An address has what is left to every block that it
/// is in.
#[derive(Debug)]
pub(super) struct Sources {
    a_second: f64,
    left: Mutex<HashMap<Owner, Left>>,
}

#[derive(Debug, Clone, Copy)]
struct Left {
    /// At most, and refilled in a second.
    most: f64,
    tokens: f64,
    at: Instant,
}

impl Left {
    /// What is left by now.
    fn by(self, now: Instant) -> f64 {
        (self.tokens + now.duration_since(self.at).as_secs_f64() * self.most).min(self.most)
    }
}

impl Sources {
    pub(super) fn new(a_second: u32) -> Self {
        Self { a_second: f64::from(a_second), left: Mutex::default() }
    }

    /// Whether a source may ask now.
    pub(super) fn may_ask(&self, source: Source) -> bool {
        let now = Instant::now();
        let mut left = lock(&self.left);
        match source {
            Source::Key(place) => {
                let most = self.a_second;
                let tokens = left.get(&Owner::Key(place)).map_or(most, |left| left.by(now));
                let may_ask = 1.0 <= tokens;
                left.insert(Owner::Key(place), Left { most, tokens: if may_ask { tokens - 1.0 } else { tokens }, at: now });
                may_ask
            }
            Source::Address(address) => {
                let all = || blocks(address).map(|(block, multiple)| (Owner::Block(block), self.a_second * f64::from(multiple)));
                // The largest block first: one that has nothing left fills no memory with the small ones in it.
                if all().any(|(owner, _)| left.get(&owner).is_some_and(|left| left.by(now) < 1.0)) {
                    return false;
                }
                if MOST_BLOCKS <= left.len() && all().any(|(owner, _)| !left.contains_key(&owner)) {
                    // Whoever has all of it left again has nothing to be remembered for.
                    left.retain(|_, left| left.by(now) < left.most);
                    if MOST_BLOCKS <= left.len() {
                        return false;
                    }
                }
                for (owner, most) in all() {
                    let tokens = left.get(&owner).map_or(most, |left| left.by(now));
                    left.insert(owner, Left { most, tokens: tokens - 1.0, at: now });
                }
                true
            }
        }
    }
}

/// The address that a request came from: the peer's, or the one that a trusted proxy names, the last that is no such proxy.
pub(super) fn address(peer: IpAddr, headers: &HeaderMap, proxies: &[Network]) -> IpAddr {
    let is_proxy = |address: IpAddr| proxies.iter().any(|network| network.has(address));
    if !is_proxy(peer) {
        return peer;
    }
    let named =
        headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    let named: Vec<&str> = named.map(str::trim).collect();
    for text in named.iter().rev() {
        match forwarded(text) {
            Some(address) if is_proxy(address) => {}
            Some(address) => return address,
            // Beyond nonsense nothing can be believed.
            None => return peer,
        }
    }
    peer
}

/// An address as proxies write it: alone, in brackets, or with a port (`192.0.2.1:4711`, `[2001:db8::1]:4711`).
fn forwarded(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
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
        assert_eq!(lock(&sources.left).len(), MOST_BLOCKS);
        let late = Source::Address(ip("192.0.2.1"));
        assert!(!sources.may_ask(late), "it cannot be told from the flood");
        assert!(sources.may_ask(Source::Key(0)) && sources.may_ask(Source::Key(1)), "whoever has a key can");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(sources.may_ask(late), "the flood is over");
        assert!(lock(&sources.left).len() < 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscriber_of_ipv6_has_little_more_than_one_address_and_fills_no_memory() {
        let sources = Sources::new(100);
        let may =
            |prefix: u128| sources.may_ask(Source::Address(IpAddr::V6((0x2001_0db8_0001_u128 << 80 | prefix << 64).into())));
        assert_eq!((0..1_000).filter(|_| may(7)).count(), 100, "one /64");
        assert_eq!((0..1_000).filter(|number| may(16 + number % 64)).count(), 100, "what is left of its /56");
        assert_eq!((0..60_000).filter(|number| may(*number)).count(), 200, "what is left of its /48");
        assert!(lock(&sources.left).len() < 500, "{}", lock(&sources.left).len());
        assert!(sources.may_ask(Source::Address(ip("2001:db8:2::1"))), "another subscriber");
    }

    #[test]
    fn only_a_trusted_proxy_says_where_a_request_came_from() {
        let proxies = ["10.0.0.8/31", "fd00::/8"].map(|network| network.parse().expect("a network"));
        let of = |peer: &str, forwarded: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().expect("a header"));
            address(ip(peer), &headers, &proxies)
        };
        assert_eq!(of("192.0.2.1", "192.0.2.7"), ip("192.0.2.1"), "no proxy of ours");
        assert_eq!(of("10.0.0.9", "192.0.2.7"), ip("192.0.2.7"));
        assert_eq!(of("10.0.0.9", "203.0.113.1, 192.0.2.7, 10.0.0.8"), ip("192.0.2.7"), "what the client claimed comes first");
        assert_eq!(of("10.0.0.9", "192.0.2.7, nonsense"), ip("10.0.0.9"));
        assert_eq!(of("fd00::9", "2001:db8::1, [fd00::8]:80"), ip("2001:db8::1"));
        for (written, is) in [
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("192.0.2.7:4711", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("[2001:db8::1]x", "10.0.0.9"),
            ("unknown", "10.0.0.9"),
        ] {
            assert_eq!(of("10.0.0.9", written), ip(is), "{written}");
        }
    }
}
