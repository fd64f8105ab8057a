//! What this run did and saw so far: heartbeats, allocations, failed writes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::answer_times::AnswerTimes;
use super::auto_scaling::Group;
use super::discovery::Registrations;
use super::jobs::{JobKind, TaskGroup};
use super::nomad::{Allocation, ClientStatus, DrainMeta, Node, Nomad, OwnNetwork};
use super::notes::{Interval, Noted};
use super::stops::TaskEnd;
use super::writes::{Failures, SentDrain};
use crate::decide::EffectKind;
use crate::decide::outcome::Outcome;
use crate::ids::{AllocationId, NodeId};
use crate::sweep::Sweep;
use crate::time::Time;

/// Looks whose times differ by no more than this were asked for together: the time of each is reckoned from its answer.
const TOGETHER: Duration = Duration::from_millis(50);

/// The memory of this run. After a crash, waits may last longer, and an outcome may differ that depends on what this run alone saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct History {
    /// When this run began.
    pub began: Time,
    /// When the last round of looks was asked for, and when its last answer came.
    pub last_round: Option<(Time, Time)>,
    /// When the last accepted heartbeat was sent.
    pub heartbeat: Option<Time>,
    /// Every allocation that this run saw before it was over, by id.
    pub known: Vec<Known>,
    /// Every address that a node of the instance reported in this run. Its node may have been purged since.
    pub addresses: Vec<IpAddr>,
    /// When the last look was asked for that did not know every address of a node, or every allocation on it.
    pub(in crate::decide) addresses_since: Option<Time>,
    /// The first look that showed the group held, and the last one, or the one that showed the end of the hold.
    pub held: Option<(Time, Time)>,
    /// Whether the first look at the group showed it held.
    pub(in crate::decide) held_from_the_first: bool,
    /// The first look that showed data in host volumes in use, without an operator's leave to let it go, and the last one, or the one that
    /// no longer showed it.
    pub local_data: Option<(Time, Time)>,
    /// When the first look that showed a node showed that nobody had begun: every node was eligible, and none had a drain.
    pub untouched: Option<Time>,
    /// When Nomad was first read.
    pub first_nomad: Option<Time>,
    /// When Nomad's last answer came.
    pub(in crate::decide) nomad_answered: Option<Time>,
    /// The length of the longest list of allocations.
    pub(in crate::decide) longest_list: usize,
    /// Whether a load balancer showed the instance healthy.
    pub(in crate::decide) was_healthy: bool,
    /// Since when no node has been this instance.
    pub no_node_since: Option<Time>,
    /// Since when every node has been down or disconnected.
    pub agents_dead_since: Option<Time>,
    /// When ineligibility was last accepted.
    pub(in crate::decide) made_ineligible: Option<Time>,
    /// The drains that this run sent.
    pub drains: Vec<SentDrain>,
    /// The last `Meta` of decamp's that this run read on each node. An operator's drain may have replaced it since.
    pub drain_metas: Vec<(NodeId, DrainMeta)>,
    /// Every node that any look of this run showed.
    pub(in crate::decide) nodes: Vec<NodeId>,
    /// The earliest deadline of a drain that any look showed.
    pub(in crate::decide) deadline: Option<Time>,
    /// Whether a deadline was seen to stop allocations that Nomad wanted to run.
    pub(in crate::decide) cut_by_deadline: bool,
    /// Since when every look has shown a drain in progress although all but system allocations are over (ADR 0004).
    pub settled_since: Option<Time>,
    /// Since when every look has shown allocations that Nomad wants to run although a drain of everything is complete.
    pub landed_since: Option<Time>,
    /// The last look that showed an allocation appear, end, or vanish. If other looks were asked for before its answer, the time of the
    /// answer.
    pub nomad_changed: Option<Time>,
    /// The series of failures of each kind of write.
    pub failures: Vec<(EffectKind, Failures)>,
    /// When "no active lifecycle action" was first answered.
    pub no_active_action: Option<Time>,
    /// When the completion was accepted.
    pub completed: Option<Time>,
    /// Whether the token was refused, so that the instance id names the action.
    pub token_refused: bool,
    /// Every registration in Consul that this run saw: the control look of ADR 0011.
    pub registered: Vec<(AllocationId, Arc<str>)>,
    /// When Consul was first read.
    pub(in crate::decide) first_consul: Option<Time>,
    /// The time in which Consul could not be read while allocations stopped that an ingress finds there.
    pub unseen_stops: Option<Interval>,
    /// When a wait last ended later than intended: the process had been stopped, and looked at nothing.
    pub woke_late: Option<Time>,
    /// When the last of the allocations that declare a service in Consul was over. `NEVER` if one is not, or if nobody knows when it was;
    /// `None` if no look at Nomad showed one. A purge removes allocations from the list.
    pub(in crate::decide) last_in_consul: Option<Time>,
    /// The sweep that this run belongs to, if any.
    pub sweep: Option<Sweep>,
    /// The notes of earlier runs that this process remembers.
    pub noted: Vec<Noted>,
    /// The notes of this run that were accepted.
    pub notes_sent: Vec<Noted>,
    /// Notes of earlier runs about an outage of Consul, as they were before this run's first note of that kind replaced them.
    pub(in crate::decide) found_unseen: Option<Vec<Noted>>,
    /// The outcome of a completion that was accepted, or not answered.
    pub(in crate::decide) verdict: Option<Outcome>,
}

