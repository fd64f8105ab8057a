//! Which wishes were granted: each is known by its id for a while, so that a repetition starts nothing.

use std::collections::HashMap;

use crate::ids::hash;
use crate::time::Time;

/// Wishes that are remembered at once. More than these in ten minutes are nobody's deployments.
const MOST: usize = 10_000;

/// The digests of the ids of what was granted, and until when each is kept: ids are as long as their senders like.
#[derive(Debug, Default)]
pub(super) struct Wishes(HashMap<[u8; 32], Time>);

impl Wishes {
    /// Whether this one was granted.
    pub(super) fn knows(&self, id: &str, now: Time) -> bool {
        self.0.get(&hash(&[id])).is_some_and(|until| now < *until)
    }

    /// Whether another one can be remembered; without that it must not be granted.
    pub(super) fn has_room(&mut self, now: Time) -> bool {
        self.0.retain(|_, until| now < *until);
        self.0.len() < MOST
    }

    pub(super) fn remember(&mut self, id: &str, until: Time) {
        self.0.insert(hash(&[id]), until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_known_until_its_time_and_the_memory_is_bounded() {
        let mut wishes = Wishes::default();
        wishes.remember("one", Time(100));
        assert!(wishes.knows("one", Time(99)) && !wishes.knows("one", Time(100)) && !wishes.knows("other", Time(1)));
        for number in 1..MOST {
            assert!(wishes.has_room(Time(50)));
            wishes.remember(&number.to_string(), Time(200));
        }
        assert!(!wishes.has_room(Time(99)) && wishes.knows("1", Time(99)));
        assert!(wishes.has_room(Time(100)), "the first one is forgotten");
        assert!(wishes.has_room(Time(200)) && wishes.0.is_empty(), "and then all the others");
    }
}
