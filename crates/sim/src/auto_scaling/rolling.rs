//! The rules of a rolling refresh: launch before terminate, bounds on healthy instances, warm-up, checkpoints. They are pure functions.

use std::time::Duration;

use decamp_core::ids::InstanceId;
use decamp_core::refresh::Preferences;
use decamp_core::time::Time;

/// AWS's default for `MinHealthyPercentage`.
const MIN_HEALTHY: u32 = 90;
/// AWS's default for `CheckpointDelay`.
const CHECKPOINT_DELAY: Duration = Duration::from_hours(1);

/// An instance as a refresh sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) id: InstanceId,
    pub(super) state: MemberState,
}

/// The state of an instance for a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemberState {
    /// It is starting.
    Pending,
    /// It has been serving since this time.
    InService(Time),
    /// It is leaving.
    Leaving,
}

/// A step of a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// Launch a new instance.
    Launch,
    /// Terminate this old instance.
    Terminate(InstanceId),
}

/// The replacement of a group's instances.
#[derive(Debug, Clone)]
pub(super) struct Rolling {
    preferences: Preferences,
    desired: u32,
    /// How many instances had to be replaced when it began.
    total: u32,
    /// The instances that are still to be terminated.
    old: Vec<InstanceId>,
    /// The instances that this refresh terminates. Others may leave at the same time for other reasons.
    terminating: Vec<InstanceId>,
    paused_until: Option<Time>,
    passed: usize,
}

/// The bounds: the least number of healthy instances, and the most instances in all.
struct Bounds {
    least: u32,
    most: u32,
    /// Whether an old instance leaves while the new one starts: leaving instances do not count against the upper bound.
    at_the_same_time: bool,
}

impl Rolling {
    /// Begins to replace the `old` instances of a group of `desired` instances.
    pub(super) fn begin(preferences: Preferences, old: Vec<InstanceId>, desired: u32) -> Self {
        let total = count(old.len());
        Self { preferences, desired, total, old, terminating: Vec::new(), paused_until: None, passed: 0 }
    }

    /// Whether every old instance has gone and all replacements are warm.
    pub(super) fn is_over(&self, now: Time, members: &[Member]) -> bool {
        self.old.is_empty() && self.leaving(members) == 0 && self.desired <= self.warm(now, members)
    }

    /// How many instances are still to be replaced. An instance counts until it has gone and has a warm replacement.
    pub(super) fn to_update(&self, now: Time, members: &[Member]) -> u32 {
        let gone = self.total - count(self.old.len());
        let leaving = self.leaving(members);
        // Instances that needed no replacement.
        let matching = self.desired.saturating_sub(self.total);
        let new = count(members.iter().filter(|m| !self.old.contains(&m.id) && self.is_warm(now, m)).count());
        self.total - gone.saturating_sub(leaving).min(new.saturating_sub(matching))
    }

    /// How many instances the group has to have.
    pub(super) fn desired(&self) -> u32 {
        self.desired
    }

    /// How many instances had to be replaced when the refresh began.
    pub(super) fn total(&self) -> u32 {
        self.total
    }

    /// The steps to take now. A leaving instance is not healthy, and counts against the upper bound until it is gone, so that a slow hook
    /// makes a batch longer (facts/aws.md 2.6).
    pub(super) fn next(&mut self, now: Time, members: &[Member]) -> Vec<Move> {
        self.forget(members);
        let paused = self.is_paused(now, members);
        let Bounds { least, most, at_the_same_time } = self.bounds();
        let staying = count(members.iter().filter(|m| m.state != MemberState::Leaving).count());
        let there = if at_the_same_time { staying } else { count(members.len()) };
        // Launch a replacement for every old instance, as far as the upper bound allows.
        let ahead = if paused { 0 } else { count(self.old.len()) };
        let room = most.saturating_sub(there).min((self.desired + ahead).saturating_sub(staying));
        let mut moves: Vec<Move> = (0..room).map(|_| Move::Launch).collect();
        let spare = if paused { 0 } else { self.warm(now, members).saturating_sub(least) };
        let serves = |id: &InstanceId| members.iter().any(|m| m.id == *id && matches!(m.state, MemberState::InService(_)));
        for _ in 0..spare {
            let Some(at) = self.old.iter().position(serves) else { break };
            let id = self.old.remove(at);
            self.terminating.push(id);
            moves.push(Move::Terminate(id));
        }
        moves
    }

