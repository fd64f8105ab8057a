//! The unit by which unauthenticated clients are counted: an IPv4 address, or the /48 of an IPv6 address, because one subscriber of IPv6
//! has up to a /48.

use std::net::{IpAddr, Ipv6Addr};

/// Bits of an IPv6 address that one subscriber does not choose.
const PREFIX: u32 = 48;

/// An IPv4 address, or a /48 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Subnet(IpAddr);

impl Subnet {
    /// The subnet that an address is in.
    pub(super) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - PREFIX))).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv4_is_a_subnet_and_so_is_a_48_of_ipv6() {
        let subnet = |text: &str| Subnet::of(text.parse().expect("an address"));
        assert_eq!(subnet("2001:db8:1:2:3:4:5:6"), subnet("2001:db8:1:ff02::1"));
        assert_ne!(subnet("2001:db8:1::1"), subnet("2001:db8:2::1"));
        assert_ne!(subnet("192.0.2.1"), subnet("192.0.2.2"));
        assert_eq!(subnet("::ffff:192.0.2.1"), subnet("192.0.2.1"));
    }
}
