//! A queue of timed items. Items with equal times come out in the order they were put in, so that a seed replays exactly.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use decamp_core::time::Time;

/// Items that are each due at some time.
#[derive(Debug, Clone)]
pub struct TimerQueue<T> {
    heap: BinaryHeap<Timed<T>>,
    put: u64,
}

#[derive(Debug, Clone)]
struct Timed<T> {
    at: Time,
    order: u64,
    item: T,
}

impl<T> Default for TimerQueue<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), put: 0 }
    }
}

impl<T> TimerQueue<T> {
    /// Puts in an item that is due at `at`. An item that is never due is dropped.
    pub fn put(&mut self, at: Time, item: T) {
        if at < Time::NEVER {
            self.put += 1;
            self.heap.push(Timed { at, order: self.put, item });
        }
    }

    /// When the next item is due; `Time::NEVER` if there is none.
    #[must_use]
    pub fn next(&self) -> Time {
        self.heap.peek().map_or(Time::NEVER, |entry| entry.at)
    }

    /// Takes out the next item, if it is due by then.
    pub fn take(&mut self, by: Time) -> Option<(Time, T)> {
        if by < self.next() {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at, entry.item))
    }
}

impl<T> Timed<T> {
    fn key(&self) -> (Time, u64) {
        (self.at, self.order)
    }
}

// A `BinaryHeap` pops the greatest first, so the order is reversed.
impl<T> Ord for Timed<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl<T> PartialOrd for Timed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Timed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Timed<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_come_out_in_the_order_they_were_put_in() {
        let mut queue = TimerQueue::default();
        for (at, item) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b'), (u64::MAX, 'x')] {
            queue.put(Time(at), item);
        }
        let mut out = String::new();
        while let Some((_, item)) = queue.take(Time(5)) {
            out.push(item);
        }
        assert_eq!(out, "abcd");
        assert_eq!(queue.next(), Time::NEVER);
    }

    #[test]
    fn nothing_comes_out_before_its_time() {
        let mut queue = TimerQueue::default();
        queue.put(Time(5), ());
        assert_eq!(queue.take(Time(4)), None);
        assert_eq!(queue.take(Time(5)), Some((Time(5), ())));
    }
}
