//! The blocks of addresses that one address is in: whoever has one address of IPv6 has many, and may have many networks of them.

use std::net::{IpAddr, Ipv6Addr};

/// A block of addresses: those that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Block {
    first: IpAddr,
    bits: u8,
}

/// What blocks of each size may have, as a multiple of what one network may: a subscriber has a /64 to a /48, a provider a /32.
struct Level {
    bits: u8,
    multiple: u32,
}

const V4: &[Level] = &[Level { bits: 32, multiple: 1 }];
const V6: &[Level] = &[
    Level { bits: 32, multiple: 16 },
    Level { bits: 48, multiple: 4 },
    Level { bits: 56, multiple: 2 },
    Level { bits: 64, multiple: 1 },
];

/// The blocks that an address is in, the largest first, each with what it may have as a multiple of what one network may.
pub(super) fn blocks(address: IpAddr) -> impl Iterator<Item = (Block, u32)> {
    let address = address.to_canonical();
    let levels = if address.is_ipv4() { V4 } else { V6 };
    levels.iter().map(move |level| (block(address, level.bits), level.multiple))
}

/// The block by which one sender is told from another: an address of IPv4, a /48 of IPv6.
pub(super) fn sender(address: IpAddr) -> Block {
    let address = address.to_canonical();
    block(address, if address.is_ipv4() { 32 } else { 48 })
}

impl Block {
    /// Whether an address is in it.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && block(address, self.bits) == *self
    }

    /// Whether senders are told from one another by blocks of this size.
    pub(super) fn is_senders(&self) -> bool {
        sender(self.first) == *self
    }
}

fn block(address: IpAddr, bits: u8) -> Block {
    let first = match address {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let rest = 128 - u32::from(bits);
            Ipv6Addr::from_bits(address.to_bits() >> rest << rest).into()
        }
    };
    Block { first, bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn addresses_of_one_subscriber_share_their_blocks() {
        let shared = |one: &str, other: &str| {
            let other: Vec<_> = blocks(ip(other)).map(|(block, _)| block).collect();
            blocks(ip(one)).filter(|(block, _)| other.contains(block)).count()
        };
        assert_eq!(shared("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:ffff::1"), 4, "one /64");
        assert_eq!(shared("2001:db8:1:2::1", "2001:db8:1:3::1"), 3, "one /56");
        assert_eq!(shared("2001:db8:1:2::1", "2001:db8:1:ff02::1"), 2, "one /48");
        assert_eq!(shared("2001:db8:1::1", "2001:db8:2::1"), 1, "one provider");
        assert_eq!(shared("192.0.2.1", "192.0.2.2"), 0);
        assert_eq!(shared("::ffff:192.0.2.1", "192.0.2.1"), 1);
    }

    #[test]
    fn senders_are_told_apart_by_an_address_or_a_48() {
        assert_eq!(sender(ip("2001:db8:1:2::1")), sender(ip("2001:db8:1:ff02::1")));
        assert_ne!(sender(ip("192.0.2.1")), sender(ip("192.0.2.2")));
        assert!(sender(ip("2001:db8:1:2::1")).has(ip("2001:db8:1::9")) && !sender(ip("192.0.2.1")).has(ip("2001:db8:1::9")));
        assert_eq!(blocks(ip("2001:db8::1")).filter(|(block, _)| block.is_senders()).count(), 1);
        assert_eq!(blocks(ip("192.0.2.1")).filter(|(block, _)| block.is_senders()).count(), 1);
    }
}
