//! The load balancers: deregister exactly the targets that are listed, then wait until no load balancer can send to the instance.

use super::beginnings;
use super::budget;
use super::case::Case;
use super::last_target::{self, Emptied};
use super::observed::Blind;
use super::overlap::hides_its_targets;
use super::ownership::Ownership;
use super::proposal::{Order, Proposal, look_again, merge, must_be_read, retry_at, write};
use super::snapshot::{Balancer, Draining, Target, TargetGroup, TargetHealth};
use super::uncertain_targets::{
    Absent, absent, gone_before_the_scan, left_before_the_scan, taken_out_unseen, unknown, waiting_for_unknown,
};
use super::{Beginning, Effect, EffectKind, GroupToRead, Part, Reason, System};
use crate::ids::{TargetGroupArn, TargetId};
use crate::time::Time;
use std::time::Duration;

/// How often decamp looks at a target that another actor deregistered (ADR 0008).
const LOOK_EVERY: Duration = Duration::from_secs(12);
/// How old a look at the load balancers may be when allocations are stopped.
pub(super) const RECENT: Duration = Duration::from_secs(60);
/// An allocation that serves a target and has been stopping for this long is worth another look at the target.
const LONG_AGO: Duration = Duration::from_secs(120);
/// How much later than our timer Elastic Load Balancing may take a target off its list.
const LAGS: Duration = Duration::from_secs(5);
/// The list may lag behind our timer by this much. Until then it is read every second, and the attributes are not read again.
const LIST_LAGS: Duration = Duration::from_secs(2);
/// How long after its delay a target that still reads `draining` counts as such (fault 30).
const DRAINING_GRACE: Duration = Duration::from_secs(15);

/// How far the instance has left its load balancers.
pub(super) struct Balancing {
    /// What to do next.
    pub(super) proposal: Proposal,
    /// No target of ours is registered, by a look after our last write.
    pub(super) deregistered: bool,
    /// Something may still be sent to a target for which no allocation is known. Nothing may be drained beside the delay.
    pub(super) doubtful: bool,
    /// No load balancer sends to the instance, and none holds a request there.
    pub(super) released: bool,
    /// The latest time at which that is so, once nothing is registered.
    pub(super) release: Time,
    /// The latest time since which no target of ours has been registered, once that is so.
    pub(super) since: Time,
}

impl Balancing {
    /// With this next step, and nothing known to be deregistered or released.
    fn not_yet(proposal: Proposal) -> Self {
        Self { proposal, deregistered: false, doubtful: false, released: false, release: Time::NEVER, since: Time::NEVER }
    }
}

/// The groups that may send to the instance: those attached, named in the hook or in the settings, or found by a scan. The flag says that
/// a group is attached, and that neither the hook, the settings nor the scan names it.
fn groups<'a>(case: &Case<'a>) -> Vec<(&'a TargetGroupArn, bool)> {
    let mut all: Vec<(&'a TargetGroupArn, bool)> = Vec::with_capacity(case.seen.balancers.len());
    let mut add = |arn: &'a TargetGroupArn, attached: bool| match all.iter_mut().find(|(known, _)| *known == arn) {
        // If a group is named as well as attached, its targets by address may be ours.
        Some((_, was_attached)) => *was_attached &= attached,
        None => all.push((arn, attached)),
    };
    if let Some(group) = case.seen.group.last() {
        group.attached.iter().for_each(|arn| add(arn, true));
        group.hooks.iter().flat_map(|h| &h.target_groups).for_each(|arn| add(arn, false));
    }
    case.policy.target_groups.iter().for_each(|arn| add(arn, false));
    case.seen.scan.last().into_iter().flatten().for_each(|arn| add(arn, false));
    all
}

/// Whether no group is known that may send to the instance.
pub(super) fn has_no_group(case: &Case<'_>) -> bool {
    groups(case).is_empty()
}

