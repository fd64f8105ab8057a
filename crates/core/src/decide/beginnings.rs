//! When a wait began that an earlier run may have begun: by what the world shows, or by what that run wrote down (ADR 0002).
//!
//! A pass of the Lambda is over before its departure and the next one remembers nothing. Without these a wait that is longer than a
//! pass would begin anew in each of them.

use std::time::Duration;

use super::balancers::{self, Balancing};
use super::case::Case;
use super::consul_outage;
use super::proposal::{Proposal, retry_at};
use super::snapshot::{Allocation, Beginning, JobKind, Node, NodeStatus, Noted, Snapshot};
use super::uncertain_targets;
use super::{Departure, Effect, EffectKind, Policy, Reason, Refusal};
use crate::time::Time;

/// Nomad keeps node metadata since this version (facts/nomad.md 13).
const KEEPS_NOTES: (u32, u32) = (1, 5);
/// A note that was not answered is sent again, up to so many times: nothing waits for it. One that was denied is not: in a short pass
/// whose calls are slow, each try takes the time of a step.
const MOST_TRIES: u32 = 3;
/// After the last allocation of a drain that completes has ended, Nomad's servers hear of it, and tell system allocations to stop,
/// within this (facts/nomad.md 3).
const SERVERS_HEAR: Duration = Duration::from_secs(3);

/// The notes of this departure: those on its nodes, and those that its process remembers.
pub(super) fn noted<'a>(departure: &'a Departure, seen: &'a Snapshot, what: Beginning) -> impl Iterator<Item = &'a Noted> {
    let nodes = seen.nomad.last().into_iter().flat_map(|nomad| &nomad.nodes);
    let notes = nodes.flat_map(|node| &node.notes).chain(&seen.history.noted);
    // The mark last: it has to be reckoned.
    notes.filter(move |note| note.what == what && *note.action == *departure.mark())
}

/// Since when nothing of the instance has been registered, by the latest note of this departure. An instance that is back from a
/// warm pool carries the note of its last departure, from before this one began.
pub(super) fn deregistered(case: &Case<'_>) -> Option<Time> {
    noted_of_this(case, Beginning::Deregistered).max(noted_of_this(case, Beginning::Unlisted))
}

/// The latest note of this kind of this departure.
pub(super) fn noted_of_this(case: &Case<'_>, what: Beginning) -> Option<Time> {
    let notes = noted(case.departure, case.seen, what);
    notes.map(|note| note.since).filter(|since| case.budget.began <= *since).max()
}

/// Since when allocations that a drain counted have not been listed any more, if it was noted and none has vanished since.
pub(super) fn vanished(case: &Case<'_>) -> Option<Time> {
    let listed = listed(case.nodes());
    noted(case.departure, case.seen, Beginning::Vanished).filter(|note| note.listed <= listed).map(|note| note.since).max()
}

/// Since when so many targets that may be the instance's have been listed, if it was noted and none has come since.
pub(super) fn unknown(case: &Case<'_>, targets: u32) -> Option<Time> {
    let notes = noted(case.departure, case.seen, Beginning::Unknown).filter(|note| targets <= note.listed);
    notes.map(|note| note.since).filter(|since| case.budget.began <= *since).max()
}

/// When an earlier run scanned all target groups and found none.
pub(super) fn scanned(case: &Case<'_>) -> Option<Time> {
    let notes = noted(case.departure, case.seen, Beginning::Scanned);
    notes.map(|note| note.since).filter(|since| case.budget.began <= *since).max()
}

/// What earlier runs noted of times in which Consul could not be seen while allocations stopped. This run's own is its memory.
pub(super) fn unseen<'a>(case: &'a Case<'_>) -> impl Iterator<Item = &'a Noted> {
    let history = &case.seen.history;
    let own = |note: &&Noted| history.notes_sent.contains(note);
    let found = history.found_unseen.iter().flatten().filter(|note| *note.action == **case.drain_marker());
    let notes = noted(case.departure, case.seen, Beginning::Unseen).filter(move |note| !own(note)).chain(found);
    let brief = |note: &&Noted| 0 < note.listed && u64::from(note.listed) <= super::snapshot::BRIEF.as_secs();
    notes.filter(move |note| case.budget.began <= note.since && !brief(note))
}

