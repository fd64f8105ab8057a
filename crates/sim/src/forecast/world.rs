//! The virtual world of a forecast: a clock that jumps from one event to the next, and systems that start as a snapshot shows them.

use std::cell::RefCell;
use std::time::Duration;

use decamp_core::decide::{Departure, Effect, Observation, Part, Refusal, Snapshot};
use decamp_core::time::Time;
use decamp_core::world::World;

use super::PartSpan;
use super::systems::Systems;
use crate::worker::CONSUL_ANSWERS_EVERY;

/// The assumed time of an answer. Without it a look would not be later than the write before it.
const ANSWER: Duration = Duration::from_millis(100);

/// The virtual world.
#[derive(Debug)]
pub(super) struct VirtualWorld {
    began: Time,
    now: RefCell<Time>,
    systems: RefCell<Systems>,
}

impl VirtualWorld {
    pub(super) fn new(systems: Systems, now: Time) -> Self {
        Self { began: now, now: RefCell::new(now), systems: RefCell::new(systems) }
    }

    pub(super) fn time(&self) -> Time {
        *self.now.borrow()
    }

    pub(super) fn into_spans(self) -> Vec<PartSpan> {
        self.systems.into_inner().into_spans()
    }

    fn advance(&self, time: Time) {
        let mut now = self.now.borrow_mut();
        *now = time.max(*now);
        self.systems.borrow_mut().advance(*now);
    }
}

impl World for VirtualWorld {
    fn now(&self) -> Time {
        self.time()
    }

    fn steady(&self) -> Duration {
        self.time().since(self.began)
    }

    async fn look(&self, _: &Departure, _: &Snapshot, parts: &[Part]) -> Vec<Observation> {
        // A look shows the state at the time of the question.
        let showings = parts.iter().flat_map(|part| self.systems.borrow().show(part)).collect();
        self.advance(self.time() + ANSWER);
        showings
    }

    async fn pause(&self, _: &Departure, seen: &Snapshot, until: Time, watch: &[Part]) -> Vec<Observation> {
        let asks_consul = watch.contains(&Part::Consul) && seen.stops_in_consul().next().is_some();
        let consul_answers_at = self.time() + CONSUL_ANSWERS_EVERY;
        loop {
            let event = self.systems.borrow().next_event();
            let next = event.into_iter().chain(asks_consul.then_some(consul_answers_at)).chain([until]).min().unwrap_or(until);
            if until <= next {
                self.advance(until);
                return Vec::new();
            }
            self.advance(next);
            let systems = self.systems.borrow();
            let news = |part: &&Part| {
                (asks_consul && **part == Part::Consul && consul_answers_at <= next) || systems.has_news(part, seen)
            };
            if let Some(part) = watch.iter().find(news) {
                return systems.show(part);
            }
        }
    }

    async fn act(&self, _: &Departure, effect: &Effect) -> Result<(), Refusal> {
        self.systems.borrow_mut().take(effect, self.time());
        self.advance(self.time() + ANSWER);
        Ok(())
    }
}