/// The groups for which a condition holds. It is given what this run knows of the group, if anything.
fn groups_that(case: &Case<'_>, holds: impl Fn(Option<&Balancer>) -> bool) -> Vec<GroupToRead> {
    let known = |arn: &TargetGroupArn| case.seen.balancers.iter().find(|balancer| balancer.arn == *arn);
    let that = groups(case).into_iter().filter(|(arn, _)| holds(known(arn)));
    that.map(|(arn, attached)| GroupToRead { arn: arn.clone(), attached }).collect()
}

/// The existing groups that were last read before a time, or not since our last write.
pub(super) fn last_read_before(case: &Case<'_>, time: Time) -> Vec<GroupToRead> {
    let old = |b: &Balancer| b.sight.fresh_at() < Some(time) && b.sight.last().is_some_and(|g| g.targets.is_some());
    groups_that(case, |known| known.is_some_and(old))
}

/// Looks at these groups, if there are any.
pub(super) fn look_at(groups: Vec<GroupToRead>, reason: Reason) -> Proposal {
    if groups.is_empty() {
        return Proposal::Done;
    }
    Proposal::look(vec![Part::TargetGroups { groups, attributes_again: false }], reason)
}

/// The latest first look of this run at a group that lists a target of ours, from which this run has deregistered nothing.
pub(super) fn lists_us_since(case: &Case<'_>) -> Option<Time> {
    let lists = |group: &TargetGroup| case.ours_in(group).any(|target| target.health.is_registered());
    let that_list = |b: &&Balancer| b.deregistered.is_none() && b.sight.now().is_some_and(lists);
    case.seen.balancers.iter().filter(that_list).filter_map(|balancer| balancer.first_look).max()
}

/// When to try again the groups that could not be read.
pub(super) fn unreadable_until(case: &Case<'_>, groups: &[GroupToRead]) -> Option<Time> {
    let of_them = case.seen.balancers.iter().filter(|b| groups.iter().any(|group| group.arn == b.arn));
    of_them.filter_map(|b| b.sight.blind()).map(|blind| retry_at(blind.tried, blind.tries)).max()
}

/// The groups that were neither read nor deregistered from since a time.
pub(super) fn untouched_since(case: &Case<'_>, time: Time) -> Vec<GroupToRead> {
    let touched = |b: &Balancer| time <= b.sight.at().max(b.deregistered).unwrap_or(Time(0));
    groups_that(case, |known| !known.is_some_and(touched))
}

/// How often to ask for a group that could not be read, as long as nothing is to be deregistered from it.
const ASK_AGAIN: Duration = Duration::from_mins(1);

/// Looks at the groups that this run has never read, before anything is written to them.
pub(super) fn read_all_once(case: &Case<'_>) -> Proposal {
    let scan = &case.seen.scan;
    let waits = |blind: &Blind| case.now < blind.tried + ASK_AGAIN;
    if case.policy.scan && scan.at().is_none() && !scan.blind().is_some_and(waits) {
        return look_again(case, scan, Part::Scan, Reason::NotKnownYet);
    }
    let asked = |b: &Balancer| b.sight.at().is_some() || b.sight.blind().is_some_and(waits);
    let groups = groups_that(case, |known| !known.is_some_and(asked));
    look_at(groups, Reason::NotKnownYet)
}

/// What to do next about the load balancers.
pub(super) fn balancing(case: &Case<'_>) -> Balancing {
    if case.policy.scan && case.seen.scan.at().is_none() {
        return Balancing::not_yet(look_again(case, &case.seen.scan, Part::Scan, Reason::NotKnownYet));
    }
    let groups = groups(case);
    let mut proposals = Vec::with_capacity(groups.len() + 1);
    let (mut deregistered, mut released, mut release, mut since) = (true, true, Time(0), Time(0));
    let mut doubtful = false;
    let addresses_since = case.seen.history.addresses_since;
    if case.policy.scan && addresses_since.is_some() && case.seen.scan.at() <= addresses_since {
        // The scan was made before a node reported its addresses, so it missed groups that list only those.
        proposals.push(look_again(case, &case.seen.scan, Part::Scan, Reason::MayHaveChanged));
        (deregistered, released, release, since) = (false, false, Time::NEVER, Time::NEVER);
    } else if let Some(until) = gone_before_the_scan(case).filter(|until| case.now < *until) {
        proposals.push(Proposal::wait(until, Reason::NowhereListed { until }));
        (deregistered, released, release, since) = (false, false, until, until);
    } else if let Some(until) = left_before_the_scan(case).filter(|until| case.now < *until) {
        proposals.push(Proposal::wait(until, Reason::NowhereListed { until }));
        (released, release, doubtful) = (false, until, true);
    }
    for (arn, attached) in groups {
        let one = one_group(case, arn, attached);
        deregistered &= one.deregistered;
        doubtful |= one.doubtful || !one.released && hides_its_targets(case, arn);
        released &= one.released;
        release = release.max(one.release);
        since = since.max(one.since);
        proposals.push(one.proposal);
    }
    longest_wait_first(&mut proposals);
    Balancing { proposal: merge(Order::Together, proposals), deregistered, doubtful, released, release, since }
}