/// An allocation that this run saw before it was over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Known {
    /// Its id.
    pub id: AllocationId,
    /// Its task group.
    pub group: Arc<TaskGroup>,
    /// The last look that showed it.
    pub shown: Time,
    /// The last look that showed it on a node whose agent was not lost. A lost agent does not report what has ended.
    pub alive: Time,
    /// Whether the last look still showed it.
    pub listed: bool,
    /// The first look that did not show it any more.
    pub vanished: Option<Time>,
    /// Whether it was seen over.
    pub over: bool,
    /// Whether it was already `lost` when this run first saw it, on a ready node.
    pub lost_before: bool,
    /// Whether Nomad wanted it to run when it was last shown.
    pub wanted: bool,
    /// Its own network.
    pub own: Option<OwnNetwork>,
    /// The first look that showed that it had been told to stop.
    pub told: Option<Time>,
    /// The last look before that, if this run saw it then.
    pub wanted_at: Option<Time>,
    /// Since when it has run: since the start that Nomad reports, or the first look that showed it running.
    pub runs_since: Option<Time>,
    /// Whether the last look showed it running.
    pub running: bool,
    /// The last look at Consul that did not show all its services while it was running and wanted.
    pub missed: Option<Time>,
    /// When that look was answered. A look at Nomad that was asked for before that may not show what came after it.
    pub missed_by: Option<Time>,
    /// The last such look after which it was seen running on. An allocation that is told to stop leaves Consul before Nomad's next answer
    /// shows it.
    pub unlisted: Option<Time>,
    /// How its tasks ended. Nomad may remove an allocation that is over from its list.
    pub ends: Arc<[TaskEnd]>,
    /// Whether a deadline that had passed stopped it.
    pub cut: bool,
    /// Whether a look showed it on a lost node, or did not show it. Nomad may have replaced it then without waiting for its end.
    pub was_lost: bool,
    /// The longest time after a drain, until it was over, in which no look showed it on a node whose agent was not lost.
    pub(in crate::decide) unwatched: Duration,
    /// The first look at discovery that listed a service of it as routable although it had been over for a while.
    pub listed_after: Option<Time>,
}

impl History {
    /// A run that begins now.
    #[must_use]
    pub fn begin(at: Time) -> Self {
        Self { began: at, ..Self::default() }
    }

    /// Records that a round of looks has ended.
    pub fn looked(&mut self, asked: Time, answered: Time) {
        self.last_round = Some((asked, answered));
    }

    /// Whether a look at this time is recent: within `at_most`, or in the last round of looks, if that ended within `at_most`. A round
    /// takes as long as its slowest answer, and another look would take as long.
    #[must_use]
    pub fn is_recent(&self, seen: Time, at_most: Duration, now: Time) -> bool {
        let in_last_round = |(asked, answered): (Time, Time)| asked <= seen && now <= answered + at_most;
        now <= seen + at_most || self.last_round.is_some_and(in_last_round)
    }

