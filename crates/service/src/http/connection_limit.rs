//! The most connections of one listener, shared so that unauthenticated clients cannot keep out authenticated ones. At capacity, the oldest
//! unauthenticated connection is closed for a new one.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::subnet::Subnet;
use crate::departures::lock;

/// A limit for concurrent connections.
#[derive(Debug)]
pub(super) struct ConnectionLimit {
    most: usize,
    open: Arc<Mutex<OpenConnections>>,
}

#[derive(Debug, Default)]
struct OpenConnections {
    next_id: u64,
    /// The oldest first.
    unauthenticated: BTreeMap<u64, Unauthenticated>,
    /// How many unauthenticated connections each subnet of any size has.
    counts: HashMap<Subnet, usize>,
    authenticated: usize,
    proxies: usize,
}

#[derive(Debug)]
struct Unauthenticated {
    address: IpAddr,
    evicted: Arc<Notify>,
}

/// Whose connection a slot is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Unauthenticated,
    /// It has shown a key or a signature.
    Authenticated,
    /// A proxy that the settings list.
    Proxy,
}

/// One connection's part of the limit. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct Slot {
    open: Arc<Mutex<OpenConnections>>,
    id: u64,
    most_authenticated: usize,
    client: Mutex<Client>,
    evicted: Arc<Notify>,
}

impl ConnectionLimit {
    pub(super) fn new(most: usize) -> Self {
        Self { most, open: Arc::default() }
    }

    /// Takes a slot for a connection from this address, and evicts another connection if it must. Unauthenticated clients have at
    /// most a quarter of all slots for an IPv4 address or a /64 of IPv6, and half for a larger subnet. Listed proxies have three quarters.
    /// `None`: no connection can be evicted.
    pub(super) fn acquire(&self, address: IpAddr, is_proxy: bool) -> Option<Slot> {
        let mut open = lock(&self.open);
        let is_proxy = is_proxy && open.proxies < self.most / 4 * 3;
        let most_of = |share: u8| (self.most / 4 * usize::from(share)).min(self.most / 2);
        let is_full = |(subnet, share): &(Subnet, u8)| open.counts.get(subnet).is_some_and(|count| most_of(*share) <= *count);
        // The smallest one that is full: an eviction there counts in the larger ones too.
        if !is_proxy && let Some((subnet, _)) = Subnet::all(address).filter(is_full).last() {
            open.evict_oldest(subnet);
        }
        if self.most <= open.count() {
            let heaviest = open.heaviest()?;
            open.evict_oldest(heaviest);
        }
        let id = open.next_id;
        open.next_id += 1;
        let evicted = Arc::<Notify>::default();
        let client = if is_proxy {
            open.proxies += 1;
            Client::Proxy
        } else {
            open.add(id, Unauthenticated { address, evicted: Arc::clone(&evicted) });
            Client::Unauthenticated
        };
        drop(open);
        // Senders that sign show that only in their request, so an eighth always stays for unauthenticated connections.
        let most_authenticated = self.most / 8 * 7;
        Some(Slot { open: Arc::clone(&self.open), id, most_authenticated, client: Mutex::new(client), evicted })
    }

    /// How many slots are taken.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        lock(&self.open).count()
    }
}

impl OpenConnections {
    fn count(&self) -> usize {
        self.unauthenticated.len() + self.authenticated + self.proxies
    }

    fn add(&mut self, id: u64, connection: Unauthenticated) {
        for (subnet, _) in Subnet::all(connection.address) {
            *self.counts.entry(subnet).or_default() += 1;
        }
        self.unauthenticated.insert(id, connection);
    }

    fn remove(&mut self, id: u64) -> Option<Unauthenticated> {
        let connection = self.unauthenticated.remove(&id)?;
        for (subnet, _) in Subnet::all(connection.address) {
            if let Some(count) = self.counts.get_mut(&subnet) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&subnet);
                }
            }
        }
        Some(connection)
    }

    /// The client with the most unauthenticated connections; among several, the one with the oldest connection.
    fn heaviest(&self) -> Option<Subnet> {
        let most = self.counts.iter().filter(|(subnet, _)| subnet.is_client()).map(|(_, count)| count).max()?;
        self.unauthenticated
            .values()
            .map(|connection| Subnet::of(connection.address))
            .find(|subnet| self.counts.get(subnet) == Some(most))
    }

    fn evict_oldest(&mut self, subnet: Subnet) {
        let oldest = self.unauthenticated.iter().find(|(_, connection)| subnet.has(connection.address)).map(|(id, _)| *id);
        if let Some(connection) = oldest.and_then(|id| self.remove(id)) {
            connection.evicted.notify_one();
        }
    }
}

impl Slot {
    /// Marks its client as authenticated: it is not evicted any more, unless nearly all slots are held by authenticated clients.
    pub(super) fn authenticate(&self) {
        let mut client = lock(&self.client);
        let mut open = lock(&self.open);
        if *client == Client::Unauthenticated && open.authenticated < self.most_authenticated && open.remove(self.id).is_some() {
            open.authenticated += 1;
            *client = Client::Authenticated;
        }
    }