fn one_group(case: &Case<'_>, arn: &TargetGroupArn, attached: bool) -> Balancing {
    let look = |again| Part::TargetGroups { groups: vec![GroupToRead { arn: arn.clone(), attached }], attributes_again: again };
    let entry = case.seen.balancers.iter().find(|b| b.arn == *arn);
    let Some((balancer, group)) = entry.and_then(|b| b.sight.now().map(|group| (b, group))) else {
        let sight = entry.map(|b| b.sight.clone()).unwrap_or_default();
        let certain = entry.and_then(|b| b.deregistered);
        let reason = if certain.is_some() { Reason::MustConfirm } else { must_be_read(&sight) };
        if let (Some(at), Some(last)) = (certain, entry.and_then(|b| b.sight.last())) {
            // Deregistered for certain: one timer, then one confirming look.
            let release = at + budget::may_send_for(last, case.policy);
            let released = release <= case.now;
            // If an allocation that serves until after the release is stopping already, this is the last chance to see it registered again.
            let long_ago = sight.at().max(Some(at)).is_some_and(|touched| touched + LONG_AGO <= case.now);
            let confirm_now = released && long_ago && case.serving_is_stopping();
            // The group lists other targets that may be ours. Our timer says nothing about those.
            let doubtful = unknown(case, last).next().is_some();
            if sight.blind().is_none() && !confirm_now && !doubtful {
                // decamp reads the group again right before it stops or completes anything. An earlier look would be one too many.
                let reason = Reason::LoadBalancerDelay { group: arn.clone(), until: release };
                let proposal = if released { Proposal::Done } else { Proposal::wait(release, reason) };
                return Balancing { proposal, deregistered: true, doubtful: false, released, release, since: at };
            }
            let proposal = look_again(case, &sight, look(false), reason);
            return Balancing { proposal, deregistered: true, doubtful, released: false, release, since: at };
        }
        return Balancing::not_yet(look_again(case, &sight, look(false), reason));
    };
    let Some(targets) = &group.targets else {
        // The group no longer exists (fault 31), so nothing is sent through it.
        return Balancing {
            proposal: Proposal::Done,
            deregistered: true,
            doubtful: false,
            released: true,
            release: Time(0),
            since: Time(0),
        };
    };
    let unknown_addresses = !attached && case.seen.nomad.at().is_none();
    if unknown_addresses && targets.iter().any(|t| matches!(t.id, TargetId::Ip(_))) {
        return Balancing::not_yet(Proposal::wait(Time::NEVER, Reason::CannotSee(System::Nomad)));
    }
    let ours = |t: &&Target| case.ownership_of(group, &t.id, t.port) == Ownership::Ours;
    let registered: Vec<Target> = targets.iter().filter(|t| t.health.is_registered()).filter(ours).cloned().collect();
    if !registered.is_empty() {
        if balancer.sight.at().is_some_and(|at| at + RECENT < case.now) {
            // The list may have changed during a hold or another wait.
            return Balancing::not_yet(look_again(case, &balancer.sight, look(false), Reason::MayHaveChanged));
        }
        return Balancing::not_yet(deregister(case, balancer, group, registered));
    }
    let asking = if attached { Proposal::DoesNotApply } else { case.ask_owners() };
    if !asking.is_settled() {
        return Balancing::not_yet(asking);
    }
    // A target that left the list, and may have been ours, may be sent to for a while as well.
    let gone = balancer.draining.iter().map(|row| (&row.id, row.port));
    let mut rows = group.listed().map(|target| (&target.id, target.port)).chain(gone);
    let doubtful = rows.any(|(id, port)| case.ownership_of(group, id, port) == Ownership::Unknown);
    if let Some(waiting) = waiting_for_unknown(case, balancer, group, look(false)) {
        return Balancing::not_yet(waiting);
    }
    let absent = absent(case, balancer, group);
    if absent == Absent::Unasked {
        let part = Part::Group { with_activity: true };
        return Balancing::not_yet(look_again(case, &case.seen.group, part, Reason::NotKnownYet));
    }
    if absent == Absent::SeenOnce {
        return Balancing::not_yet(Proposal::look(vec![look(false)], Reason::MustConfirm));
    }
    let doubtful = doubtful || absent == Absent::Contradiction;
    let draining = targets.iter().any(|t| t.health == TargetHealth::Draining && case.may_be_ours(group, &t.id, t.port));
    let after = after_deregistration(case, balancer, group, draining, look);
    Balancing { doubtful, ..after }
}

