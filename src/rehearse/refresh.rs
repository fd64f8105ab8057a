//! An instance refresh by Auto Scaling's rules: launch before terminate, bounds on healthy instances, warm-up, checkpoints.

use std::time::Duration;

use crate::ids::InstanceId;
use crate::time::Time;

/// What a refresh is asked for (`Preferences`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Preferences {
    /// `MinHealthyPercentage`.
    pub(super) min_healthy: u32,
    /// `MaxHealthyPercentage`.
    pub(super) max_healthy: u32,
    /// `InstanceWarmup`.
    pub(super) warm_up: Duration,
    /// `CheckpointPercentages`, ascending: it pauses when this share is replaced.
    pub(super) checkpoints: Vec<u32>,
    /// `CheckpointDelay`.
    pub(super) checkpoint_delay: Duration,
}

/// An instance as a refresh sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) id: InstanceId,
    pub(super) stands: Stands,
}

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    /// It starts.
    Pending,
    /// It serves, since then.
    InService(Time),
    /// It is on its way out.
    Leaving,
}

/// What a refresh does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// A new instance starts.
    Launch,
    /// An old one is told to go.
    Terminate(InstanceId),
}

/// A refresh under way.
#[derive(Debug, Clone)]
pub(super) struct Refresh {
    preferences: Preferences,
    desired: u32,
    /// Those that are to go, and have not been told to.
    old: Vec<InstanceId>,
    paused_until: Option<Time>,
    passed: usize,
}

impl Refresh {
    /// Begins to replace these, of a group that wants as many as there are.
    pub(super) fn begin(preferences: Preferences, old: Vec<InstanceId>) -> Self {
        let desired = u32::try_from(old.len()).unwrap_or(u32::MAX);
        Self { preferences, desired, old, paused_until: None, passed: 0 }
    }

    /// Whether every old instance has gone and all that replace them are warm.
    pub(super) fn is_over(&self, now: Time, members: &[Member]) -> bool {
        let leaving = members.iter().any(|m| m.stands == Stands::Leaving);
        self.old.is_empty() && !leaving && self.desired <= self.warm(now, members)
    }

    /// What to do now. An instance on its way out is not healthy, and counts against the upper bound until it is gone: a slow
    /// hook makes a batch longer (facts/aws.md 2.6).
    pub(super) fn next(&mut self, now: Time, members: &[Member]) -> Vec<Move> {
        if self.pauses(now, members) {
            return Vec::new();
        }
        let share = |percent: u32| self.desired * percent / 100;
        let least = (self.desired * self.preferences.min_healthy).div_ceil(100);
        let most = share(self.preferences.max_healthy).max(self.desired);
        let there = u32::try_from(members.len()).unwrap_or(u32::MAX);
        let mut moves = Vec::new();
        // As many as are still to be replaced, as far as there is room above.
        let wanted = self.desired + u32::try_from(self.old.len()).unwrap_or(u32::MAX);
        let room = most.min(wanted).saturating_sub(there);
        moves.extend((0..room).map(|_| Move::Launch));
        let spare = self.warm(now, members).saturating_sub(least);
        for _ in 0..spare.min(u32::try_from(self.old.len()).unwrap_or(u32::MAX)) {
            moves.push(Move::Terminate(self.old.remove(0)));
        }
        moves
    }

    /// Instances that serve and are past their warm-up; old ones always are.
    fn warm(&self, now: Time, members: &[Member]) -> u32 {
        let is_warm = |m: &&Member| match m.stands {
            Stands::InService(since) => self.old.contains(&m.id) || since + self.preferences.warm_up <= now,
            Stands::Pending | Stands::Leaving => false,
        };
        u32::try_from(members.iter().filter(is_warm).count()).unwrap_or(u32::MAX)
    }

