//! The memory for request bodies of unauthenticated clients: bounded in bytes, from the first byte to the answer. Beyond the bound, the
//! largest body of the subnet that holds most is dropped.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::subnet::Subnet;
use crate::departures::lock;

/// The most bytes of all bodies together.
const MOST: usize = 16 * 1024 * 1024;
/// What a request takes in addition to its body.
const OVERHEAD: usize = 8 * 1024;

/// The bodies that one listener holds.
#[derive(Debug, Default)]
pub(super) struct BodyMemory(Arc<Mutex<Bodies>>);

#[derive(Debug, Default)]
struct Bodies {
    next_id: u64,
    bytes: usize,
    bodies: BTreeMap<u64, HeldBody>,
}

#[derive(Debug)]
struct HeldBody {
    subnet: Subnet,
    bytes: usize,
    dropped: Arc<Notify>,
}

/// One body's part of the memory. Dropping it frees the bytes.
#[derive(Debug)]
pub(super) struct Reservation {
    held: Arc<Mutex<Bodies>>,
    id: u64,
    dropped: Arc<Notify>,
}

impl BodyMemory {
    /// Reserves memory for a request from this address, at first for the request without its body.
    pub(super) fn reserve(&self, from: IpAddr) -> Reservation {
        let dropped = Arc::<Notify>::default();
        let mut held = lock(&self.0);
        let id = held.next_id;
        held.next_id += 1;
        held.bodies.insert(id, HeldBody { subnet: Subnet::of(from), bytes: 0, dropped: Arc::clone(&dropped) });
        held.grow(id, OVERHEAD);
        Reservation { held: Arc::clone(&self.0), id, dropped }
    }
}

impl Bodies {
    fn grow(&mut self, id: u64, bytes: usize) {
        let Some(body) = self.bodies.get_mut(&id) else { return };
        body.bytes += bytes;
        self.bytes += bytes;
        while MOST < self.bytes {
            let Some(largest) = self.largest() else { return };
            if let Some(body) = self.remove(largest) {
                body.dropped.notify_one();
            }
        }
    }

    /// The largest body of the subnet that holds most.
    fn largest(&self) -> Option<u64> {
        let mut subnets: HashMap<Subnet, usize> = HashMap::new();
        for body in self.bodies.values() {
            *subnets.entry(body.subnet).or_default() += body.bytes;
        }
        let (heaviest, _) = subnets.into_iter().max_by_key(|(_, bytes)| *bytes)?;
        let of = self.bodies.iter().filter(|(_, body)| body.subnet == heaviest);
        of.max_by_key(|(_, body)| body.bytes).map(|(id, _)| *id)
    }

    fn remove(&mut self, id: u64) -> Option<HeldBody> {
        let body = self.bodies.remove(&id)?;
        self.bytes -= body.bytes;
        Some(body)
    }
}

impl Reservation {
    /// Reserves more bytes.
    pub(super) fn grow(&self, bytes: usize) {
        lock(&self.held).grow(self.id, bytes);
    }

    /// Waits until the body has to be dropped for others.
    pub(super) async fn dropped(&self) {
        self.dropped.notified().await;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        lock(&self.held).remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_largest_bodies_of_the_heaviest_subnet_are_dropped_and_a_small_one_of_another_is_not() {
        let memory = BodyMemory::default();
        let from = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(number));
        let small = memory.reserve(from(1));
        small.grow(2_000);
        let flood: Vec<Reservation> = (0..300).map(|number| memory.reserve(from(10 + number % 4))).collect();
        flood.iter().for_each(|body| body.grow(256 * 1024));
        assert!(lock(&memory.0).bytes <= MOST);
        let dropped = flood.iter().filter(|body| body.dropped().now_or_never().is_some()).count();
        assert_eq!(dropped, 300 - MOST / (256 * 1024 + OVERHEAD), "no more than necessary");
        assert!(small.dropped().now_or_never().is_none());
        drop((small, flood));
        let held = lock(&memory.0);
        assert_eq!((held.bytes, held.bodies.len()), (0, 0));
    }
}