/// When nothing can be sent any more, once no target of ours is registered.
fn after_deregistration(
    case: &Case<'_>,
    balancer: &Balancer,
    group: &TargetGroup,
    draining: bool,
    look: impl Fn(bool) -> Part,
) -> Balancing {
    let seen_at = balancer.sight.at().unwrap_or(case.now);
    // When another actor deregistered a target during this run: at the latest when a look first showed it.
    let ours_alone = |last: Time| balancer.deregistered.is_some_and(|at| last <= at);
    let by_another = |row: &Draining| row.deregistered.filter(|seen| !ours_alone(seen.after)).map(|seen| seen.by);
    let left = case.leaving(balancer, group).filter_map(by_another).max();
    // A target that the first look did not show, and that reads `draining` later, was deregistered after that look.
    let reads_draining = case.leaving(balancer, group).filter_map(|row| row.reads_draining).max();
    let reads_draining = reads_draining.filter(|_| balancer.deregistered.is_none());
    let first = balancer.first_look.max(left).max(reads_draining).unwrap_or(case.now);
    // An earlier run may have noted an earlier time for targets that were not registered when this run first looked.
    // A target that reads `draining` was listed after somebody noted that it was not.
    let noted = if draining { beginnings::noted_of_this(case, Beginning::Deregistered) } else { beginnings::deregistered(case) };
    let noted = noted.filter(|_| left.is_none());
    let first = noted.map_or(first, |noted| noted.min(first));
    let delay = group.delay.unwrap_or(budget::UNREADABLE_DELAY);
    let guard = budget::guard(group, case.policy);
    let contradicts = absent(case, balancer, group) == Absent::Contradiction;
    let taken_out = taken_out_unseen(case, balancer, group);
    let by_our_timer = match balancer.deregistered {
        Some(at) => left.map_or(at, |left| left.max(at)) + budget::may_send_for(group, case.policy),
        // Another actor deregistered it at an unknown time, at the latest when this run first looked.
        None if draining || contradicts => first + delay.max(guard),
        None if let Some(at) = taken_out => at + delay.max(guard),
        // A delay that cannot be read may have been a short one.
        None if delay < guard || group.delay.is_none() || left.is_some() => first + guard,
        // Nothing to wait for: the look itself shows that the departure may go on.
        None => first.min(seen_at),
    };
    // First seen `draining` long after that: it was registered and deregistered again meanwhile.
    let again = draining_again_since(case, balancer, group, by_our_timer.max(first + delay));
    let release = again.map_or(by_our_timer, |at| at + budget::may_send_for(group, case.policy));
    let begun = balancer.deregistered.map_or(taken_out.unwrap_or(first), |at| left.map_or(at, |left| left.max(at)));
    let since = again.unwrap_or(begun);
    let state = |proposal, released| Balancing { proposal, deregistered: true, doubtful: false, released, release, since };
    let delayed = || Reason::LoadBalancerDelay { group: balancer.arn.clone(), until: release };
    if case.now < release {
        // A target that another actor deregistered may leave the list earlier than this run must assume.
        let every = LOOK_EVERY.min(delay / 4).max(Duration::from_secs(1));
        let next =
            if balancer.deregistered.is_none() && (draining || contradicts) { (seen_at + every).min(release) } else { release };
        if next <= case.now {
            return state(Proposal::look(vec![look(false)], Reason::MustConfirm), false);
        }
        return state(Proposal::wait(next, delayed()), false);
    }
    // Our own timer needs no look. Before anything is concluded from it, the group is read again.
    let by_timer = balancer.deregistered.is_some() && again.is_none() && seen_at < release;
    if by_timer && !(seen_at + LONG_AGO <= case.now && case.serving_is_stopping()) {
        return state(Proposal::Done, true);
    }
    if (contradicts || taken_out.is_some()) && seen_at < release {
        return state(Proposal::look(vec![look(false)], Reason::MustConfirm), false);
    }
    if draining && case.now < release + DRAINING_GRACE {
        // An operator may have raised the delay meanwhile (fault 37), so the attributes are read again.
        let lagging = seen_at < release + LIST_LAGS;
        let next = retry_at(seen_at, if lagging { 1 } else { 3 });
        let proposal = if seen_at < release || next <= case.now {
            Proposal::look(vec![look(!lagging)], Reason::MustConfirm)
        } else {
            Proposal::wait(next, delayed())
        };
        return state(proposal, false);
    }
    state(Proposal::Done, true)
}

