//! When a wait began that an earlier run may have begun, as the live systems show it or as that run noted it (ADR 0002).
//!
//! A pass of the Lambda ends before its departure does, and the next pass remembers nothing. Without notes, every pass would begin a long
//! wait again.

use std::time::Duration;

use super::balancers::{self, Balancing};
use super::case::Case;
use super::consul_outage;
use super::proposal::{Proposal, retry_at};
use super::snapshot::{Allocation, Beginning, JobKind, Node, NodeStatus, Noted, Snapshot};
use super::uncertain_targets;
use super::{Departure, Effect, EffectKind, Policy, Reason, Refusal};
use crate::time::Time;

/// The first version of Nomad that keeps node metadata (facts/nomad.md 13).
const KEEPS_NOTES: (u32, u32) = (1, 5);
/// A note without an answer is sent again, up to this many times. A denied one is not: in a short pass with slow calls, each try takes the
/// time of a step. Nothing waits for a note.
const MOST_TRIES: u32 = 3;
/// How long after the end of the last allocation of a drain Nomad's servers take to hear of it and to stop system allocations
/// (facts/nomad.md 3).
const SERVERS_HEAR: Duration = Duration::from_secs(3);

/// The notes of this departure: those on its nodes, and those that this process remembers.
pub(super) fn noted<'a>(departure: &'a Departure, seen: &'a Snapshot, what: Beginning) -> impl Iterator<Item = &'a Noted> {
    let nodes = seen.nomad.last().into_iter().flat_map(|nomad| &nomad.nodes);
    let notes = nodes.flat_map(|node| &node.notes).chain(&seen.history.noted);
    // The marker last, because it has to be computed.
    notes.filter(move |note| note.what == what && *note.action == *departure.mark())
}

/// Since when no target of the instance has been registered, by the latest note of this departure. An instance that came back from a warm
/// pool carries the note of its last departure, which is older than this one.
pub(super) fn deregistered(case: &Case<'_>) -> Option<Time> {
    noted_of_this(case, Beginning::Deregistered).max(noted_of_this(case, Beginning::Unlisted))
}

/// The latest note of this kind and this departure.
pub(super) fn noted_of_this(case: &Case<'_>, what: Beginning) -> Option<Time> {
    let notes = noted(case.departure, case.seen, what);
    notes.map(|note| note.since).filter(|since| case.budget.began <= *since).max()
}

/// Since when allocations that a drain counted have not been listed, if that was noted and none has vanished since.
pub(super) fn vanished(case: &Case<'_>) -> Option<Time> {
    let listed = listed(case.nodes());
    noted(case.departure, case.seen, Beginning::Vanished).filter(|note| note.listed <= listed).map(|note| note.since).max()
}

/// Since when this many targets that may be the instance's have been listed, if that was noted and no more have come since.
pub(super) fn unknown(case: &Case<'_>, targets: u32) -> Option<Time> {
    let notes = noted(case.departure, case.seen, Beginning::Unknown).filter(|note| targets <= note.listed);
    notes.map(|note| note.since).filter(|since| case.budget.began <= *since).max()
}

/// When an earlier run scanned all target groups and found none.
pub(super) fn scanned(case: &Case<'_>) -> Option<Time> {
    let notes = noted(case.departure, case.seen, Beginning::Scanned);
    notes.map(|note| note.since).filter(|since| case.budget.began <= *since).max()
}

/// The times in which Consul could not be read while allocations stopped, as earlier runs noted them. This run remembers its own.
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

/// Since when every agent has been lost: this run's first look that showed it, or the earlier time that Nomad reports. If a node's row is
/// gone, Nomad reports only since when the others have been lost.
pub(super) fn agents_dead(case: &Case<'_>) -> Option<Time> {
    let seen = case.seen.history.agents_dead_since?;
    if case.has_lost_a_row() {
        return Some(seen);
    }
    let reported = case.nodes().iter().map(|node| node.status_since).collect::<Option<Vec<Time>>>();
    Some(reported.and_then(|all| all.into_iter().max()).map_or(seen, |reported| reported.min(seen)))
}

/// Since when no node has been the instance: since its entry into the hook if that is known, else since this run's first look that showed
/// it.
pub(super) fn no_node(case: &Case<'_>) -> Option<Time> {
    // If the beginning is only assumed, there is no node to note it on either.
    case.seen.history.no_node_since.map(|seen| seen.min(case.budget.began))
}