    /// The steps of a cancelled refresh: it restores the group's desired size.
    pub(super) fn restore_size(&mut self, now: Time, members: &[Member]) -> Vec<Move> {
        self.forget(members);
        let staying = count(members.iter().filter(|m| m.state != MemberState::Leaving).count());
        let missing = self.desired.saturating_sub(staying);
        let surplus = self.warm(now, members).min(staying).saturating_sub(self.desired);
        let surplus = usize::try_from(surplus).unwrap_or(usize::MAX).min(self.old.len());
        let leave = self.old.drain(..surplus).map(Move::Terminate);
        (0..missing).map(|_| Move::Launch).chain(leave).collect()
    }

    /// How many of the instances that this refresh terminates are still there.
    fn leaving(&self, members: &[Member]) -> u32 {
        count(members.iter().filter(|m| m.state == MemberState::Leaving && self.terminating.contains(&m.id)).count())
    }

    /// Drops old instances that are gone or that another party terminates.
    fn forget(&mut self, members: &[Member]) {
        self.old.retain(|id| members.iter().any(|m| m.id == *id && m.state != MemberState::Leaving));
    }

    /// When the refresh may continue although no instance changes.
    pub(super) fn continues_at(&self, now: Time, members: &[Member]) -> Time {
        let warm = members.iter().filter_map(|m| match m.state {
            MemberState::InService(since) => Some(since + self.warm_up()).filter(|at| now < *at),
            MemberState::Pending | MemberState::Leaving => None,
        });
        warm.chain(self.paused_until).min().unwrap_or(Time::NEVER)
    }

    /// The numbers for AWS's percentages (facts/aws.md 2.6). If they leave no room, a given upper bound is raised by one; without an upper
    /// bound one instance leaves at a time.
    fn bounds(&self) -> Bounds {
        let least = (self.desired * self.preferences.min_healthy.unwrap_or(MIN_HEALTHY)).div_ceil(100);
        match self.preferences.max_healthy {
            None => Bounds { least: least.min(self.desired.saturating_sub(1)), most: self.desired, at_the_same_time: true },
            Some(percent) => {
                let most = (self.desired * percent / 100).max(self.desired);
                let stuck = self.desired <= least && most <= self.desired;
                Bounds { least, most: most + u32::from(stuck), at_the_same_time: false }
            }
        }
    }

    fn warm_up(&self) -> Duration {
        self.preferences.warm_up.unwrap_or_default()
    }

    /// How many instances serve and are past their warm-up. Old ones always are.
    fn warm(&self, now: Time, members: &[Member]) -> u32 {
        count(members.iter().filter(|m| self.is_warm(now, m)).count())
    }

    fn is_warm(&self, now: Time, member: &Member) -> bool {
        match member.state {
            MemberState::InService(since) => self.old.contains(&member.id) || since + self.warm_up() <= now,
            MemberState::Pending | MemberState::Leaving => false,
        }
    }

    /// Whether a checkpoint pauses the refresh: until the group has its full size again, and then for the checkpoint's delay.
    fn is_paused(&mut self, now: Time, members: &[Member]) -> bool {
        if let Some(until) = self.paused_until {
            if now < until {
                return true;
            }
            self.paused_until = None;
        }
        let Some(&checkpoint) = self.preferences.checkpoints.get(self.passed) else { return false };
        let replaced = (self.total - count(self.old.len())) * 100;
        if self.old.is_empty() || replaced < checkpoint * self.total {
            return false;
        }
        if self.leaving(members) == 0 && self.desired <= self.warm(now, members) {
            self.passed += 1;
            self.paused_until = Some(now + self.preferences.checkpoint_delay.unwrap_or(CHECKPOINT_DELAY));
        }
        true
    }
}