    /// At a checkpoint it waits, once what was told to go has gone.
    fn pauses(&mut self, now: Time, members: &[Member]) -> bool {
        if let Some(until) = self.paused_until {
            if now < until {
                return true;
            }
            self.paused_until = None;
        }
        let Some(&checkpoint) = self.preferences.checkpoints.get(self.passed) else { return false };
        let replaced = (self.desired - u32::try_from(self.old.len()).unwrap_or(0)) * 100;
        if replaced < checkpoint * self.desired {
            return false;
        }
        if members.iter().all(|m| m.stands != Stands::Leaving) {
            self.passed += 1;
            self.paused_until = Some(now + self.preferences.checkpoint_delay);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> InstanceId {
        InstanceId::from_number(number)
    }

    fn serving(numbers: impl IntoIterator<Item = u64>) -> Vec<Member> {
        numbers.into_iter().map(|n| Member { id: id(n), stands: Stands::InService(Time(0)) }).collect()
    }

    fn preferences() -> Preferences {
        let second = Duration::from_secs(1);
        Preferences {
            min_healthy: 100,
            max_healthy: 150,
            warm_up: second * 2,
            checkpoints: Vec::new(),
            checkpoint_delay: second * 9,
        }
    }

    fn begin(preferences: Preferences) -> Refresh {
        Refresh::begin(preferences, (1..=4).map(id).collect())
    }

    #[test]
    fn it_launches_what_the_upper_bound_allows_before_it_terminates_anything() {
        let mut refresh = begin(preferences());
        assert_eq!(refresh.next(Time(0), &serving(1..=4)), [Move::Launch, Move::Launch]);
        let mut members = serving(1..=4);
        members.extend([5, 6].map(|n| Member { id: id(n), stands: Stands::Pending }));
        assert_eq!(refresh.next(Time(500), &members), []);
    }

    #[test]
    fn nothing_goes_before_the_new_ones_are_warm_and_then_only_what_the_lower_bound_leaves() {
        let mut refresh = begin(preferences());
        let mut members = serving(1..=4);
        members.extend([5, 6].map(|n| Member { id: id(n), stands: Stands::InService(Time(1_000)) }));
        assert_eq!(refresh.next(Time(2_999), &members), []);
        assert_eq!(refresh.next(Time(3_000), &members), [Move::Terminate(id(1)), Move::Terminate(id(2))]);
    }

    #[test]
    fn without_room_above_it_terminates_first() {
        let mut refresh = begin(Preferences { min_healthy: 50, max_healthy: 100, ..preferences() });
        assert_eq!(refresh.next(Time(0), &serving(1..=4)), [Move::Terminate(id(1)), Move::Terminate(id(2))]);
        let mut members = serving(3..=4);
        members.extend([1, 2].map(|n| Member { id: id(n), stands: Stands::Leaving }));
        assert_eq!(refresh.next(Time(0), &members), []);
        assert_eq!(refresh.next(Time(0), &serving(3..=4)), [Move::Launch, Move::Launch]);
    }

    #[test]
    fn at_a_checkpoint_it_waits_for_the_leaving_and_then_its_delay() {
        let mut refresh = begin(Preferences { checkpoints: vec![50], ..preferences() });
        let mut members = serving(1..=6);
        assert_eq!(refresh.next(Time(9_000), &members).len(), 2);
        members[0].stands = Stands::Leaving;
        assert_eq!(refresh.next(Time(10_000), &members), []);
        let left = serving(3..=6);
        assert_eq!(refresh.next(Time(11_000), &left), []);
        assert_eq!(refresh.next(Time(19_999), &left), []);
        assert_eq!(refresh.next(Time(20_000), &left), [Move::Launch, Move::Launch]);
    }

    #[test]
    fn it_is_over_when_every_old_one_has_gone_and_enough_are_warm() {
        let mut refresh = begin(preferences());
        refresh.old.clear();
        assert!(refresh.is_over(Time(9_000), &serving(5..=8)));
        assert!(!refresh.is_over(Time(9_000), &serving(5..=7)));
        let mut members = serving(5..=8);
        members.push(Member { id: id(4), stands: Stands::Leaving });
        assert!(!refresh.is_over(Time(9_000), &members));
    }
}