    /// Whether a look at this time was asked for together with the one that was answered last.
    #[must_use]
    pub(in crate::decide) fn asked_in_last_round(&self, seen: Time) -> bool {
        self.last_round.is_some_and(|(asked, _)| seen.since(asked).max(asked.since(seen)) <= TOGETHER)
    }

    /// The first look set the clock, so this run began at that look.
    pub fn began_by(&mut self, first_look: Time) {
        if self.first_nomad.is_none() && self.heartbeat.is_none() && self.failures.is_empty() {
            self.began = first_look;
        }
    }

    /// Records whether the group is held, after the last look `before`.
    pub(super) fn see_hold(&mut self, at: Time, before: Option<&Group>, held: bool) {
        // The first look that shows the end of the hold counts too: Auto Scaling may have been away for hours before it.
        if held || before.is_some_and(|group| group.held) {
            self.held = Some((self.held.map_or(at, |(since, _)| since), at));
            self.held_from_the_first |= before.is_none();
        }
    }

    /// Records a list of allocations: those that are shown, those that are over, and those that vanished before they were seen over.
    pub(super) fn see_allocations(&mut self, when: AnswerTimes, nomad: &Nomad) {
        let at = when.asked;
        let first = self.first_nomad.is_none();
        // A purged node comes back when its agent registers again. Looks before that showed no node, and nothing of it.
        let found = first || self.no_node_since.is_some() && self.known.is_empty() && self.made_ineligible.is_none();
        if found && !nomad.nodes.is_empty() && nomad.nodes.iter().all(|node| node.eligible && node.drain.is_none()) {
            self.untouched = Some(at);
        }
        self.first_nomad.get_or_insert(at);
        self.nomad_answered = Some(when.answered);
        let listed_before = self.known.iter().filter(|k| k.listed).count();
        let listed = nomad.nodes.iter().map(|node| node.allocations.len()).sum();
        let longer = self.longest_list < listed;
        self.longest_list = self.longest_list.max(listed);
        for known in &mut self.known {
            known.listed = false;
        }
        // A longer list shows allocations that could not be seen before, even if they are over.
        let mut changed = first || longer;
        for node in &nomad.nodes {
            if !self.nodes.contains(&node.id) {
                self.nodes.push(node.id);
            }
            for address in &node.addresses {
                if !self.addresses.contains(address) {
                    self.addresses.push(*address);
                    self.addresses_since = Some(when.last_asked);
                }
            }
            let deadline_passed = self.deadline.is_some_and(|deadline| deadline <= at);
            for shown in node.allocations.iter() {
                if shown.group.in_consul().next().is_some() {
                    self.last_in_consul = self.last_in_consul.max(Some(shown.ended.unwrap_or(Time::NEVER)));
                }
                changed |= self.see_allocation(when, shown, (first, node.status.is_lost()), deadline_passed);
            }
            if let Some(meta) = node.last_drain.as_ref().and_then(|drain| drain.meta.as_ref()) {
                self.drain_metas.retain(|(id, _)| *id != node.id);
                self.drain_metas.push((node.id, meta.clone()));
            }
            if let Some(deadline) = node.drain.as_ref().and_then(|d| d.force_deadline) {
                self.deadline = Some(self.deadline.map_or(deadline, |d| d.min(deadline)));
            }
        }
        for known in self.known.iter_mut().filter(|k| !k.listed) {
            known.vanished.get_or_insert(at);
            known.was_lost |= !known.over;
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

    /// Records one allocation, by the first look or a later one, on a node that is lost or not. Returns whether it is new, or newly over.
    fn see_allocation(
        &mut self,
        when: AnswerTimes,
        shown: &Allocation,
        (first, lost): (bool, bool),
        deadline_passed: bool,
    ) -> bool {
        let at = when.asked;
        let drained = self.drains.iter().any(|drain| drain.at <= at);
        let over = shown.client.is_over();
        let running = shown.client == ClientStatus::Running;
        let runs_since = running.then(|| shown.started.map_or(at, |started| started.min(at)));
        match self.known.iter_mut().find(|k| k.id == shown.id) {
            Some(known) => {
                known.cut |= deadline_passed && known.wanted && !shown.wanted && !known.over;
                self.cut_by_deadline |= known.cut;
                let news = over && !known.over;
                // An allocation that is over stays on the list, but is no longer stopping.
                known.shown = if known.over { known.shown } else { at };
                let unwatched = if drained && !known.over { at.since(known.alive) } else { Duration::ZERO };
                known.unwatched = known.unwatched.max(unwatched);
                known.alive = if known.over || lost { known.alive } else { at };
                known.was_lost |= !known.over && (lost || matches!(shown.client, ClientStatus::Lost | ClientStatus::Unknown));
                known.wanted_at = if shown.wanted { Some(at) } else { known.wanted_at };
                known.told = if shown.wanted { None } else { known.told.or(Some(at)) };
                known.listed = true;
                known.vanished = None;
                known.over |= over;
                if !shown.ends.is_empty() {
                    known.ends = Arc::clone(&shown.ends);
                }
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
                self.addresses_since = if shown.own.is_some() { Some(when.last_asked) } else { self.addresses_since };
                self.known.push(Known {
                    id: shown.id,
                    group: Arc::clone(&shown.group),
                    shown: at,
                    alive: at,
                    listed: true,
                    vanished: None,
                    over: false,
                    lost_before: first && !lost && shown.client == ClientStatus::Lost,
                    wanted: shown.wanted,
                    own: shown.own.clone(),
                    told: (!shown.wanted).then_some(at),
                    wanted_at: shown.wanted.then_some(at),
                    runs_since,
                    running,
                    missed: None,
                    missed_by: None,
                    unlisted: None,
                    ends: Arc::default(),
                    cut: false,
                    was_lost: lost || matches!(shown.client, ClientStatus::Lost | ClientStatus::Unknown),
                    unwatched: Duration::ZERO,
                    listed_after: None,
                });
                true
            }
        }
    }

    /// Whether an allocation was already lost when this run first saw it (ADR 0005).
    #[must_use]
    pub fn was_lost_before(&self, id: AllocationId) -> bool {
        self.known.iter().any(|k| k.lost_before && k.id == id)
    }

    /// Whether some look of this run showed every service that an allocation declares in Consul. The node fills in variables in a name, so
    /// any service of the allocation may be that one.
    #[must_use]
    pub fn lists_all_of(&self, known: &Known) -> bool {
        let listed = |name: &str| {
            let mut own = self.registered.iter().filter(|(allocation, _)| *allocation == known.id);
            own.any(|(_, service)| **service == *name || name.contains("${"))
        };
        known.group.in_consul().all(|service| listed(&service.name))
    }

    /// Running allocations with services in Consul that a look at Consul did not show.
    pub fn unlisted(&self) -> impl Iterator<Item = &Known> {
        self.known.iter().filter(|known| known.missed.is_some() && !self.lists_all_of(known))
    }

    /// Running allocations with services in Consul that are not all listed, for which there was no look at Consul yet.
    pub fn unasked(&self) -> impl Iterator<Item = &Known> {
        self.known.iter().filter(|known| known.missed.is_none() && should_be_listed(known) && !self.lists_all_of(known))
    }

    pub(super) fn see_registrations(&mut self, when: AnswerTimes, seen: &Registrations) {
        self.first_consul.get_or_insert(when.asked);
        self.see_leftovers(when.asked, seen);
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
                self.known[place].missed_by = Some(when.answered);
            }
        }
    }
}

/// Whether its services in Consul should be listed. A batch allocation registers its services only while the task runs.
fn should_be_listed(known: &Known) -> bool {
    let lasts = matches!(known.group.kind, JobKind::Service | JobKind::System);
    known.listed && known.running && known.wanted && !known.over && lasts
}

/// Records since when a condition has held without a break.
fn keep_since(since: &mut Option<Time>, at: Time, so: bool) {
    if so {
        since.get_or_insert(at);
    } else {
        *since = None;
    }
}
