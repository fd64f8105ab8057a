//! Looks in progress. A slow system delays only the steps that need its answer.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::decide::{Departure, Effect, Observation, Part, Snapshot, System};
use crate::time::Time;
use crate::world::World;

/// The longest wait for one system's answer while another system's answers are waited for as well. Healthy systems answer sooner.
const PATIENCE: Duration = Duration::from_millis(500);

/// A look at some parts of one system.
struct Look<'w> {
    round: u32,
    parts: Vec<Part>,
    asked: Asked,
    answer: Pin<Box<dyn Future<Output = Vec<Observation>> + 'w>>,
}

/// When a look was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// By the world's clock.
    pub(super) at: Time,
    /// By the steady clock.
    pub(super) steady: Duration,
}

/// The answer to a look.
pub(super) struct Answer {
    pub(super) asked: Asked,
    pub(super) observations: Vec<Observation>,
}

/// All looks in progress.
pub(super) struct Looks<'w, W> {
    pub(super) world: &'w W,
    departure: &'w Departure,
    rounds: u32,
    /// When the last look was asked for, by the steady clock.
    last_asked: Duration,
    under_way: Vec<Look<'w>>,
    /// Parts that were answered in a round with other answers still to come. They are as fresh as the rest of the round, and are not asked
    /// for again: slow answers would make each other outdated without end.
    answered: Vec<(u32, Vec<Part>)>,
}

impl<'w, W: World> Looks<'w, W> {
    pub(super) fn new(world: &'w W, departure: &'w Departure) -> Self {
        Self { world, departure, rounds: 0, last_asked: Duration::ZERO, under_way: Vec::new(), answered: Vec::new() }
    }

    /// The parts whose answers are late.
    pub(super) fn late(&self) -> Vec<Part> {
        let steady = self.world.steady();
        let late = self.under_way.iter().filter(|look| look.asked.steady + PATIENCE <= steady);
        late.flat_map(|look| look.parts.iter().cloned()).collect()
    }

    /// When the last look was asked for.
    pub(super) fn last_asked(&self) -> Time {
        self.world.now().before(self.world.steady().saturating_sub(self.last_asked))
    }

    /// Whether any look is in progress.
    pub(super) fn are_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Asks for the parts that are not in progress, one look for each system. Returns whether there were any.
    pub(super) fn ask(&mut self, seen: &Arc<Snapshot>, parts: Vec<Part>) -> bool {
        let under_way = |part: &Part| self.under_way.iter().any(|look| look.parts.contains(part));
        let answered = |part: &Part| self.answered.iter().any(|(_, parts)| parts.contains(part));
        let mut systems: Vec<(System, Vec<Part>)> = Vec::new();
        for part in parts {
            if under_way(&part) || answered(&part) {
                continue;
            }
            // Nomad's answer says what to ask Consul for.
            let follows = part == Part::Consul && seen.nomad.last().is_none();
            let system = if follows { System::Nomad } else { part.system() };
            match systems.iter_mut().find(|(known, _)| *known == system) {
                Some((_, parts)) => parts.push(part),
                None => systems.push((system, vec![part])),
            }
        }
        self.rounds = self.rounds.wrapping_add(1);
        let (world, departure) = (self.world, self.departure);
        let asked = Asked { at: world.now(), steady: world.steady() };
        let any = !systems.is_empty();
        if any {
            self.last_asked = asked.steady;
        }
        for (_, parts) in systems {
            let (seen, wanted) = (Arc::clone(seen), parts.clone());
            let answer = Box::pin(async move { world.look(departure, &seen, &wanted).await });
            self.under_way.push(Look { round: self.rounds, parts, asked, answer });
        }
        any
    }

    /// Waits for the answers that come in time. If `anew`, and the new looks take longer, returns without an answer. Otherwise waits for
    /// the next answer, or until `until`.
    pub(super) async fn answers(&mut self, seen: &Arc<Snapshot>, anew: bool, until: Option<Time>) -> Vec<Answer> {
        let (world, departure) = (self.world, self.departure);
        let mut answers = Vec::new();
        loop {
            let steady = world.steady();
            let in_time = self.under_way.iter().map(|look| look.asked.steady + PATIENCE).filter(|end| steady < *end).max();
            let wakes = match in_time {
                Some(end) => Some(world.now() + end.saturating_sub(steady)),
                None => until,
            };
            let mut timer = pin!(async {
                match wakes {
                    Some(at) => drop(world.pause(departure, seen, at, &[]).await),
                    None => std::future::pending().await,
                }
            });
            let over = poll_fn(|context| {
                self.poll(context, &mut answers);
                if self.under_way.is_empty() || in_time.is_none() && (anew || !answers.is_empty()) {
                    return Poll::Ready(true);
                }
                // If no look is within its time, the timer was the one for `until`.
                timer.as_mut().poll(context).map(|()| in_time.is_none())
            });
            if over.await {
                return answers;
            }
        }
    }

    /// Waits until that time, for news from the watch, or for the first answer.
    pub(super) async fn meanwhile(
        &mut self,
        seen: &Arc<Snapshot>,
        until: Time,
        watch: &[Part],
    ) -> (Vec<Answer>, Vec<Observation>) {
        let mut pause = pin!(self.world.pause(self.departure, seen, until, watch));
        let mut answers = Vec::new();
        let news = poll_fn(|context| {
            self.poll(context, &mut answers);
            if answers.is_empty() { pause.as_mut().poll(context) } else { Poll::Ready(Vec::new()) }
        });
        let news = news.await;
        (answers, news)
    }

    fn poll(&mut self, context: &mut std::task::Context<'_>, answers: &mut Vec<Answer>) {
        let mut over = Vec::new();
        self.under_way.retain_mut(|look| match look.answer.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(observations) => {
                // A part that could not be read may be tried again.
                if observations.iter().all(Observation::is_seen) {
                    over.push((look.round, std::mem::take(&mut look.parts)));
                }
                answers.push(Answer { asked: look.asked, observations });
                false
            }
        });
        self.answered.append(&mut over);
        self.answered.retain(|(round, _)| self.under_way.iter().any(|look| look.round == *round));
    }

    /// Drops looks at parts that these writes are about to change: their answers would be outdated.
    pub(super) fn outdated_by(&mut self, effects: &[Effect]) {
        if self.under_way.is_empty() {
            return;
        }
        let outdated = |part: &Part| effects.iter().any(|effect| effect.changes(part));
        self.under_way.retain(|look| !look.parts.iter().any(outdated));
        self.answered.retain(|(_, parts)| !parts.iter().any(outdated));
    }

    /// Forgets all looks in progress and all answers.
    pub(super) fn forget(&mut self) {
        self.under_way.clear();
        self.answered.clear();
    }
}
