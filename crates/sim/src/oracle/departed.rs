//! S3: what the outcome claims to be gone is gone, as far as a worker could know.

use std::sync::Arc;
use std::time::Duration;

use super::{LOOK_AGE, Oracle};
use crate::consul::Consul;
use crate::event::AllocationNumber;
use crate::load_balancers::LoadBalancers;
use crate::nomad::Nomad;
use crate::world::{Lists, Subject};
use decamp_core::decide::{ClientStatus, JobKind, Outcome};
use decamp_core::ids::TargetId;
use decamp_core::time::Time;

/// Nomad notices a dead agent within this time (heartbeat TTL and grace; facts/nomad.md 10.1).
const UNNOTICED: Duration = Duration::from_secs(30);
/// How long every drawn policy waits for a leftover registration.
const LEFTOVER_WAIT: Duration = Duration::from_mins(10);

impl Oracle {
    /// S3: what the outcome claims to be gone is gone.
    pub(super) fn check_drained(
        &mut self,
        at: Time,
        verdict: &Outcome,
        nomad: &Nomad,
        consul: &Consul,
        balancers: &LoadBalancers,
        subject: &Subject,
    ) {
        let claims_registrations = matches!(verdict, Outcome::Departed { .. });
        let claims =
            claims_registrations || matches!(verdict, Outcome::Forced | Outcome::Unconfirmed { .. } | Outcome::DataLeft { .. });
        if claims && subject.node.is_none() && !nomad.nodes().any(|(_, n)| n.spec.instance == Some(subject.instance)) {
            self.broke(at, "S3", "there is no node, and it says departed".to_owned());
        }
        if !claims && *verdict != Outcome::NoNode {
            return;
        }
        for arn in &subject.fronts {
            let registered = balancers.listed_until(arn, subject.instance) == Some(Time::NEVER);
            let routed = balancers.routes(arn).iter().any(|r| r.id == TargetId::Instance(subject.instance));
            // A target that was registered again and that another worker deregistered a moment ago is in no list.
            let again = self.registered_again;
            let others = self.last_deregistered().filter(|(when, who)| *who != self.actor && again < Some(*when));
            let taken_out = others.map(|(when, _)| when).filter(|_| again.is_some());
            let raced = again.max(taken_out).is_some_and(|again| at.since(again) < LOOK_AGE);
            // decamp may leave a target behind that nobody can attribute, but only by name and after its wait (ADR 0009).
            let by_name = matches!(verdict, Outcome::Unconfirmed { .. } | Outcome::DataLeft { .. } | Outcome::NoNode);
            let waited = self.waited_for_addresses(at) || self.finds_no_address();
            let left_behind = by_name && (waited || self.forced.is_some());
            let sent_to = |id: &TargetId| match id {
                TargetId::Ip(address) => subject.addresses.contains(address) && !left_behind,
                TargetId::Instance(_) | TargetId::Other(_) => false,
            };
            let routed = routed || balancers.routes(arn).iter().any(|route| sent_to(&route.id));
            if (registered || routed) && !raced && !self.delay_raised {
                self.broke(at, "S3", format!("{} still routes to it", arn.name()));
            }
        }
        let Some(node) = subject.node.filter(|_| claims) else { return };
        // A worker cannot know what no list has shown it: a purge removes the evidence from every list, and an allocation may land between
        // a slow answer and a slow write.
        let hidden = self.purged.is_some()
            || self.purged_between_workers()
            || self.work_stopped_by_operator && self.agent_died.is_some()
            || self.landed.is_some_and(|landed| at < landed + self.slowness * 2);
        // The allocation was `lost`, its agent came back, and has died again. Nothing shows that before Nomad misses a heartbeat.
        let dies_again = self.agent_last_died.is_some_and(|died| at.since(died) < UNNOTICED);
        let alive = (0..).zip(nomad.allocations()).filter(|(_, a)| a.node == node && a.is_alive()).find(|(_, a)| {
            let group = nomad.group_of(a);
            let unseen = dies_again && a.client == ClientStatus::Lost;
            !(unseen || group.csi_plugin || group.kind == JobKind::System && self.leaves_system_jobs)
        });
        if let Some((_, allocation)) = alive.filter(|_| !hidden) {
            let title = nomad.group_of(allocation).title();
            self.broke(at, "S3", format!("{title} still runs ({})", allocation.id));
        }
        // The wait for each registration begins at the end of its allocation (ADR 0002).
        let shown = subject.consul_lists == Lists::All;
        if claims_registrations && shown && consul.agent_lives(subject.consul_node) && !hidden {
            let state = consul.node(subject.consul_node);
            // Of what ended before the departure, a registration that the token hides needs no proof that it is gone (ADR 0011).
            let sees_all = matches!(subject.consul_token, crate::consul::Token::Full);
            let needs_none = |number: AllocationNumber| !sees_all && self.ended_before_the_hook(number, nomad);
            let counts = |number: AllocationNumber| self.counts(number, nomad) && !needs_none(number);
            let left = state.of_allocations().find(|e| e.is_listed() && e.is_passing() && counts(e.allocation));
            if let Some(entry) = left {
                let name = Arc::clone(&entry.name);
                self.broke(at, "S3", format!("{name} is still registered and passing"));
            }
        }
    }

    /// L2: decamp waits for registrations that pass and that its token may read. The wait begins at the end of the allocation, which is
    /// at the earliest after the first drain, decamp's or an operator's.
    pub(super) fn check_leftovers(&mut self, at: Time, consul: &Consul, nomad: &Nomad, subject: &Subject) {
        let drained = self.first_drain.map(|ours| self.operator_drained.map_or(ours, |theirs| theirs.min(ours)));
        let early = drained.is_some_and(|drain| at + Duration::from_secs(5) < drain + LEFTOVER_WAIT);
        let shown = subject.consul_lists == Lists::All && matches!(subject.consul_token, crate::consul::Token::Full);
        let sees = shown && consul.agent_lives(subject.consul_node);
        // Allocations of a lost agent count from when it was lost, and a hold has its own end (ADR 0015).
        let unreported = self.purged.is_some()
            || self.work_stopped_by_operator
            || self.agent_died.is_some()
            || self.held
            || self.unheld.is_some();
        if !early || !sees || unreported || self.forced.is_some() {
            return;
        }
        let state = consul.node(subject.consul_node);
        let left = state.of_allocations().find(|e| e.is_listed() && e.is_passing() && self.counts(e.allocation, nomad));
        if let Some(entry) = left {
            let name = Arc::clone(&entry.name);
            self.broke(at, "L2", format!("it gave up {name}, which is registered and passing, before its wait was over"));
        }
    }

    fn counts(&self, allocation: AllocationNumber, nomad: &Nomad) -> bool {
        let group = nomad.group_of(nomad.allocation(allocation));
        !(group.csi_plugin || group.kind == JobKind::System && self.leaves_system_jobs)
    }

    /// Whether a job was purged that neither the acting worker has seen nor a drain has noted. The next worker knows what decamp's drain
    /// counted, until an operator's drain replaces it and its `Meta`, or until another allocation lands and makes up the number. A note says
    /// so then, where Nomad keeps notes.
    pub(super) fn purged_between_workers(&self) -> bool {
        let replaced = self.operator_drained.is_some_and(|theirs| self.last_drain.is_none_or(|ours| ours <= theirs));
        let hidden = self.landed.is_some() && !self.bounds.notes_are_kept;
        self.job_purged.is_some_and(|purged| {
            self.actor_looked_at.is_none_or(|looked| purged <= looked)
                && (replaced || hidden || self.first_drain.is_none_or(|drain| purged <= drain))
        })
    }
}
