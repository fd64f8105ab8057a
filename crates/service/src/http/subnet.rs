//! The subnets by which unauthenticated clients are counted. One client of IPv6 may have many subnets, so IPv6 is counted at four sizes.

use std::net::{IpAddr, Ipv6Addr};

/// The sizes of IPv6 in bits, the largest subnet first, each with its share as a multiple of a /64's. A subscriber has a /64 to a /48, a
/// provider a /32.
const SIZES: [(u8, u8); 4] = [(32, 16), (48, 4), (56, 2), (64, 1)];

/// The addresses that begin with the same bits. An IPv4 address is a subnet of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Subnet {
    first: IpAddr,
    bits: u8,
}

impl Subnet {
    /// The subnet that distinguishes one client from another: an IPv4 address, or a /48 of IPv6.
    pub(super) fn of(address: IpAddr) -> Self {
        Self::new(address, 48)
    }

    /// All subnets that an address is in, the largest first, each with its share as a multiple of the smallest one's.
    pub(super) fn all(address: IpAddr) -> impl Iterator<Item = (Self, u8)> {
        let sizes = if address.to_canonical().is_ipv4() { &[(32, 1)] } else { &SIZES[..] };
        sizes.iter().map(move |(bits, share)| (Self::new(address, *bits), *share))
    }

    /// Whether an address is in it.
    pub(super) fn has(self, address: IpAddr) -> bool {
        Self::new(address, self.bits) == self
    }

    /// Whether clients are distinguished by subnets of its size.
    pub(super) fn is_client(self) -> bool {
        Self::of(self.first) == self
    }

    fn new(address: IpAddr, bits: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self { first: address.into(), bits: 32 },
            IpAddr::V6(address) => {
                let rest = 128 - bits;
                Self { first: Ipv6Addr::from_bits(address.to_bits() >> rest << rest).into(), bits }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn addresses_of_one_subscriber_share_their_subnets() {
        let shared = |one: &str, other: &str| Subnet::all(ip(one)).filter(|(subnet, _)| subnet.has(ip(other))).count();
        assert_eq!(shared("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:ffff::1"), 4, "one /64");
        assert_eq!(shared("2001:db8:1:2::1", "2001:db8:1:3::1"), 3, "one /56");
        assert_eq!(shared("2001:db8:1:2::1", "2001:db8:1:ff02::1"), 2, "one /48");
        assert_eq!(shared("2001:db8:1::1", "2001:db8:2::1"), 1, "one provider");
        assert_eq!(shared("192.0.2.1", "192.0.2.2"), 0);
        assert_eq!(shared("::ffff:192.0.2.1", "192.0.2.1"), 1);
    }

    #[test]
    fn clients_are_distinguished_by_an_ipv4_address_or_a_48() {
        let client = |text: &str| Subnet::of(ip(text));
        assert_eq!(client("2001:db8:1:2:3:4:5:6"), client("2001:db8:1:ff02::1"));
        assert_ne!(client("2001:db8:1::1"), client("2001:db8:2::1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert!(!client("192.0.2.1").has(ip("::1")) && !client("::1").has(ip("192.0.2.1")));
        for address in ["2001:db8::1", "192.0.2.1"] {
            assert_eq!(Subnet::all(ip(address)).filter(|(subnet, _)| subnet.is_client()).count(), 1);
        }
    }
}
