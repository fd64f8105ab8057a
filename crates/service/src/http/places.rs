//! How many requests are answered at once. Whoever shows a key has places of its own: strangers, who may be slow on purpose, cannot take
//! them, and all of them together hold no more memory than a small machine has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::departures::lock;

/// Of those who are known.
const MOST_KNOWN: usize = 512;
/// Of all others. Each may hold a body of 256 KiB: 16 MiB.
const MOST_STRANGERS: usize = 64;
/// Of one network among these: a flood from one leaves room for others.
const MOST_FROM_ONE: usize = 16;

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    known: Arc<Semaphore>,
    strangers: Crowd,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "what is in it is held, and given back when it is dropped")]
pub(super) enum Place {
    /// Of somebody who is known.
    Known(OwnedSemaphorePermit),
    /// Of a stranger.
    Stranger(Spot),
}

impl Places {
    pub(super) fn new() -> Self {
        Self { known: Arc::new(Semaphore::new(MOST_KNOWN)), strangers: Crowd::new(MOST_STRANGERS) }
    }

    /// A place for a request of somebody who is known; `None` if there is none left.
    pub(super) fn for_known(&self) -> Option<Place> {
        Arc::clone(&self.known).try_acquire_owned().ok().map(Place::Known)
    }

    /// A place for a request of whoever else is in this network.
    pub(super) fn for_stranger(&self, network: IpAddr) -> Option<Place> {
        self.strangers.take(network, MOST_FROM_ONE).map(Place::Stranger)
    }
}

/// So many of a kind at once, requests or connections, and no more than a part of them of one network.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    counts: Counts,
}

/// How many there are, by network.
type Counts = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// A spot in a crowd, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Spot(Counts, IpAddr);

impl Crowd {
    pub(super) fn new(most: usize) -> Self {
        Self { most, counts: Counts::default() }
    }

    /// A spot for somebody of this network, which has so many at most; `None` if there is none left.
    pub(super) fn take(&self, network: IpAddr, most_from_it: usize) -> Option<Spot> {
        let mut counts = lock(&self.counts);
        let all: usize = counts.values().sum();
        // Nothing is kept of whoever is turned away: there may be any number of them.
        if self.most <= all || counts.get(&network).is_some_and(|ours| most_from_it <= *ours) {
            return None;
        }
        *counts.entry(network).or_default() += 1;
        Some(Spot(Arc::clone(&self.counts), network))
    }

    /// How many networks somebody is there of.
    #[cfg(test)]
    pub(super) fn networks(&self) -> usize {
        lock(&self.counts).len()
    }
}

impl Drop for Spot {
    fn drop(&mut self) {
        let mut counts = lock(&self.0);
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn strangers_take_no_place_of_those_who_are_known_and_one_network_not_all_of_the_strangers() {
        let places = Places::new();
        let ip = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(number));
        let mut held: Vec<Place> = (0..1_000).map_while(|_| places.for_stranger(ip(1))).collect();
        assert_eq!(held.len(), MOST_FROM_ONE);
        held.extend(
            (2..1_000).flat_map(|number| (0..1_000).map_while(move |_| Some(number))).filter_map(|n| places.for_stranger(ip(n))),
        );
        assert_eq!(held.len(), MOST_STRANGERS);
        let known: Vec<Place> = (0..1_000).map_while(|_| places.for_known()).collect();
        assert_eq!(known.len(), MOST_KNOWN);
        held.pop();
        assert!(places.for_stranger(ip(2_000)).is_some() && places.for_known().is_none());
        drop((held, known));
        assert!(places.strangers.networks() == 0 && places.for_known().is_some());
    }
}