/// How many allocations the nodes list.
fn listed(nodes: &[Node]) -> u32 {
    u32::try_from(nodes.iter().map(|node| node.allocations.len()).sum::<usize>()).unwrap_or(u32::MAX)
}

/// Since when every agent has been lost: the run's first such look, or earlier by what Nomad tells of the nodes.
pub(super) fn agents_dead(case: &Case<'_>) -> Option<Time> {
    let seen = case.seen.history.agents_dead_since?;
    let told = case.nodes().iter().map(|node| node.status_since).collect::<Option<Vec<Time>>>();
    Some(told.and_then(|all| all.into_iter().max()).map_or(seen, |told| told.min(seen)))
}

/// Since when no node has been the instance: the entry into the hook, if that is known; else the run's first such look.
pub(super) fn no_node(case: &Case<'_>) -> Option<Time> {
    // A departure whose beginning is only assumed has no node to note it on either.
    case.seen.history.no_node_since.map(|seen| seen.min(case.budget.began))
}

/// Since when agents have been back whose allocations Nomad had given up: what they still ran they stop then (ADR 0005).
pub(super) fn agents_back(case: &Case<'_>, first: Time) -> Time {
    let ready = case.nodes().iter().filter(|node| node.status == NodeStatus::Ready).map(|node| node.status_since);
    let told = ready.collect::<Option<Vec<Time>>>().and_then(|all| all.into_iter().max());
    told.map_or(first, |told| told.min(first))
}

/// Since when a drain has been settled (ADR 0004): the run's first such look; or the end of the last allocation that it waits for, and
/// the drain's own last change, as soon as the servers must know of both.
pub(super) fn settled(case: &Case<'_>, node: &Node) -> Option<Time> {
    let seen = case.seen.history.settled_since?;
    let waited_for = |a: &&Allocation| a.group.kind != JobKind::System && !a.group.csi_plugin;
    let ends = node.allocations.iter().filter(waited_for).filter(|a| a.client.is_over()).map(|a| a.ended);
    let drained = node.last_drain.as_ref().map(|last| last.updated);
    let told = ends.chain(drained).collect::<Option<Vec<Time>>>().and_then(|all| all.into_iter().max());
    Some(told.map_or(seen, |told| (told + SERVERS_HEAR).min(seen)))
}

/// Since when a drain has been complete although something on the node is wanted: the run's first such look, or Nomad's own word.
pub(super) fn landed(case: &Case<'_>, node: &Node) -> Option<Time> {
    let seen = case.seen.history.landed_since?;
    let told = node.last_drain.as_ref().and_then(|last| last.updated);
    Some(told.map_or(seen, |told| told.min(seen)))
}

/// When the departure began, by what earlier runs left: their note, else their drain. For departures of which neither an event nor
/// an activity tells; `unseen` is how long each run assumes that nobody saw it.
pub(super) fn departure(of: &Departure, seen: &Snapshot, policy: &Policy, unseen: Duration) -> Option<Time> {
    // What is older than any departure may take is of an earlier one.
    let of_this_one = |at: &Time| seen.history.began <= *at + policy.max_departure * 2;
    let note = noted(of, seen, Beginning::Departure).map(|note| note.since).filter(of_this_one).min();
    let drained = || {
        let drains = seen.nomad.last().into_iter().flat_map(|nomad| &nomad.nodes).filter_map(|node| node.last_drain.as_ref());
        let ours = drains.filter(|last| last.meta.as_ref().is_some_and(|meta| *meta.action == *of.mark()));
        // Its worker assumed as much of itself.
        ours.filter_map(|last| last.updated).filter(of_this_one).map(|at| at - unseen).min()
    };
    note.or_else(drained)
}

