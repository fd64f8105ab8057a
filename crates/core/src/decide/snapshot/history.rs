//! What this run did and saw so far: when heartbeats landed, which allocations were shown, which writes went wrong.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use super::answer_times::AnswerTimes;
use super::discovery::Registrations;
use super::jobs::{JobKind, Provider, TaskGroup};
use super::nomad::{Allocation, ClientStatus, Node, Nomad, OwnNetwork};
use super::notes::{Interval, Noted};
use super::writes::{Failures, SentDrain};
use crate::decide::EffectKind;
use crate::decide::outcome::Outcome;
use crate::ids::AllocationId;
use crate::sweep::Sweep;
use crate::time::Time;

/// This run's own memory. Nothing depends on it but how long something is waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct History {
    /// When this run began.
    pub began: Time,
    /// When the last round of looks was asked for, and when its last answer was there.
    pub last_round: Option<(Time, Time)>,
    /// When the last accepted heartbeat was sent.
    pub heartbeat: Option<Time>,
    /// Every allocation that this run ever saw not over, by id.
    pub known: Vec<Known>,
    /// Every address that a node of the instance told in this run: its row may be purged since.
    pub addresses: Vec<IpAddr>,
    /// When the last look was asked for that did not know of every address of a node, or of what runs on it.
    pub(in crate::decide) addresses_since: Option<Time>,
    /// The first and the last look that showed the group held.
    pub held: Option<(Time, Time)>,
    /// Whether the first look at the group showed it held.
    pub(in crate::decide) held_from_the_first: bool,
    /// When the first look that showed a node showed that nobody has begun yet: every node takes work, and none was drained for it.
    pub untouched: Option<Time>,
    /// Whether Nomad was seen at all, and when first.
    pub first_nomad: Option<Time>,
    /// When the last answer of Nomad's came.
    pub(in crate::decide) nomad_heard: Option<Time>,
    /// How long the longest list of allocations was.
    pub(in crate::decide) longest_list: usize,
    /// Whether a load balancer was seen to take the instance for healthy.
    pub(in crate::decide) was_healthy: bool,
    /// When no node was first seen to be this instance.
    pub no_node_since: Option<Time>,
    /// Since when every node was seen to be down or disconnected.
    pub agents_dead_since: Option<Time>,
    /// When ineligibility was last accepted.
    pub(in crate::decide) made_ineligible: Option<Time>,
    /// The drains that this run sent.
    pub drains: Vec<SentDrain>,
    /// The earliest deadline of a drain that any look showed.
    pub(in crate::decide) deadline: Option<Time>,
    /// Whether allocations that Nomad still wanted were seen to be told to stop by a deadline.
    pub(in crate::decide) cut_by_deadline: bool,
    /// Since when every look showed a drain under way although all but system allocations are over (ADR 0004).
    pub settled_since: Option<Time>,
    /// Since when every look showed wanted allocations although a drain of all is complete.
    pub landed_since: Option<Time>,
    /// The look that last showed an allocation appear, end, or vanish; when it was heard, if others were asked for before that.
    pub nomad_changed: Option<Time>,
    /// The row of failures of each kind of write.
    pub failures: Vec<(EffectKind, Failures)>,
    /// How often completing was answered with "no active lifecycle action", and when first.
    pub no_active_action: Option<Time>,
    /// When the completion was accepted.
    pub completed: Option<Time>,
    /// Whether the token was refused, so that the action is named by instance id.
    pub token_refused: bool,
    /// Every registration in Consul that this run saw: the control look of ADR 0011.
    pub registered: Vec<(AllocationId, Arc<str>)>,
    /// When Consul was first seen.
    pub(in crate::decide) first_consul: Option<Time>,
    /// The time in which Consul could not be seen, and something stopped that an ingress finds there.
    pub unseen_stops: Option<Interval>,
    /// When this run was last itself again after a wait that took longer than it meant to: its process was stopped, and looked at nothing.
    pub woke_late: Option<Time>,
    /// Whether a look at Nomad showed something that declares a service in Consul, over or not: a purge takes it off the list.
    pub(in crate::decide) declared_in_consul: bool,
    /// The sweep that this run is part of, if it is one.
    pub sweep: Option<Sweep>,
    /// What its process remembers of the beginnings that earlier runs saw.
    pub noted: Vec<Noted>,
    /// The beginnings that this run wrote down, and that were accepted.
    pub notes_sent: Vec<Noted>,
    /// What earlier runs had noted of Consul out of sight, before this one first noted that: this run's own notes take their place.
    pub(in crate::decide) found_unseen: Option<Vec<Noted>>,
    /// What a completion would mean that was accepted, or not answered.
    pub(in crate::decide) verdict: Option<Outcome>,
}