/// Since when agents have been back whose allocations Nomad had given up. A returning agent stops what it still runs (ADR 0005).
pub(super) fn agents_back(case: &Case<'_>, first: Time) -> Time {
    let ready = case.nodes().iter().filter(|node| node.status == NodeStatus::Ready).map(|node| node.status_since);
    let reported = ready.collect::<Option<Vec<Time>>>().and_then(|all| all.into_iter().max());
    reported.map_or(first, |reported| reported.min(first))
}

/// Since when a drain could complete (ADR 0004): since this run's first look that showed it, or since the servers must know of the last end
/// that the drain waits for and of its own last change.
pub(super) fn settled(case: &Case<'_>, node: &Node) -> Option<Time> {
    let seen = case.seen.history.settled_since?;
    let waited_for = |a: &&Allocation| a.group.kind != JobKind::System && !a.group.csi_plugin;
    let ends = node.allocations.iter().filter(waited_for).filter(|a| a.client.is_over()).map(|a| a.ended);
    let drained = node.last_drain.as_ref().map(|last| last.updated);
    let reported = ends.chain(drained).collect::<Option<Vec<Time>>>().and_then(|all| all.into_iter().max());
    Some(reported.map_or(seen, |reported| (reported + SERVERS_HEAR).min(seen)))
}

/// Since when a drain has been complete although Nomad wants an allocation on the node to run: since this run's first look that showed it,
/// or since the time that Nomad reports.
pub(super) fn landed(case: &Case<'_>, node: &Node) -> Option<Time> {
    let seen = case.seen.history.landed_since?;
    let reported = node.last_drain.as_ref().and_then(|last| last.updated);
    Some(reported.map_or(seen, |reported| reported.min(seen)))
}

/// When the departure began, by an earlier run's note, else by its drain. For departures whose beginning neither an event nor an activity
/// tells. `unseen` is the time before its first look that each run assumes.
pub(super) fn departure(of: &Departure, seen: &Snapshot, policy: &Policy, unseen: Duration) -> Option<Time> {
    // Anything older than the longest departure belongs to an earlier one.
    let of_this_one = |at: &Time| seen.history.began <= *at + policy.max_departure * 2;
    let note = noted(of, seen, Beginning::Departure).map(|note| note.since).filter(of_this_one).min();
    let drained = || {
        let drains = seen.nomad.last().into_iter().flat_map(|nomad| &nomad.nodes).filter_map(|node| node.last_drain.as_ref());
        let ours = drains.filter(|last| last.meta.as_ref().is_some_and(|meta| *meta.action == *of.mark()));
        // The worker that drained assumed the same time before its own first look.
        ours.filter_map(|last| last.updated).filter(of_this_one).map(|at| at - unseen).min()
    };
    note.or_else(drained)
}

/// Whether a worker noted when the departure began, or when it assumed so.
pub(super) fn is_departure_noted(case: &Case<'_>) -> bool {
    noted(case.departure, case.seen, Beginning::Departure).next().is_some()
}

