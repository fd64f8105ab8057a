//! The address that a request came from: the peer's, or the one that a listed proxy names in `X-Forwarded-For`.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

use decamp_config::Network;

/// The client's address: the peer's, or the last one in `X-Forwarded-For` that is not a listed proxy.
pub(super) fn client_address(peer: IpAddr, headers: &HeaderMap, proxies: &[Network]) -> IpAddr {
    let is_proxy = |address: IpAddr| proxies.iter().any(|network| network.has(address));
    if !is_proxy(peer) {
        return peer;
    }
    let named =
        headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    let named: Vec<&str> = named.map(str::trim).collect();
    for text in named.iter().rev() {
        match parse(text) {
            Some(address) if is_proxy(address) => {}
            Some(address) => return address,
            // A proxy of ours writes no such text, so the rest of the header cannot be trusted.
            None => return peer,
        }
    }
    peer
}

/// Parses an address as proxies write it: alone, in brackets, or with a port (`192.0.2.1:4711`, `[2001:db8::1]:4711`).
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn only_a_listed_proxy_says_where_a_request_came_from() {
        let proxies = ["10.0.0.8/31", "fd00::/8"].map(|network| network.parse().expect("a network"));
        let of = |peer: &str, forwarded: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().expect("a header"));
            client_address(ip(peer), &headers, &proxies)
        };
        assert_eq!(of("192.0.2.1", "192.0.2.7"), ip("192.0.2.1"), "not a listed proxy");
        assert_eq!(of("10.0.0.9", "192.0.2.7"), ip("192.0.2.7"));
        assert_eq!(
            of("10.0.0.9", "203.0.113.1, 192.0.2.7, 10.0.0.8"),
            ip("192.0.2.7"),
            "the first entry is what the client claimed"
        );
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