/// An allocation that this run saw not over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Known {
    /// Its id.
    pub id: AllocationId,
    /// What it is an instance of.
    pub group: Arc<TaskGroup>,
    /// The last look that showed it.
    pub shown: Time,
    /// Whether the last look still showed it.
    pub listed: bool,
    /// The first look that no longer showed it.
    pub vanished: Option<Time>,
    /// Whether it was seen over.
    pub over: bool,
    /// Whether it was `lost` already when this run first saw it, on a node that was ready.
    pub lost_before: bool,
    /// Whether Nomad still wanted it to run, when last shown.
    pub wanted: bool,
    /// The network that is its own.
    pub own: Option<OwnNetwork>,
    /// The first look that showed it told to stop.
    pub told: Option<Time>,
    /// The last look that showed it before it was told to stop, if this run saw it then.
    pub wanted_at: Option<Time>,
    /// Since when it has run: the start that Nomad tells, or the first look that showed it running.
    pub runs_since: Option<Time>,
    /// Whether the last look showed it running.
    pub running: bool,
    /// The last look at Consul that did not show all its services, while it was last seen running, and wanted.
    pub missed: Option<Time>,
    /// When that look was answered: what Nomad was asked before that does not show what came after it.
    pub missed_by: Option<Time>,
    /// The last such look after which it was seen to run on: what is told to stop leaves Consul before Nomad's next answer shows that.
    pub unlisted: Option<Time>,
}

impl Known {
    /// How long it was seen to be stopping.
    #[must_use]
    pub fn stopped_for(&self) -> std::time::Duration {
        self.told.map(|told| self.shown.since(told)).unwrap_or_default()
    }
}

impl History {
    /// A run that begins now.
    #[must_use]
    pub fn begin(at: Time) -> Self {
        Self { began: at, ..Self::default() }
    }

    /// A round of looks ended: asked for then, answered now.
    pub fn looked(&mut self, asked: Time, answered: Time) {
        self.last_round = Some((asked, answered));
    }

    /// Whether a look at this time is recent: within `at_most`, or in the last round of looks, if that ended within `at_most`. A round
    /// lasts as long as its slowest answer, and looking again would take as long.
    #[must_use]
    pub fn is_recent(&self, seen: Time, at_most: std::time::Duration, now: Time) -> bool {
        let in_last_round = |(asked, answered): (Time, Time)| asked <= seen && now <= answered + at_most;
        now <= seen + at_most || self.last_round.is_some_and(in_last_round)
    }

    /// The first look set the clock: this run began no earlier and no later than that look.
    pub fn began_by(&mut self, first_look: Time) {
        if self.first_nomad.is_none() && self.heartbeat.is_none() && self.failures.is_empty() {
            self.began = first_look;
        }
    }

    /// Takes in whether the group is held.
    pub(super) fn see_hold(&mut self, at: Time, first: bool, held: bool) {
        if held {
            self.held = Some((self.held.map_or(at, |(since, _)| since), at));
            self.held_from_the_first |= first;
        }
    }

    /// Takes in a list of allocations: what is shown, what is over, and what vanished without having been seen over.
    pub(super) fn see_allocations(&mut self, when: AnswerTimes, nomad: &Nomad) {
        let at = when.asked;
        let first = self.first_nomad.is_none();
        // A row that was purged comes back when its agent registers again: looks before that showed no node, and nothing of it.
        let found = first || self.no_node_since.is_some() && self.known.is_empty() && self.made_ineligible.is_none();
        if found && !nomad.nodes.is_empty() && nomad.nodes.iter().all(|node| node.eligible && node.drain.is_none()) {
            self.untouched = Some(at);
        }
        self.first_nomad.get_or_insert(at);
        self.nomad_heard = Some(when.heard);
        let listed_before = self.known.iter().filter(|k| k.listed).count();
        let listed = nomad.nodes.iter().map(|node| node.allocations.len()).sum();
        let longer = self.longest_list < listed;
        self.longest_list = self.longest_list.max(listed);
        for known in &mut self.known {
            known.listed = false;
        }
        // A list that grows shows what could not be seen before, even if that is over.
        let mut changed = first || longer;
        for node in &nomad.nodes {
            for address in &node.addresses {
                if !self.addresses.contains(address) {
                    self.addresses.push(*address);
                    self.addresses_since = Some(when.unaware);
                }
            }
            let deadline_passed = self.deadline.is_some_and(|deadline| deadline <= at);
            for shown in node.allocations.iter() {
                self.declared_in_consul |= shown.group.services.iter().any(|service| service.provider == Provider::Consul);
                changed |= self.see_allocation(when, shown, first && !node.status.is_lost(), deadline_passed);
            }
            if let Some(deadline) = node.drain.as_ref().and_then(|d| d.force_deadline) {
                self.deadline = Some(self.deadline.map_or(deadline, |d| d.min(deadline)));
            }
        }
        for known in self.known.iter_mut().filter(|k| !k.listed) {
            known.vanished.get_or_insert(at);
        }
        changed |= self.known.iter().filter(|k| k.listed).count() < listed_before;
        if changed {
            self.nomad_changed = Some(when.known_since());
        }
        let found = !nomad.nodes.is_empty();
        keep_since(&mut self.no_node_since, at, !found);
        keep_since(&mut self.agents_dead_since, at, found && nomad.nodes.iter().all(|n| n.status.is_lost()));
        let settled = nomad.nodes.iter().any(|node| node.drain_can_complete(|id| self.was_lost_before(id)));
        keep_since(&mut self.settled_since, at, settled);
        keep_since(&mut self.landed_since, at, nomad.nodes.iter().any(Node::has_work_after_its_drain));
    }