fn count(many: usize) -> u32 {
    u32::try_from(many).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> InstanceId {
        InstanceId::from_number(number)
    }

    fn serving(numbers: impl IntoIterator<Item = u64>) -> Vec<Member> {
        numbers.into_iter().map(|n| Member { id: id(n), state: MemberState::InService(Time(0)) }).collect()
    }

    fn preferences() -> Preferences {
        let second = Duration::from_secs(1);
        Preferences {
            min_healthy: Some(100),
            max_healthy: Some(150),
            warm_up: Some(second * 2),
            checkpoint_delay: Some(second * 9),
            ..Preferences::default()
        }
    }

    fn begin(preferences: Preferences) -> Rolling {
        Rolling::begin(preferences, (1..=4).map(id).collect(), 4)
    }

    #[test]
    fn it_launches_as_many_as_the_upper_bound_allows_before_it_terminates_any() {
        let mut refresh = begin(preferences());
        assert_eq!(refresh.next(Time(0), &serving(1..=4)), [Move::Launch, Move::Launch]);
        let mut members = serving(1..=4);
        members.extend([5, 6].map(|n| Member { id: id(n), state: MemberState::Pending }));
        assert_eq!(refresh.next(Time(500), &members), []);
    }

    #[test]
    fn nothing_goes_before_the_new_ones_are_warm_and_then_only_what_the_lower_bound_leaves() {
        let mut refresh = begin(preferences());
        let mut members = serving(1..=4);
        members.extend([5, 6].map(|n| Member { id: id(n), state: MemberState::InService(Time(1_000)) }));
        assert_eq!((refresh.next(Time(2_999), &members), refresh.continues_at(Time(2_999), &members)), (vec![], Time(3_000)));
        assert_eq!(refresh.next(Time(3_000), &members), [Move::Terminate(id(1)), Move::Terminate(id(2))]);
    }

    #[test]
    fn without_room_above_it_terminates_first() {
        let mut refresh = begin(Preferences { min_healthy: Some(50), max_healthy: Some(100), ..preferences() });
        assert_eq!(refresh.next(Time(0), &serving(1..=4)), [Move::Terminate(id(1)), Move::Terminate(id(2))]);
        let mut members = serving(3..=4);
        members.extend([1, 2].map(|n| Member { id: id(n), state: MemberState::Leaving }));
        assert_eq!(refresh.next(Time(0), &members), []);
        assert_eq!(refresh.next(Time(0), &serving(3..=4)), [Move::Launch, Move::Launch]);
    }

    #[test]
    fn a_replacement_starts_as_soon_as_there_is_room_although_others_still_leave() {
        let mut refresh = begin(preferences());
        let both = [Move::Terminate(id(1)), Move::Terminate(id(2))];
        assert_eq!(refresh.next(Time(9_000), &serving(1..=6)), both);
        // The first has gone and 7 replaces it, so that the refresh terminates 3. Now the second has gone as well.
        let mut members = serving(3..=7);
        refresh.old.retain(|old| *old != id(3));
        members[0].state = MemberState::Leaving;
        assert_eq!(refresh.next(Time(9_000), &members), [Move::Launch]);
    }

    #[test]
    fn bounds_that_leave_no_room_make_some() {
        let mut launches_first = begin(Preferences { max_healthy: Some(100), ..preferences() });
        assert_eq!(launches_first.next(Time(0), &serving(1..=4)), [Move::Launch]);
        let mut one_at_a_time = begin(Preferences { max_healthy: None, ..preferences() });
        assert_eq!(one_at_a_time.next(Time(0), &serving(1..=4)), [Move::Terminate(id(1))]);
        let mut members = serving(2..=4);
        members.push(Member { id: id(1), state: MemberState::Leaving });
        assert_eq!(one_at_a_time.next(Time(0), &members), [Move::Launch], "while the old one leaves");
    }

    #[test]
    fn at_a_checkpoint_it_waits_for_the_leaving_and_then_its_delay() {
        let mut refresh = begin(Preferences { checkpoints: vec![50], ..preferences() });
        let mut members = serving(1..=6);
        assert_eq!(refresh.next(Time(9_000), &members).len(), 2);
        members[0].state = MemberState::Leaving;
        assert_eq!(refresh.next(Time(10_000), &members), []);
        let left = serving(3..=6);
        assert_eq!(refresh.next(Time(11_000), &left), []);
        assert_eq!((refresh.next(Time(19_999), &left), refresh.continues_at(Time(19_999), &left)), (vec![], Time(20_000)));
        assert_eq!(refresh.next(Time(20_000), &left), [Move::Launch, Move::Launch]);
    }

    #[test]
    fn a_group_that_is_too_small_gets_its_full_size_before_it_waits_at_a_checkpoint() {
        let bounds = Preferences { min_healthy: Some(50), max_healthy: Some(100), ..preferences() };
        let mut refresh = begin(Preferences { checkpoints: vec![50], ..bounds });
        assert_eq!(refresh.next(Time(0), &serving(1..=4)).len(), 2);
        assert_eq!(refresh.next(Time(5_000), &serving(3..=4)), [Move::Launch, Move::Launch]);
        assert_eq!(refresh.next(Time(6_000), &serving(3..=6)), [], "now it waits");
        assert_eq!(refresh.next(Time(15_000), &serving(3..=6)).len(), 2);
    }

    #[test]
    fn it_is_over_when_every_old_one_has_gone_and_enough_are_warm() {
        let mut refresh = begin(preferences());
        refresh.old.clear();
        assert!(refresh.is_over(Time(9_000), &serving(5..=8)));
        assert!(!refresh.is_over(Time(9_000), &serving(5..=7)));
        let mut members = serving(5..=8);
        members.push(Member { id: id(4), state: MemberState::Leaving });
        assert!(refresh.is_over(Time(9_000), &members), "another party terminates that one");
        refresh.terminating.push(id(4));
        assert!(!refresh.is_over(Time(9_000), &members));
    }

    #[test]
    fn an_instance_counts_as_replaced_when_it_has_gone_and_its_replacement_is_warm() {
        let mut refresh = Rolling::begin(preferences(), [1, 2].map(id).to_vec(), 4);
        let mut members = serving(1..=6);
        assert_eq!(refresh.to_update(Time(9_000), &members), 2, "3 and 4 were right from the beginning");
        assert_eq!(refresh.next(Time(9_000), &members).len(), 2);
        members[0].state = MemberState::Leaving;
        members[1].state = MemberState::Leaving;
        assert_eq!(refresh.to_update(Time(9_000), &members), 2);
        members.remove(0);
        assert_eq!(refresh.to_update(Time(9_000), &members), 1);
        members.remove(0);
        members[2].state = MemberState::InService(Time(9_000));
        assert_eq!((refresh.to_update(Time(9_000), &members), refresh.to_update(Time(11_000), &members)), (1, 0));
    }

    #[test]
    fn it_terminates_neither_an_instance_that_is_leaving_already_nor_one_that_is_starting() {
        let mut refresh = begin(Preferences { min_healthy: Some(0), max_healthy: Some(100), ..preferences() });
        let mut members = serving(1..=4);
        members[0].state = MemberState::Leaving;
        members[1].state = MemberState::Pending;
        assert_eq!(refresh.next(Time(0), &members), [Move::Terminate(id(3)), Move::Terminate(id(4))]);
    }

    #[test]
    fn a_cancelled_refresh_leaves_the_group_at_its_desired_size() {
        let mut refresh = begin(preferences());
        assert_eq!(refresh.restore_size(Time(9_000), &serving(1..=6)), [Move::Terminate(id(1)), Move::Terminate(id(2))]);
        let mut short = begin(preferences());
        assert_eq!(short.restore_size(Time(9_000), &serving(1..=3)), [Move::Launch]);
    }
}