/// All that the next worker has to know, as far as it is waited for.
fn worth_knowing(case: &Case<'_>, balancing: &Balancing) -> Vec<Noted> {
    let mut all = Vec::new();
    let mut know = |what, since, listed| all.push(Noted { what, action: case.drain_marker().clone(), since, listed });
    let delayed = balancing.deregistered && case.now < balancing.release;
    // A sweep may not know what an event told.
    if !case.budget.began_is_known || delayed {
        know(Beginning::Departure, case.budget.began, 0);
    }
    // While Nomad is away nothing can be noted, and the delay may be over when it is back: until a drain tells as much, the next worker has
    // to know that what lists nothing was left.
    let took_out = || case.seen.balancers.iter().any(|balancer| balancer.deregistered.is_some());
    let untold = || case.seen.history.drains.is_empty() && !case.was_drained_before_us() && took_out();
    if delayed || balancing.deregistered && untold() {
        let what = if uncertain_targets::lists_nothing(case) { Beginning::Unlisted } else { Beginning::Deregistered };
        know(what, balancing.since, 0);
    }
    // First it is asked whose they are: a note is a write, and goes out before any look.
    if let Some((since, targets)) = uncertain_targets::unknown_since(case).filter(|_| case.has_asked_whose())
        && case.now < since + case.policy.unknown_target_wait
    {
        know(Beginning::Unknown, since, targets);
    }
    if let Some(since) = uncertain_targets::nothing_found_since(case) {
        know(Beginning::Scanned, since, 0);
    }
    if let Some(since) = case.vanished().filter(|vanished| case.now < vanished.until).map(|vanished| vanished.since) {
        know(Beginning::Vanished, since, listed(case.nodes()));
    }
    if let Some((after, seconds)) = consul_outage::worth_knowing(case) {
        know(Beginning::Unseen, after, seconds);
    }
    all
}

/// When a worker last wrote something for this departure, as far as Nomad shows it. Other changes to the node may make it later.
#[must_use]
pub fn last_written(departure: &Departure, seen: &Snapshot) -> Option<Time> {
    let nodes = || seen.nomad.last().into_iter().flat_map(|nomad| &nomad.nodes);
    let drained = nodes().filter_map(|node| node.last_drain.as_ref()?.updated);
    let kept_off = nodes().filter(|node| !node.eligible).filter_map(|node| node.status_since);
    let notes = Beginning::ALL.into_iter().flat_map(|what| noted(departure, seen, what)).map(|note| note.since);
    drained.chain(kept_off).chain(notes).max()
}

/// What a process that stays warm keeps for the next run of the same departure.
#[must_use]
pub fn remember(departure: &Departure, seen: &Snapshot, policy: &Policy, now: Time) -> Vec<Noted> {
    let case = &Case::new(departure, seen, policy, now);
    if seen.group.last().is_none() {
        // Nothing was seen: what was known stays.
        return seen.history.noted.clone();
    }
    let balancing = balancers::balancing(case);
    let mut all = worth_knowing(case, &balancing);
    let kept = seen.history.noted.iter().filter(|known| !all.iter().any(|new| new.what == known.what)).cloned();
    let kept: Vec<Noted> = kept.collect();
    all.extend(kept);
    all
}

/// Writes down what began, where the next worker will see it. Nothing waits for it.
pub(super) fn write_down(case: &Case<'_>, balancing: &Balancing) -> Proposal {
    let history = &case.seen.history;
    // That something stopped unseen is noted even where Nomad's servers are behind: a lagging one passes the call on all the same.
    let out_of_sight = || case.seen.nomad.last().filter(|_| case.seen.unseen_at_once(case.now).is_some());
    let Some(nomad) = case.seen.nomad.now().or_else(out_of_sight) else { return Proposal::NotYet };
    // A server passes the call on to the node's agent: a lost one cannot answer.
    let Some(node) = nomad.nodes.iter().find(|node| !node.status.is_lost() && keeps_notes(&node.version)) else {
        return Proposal::DoesNotApply;
    };
    let may_try = history.failures(EffectKind::Note).is_none_or(|row| {
        let denied = matches!(row.why, Refusal::Denied(_));
        !denied && row.count < MOST_TRIES && retry_at(row.last, row.count) <= case.now
    });
    let shown = |note: &Noted| match history.notes_sent.iter().rev().find(|sent| sent.what == note.what) {
        // What it shows may be what was noted before that.
        Some(sent) => sent == note,
        None => node.notes.contains(note),
    };
    if !may_try {
        return Proposal::NotYet;
    }
    let notes: Vec<Noted> = worth_knowing(case, balancing).into_iter().filter(|note| !shown(note)).collect();
    if notes.is_empty() {
        return Proposal::Done;
    }
    Proposal::write(vec![Effect::Note { node: node.id, notes }], Reason::NextMustKnow)
}

/// Whether this version of Nomad keeps node metadata. One that cannot be read is asked: it can only refuse.
#[must_use]
pub fn keeps_notes(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', '+']).map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => KEEPS_NOTES <= (major, minor),
        _ => true,
    }
}
