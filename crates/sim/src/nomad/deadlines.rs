//! The drainer's deadlines. Those within five seconds of the earliest act together at the latest of them, and Nomad may overlook forced
//! ones.

use std::time::Duration;

use super::state::NodeNumber;
use crate::rng::Rng;
use decamp_core::time::Time;

/// Nomad combines deadlines that are closer than this.
const WINDOW: Duration = Duration::from_secs(5);

/// The deadline of each draining node. A forced drain has `Time(0)`, as in Nomad.
#[derive(Debug, Clone, Default)]
pub(super) struct Deadlines {
    nodes: Vec<(NodeNumber, Time)>,
    due: Option<Time>,
    generation: u32,
}

impl Deadlines {
    /// Sets a node's deadline.
    pub(super) fn watch(&mut self, node: NodeNumber, deadline: Time, rng: &mut Rng) {
        match self.nodes.iter_mut().find(|(n, _)| *n == node) {
            Some(entry) => entry.1 = deadline,
            None => self.nodes.push((node, deadline)),
        }
        self.roll(rng);
    }

    /// Forgets a node.
    pub(super) fn forget(&mut self, node: NodeNumber, rng: &mut Rng) {
        if self.nodes.iter().any(|(n, _)| *n == node) {
            self.nodes.retain(|(n, _)| *n != node);
            self.roll(rng);
        }
    }

    /// The next time to act, with its generation. Timers of older generations are void.
    pub(super) fn next(&self) -> Option<(Time, u32)> {
        self.due.map(|at| (at, self.generation))
    }

    /// Takes out the nodes whose deadline is reached.
    pub(super) fn take(&mut self, generation: u32, rng: &mut Rng) -> Vec<NodeNumber> {
        let Some(due) = self.due.filter(|_| generation == self.generation) else { return Vec::new() };
        let come = self.nodes.iter().filter(|(_, at)| *at <= due).map(|(node, _)| *node).collect();
        self.nodes.retain(|(_, at)| due < *at);
        self.roll(rng);
        come
    }

    /// Finds the next time to act as Nomad's heap does. It iterates over a map in random order, and takes the zero time of a forced drain
    /// for "none yet" unless that comes last (facts/nomad.md 2.6 and 3.7).
    fn roll(&mut self, rng: &mut Rng) {
        self.generation += 1;
        let forced = self.nodes.iter().filter(|(_, at)| at.0 == 0).count();
        let forced_is_seen = 0 < forced && rng.below(self.nodes.len() as u64) < forced as u64;
        let earliest = if forced_is_seen { Some(Time(0)) } else { self.nodes.iter().map(|n| n.1).filter(|at| 0 < at.0).min() };
        self.due = earliest.and_then(|first| {
            let together = self.nodes.iter().map(|n| n.1).filter(|at| *at < first + WINDOW);
            together.max()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NodeNumber = NodeNumber(1);

    #[test]
    fn deadlines_within_five_seconds_act_at_the_latest_of_them() {
        let mut rng = Rng::new(1);
        let mut deadlines = Deadlines::default();
        deadlines.watch(NodeNumber(0), Time(10_000), &mut rng);
        deadlines.watch(ONE, Time(14_500), &mut rng);
        deadlines.watch(NodeNumber(2), Time(30_000), &mut rng);
        let (at, generation) = deadlines.next().unwrap();
        assert_eq!(at, Time(14_500));
        assert_eq!(deadlines.take(generation, &mut rng), [NodeNumber(0), ONE]);
        assert_eq!(deadlines.next().map(|d| d.0), Some(Time(30_000)));
    }

    #[test]
    fn a_forced_drain_is_seen_for_certain_only_when_it_is_alone() {
        let seen = |others: u32| {
            (0..600)
                .filter(|&seed| {
                    let mut rng = Rng::new(seed);
                    let mut deadlines = Deadlines::default();
                    (0..others).for_each(|n| deadlines.watch(NodeNumber(n), Time(3_600_000), &mut rng));
                    deadlines.watch(NodeNumber(99), Time(0), &mut rng);
                    deadlines.next().is_some_and(|d| d.0 == Time(0))
                })
                .count()
        };
        assert_eq!(seen(0), 600);
        assert!((250..350).contains(&seen(1)), "{}", seen(1));
        assert!((60..140).contains(&seen(5)), "{}", seen(5));
    }

    #[test]
    fn a_moved_deadline_voids_the_timer_of_the_old_one() {
        let mut rng = Rng::new(1);
        let mut deadlines = Deadlines::default();
        deadlines.watch(ONE, Time(10_000), &mut rng);
        let (_, old) = deadlines.next().unwrap();
        deadlines.watch(ONE, Time(60_000), &mut rng);
        assert!(deadlines.take(old, &mut rng).is_empty());
    }
}
