//! Which wishes were granted: each is known by its id for a while, so that a repetition starts nothing.

use std::collections::HashMap;

use tokio::sync::watch;

use super::{Granted, NotGranted};
use decamp_core::ids::hash;
use decamp_core::time::Time;

/// Wishes that are remembered at once. More than these in ten minutes are nobody's deployments.
const MOST: usize = 10_000;

/// What became of a wish, once that is known.
pub(super) type Became = Option<Result<Granted, NotGranted>>;

/// The digests of the ids of what was asked, and how each stands: ids are as long as their senders like.
#[derive(Debug, Default)]
pub(super) struct Wishes(HashMap<[u8; 32], Stands>);

#[derive(Debug)]
enum Stands {
    /// It is being granted.
    UnderWay(watch::Receiver<Became>),
    /// It was granted, and is known until then.
    Granted(Time),
}

/// What a wish is when it comes.
#[derive(Debug)]
pub(super) enum Comes {
    /// Nobody wished it before. Whoever tells what becomes of it is to hold the sender meanwhile.
    New(watch::Sender<Became>),
    /// It is being granted for somebody who sent it before.
    UnderWay(watch::Receiver<Became>),
    /// It was granted.
    Before,
    /// Another one cannot be remembered, and without that it must not be granted.
    TooMany,
}

impl Wishes {
    /// Notes a wish. The same one twice at the same moment is still one.
    pub(super) fn come(&mut self, id: &str, now: Time) -> Comes {
        let id = hash(&[id]);
        self.0.retain(|_, stands| match stands {
            Stands::Granted(until) => now < *until,
            // Whoever was at it is gone without a word.
            Stands::UnderWay(became) => became.has_changed().is_ok(),
        });
        match self.0.get(&id) {
            Some(Stands::Granted(_)) => return Comes::Before,
            Some(Stands::UnderWay(became)) => return Comes::UnderWay(became.clone()),
            None if MOST <= self.0.len() => return Comes::TooMany,
            None => {}
        }
        let (became, told) = watch::channel(None);
        self.0.insert(id, Stands::UnderWay(told));
        Comes::New(became)
    }

    /// It was granted.
    pub(super) fn remember(&mut self, id: &str, until: Time) {
        self.0.insert(hash(&[id]), Stands::Granted(until));
    }

    /// It was not granted: its repetition is a new wish.
    pub(super) fn forget(&mut self, id: &str) {
        self.0.remove(&hash(&[id]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_new(comes: &Comes) -> bool {
        matches!(comes, Comes::New(_))
    }

    #[test]
    fn a_wish_is_known_until_its_time_and_the_memory_is_bounded() {
        let mut wishes = Wishes::default();
        wishes.remember("one", Time(100));
        assert!(matches!(wishes.come("one", Time(99)), Comes::Before));
        assert!(is_new(&wishes.come("one", Time(100))) && is_new(&wishes.come("other", Time(100))));
        for number in 0..MOST {
            assert!(is_new(&wishes.come(&number.to_string(), Time(100))), "{number}");
            wishes.remember(&number.to_string(), Time(200));
        }
        assert!(matches!(wishes.come("another", Time(199)), Comes::TooMany));
        assert!(matches!(wishes.come("1", Time(199)), Comes::Before), "what is known is known all the same");
        assert!(is_new(&wishes.come("another", Time(200))), "all the others are forgotten");
    }

    #[test]
    fn the_same_wish_twice_is_one_until_it_is_answered_and_new_when_it_was_not_granted() {
        let mut wishes = Wishes::default();
        let Comes::New(became) = wishes.come("one", Time(1)) else { panic!("it is new") };
        let Comes::UnderWay(told) = wishes.come("one", Time(1)) else { panic!("it is under way") };
        became.send_replace(Some(Err(NotGranted::Refused)));
        assert_eq!(*told.borrow(), Some(Err(NotGranted::Refused)));
        wishes.forget("one");
        let Comes::New(lost) = wishes.come("one", Time(1)) else { panic!("it is new again") };
        drop(lost);
        assert!(is_new(&wishes.come("one", Time(1))), "whoever was at it is gone");
    }
}