/// Since when a target of ours has read `draining`, if that was first seen clearly after our timer had run out. It may have left the list
/// since.
fn draining_again_since(case: &Case<'_>, balancer: &Balancer, group: &TargetGroup, release: Time) -> Option<Time> {
    let late = |since: Time| release + LAGS < since;
    let rows = case.leaving(balancer, group);
    rows.filter_map(|row| row.reads_draining).filter(|since| late(*since)).max()
}

fn deregister(case: &Case<'_>, balancer: &Balancer, group: &TargetGroup, registered: Vec<Target>) -> Proposal {
    let hold_until = last_target::held_until(case, group);
    if let Some((until, emptied)) = hold_until.zip(last_target::emptied_by(case, group, &registered)) {
        if emptied == Emptied::Group && last_target::is_doubtful(case, group) && !case.has_asked_owners() {
            return case.ask_owners();
        }
        let reason = match emptied {
            Emptied::Group => Reason::LastHealthyTarget(balancer.arn.clone()),
            Emptied::Zone(zone) => Reason::LastOfItsZone { group: balancer.arn.clone(), zone },
        };
        let seen_at = balancer.sight.at().unwrap_or(case.now);
        let next = (seen_at + LOOK_EVERY).min(until);
        if case.now < next {
            return Proposal::wait(next, reason);
        }
        // Look again before the hold ends: another target may have become healthy.
        if seen_at < until {
            return look_at(vec![GroupToRead { arn: balancer.arn.clone(), attached: group.attached }], reason);
        }
    }
    let reason = match balancer.deregistered {
        Some(_) => Reason::RegisteredAgain(balancer.arn.clone()),
        None => Reason::TakesRequests,
    };
    let effect = Effect::Deregister { group: balancer.arn.clone(), targets: registered };
    write(case, EffectKind::Deregister, vec![effect], reason)
}

/// Moves the longest wait to the front, so that it gives the reason. The next decision comes when the first timer ends.
fn longest_wait_first(proposals: &mut [Proposal]) {
    let until = |proposal: &Proposal| if let Proposal::Wait { until, .. } = proposal { Some(*until) } else { None };
    let waits = proposals.iter().enumerate().filter_map(|(place, proposal)| Some((place, until(proposal)?)));
    if let Some((place, _)) = waits.max_by_key(|(_, until)| *until) {
        proposals[..=place].rotate_right(1);
    }
}
