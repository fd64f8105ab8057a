//! Networks of addresses, written as in `10.0.0.0/16`.

use std::net::IpAddr;
use std::str::FromStr;

/// All addresses with the same prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// The error for a text that is not a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no address or network; write one such as 10.0.0.9, 10.0.0.0/16 or fd00::/8")]
pub struct NoNetwork;

impl Network {
    /// Whether an address is in it.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => {
                same_prefix(u128::from(ours.to_bits()) << 96, u128::from(other.to_bits()) << 96, self.bits)
            }
            (IpAddr::V6(ours), IpAddr::V6(other)) => same_prefix(ours.to_bits(), other.to_bits(), self.bits),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn same_prefix(one: u128, other: u128, bits: u8) -> bool {
    bits == 0 || (one ^ other) >> (128 - u32::from(bits)) == 0
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NoNetwork)?;
        let address = address.to_canonical();
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most).ok_or(NoNetwork)?,
        };
        Ok(Self { address, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(network: &str, address: &str) -> bool {
        network.parse::<Network>().expect("a network").has(address.parse().expect("an address"))
    }

    #[test]
    fn a_network_has_the_addresses_with_its_prefix() {
        for (network, address) in [
            ("10.0.0.0/16", "10.0.255.1"),
            ("10.0.0.9", "10.0.0.9"),
            ("10.0.0.9", "::ffff:10.0.0.9"),
            ("0.0.0.0/0", "203.0.113.1"),
            ("fd00::/8", "fdff::1"),
            ("2001:db8::/33", "2001:db8:7fff::1"),
        ] {
            assert!(has(network, address), "{network} {address}");
        }
        for (network, address) in
            [("10.0.0.0/16", "10.1.0.0"), ("10.0.0.9", "10.0.0.8"), ("0.0.0.0/0", "::1"), ("2001:db8::/33", "2001:db8:8000::1")]
        {
            assert!(!has(network, address), "{network} {address}");
        }
    }

    #[test]
    fn an_invalid_network_is_refused_with_how_to_write_one() {
        for text in ["", "10.0.0.0/33", "10.0.0/16", "fd00::/129", "10.0.0.0/-1", "10.0.0.0/", "an-alb"] {
            assert_eq!(text.parse::<Network>(), Err(NoNetwork), "{text}");
        }
    }
}
