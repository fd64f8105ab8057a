//! Looks that are under way. What a write needs does not wait for what it does not need: a system that is slow, or hangs, holds up only what
//! is asked of itself.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::decide::{Departure, Effect, Observation, Part, Snapshot, System};
use crate::time::Time;
use crate::world::World;

/// What is asked of another system at the same time is not waited for any longer than this. Answers of systems that are well take less.
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
    /// By the one that nothing sets.
    pub(super) steady: Duration,
    /// Whether nothing was known yet.
    pub(super) blank: bool,
}

/// What a look showed.
pub(super) struct Answer {
    pub(super) asked: Asked,
    pub(super) observations: Vec<Observation>,
}

/// All looks that are under way.
pub(super) struct Looks<'w, W> {
    pub(super) world: &'w W,
    departure: &'w Departure,
    rounds: u32,
    /// When the last look was asked for, by the clock that nothing sets.
    last_asked: Duration,
    under_way: Vec<Look<'w>>,
    /// What was answered in a round of which other answers are still to come. It is as fresh as they will be, and not asked for again:
    /// slow answers would make each other old without end.
    answered: Vec<(u32, Vec<Part>)>,
}

impl<'w, W: World> Looks<'w, W> {
    pub(super) fn new(world: &'w W, departure: &'w Departure) -> Self {
        Self { world, departure, rounds: 0, last_asked: Duration::ZERO, under_way: Vec::new(), answered: Vec::new() }
    }

    /// What is under way and takes long.
    pub(super) fn late(&self) -> Vec<Part> {
        let steady = self.world.steady();
        let late = self.under_way.iter().filter(|look| look.asked.steady + PATIENCE <= steady);
        late.flat_map(|look| look.parts.iter().cloned()).collect()
    }

    /// When the last look was asked for.
    pub(super) fn last_asked(&self) -> Time {
        self.world.now().before(self.world.steady().saturating_sub(self.last_asked))
    }

    /// Whether some are not answered.
    pub(super) fn are_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Asks for what is not under way, system by system. Whether there was any.
    pub(super) fn ask(&mut self, seen: &Arc<Snapshot>, parts: Vec<Part>) -> bool {
        let under_way = |part: &Part| self.under_way.iter().any(|look| look.parts.contains(part));
        let answered = |part: &Part| self.answered.iter().any(|(_, parts)| parts.contains(part));
        let mut systems: Vec<(System, Vec<Part>)> = Vec::new();
        for part in parts {
            if under_way(&part) || answered(&part) {
                continue;
            }
            // Only Nomad tells what to ask Consul for.
            let follows = part == Part::Consul && seen.nomad.last().is_none();
            let system = if follows { System::Nomad } else { part.system() };
            match systems.iter_mut().find(|(known, _)| *known == system) {
                Some((_, parts)) => parts.push(part),
                None => systems.push((system, vec![part])),
            }
        }
        self.rounds = self.rounds.wrapping_add(1);
        let (world, departure) = (self.world, self.departure);
        let asked = Asked { at: world.now(), steady: world.steady(), blank: seen.is_blank() };
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

    /// Waits for all answers that come in good time: none, if what was just asked (`anew`) takes longer. Else for the next answer, or
    /// `until` then.
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
                // With no patience left it is `until` that has come.
                timer.as_mut().poll(context).map(|()| in_time.is_none())
            });
            if over.await {
                return answers;
            }
        }
    }

    /// Waits until that time, for news of what is watched, or for the first answer.
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
                // What could not be seen may be tried again.
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

    /// These writes are about to be made: looks at what they change that were asked for before prove nothing any more.
    pub(super) fn outdated_by(&mut self, effects: &[Effect]) {
        if self.under_way.is_empty() {
            return;
        }
        let outdated = |part: &Part| effects.iter().any(|effect| effect.changes(part));
        self.under_way.retain(|look| !look.parts.iter().any(outdated));
        self.answered.retain(|(_, parts)| !parts.iter().any(outdated));
    }

    /// What was known is forgotten, and what is under way with it.
    pub(super) fn forget(&mut self) {
        self.under_way.clear();
        self.answered.clear();
    }
}
