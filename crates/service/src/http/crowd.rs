//! The connections of one listener: bounded in number, and shared so that strangers cannot keep anybody out who has a key. When there
//! are too many, the oldest that has shown no key goes.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::subnet::Subnet;
use crate::departures::lock;

/// So many connections at once.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    members: Arc<Mutex<Members>>,
}

#[derive(Debug, Default)]
struct Members {
    next: u64,
    /// Those that have shown no key, the oldest first.
    strangers: BTreeMap<u64, Stranger>,
    /// How many of them each subnet has.
    counts: HashMap<Subnet, usize>,
    known: usize,
    proxied: usize,
}

#[derive(Debug)]
struct Stranger {
    subnet: Subnet,
    leaves: Arc<Notify>,
}

/// What a connection is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Stranger,
    /// It has shown a key, or a signature.
    Known,
    /// It is of a proxy that the settings name.
    Proxy,
}

/// A spot in a crowd, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Spot {
    members: Arc<Mutex<Members>>,
    id: u64,
    most_known: usize,
    standing: Mutex<Standing>,
    leaves: Arc<Notify>,
}

impl Crowd {
    pub(super) fn new(most: usize) -> Self {
        Self { most, members: Arc::default() }
    }

    /// A spot for a connection from this address. Strangers of one subnet have a quarter at most;
    /// listed proxies have three quarters. Somebody else may have to leave for it. `None`: nobody can.
    pub(super) fn enter(&self, address: IpAddr, is_proxy: bool) -> Option<Spot> {
        let mut members = lock(&self.members);
        let is_proxy = is_proxy && members.proxied < self.most / 4 * 3;
        let subnet = Subnet::of(address);
        if !is_proxy && members.counts.get(&subnet).is_some_and(|count| self.most / 4 <= *count) {
            members.dismiss(subnet);
        }
        if self.most <= members.all() {
            let heaviest = members.heaviest()?;
            members.dismiss(heaviest);
        }
        let id = members.next;
        members.next += 1;
        let leaves = Arc::<Notify>::default();
        let standing = if is_proxy {
            members.proxied += 1;
            Standing::Proxy
        } else {
            members.add(id, Stranger { subnet, leaves: Arc::clone(&leaves) });
            Standing::Stranger
        };
        drop(members);
        // A few are always left to those whose signature is still to be seen.
        let most_known = self.most / 8 * 7;
        Some(Spot { members: Arc::clone(&self.members), id, most_known, standing: Mutex::new(standing), leaves })
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        lock(&self.members).all()
    }
}

impl Members {
    fn all(&self) -> usize {
        self.strangers.len() + self.known + self.proxied
    }

    fn add(&mut self, id: u64, stranger: Stranger) {
        *self.counts.entry(stranger.subnet).or_default() += 1;
        self.strangers.insert(id, stranger);
    }

    fn remove(&mut self, id: u64) -> Option<Stranger> {
        let stranger = self.strangers.remove(&id)?;
        if let Some(count) = self.counts.get_mut(&stranger.subnet) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&stranger.subnet);
            }
        }
        Some(stranger)
    }

    /// The subnet that has the most strangers' connections; of several, the one that has the oldest connection.
    fn heaviest(&self) -> Option<Subnet> {
        let most = self.counts.values().max()?;
        self.strangers.values().map(|stranger| stranger.subnet).find(|subnet| self.counts.get(subnet) == Some(most))
    }

    /// Has the oldest stranger of a subnet leave.
    fn dismiss(&mut self, subnet: Subnet) {
        let oldest = self.strangers.iter().find(|(_, stranger)| stranger.subnet == subnet).map(|(id, _)| *id);
        if let Some(stranger) = oldest.and_then(|id| self.remove(id)) {
            stranger.leaves.notify_one();
        }
    }
}

impl Spot {
    /// It has shown a key: no stranger takes its spot from now on, unless nearly all have shown one.
    pub(super) fn trust(&self) {
        let mut standing = lock(&self.standing);
        let mut members = lock(&self.members);
        if *standing == Standing::Stranger && members.known < self.most_known && members.remove(self.id).is_some() {
            members.known += 1;
            *standing = Standing::Known;
        }
    }

    /// Whether it is held for a stranger.
    pub(super) fn is_strangers(&self) -> bool {
        *lock(&self.standing) == Standing::Stranger
    }