    /// Whether its client is still unauthenticated.
    pub(super) fn is_unauthenticated(&self) -> bool {
        *lock(&self.client) == Client::Unauthenticated
    }

    /// Waits until the slot is given to another connection.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        match *lock(&self.client) {
            Client::Unauthenticated => drop(open.remove(self.id)),
            Client::Authenticated => open.authenticated -= 1,
            Client::Proxy => open.proxies -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use futures_util::FutureExt as _;

    use super::*;

    const MOST: usize = 1_024;

    fn v4(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(number))
    }

    fn v6(bits: u128) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | bits))
    }

    /// Connects from each address, and returns the slots of the connections that were not evicted at once.
    fn connect(limit: &ConnectionLimit, addresses: impl Iterator<Item = IpAddr>) -> Vec<Slot> {
        addresses.filter_map(|address| limit.acquire(address, false)).filter(|slot| !is_evicted(slot)).collect()
    }

    fn is_evicted(slot: &Slot) -> bool {
        slot.evicted().now_or_never().is_some()
    }

    fn evicted(slots: &[Slot]) -> usize {
        slots.iter().filter(|slot| is_evicted(slot)).count()
    }

    #[test]
    fn unauthenticated_clients_keep_nobody_out_and_an_authenticated_one_is_not_evicted() {
        for networks in [1, 4, 5, 8, 100, 2_000] {
            let limit = ConnectionLimit::new(MOST);
            let holder = limit.acquire(v4(9_999), false).expect("it is empty");
            holder.authenticate();
            let flood: Vec<Slot> = (0..4_000).filter_map(|number| limit.acquire(v4(number % networks), false)).collect();
            assert_eq!(flood.len(), 4_000, "every connection is accepted, and evicts another");
            assert!(limit.count() <= MOST, "{networks}: {}", limit.count());
            let newest = limit.acquire(v4(9_998), false).expect("it is accepted");
            let more: Vec<Slot> = (0..100).filter_map(|number| limit.acquire(v4(number % networks), false)).collect();
            assert!(!is_evicted(&holder) && !is_evicted(&newest), "{networks}");
            assert!(2_900 < evicted(&flood) && evicted(&more) < 100, "{networks}");
        }
    }

    #[test]
    fn a_new_connection_from_the_address_of_a_flood_is_accepted_and_the_oldest_is_evicted() {
        let limit = ConnectionLimit::new(MOST);
        let flood: Vec<Slot> = (0..2_000).filter_map(|_| limit.acquire(v4(1), false)).collect();
        assert_eq!((limit.count(), evicted(&flood)), (MOST / 4, 2_000 - MOST / 4));
        let check = limit.acquire(v4(1), false).expect("it is accepted");
        let more: Vec<Slot> = (0..200).filter_map(|_| limit.acquire(v4(1), false)).collect();
        assert!(!is_evicted(&check) && more.len() == 200);
        drop((flood, check, more));
        assert!(limit.count() == 0 && lock(&limit.open).counts.is_empty(), "{limit:?}");
    }

    #[test]
    fn one_subscriber_or_provider_of_ipv6_has_half_with_any_number_of_subnets() {
        for (shift, most) in [(0, MOST / 4), (64, MOST / 2), (72, MOST / 2), (80, MOST / 2), (96, MOST)] {
            let limit = ConnectionLimit::new(MOST);
            let flood = connect(&limit, (0..2_000).map(|number| v6(number << shift)));
            assert_eq!(limit.count(), most, "{shift}: {}", flood.len());
        }
    }

    #[test]
    fn a_listed_proxy_has_three_quarters_that_unauthenticated_clients_cannot_take() {
        let limit = ConnectionLimit::new(MOST);
        let proxied: Vec<Slot> = (0..MOST).filter_map(|_| limit.acquire(v4(1), true)).collect();
        let flood: Vec<Slot> = (0..4_000).filter_map(|number| limit.acquire(v4(10 + number), false)).collect();
        assert!(3_000 < evicted(&flood));
        assert_eq!(proxied.iter().filter(|slot| !is_evicted(slot) && !slot.is_unauthenticated()).count(), MOST / 4 * 3);
    }

    #[test]
    fn an_eighth_is_left_to_clients_that_have_not_shown_a_signature_yet() {
        let limit = ConnectionLimit::new(MOST);
        let known: Vec<Slot> = (0..u32::try_from(MOST).expect("it is small"))
            .filter_map(|number| limit.acquire(v4(number), false))
            .inspect(Slot::authenticate)
            .collect();
        assert_eq!(known.iter().filter(|slot| slot.is_unauthenticated()).count(), MOST / 8);
        assert!(limit.acquire(v4(5_000), false).is_some());
    }
}
