//! The allocations that a departure stopped, or that it saw, with what is known of their ends.

use std::sync::Arc;
use std::time::Duration;

use super::knows_all_that_was_reported;
use crate::decide::case::Case;
use crate::decide::snapshot::{Disk, Phase, TaskEnd, TaskGroup};
use crate::decide::stops::{Cut, TaskStops, cuts, of_departure, stopped_before};
use crate::ids::AllocationId;
use crate::time::Time;

/// A watch of Nomad lasts for at most 30 s, and is answered at once when something changes. If nobody looked for longer than that, an agent
/// may have been lost and have come back unseen.
const LONGEST_WATCH: Duration = Duration::from_secs(35);

/// One allocation.
#[derive(Debug, Clone)]
pub(super) struct Copy<'a> {
    pub(super) group: &'a Arc<TaskGroup>,
    /// Whether it was seen over.
    pub(super) over: bool,
    /// Whether it was told to stop.
    pub(super) told: bool,
    /// Whether a deadline or a forced drain told it to.
    pub(super) cut: bool,
    /// Whether Nomad may have replaced it without waiting for its end.
    pub(super) was_lost: bool,
    /// The look at discovery that still listed it as routable when it was over.
    pub(super) listed_after: Option<Time>,
    /// Since when it ran, if this run saw that.
    pub(super) runs_since: Option<Time>,
    /// How its tasks ended that were told to stop.
    pub(super) ends: &'a [TaskEnd],
    /// Where its disk is, if Nomad still lists it.
    pub(super) disk: Option<Disk>,
}

impl Copy<'_> {
    /// Whether it was told to stop, and none of its tasks got its signal before this time.
    pub(super) fn stopped_since(&self, since: Time) -> bool {
        let before = |end: &TaskEnd| matches!(end, TaskEnd::Stopped(stop) if stop.signalled < since);
        self.told && !self.ends.iter().any(before)
    }

    /// When its first task got its signal, and when the last of its tasks was over. `None` if that is not known of every task.
    pub(super) fn times(&self) -> Option<(Time, Time)> {
        let mut times: Option<(Time, Time)> = None;
        for end in self.ends {
            let TaskEnd::Stopped(stop) = end else { return None };
            let (signalled, ended) = (stop.signalled, stop.signalled + stop.took);
            times = Some(times.map_or((signalled, ended), |(first, last)| (first.min(signalled), last.max(ended))));
        }
        times.filter(|_| self.over)
    }
}

/// All of them, and how their tasks stopped.
#[derive(Debug)]
pub(super) struct Copies<'a> {
    all: Vec<Copy<'a>>,
    pub(super) stops: Vec<TaskStops>,
    /// Those of the stops that may have cut something.
    pub(super) cuts: Vec<Cut>,
    /// The first drain of this run, if this run began the departure.
    first_drain: Option<Time>,
}

impl<'a> Copies<'a> {
    pub(super) fn of(case: &'a Case<'_>) -> Self {
        let history = &case.seen.history;
        let listed = |id: AllocationId| case.allocations().find(|a| a.id == id);
        let forced = history.drains.iter().filter(|drain| drain.phase == Phase::Forced).map(|drain| drain.at).min();
        // Allocations that were lost before this run are not of this departure.
        let known = history.known.iter().filter(|known| !known.lost_before).map(|known| Copy {
            group: &known.group,
            over: known.over,
            told: known.told.is_some() || !known.ends.is_empty(),
            cut: known.cut || known.told.is_some_and(|told| forced.is_some_and(|forced| forced <= told)),
            was_lost: known.was_lost || LONGEST_WATCH < known.unwatched,
            runs_since: known.runs_since,
            listed_after: known.listed_after,
            ends: &known.ends,
            disk: listed(known.id).map(|allocation| allocation.disk),
        });
        // What an earlier worker saw stop.
        let earlier = stopped_before(case).map(|allocation| Copy {
            group: &allocation.group,
            over: true,
            told: true,
            cut: false,
            // An earlier worker may have seen it lost.
            was_lost: true,
            runs_since: None,
            listed_after: None,
            ends: &allocation.ends,
            disk: Some(allocation.disk),
        });
        let first_drain = history
            .drains
            .iter()
            .map(|drain| drain.at)
            .min()
            .filter(|_| knows_all_that_was_reported(case.seen) && history.woke_late.is_none());
        let stops = of_departure(case);
        Self { all: known.chain(earlier).collect(), cuts: cuts(case, &stops), stops, first_drain }
    }

    /// The groups of those that were told to stop, each once.
    pub(super) fn groups(&self) -> Vec<&'a Arc<TaskGroup>> {
        let mut groups: Vec<&'a Arc<TaskGroup>> = Vec::new();
        for copy in self.all.iter().filter(|copy| copy.told) {
            if !groups.iter().any(|group| group.is_same(copy.group)) {
                groups.push(copy.group);
            }
        }
        groups
    }

    /// The allocations of a finding's object, `job/group`. Two namespaces may have a job of one name. Their findings have one object, so the
    /// allocations of both count.
    pub(super) fn titled<'s>(&'s self, title: &'s str) -> impl Iterator<Item = &'s Copy<'a>> {
        self.all.iter().filter(move |copy| copy.group.is_titled(title))
    }

    /// The allocations of a group.
    pub(super) fn of_group<'s>(&'s self, group: &'s TaskGroup) -> impl Iterator<Item = &'s Copy<'a>> {
        self.all.iter().filter(move |copy| copy.group.is_same(group))
    }

    /// From when to when no copy of the group was left, if that is certain: every copy that the job wants had its signal before any of them
    /// was over, and a replacement starts only when its predecessor is over (facts/nomad.md 4.3). What Nomad has lost it replaces at once. What
    /// started after the drain is a replacement itself.
    pub(super) fn none_left(&self, group: &TaskGroup) -> Option<(Time, Time)> {
        let count = usize::try_from(group.count).unwrap_or(usize::MAX);
        let copies: Vec<_> = self.of_group(group).collect();
        let ran_before =
            |copy: &&Copy<'_>| copy.runs_since.is_some_and(|since| self.first_drain.is_some_and(|drain| since <= drain));
        if copies.len() != count || count == 0 || !copies.iter().all(|copy| ran_before(copy) && !copy.was_lost) {
            return None;
        }
        let times: Option<Vec<(Time, Time)>> = copies.iter().map(|copy| copy.times()).collect();
        let times = times?;
        let first = times.iter().map(|(signalled, _)| *signalled).min()?;
        let (from, to) = (times.iter().map(|(from, _)| *from).max()?, times.iter().map(|(_, to)| *to).min()?);
        // What stopped before the drain, another party stopped.
        (self.first_drain? <= first && from <= to).then_some((from, to))
    }
}