/// Everything that the next worker has to know, as long as it matters.
fn worth_knowing(case: &Case<'_>, balancing: &Balancing) -> Vec<Noted> {
    let mut all = Vec::new();
    let mut know = |what, since, listed| all.push(Noted { what, action: case.drain_marker().clone(), since, listed });
    let delayed = balancing.deregistered && case.now < balancing.release;
    // A sweep may not know the time that an event reported.
    if !case.budget.began_is_known || delayed {
        know(Beginning::Departure, case.budget.began, 0);
    }
    // While Nomad is away nothing can be noted, and the delay may be over when Nomad is back. Until a drain shows it, the next worker has
    // to know that the groups list nothing because the instance left them.
    let took_out = || case.seen.balancers.iter().any(|balancer| balancer.deregistered.is_some());
    let unreported = || case.seen.history.drains.is_empty() && !case.was_drained_before_us() && took_out();
    if delayed || balancing.deregistered && unreported() {
        let what = if uncertain_targets::lists_nothing(case) { Beginning::Unlisted } else { Beginning::Deregistered };
        know(what, balancing.since, 0);
    }
    // An earlier run noted that no target was registered, and this run's first look shows one. If this run ends right after its
    // deregistration, the next one may come before the note of that.
    for what in [Beginning::Deregistered, Beginning::Unlisted] {
        if let Some(noted) = noted_of_this(case, what)
            && let Some(first) = balancers::lists_us_since(case).filter(|first| noted < *first)
        {
            know(what, first, 0);
        }
    }
    // A note is a write and goes out before any look, so whose the targets are is asked first.
    if let Some((since, targets)) = uncertain_targets::unknown_since(case).filter(|_| case.has_asked_owners())
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

/// When a worker last wrote something for this departure, as far as Nomad shows it. Other changes to the node may make the time later.
#[must_use]
pub fn last_written(departure: &Departure, seen: &Snapshot) -> Option<Time> {
    let nodes = || seen.nomad.last().into_iter().flat_map(|nomad| &nomad.nodes);
    let drained = nodes().filter_map(|node| node.last_drain.as_ref()?.updated);
    let kept_off = nodes().filter(|node| !node.eligible).filter_map(|node| node.status_since);
    let notes = Beginning::ALL.into_iter().flat_map(|what| noted(departure, seen, what)).map(|note| note.since);
    drained.chain(kept_off).chain(notes).max()
}

/// What a warm process keeps for the next run of the same departure.
#[must_use]
pub fn remember(departure: &Departure, seen: &Snapshot, policy: &Policy, now: Time) -> Vec<Noted> {
    let case = &Case::new(departure, seen, policy, now);
    if seen.group.last().is_none() {
        // Nothing was seen, so what was known stays.
        return seen.history.noted.clone();
    }
    let balancing = balancers::balancing(case);
    let mut all = worth_knowing(case, &balancing);
    let kept = seen.history.noted.iter().filter(|known| !all.iter().any(|new| new.what == known.what)).cloned();
    let kept: Vec<Noted> = kept.collect();
    all.extend(kept);
    all
}

/// Writes notes where the next worker sees them. Nothing waits for them.
pub(super) fn write_down(case: &Case<'_>, balancing: &Balancing) -> Proposal {
    write_notes(case, || worth_knowing(case, balancing))
}

/// Writes down an outage of Consul while Auto Scaling cannot be read. The drain of this departure shows that the node is the instance's.
pub(super) fn write_down_an_outage(case: &Case<'_>) -> Proposal {
    let marked = |node: &Node| {
        let meta = node.last_drain.as_ref().and_then(|last| last.meta.as_ref());
        meta.is_some_and(|meta| meta.action == *case.drain_marker())
    };
    let Some((since, listed)) = consul_outage::worth_knowing(case).filter(|_| case.nodes().iter().any(marked)) else {
        return Proposal::DoesNotApply;
    };
    write_notes(case, || vec![Noted { what: Beginning::Unseen, action: case.drain_marker().clone(), since, listed }])
}

fn write_notes(case: &Case<'_>, worth_knowing: impl FnOnce() -> Vec<Noted>) -> Proposal {
    let history = &case.seen.history;
    // An outage of Consul is noted even if Nomad's servers lag: a lagging server passes the call on as well.
    let out_of_sight = || case.seen.nomad.last().filter(|_| case.seen.unseen_at_once(case.now).is_some());
    let Some(nomad) = case.seen.nomad.now().or_else(out_of_sight) else { return Proposal::NotYet };
    // A server passes the call on to the node's agent. A lost agent cannot answer, and one that died a moment ago is not known to be lost. If
    // several nodes have the instance's id, each try goes to the next of them.
    let tries = history.failures(EffectKind::Note).map_or(0, |row| row.count);
    let can_keep = || nomad.nodes.iter().filter(|node| !node.status.is_lost() && keeps_notes(&node.version));
    let Some(node) = can_keep().cycle().nth(usize::try_from(tries).unwrap_or(0)) else {
        return Proposal::DoesNotApply;
    };
    let may_try = history.failures(EffectKind::Note).is_none_or(|row| {
        let denied = matches!(row.why, Refusal::Denied(_));
        !denied && row.count < MOST_TRIES && retry_at(row.last, row.count) <= case.now
    });
    let shown = |note: &Noted| match history.notes_sent.iter().rev().find(|sent| sent.what == note.what) {
        // The node may still show an earlier note.
        Some(sent) => sent == note,
        None => node.notes.iter().any(|there| there == note || says_more(there, note)),
    };
    if !may_try {
        return Proposal::NotYet;
    }
    let notes: Vec<Noted> = worth_knowing().into_iter().filter(|note| !shown(note)).collect();
    if notes.is_empty() {
        return Proposal::Done;
    }
    Proposal::write(vec![Effect::Note { node: node.id, notes }], Reason::NextMustKnow)
}

/// Whether a note already tells of a later deregistration. An earlier time in its place would end the next worker's wait too soon.
fn says_more(there: &Noted, note: &Noted) -> bool {
    let deregistered = matches!(note.what, Beginning::Deregistered | Beginning::Unlisted);
    deregistered && (there.what, &there.action) == (note.what, &note.action) && note.since <= there.since
}

/// Whether this version of Nomad keeps node metadata. If the version cannot be read, decamp tries: Nomad can only refuse.
#[must_use]
pub fn keeps_notes(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', '+']).map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => KEEPS_NOTES <= (major, minor),
        _ => true,
    }
}