    /// Answers whether this is news: an allocation not known before, or over now.
    fn see_allocation(&mut self, when: AnswerTimes, shown: &Allocation, may_be_lost_before: bool, deadline_passed: bool) -> bool {
        let at = when.asked;
        let over = shown.client.is_over();
        let running = shown.client == ClientStatus::Running;
        let runs_since = running.then(|| shown.started.map_or(at, |started| started.min(at)));
        match self.known.iter_mut().find(|k| k.id == shown.id) {
            Some(known) => {
                self.cut_by_deadline |= deadline_passed && known.wanted && !shown.wanted && !known.over;
                let news = over && !known.over;
                // What is over stays on the list: it stops no longer.
                known.shown = if known.over { known.shown } else { at };
                known.wanted_at = if shown.wanted { Some(at) } else { known.wanted_at };
                known.told = if shown.wanted { None } else { known.told.or(Some(at)) };
                known.listed = true;
                known.vanished = None;
                known.over |= over;
                known.wanted = shown.wanted;
                known.running = running;
                if running && shown.wanted && known.missed_by <= Some(at) {
                    known.unlisted = known.unlisted.max(known.missed);
                }
                known.runs_since = known.runs_since.into_iter().chain(runs_since).min();
                known.lost_before &= shown.client == ClientStatus::Lost;
                news
            }
            None if over => false,
            None => {
                self.addresses_since = if shown.own.is_some() { Some(when.unaware) } else { self.addresses_since };
                self.known.push(Known {
                    id: shown.id,
                    group: Arc::clone(&shown.group),
                    shown: at,
                    listed: true,
                    vanished: None,
                    over: false,
                    lost_before: may_be_lost_before && shown.client == ClientStatus::Lost,
                    wanted: shown.wanted,
                    own: shown.own.clone(),
                    told: (!shown.wanted).then_some(at),
                    wanted_at: shown.wanted.then_some(at),
                    runs_since,
                    running,
                    missed: None,
                    missed_by: None,
                    unlisted: None,
                });
                true
            }
        }
    }

    /// Whether an allocation was lost already when this run first saw it (ADR 0005).
    #[must_use]
    pub fn was_lost_before(&self, id: AllocationId) -> bool {
        self.known.iter().any(|k| k.lost_before && k.id == id)
    }

    /// Whether every service that an allocation declares in Consul was listed at some look of this run. A name with a variable in it is
    /// filled in on the node: any service of the allocation may be that one.
    #[must_use]
    pub fn lists_all_of(&self, known: &Known) -> bool {
        let listed = |name: &str| {
            let mut own = self.registered.iter().filter(|(allocation, _)| *allocation == known.id);
            own.any(|(_, service)| **service == *name || name.contains("${"))
        };
        known.group.in_consul().all(|service| listed(&service.name))
    }

    /// What runs, and declares services in Consul of which a look at Consul did not list all.
    pub fn unlisted(&self) -> impl Iterator<Item = &Known> {
        self.known.iter().filter(|known| known.missed.is_some() && !self.lists_all_of(known))
    }

    /// What runs, and declares services in Consul of which not all are listed, although no look at Consul has missed them.
    pub fn unasked(&self) -> impl Iterator<Item = &Known> {
        self.known.iter().filter(|known| known.missed.is_none() && should_be_listed(known) && !self.lists_all_of(known))
    }

    pub(super) fn see_registrations(&mut self, when: AnswerTimes, seen: &Registrations) {
        self.first_consul.get_or_insert(when.asked);
        for registration in seen.services.iter() {
            let pair = (registration.allocation, Arc::clone(&registration.service));
            if !self.registered.contains(&pair) {
                self.registered.push(pair);
            }
        }
        for place in 0..self.known.len() {
            let known = &self.known[place];
            if should_be_listed(known) && !self.lists_all_of(known) {
                self.known[place].missed = Some(when.asked);
                self.known[place].missed_by = Some(when.heard);
            }
        }
    }
}

/// Whether it runs, and what it declares in Consul should be listed there. Batch work registers what it serves for as long as a task of it
/// runs, and others may run on.
fn should_be_listed(known: &Known) -> bool {
    let lasts = matches!(known.group.kind, JobKind::Service | JobKind::System);
    known.listed && known.running && known.wanted && !known.over && lasts
}

/// Since when something has been so without a break.
fn keep_since(since: &mut Option<Time>, at: Time, so: bool) {
    if so {
        since.get_or_insert(at);
    } else {
        *since = None;
    }
}
