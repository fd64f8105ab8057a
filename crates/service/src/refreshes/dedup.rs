//! Deduplicates requests for refreshes: each is remembered by its id for a while, so that a repetition starts nothing.

use std::collections::HashMap;

use tokio::sync::watch;

use super::{StartError, Started};
use decamp_core::ids::hash;
use decamp_core::time::Time;

/// The most requests that are remembered at once. Nobody deploys more often than this in ten minutes.
const MOST: usize = 10_000;

/// The answer to a request, once it is known.
pub(super) type Answer = Option<Result<Started, StartError>>;

/// The state of each request, by the hash of its id, because senders choose how long their ids are.
#[derive(Debug, Default)]
pub(super) struct Dedup(HashMap<[u8; 32], State>);

#[derive(Debug)]
enum State {
    /// Its refreshes are being started.
    InProgress(watch::Receiver<Answer>),
    /// Its refreshes were started. It is remembered until then.
    Started(Time),
}

/// What a request is when it arrives.
#[derive(Debug)]
pub(super) enum Arrival {
    /// It was not sent before. The caller keeps the sender until it has sent the answer.
    New(watch::Sender<Answer>),
    /// It was sent before, and its refreshes are being started.
    InProgress(watch::Receiver<Answer>),
    /// It was sent before, and its refreshes were started.
    Started,
    /// There is no room to remember it, so nothing may be started for it.
    TooMany,
}

impl Dedup {
    /// Registers a request. The same request twice at the same moment counts as one.
    pub(super) fn register(&mut self, id: &str, now: Time) -> Arrival {
        let id = hash(&[id]);
        self.0.retain(|_, state| match state {
            State::Started(until) => now < *until,
            // Its task ended without an answer.
            State::InProgress(answer) => answer.has_changed().is_ok(),
        });
        match self.0.get(&id) {
            Some(State::Started(_)) => return Arrival::Started,
            Some(State::InProgress(answer)) => return Arrival::InProgress(answer.clone()),
            None if MOST <= self.0.len() => return Arrival::TooMany,
            None => {}
        }
        let (sender, receiver) = watch::channel(None);
        self.0.insert(id, State::InProgress(receiver));
        Arrival::New(sender)
    }

    /// Remembers a request whose refreshes were started.
    pub(super) fn started(&mut self, id: &str, until: Time) {
        self.0.insert(hash(&[id]), State::Started(until));
    }

    /// Forgets a request that failed: its repetition is a new request.
    pub(super) fn failed(&mut self, id: &str) {
        self.0.remove(&hash(&[id]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_new(arrival: &Arrival) -> bool {
        matches!(arrival, Arrival::New(_))
    }

    #[test]
    fn a_request_is_remembered_until_its_time_and_the_memory_is_bounded() {
        let mut dedup = Dedup::default();
        dedup.started("one", Time(100));
        assert!(matches!(dedup.register("one", Time(99)), Arrival::Started));
        assert!(is_new(&dedup.register("one", Time(100))) && is_new(&dedup.register("other", Time(100))));
        for number in 0..MOST {
            assert!(is_new(&dedup.register(&number.to_string(), Time(100))), "{number}");
            dedup.started(&number.to_string(), Time(200));
        }
        assert!(matches!(dedup.register("another", Time(199)), Arrival::TooMany));
        assert!(matches!(dedup.register("1", Time(199)), Arrival::Started), "a full memory still knows what is in it");
        assert!(is_new(&dedup.register("another", Time(200))), "all the others are forgotten");
    }

    #[test]
    fn the_same_request_twice_is_one_until_it_is_answered_and_new_when_it_failed() {
        let mut dedup = Dedup::default();
        let Arrival::New(sender) = dedup.register("one", Time(1)) else { panic!("it is new") };
        let Arrival::InProgress(answer) = dedup.register("one", Time(1)) else { panic!("it is in progress") };
        sender.send_replace(Some(Err(StartError::Refused)));
        assert_eq!(*answer.borrow(), Some(Err(StartError::Refused)));
        dedup.failed("one");
        let Arrival::New(lost) = dedup.register("one", Time(1)) else { panic!("it is new again") };
        drop(lost);
        assert!(is_new(&dedup.register("one", Time(1))), "the task that had the sender is gone");
    }
}
