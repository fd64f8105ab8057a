//! What stopped while Consul could not be read. Nobody saw then whether an ingress had removed it.

use std::time::Duration;

use super::history::Known;
use super::nomad::{Allocation, Node, Phase};
use super::notes::Interval;
use super::{BRIEF, Snapshot};
use crate::time::Time;

/// How far a client's clock may be apart from ours.
const CLOCKS_DIFFER: Duration = Duration::from_secs(5);

/// While an allocation stops, Consul answers every few seconds. A longer time between two answers is an outage.
const LONG: Duration = Duration::from_secs(8);

impl Snapshot {
    /// Allocations that a drain is stopping and that an ingress finds in Consul. The ingress must hear of Consul for as long as they serve.
    /// While Nomad cannot be read, these are all that had not stopped at its last answer. Nobody stops the allocations of a lost agent, and
    /// the outcome names forced ones.
    pub fn stops_in_consul(&self) -> impl Iterator<Item = &Allocation> {
        let nodes = self.nomad.last().map_or(&[][..], |nomad| &nomad.nodes);
        let is_forced = |node: &Node| {
            let meta = node.last_drain.as_ref().and_then(|last| last.meta.as_ref());
            meta.is_some_and(|meta| meta.phase == Phase::Forced)
        };
        let forced = self.history.has_forced() || nodes.iter().any(is_forced);
        let is_sent = |node: &Node| self.history.drains.iter().any(|drain| drain.node == node.id);
        let goes_on_unseen = move |node: &Node| self.nomad.blind().is_some() && (node.drain.is_some() || is_sent(node));
        let drained = nodes.iter().filter(|node| !node.status.is_lost()).filter_map(move |node| {
            let unseen = goes_on_unseen(node);
            (!forced && (unseen || node.last_drain.is_some())).then_some((node, unseen))
        });
        let stops = |a: &Allocation, unseen: bool| (unseen || !a.wanted) && !a.client.is_over() && a.group.is_found_in_consul();
        drained.flat_map(move |(node, unseen)| node.allocations.iter().filter(move |a| stops(a, unseen)))
    }

    /// Whether Consul must be heard of for what stops now, or for what has stopped since its last answer. A stop takes a few seconds, and
    /// nobody saw one that began and ended between two answers.
    #[must_use]
    pub fn watches_consul(&self) -> bool {
        let since = self.consul.at().unwrap_or_default();
        self.stops_in_consul().next().is_some() || self.stopped_since(since).next().is_some() || self.stopped_before_a_look()
    }

    /// Whether an allocation of a drain ended after this run began and before its first look at Nomad, and Consul has not answered yet.
    fn stopped_before_a_look(&self) -> bool {
        if self.consul.at().is_some() || self.history.has_forced() {
            return false;
        }
        let nodes = self.nomad.last().map_or(&[][..], |nomad| &nomad.nodes);
        let just_ended = |a: &Allocation| {
            let ended = a.ended.is_some_and(|ended| self.history.began <= ended + CLOCKS_DIFFER);
            ended && !a.wanted && a.client.is_over() && a.group.is_found_in_consul()
        };
        let in_order = |node: &&Node| {
            let last = node.last_drain.as_ref().filter(|_| !node.status.is_lost());
            last.is_some_and(|last| last.meta.as_ref().is_none_or(|meta| meta.phase != Phase::Forced))
        };
        nodes.iter().filter(in_order).any(|node| node.allocations.iter().any(just_ended))
    }

    /// When each allocation was told to stop that was seen over after that time. The outcome names forced ones.
    fn stopped_since(&self, since: Time) -> impl Iterator<Item = Time> {
        let stopped = move |known: &&Known| known.over && since < known.shown && known.group.is_found_in_consul();
        let known = if self.history.has_forced() { &[][..] } else { &self.history.known[..] };
        known.iter().filter(stopped).filter_map(|known| known.told)
    }

    /// When the first allocation was told to stop that stops now, or was seen over after that time.
    fn first_told_since(&self, since: Time) -> Option<Time> {
        let known = &self.history.known;
        // While Nomad cannot be read, an allocation that was last seen wanted may have been told to stop right after that.
        let seen = self.nomad.at().unwrap_or(since);
        let told = |a: &Allocation| known.iter().find(|known| known.id == a.id).and_then(|known| known.told).unwrap_or(seen);
        let stops = self.stops_in_consul().map(told).min();
        stops.into_iter().chain(self.stopped_since(since)).min()
    }

    /// The time between two answers of Consul, if an allocation was stopping for long in it. The later answer was asked for at `asked` and
    /// came at `heard`. Nobody saw whether an ingress could hear of the stop: a server that hangs refuses nothing, and answers when it is
    /// well again.
    pub(super) fn between_answers(&self, asked: Time, heard: Time) -> Option<Interval> {
        let last = self.consul.at()?;
        let told = self.first_told_since(last)?;
        // Nothing is known of the time in which decamp's own process was stopped.
        let looked_from = self.history.woke_late.unwrap_or(last);
        (LONG <= asked.since(told.max(last).max(looked_from))).then_some(Interval { after: last, before: Some(heard) })
    }

    /// The time until which Consul could certainly be read. A run that never read Consul does not know when the outage began. The drain may
    /// have begun before it.
    fn in_sight_until(&self, first_failed: Time) -> Time {
        let nodes = self.nomad.last().map_or(&[][..], |nomad| &nomad.nodes);
        let drained =
            || nodes.iter().filter_map(|node| node.last_drain.as_ref()).filter_map(|last| last.started.or(last.updated)).min();
        self.consul.at().or_else(drained).unwrap_or(first_failed).min(first_failed)
    }

    /// The same, from the first failed look on: the next worker may come before the second.
    #[must_use]
    pub fn unseen_at_once(&self, now: Time) -> Option<Interval> {
        let blind = self.consul.blind().filter(|_| self.watches_consul());
        let begins = blind.map(|blind| Interval { after: self.in_sight_until(blind.since), before: None });
        self.unseen_stops(now).or(begins)
    }

    /// The time in which Consul could not be read while allocations stopped that an ingress finds there, as far as it is known now.
    #[must_use]
    pub fn unseen_stops(&self, now: Time) -> Option<Interval> {
        let known = self.history.unseen_stops;
        let lasts = self.consul.blind().filter(|blind| BRIEF <= now.since(blind.since) && self.watches_consul());
        let Some(blind) = lasts else { return known };
        let after = self.in_sight_until(blind.since);
        Some(Interval { after: known.map_or(after, |known| known.after.min(after)), before: None })
    }
}
