//! Allocations that stop while Consul cannot be read. An ingress that does not hear of a stop goes on sending to them.
//!
//! Discovery is read right before a drain (`nodes`). From then on Nomad stops one copy after the other, and decamp cannot take that back: a
//! drain that is cancelled and begun again would be the second of its phase (ADR 0003). So Consul is watched while allocations stop, the
//! next phase waits, and the outcome names what stopped unseen.

use std::sync::Arc;
use std::time::Duration;

use super::beginnings;
use super::case::Case;
use super::proposal::Proposal;
use super::snapshot::{Allocation, Beginning, Interval, Known};
use super::{Part, Reason, StoppedUnseen};
use crate::time::Time;

/// A watch shows sooner whether Consul answers, unless Consul hangs or news from Nomad ends the watch first.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The same while Consul cannot be read.
const LOOK_AGAIN: Duration = Duration::from_secs(3);
/// The same when it has not been read for [`LONG`]. A stop may take hours, and a denial lasts until a person changes a policy.
const LOOK_SELDOM: Duration = Duration::from_secs(10);
/// How long an outage lasts that ends without a person.
const LONG: Duration = Duration::from_secs(60);

/// Watches Consul while an allocation stops that an ingress finds there. If `once_more`, until Consul has answered once after that.
pub(super) fn watched(case: &Case<'_>, once_more: bool) -> Proposal {
    let consul = &case.seen.consul;
    let mut stopping = case.seen.stops_in_consul();
    let Some(first) = stopping.next().filter(|_| case.policy.consul) else {
        let unheard = once_more && case.policy.consul && case.seen.watches_consul() && consul.blind().is_none();
        return if unheard { Proposal::look(vec![Part::Consul], Reason::MustConfirm) } else { Proposal::DoesNotApply };
    };
    let (next, reason) = match (consul.blind(), consul.at()) {
        (Some(blind), _) => {
            let count = u32::try_from(stopping.count() + 1).unwrap_or(u32::MAX);
            let pause = if blind.tried.since(blind.since) < LONG { LOOK_AGAIN } else { LOOK_SELDOM };
            (blind.tried + pause, Reason::StopsUnseen { count, title: first.group.title().into() })
        }
        (None, Some(at)) => (at + LOOK_EVERY, Reason::MustConfirm),
        (None, None) => (case.now, Reason::NotKnownYet),
    };
    if next <= case.now {
        return Proposal::look(vec![Part::Consul], reason);
    }
    Proposal::watch(next, Part::Consul, reason)
}

/// The time in which Consul could not be read while allocations stopped, by this run and by the notes of earlier ones.
fn stretch(case: &Case<'_>) -> Option<Interval> {
    joined(case.seen.unseen_stops(case.now), noted(case))
}

/// The part of it that earlier runs noted.
fn noted(case: &Case<'_>) -> Option<Interval> {
    let stretches = beginnings::unseen(case).map(|note| {
        let lasted = Duration::from_secs(note.listed.into());
        // An earlier run saw no end of it. It was over when this run read Consul, by the first look since then that is known.
        let looks = [case.seen.history.first_consul, case.seen.consul.at()];
        let since_then = || looks.into_iter().flatten().filter(|at| note.since < *at).min();
        let before = if lasted.is_zero() { since_then() } else { Some(note.since + lasted) };
        Interval { after: note.since, before }
    });
    stretches.fold(None, |all, one| joined(all, Some(one)))
}

fn joined(one: Option<Interval>, other: Option<Interval>) -> Option<Interval> {
    match (one, other) {
        (Some(one), Some(other)) => {
            let before = one.before.zip(other.before).map(|(one, other)| one.max(other));
            Some(Interval { after: one.after.min(other.after), before })
        }
        (one, other) => one.or(other),
    }
}

/// What the next worker has to know of it: its beginning, and its length in seconds. It is noted at once. If it was too brief for an
/// outage, that is noted later.
pub(super) fn worth_knowing(case: &Case<'_>) -> Option<(Time, u32)> {
    let begun = || case.seen.history.notes_sent.iter().rev().find(|note| note.what == Beginning::Unseen);
    let own = case
        .seen
        .unseen_at_once(case.now)
        .or_else(|| begun().map(|note| Interval { after: note.since, before: Some(note.since) }));
    let stretch = joined(Some(own?), noted(case))?;
    let lasted = |before: Time| u32::try_from(before.since(stretch.after).as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    Some((stretch.after, stretch.before.map_or(0, lasted)))
}

/// What stopped in that time, if anything did.
pub(super) fn stopped_unseen(case: &Case<'_>) -> Option<StoppedUnseen> {
    let Interval { after, before } = stretch(case)?;
    let until = before.unwrap_or(Time::NEVER);
    let history = &case.seen.history;
    let known = |a: &Allocation| history.known.iter().find(|known| known.id == a.id);
    // It may have been stopped at any time between two looks.
    let told_by_then = |known: &Known| known.told.is_some() && known.wanted_at.is_none_or(|wanted| wanted <= until);
    let stopped_then = |a: &&Allocation| {
        let (known, longest) = (known(a), case.policy.longest_stop(&a.group));
        // If this run never saw it alive, its tasks tell when it was stopped. A process that survives its signals takes longer than its
        // longest stop.
        let told = a.told.or_else(|| a.ended.map(|ended| ended - longest));
        let began = known.map_or_else(|| told.is_none_or(|told| told <= until), told_by_then);
        let lasted = match (a.client.is_over(), a.ended) {
            (false, _) => true,
            (true, Some(ended)) => after <= ended,
            (true, None) => known.is_some_and(|known| after <= known.shown),
        };
        a.group.is_found_in_consul() && !a.wanted && began && lasted
    };
    let listed = case.allocations().filter(stopped_then).map(|a| a.group.title());
    let vanished = history.known.iter().filter(|known| !known.listed && !known.over && known.group.is_found_in_consul());
    let mut titles: Vec<Arc<str>> = listed.chain(vanished.map(|known| known.group.title())).map(Arc::from).collect();
    titles.sort_unstable();
    titles.dedup();
    (!titles.is_empty()).then(|| StoppedUnseen { after, before, titles: titles.into() })
}
