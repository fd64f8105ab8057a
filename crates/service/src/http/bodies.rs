//! The bodies of strangers' requests: as many bytes at once as a small machine has, from when they come to the answer. When there are
//! too many, the largest body of the sender that holds most goes.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::subnet::Subnet;
use crate::departures::lock;

/// All of them together.
const MOST: usize = 16 * 1024 * 1024;
/// What a request takes beside its body.
const BESIDE: usize = 8 * 1024;

/// What is held of all bodies of one listener.
#[derive(Debug, Default)]
pub(super) struct Bodies(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    next: u64,
    all: usize,
    bodies: BTreeMap<u64, OneBody>,
}

#[derive(Debug)]
struct OneBody {
    subnet: Subnet,
    bytes: usize,
    goes: Arc<Notify>,
}

/// One body; nothing is held of it once this is dropped.
#[derive(Debug)]
pub(super) struct Body {
    held: Arc<Mutex<Held>>,
    id: u64,
    goes: Arc<Notify>,
}

impl Bodies {
    /// Begins to hold the body of a request from this address.
    pub(super) fn begin(&self, from: IpAddr) -> Body {
        let goes = Arc::<Notify>::default();
        let mut held = lock(&self.0);
        let id = held.next;
        held.next += 1;
        held.bodies.insert(id, OneBody { subnet: Subnet::of(from), bytes: 0, goes: Arc::clone(&goes) });
        held.grow(id, BESIDE);
        Body { held: Arc::clone(&self.0), id, goes }
    }
}

impl Held {
    fn grow(&mut self, id: u64, bytes: usize) {
        let Some(body) = self.bodies.get_mut(&id) else { return };
        body.bytes += bytes;
        self.all += bytes;
        while MOST < self.all {
            let Some(largest) = self.largest() else { return };
            if let Some(body) = self.remove(largest) {
                body.goes.notify_one();
            }
        }
    }

    /// The largest body of the sender that holds most.
    fn largest(&self) -> Option<u64> {
        let mut subnets: HashMap<Subnet, usize> = HashMap::new();
        for body in self.bodies.values() {
            *subnets.entry(body.subnet).or_default() += body.bytes;
        }
        let (heaviest, _) = subnets.into_iter().max_by_key(|(_, bytes)| *bytes)?;
        let of = self.bodies.iter().filter(|(_, body)| body.subnet == heaviest);
        of.max_by_key(|(_, body)| body.bytes).map(|(id, _)| *id)
    }

    fn remove(&mut self, id: u64) -> Option<OneBody> {
        let body = self.bodies.remove(&id)?;
        self.all -= body.bytes;
        Some(body)
    }
}

impl Body {
    /// So many bytes more came.
    pub(super) fn grow(&self, bytes: usize) {
        lock(&self.held).grow(self.id, bytes);
    }

    /// Waits until it has to go for others.
    pub(super) async fn to_go(&self) {
        self.goes.notified().await;
    }
}

impl Drop for Body {
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
    fn whoever_holds_most_goes_and_a_small_body_of_another_stays() {
        let bodies = Bodies::default();
        let from = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(number));
        let small = bodies.begin(from(1));
        small.grow(2_000);
        let flood: Vec<Body> = (0..300).map(|number| bodies.begin(from(10 + number % 4))).collect();
        flood.iter().for_each(|body| body.grow(256 * 1024));
        assert!(lock(&bodies.0).all <= MOST);
        let gone = flood.iter().filter(|body| body.to_go().now_or_never().is_some()).count();
        assert_eq!(gone, 300 - MOST / (256 * 1024 + BESIDE), "no more than have to");
        assert!(small.to_go().now_or_never().is_none());
        drop((small, flood));
        let held = lock(&bodies.0);
        assert_eq!((held.all, held.bodies.len()), (0, 0));
    }
}