    /// Waits until it has to be left for somebody else.
    pub(super) async fn to_be_left(&self) {
        self.leaves.notified().await;
    }
}

impl Drop for Spot {
    fn drop(&mut self) {
        let mut members = lock(&self.members);
        match *lock(&self.standing) {
            Standing::Stranger => drop(members.remove(self.id)),
            Standing::Known => members.known -= 1,
            Standing::Proxy => members.proxied -= 1,
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

    /// As many connections as the numbers are, of which these are left.
    fn stay(crowd: &Crowd, addresses: impl Iterator<Item = IpAddr>) -> Vec<Spot> {
        addresses.filter_map(|address| crowd.enter(address, false)).filter(|spot| !has_left(spot)).collect()
    }

    fn has_left(spot: &Spot) -> bool {
        spot.to_be_left().now_or_never().is_some()
    }

    fn left(spots: &[Spot]) -> usize {
        spots.iter().filter(|spot| has_left(spot)).count()
    }

    #[test]
    fn strangers_of_any_number_of_networks_keep_nobody_out_and_whoever_has_shown_a_key_stays() {
        for networks in [1, 4, 5, 8, 100, 2_000] {
            let crowd = Crowd::new(MOST);
            let holder = crowd.enter(v4(9_999), false).expect("it is empty");
            holder.trust();
            let flood: Vec<Spot> = (0..4_000).filter_map(|number| crowd.enter(v4(number % networks), false)).collect();
            assert_eq!(flood.len(), 4_000, "everybody is let in, and others leave for it");
            assert!(crowd.count() <= MOST, "{networks}: {}", crowd.count());
            let newest = crowd.enter(v4(9_998), false).expect("it is let in");
            let more: Vec<Spot> = (0..100).filter_map(|number| crowd.enter(v4(number % networks), false)).collect();
            assert!(!has_left(&holder) && !has_left(&newest), "{networks}");
            assert!(2_900 < left(&flood) && left(&more) < 100, "{networks}");
        }
    }

    #[test]
    fn whoever_shares_the_address_of_a_flood_is_let_in_and_the_oldest_leaves() {
        let crowd = Crowd::new(MOST);
        let flood: Vec<Spot> = (0..2_000).filter_map(|_| crowd.enter(v4(1), false)).collect();
        assert_eq!((crowd.count(), left(&flood)), (MOST / 4, 2_000 - MOST / 4));
        let check = crowd.enter(v4(1), false).expect("it is let in");
        let more: Vec<Spot> = (0..200).filter_map(|_| crowd.enter(v4(1), false)).collect();
        assert!(!has_left(&check) && more.len() == 200);
        drop((flood, check, more));
        assert!(crowd.count() == 0 && lock(&crowd.members).counts.is_empty(), "{crowd:?}");
    }

    #[test]
    fn one_subscriber_of_ipv6_has_a_quarter_however_many_networks_it_has() {
        for (shift, most) in [(0, MOST / 4), (64, MOST / 4), (68, MOST / 4), (80, MOST)] {
            let crowd = Crowd::new(MOST);
            let flood = stay(&crowd, (0..2_000).map(|number| v6(number << shift)));
            assert_eq!(crowd.count(), most, "{shift}: {}", flood.len());
        }
    }

    #[test]
    fn a_proxy_has_three_quarters_which_strangers_do_not_take() {
        let crowd = Crowd::new(MOST);
        let proxied: Vec<Spot> = (0..MOST).filter_map(|_| crowd.enter(v4(1), true)).collect();
        let flood: Vec<Spot> = (0..4_000).filter_map(|number| crowd.enter(v4(10 + number), false)).collect();
        assert!(3_000 < left(&flood));
        assert_eq!(proxied.iter().filter(|spot| !has_left(spot) && !spot.is_strangers()).count(), MOST / 4 * 3);
    }

    #[test]
    fn an_eighth_is_left_to_strangers_whose_signature_is_still_to_be_seen() {
        let crowd = Crowd::new(MOST);
        let known: Vec<Spot> = (0..u32::try_from(MOST).expect("it is small"))
            .filter_map(|number| crowd.enter(v4(number), false))
            .inspect(Spot::trust)
            .collect();
        assert_eq!(known.iter().filter(|spot| spot.is_strangers()).count(), MOST / 8);
        assert!(crowd.enter(v4(5_000), false).is_some());
    }
}
