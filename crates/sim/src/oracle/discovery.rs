//! Discovery: services that decamp stops although Consul never listed them, and services that were registered by hand.

use std::time::Duration;

use super::Oracle;
use super::volumes::uses_csi;
use crate::consul::Consul;
use crate::load_balancers::LoadBalancers;
use crate::nomad::Nomad;
use crate::world::{Lists, Subject};
use decamp_core::decide::{ClientStatus, JobKind, Outcome, Phase, Provider};
use decamp_core::ids::TargetGroupArn;
use decamp_core::time::Time;

/// An allocation that has run for this long is registered, under any load.
const REGISTERED_BY_NOW: Duration = Duration::from_secs(20);

impl Oracle {
    /// S8: decamp does not drain services that run and that Consul does not list while a load balancer still sends. An ingress that
    /// routes by another Consul does not learn of the stop from the Consul that decamp watches.
    pub(super) fn check_unlisted_services(&mut self, at: Time, phase: Phase, nomad: &Nomad, subject: &Subject) {
        let Some(node) = subject.node.filter(|_| subject.consul_lists != Lists::All) else { return };
        let unlisted = nomad.allocations().iter().find(|a| {
            let group = nomad.group_of(a);
            let declares = group.services.iter().any(|service| service.provider == Provider::Consul);
            let lasts = matches!(group.kind, JobKind::Service | JobKind::System);
            let long = a.started.is_some_and(|started| started + REGISTERED_BY_NOW <= at);
            let stays = group.kind == JobKind::System && self.leaves_system_jobs;
            a.node == node && a.listed && a.wanted && a.client == ClientStatus::Running && declares && lasts && long && !stays
        });
        let Some(allocation) = unlisted else { return };
        let title = nomad.group_of(allocation).title();
        // Where CSI volumes are in use, the first drain leaves system jobs after the delay, too. S1 judges what it stops.
        let beside = phase == Phase::Services && !uses_csi(nomad, node);
        if beside && !self.work_stopped_by_operator {
            self.broke(at, "S8", format!("{title} was drained beside the delay, and Consul lists none of its services"));
        }
        self.stopped_unlisted = Some((at, title));
    }

    /// Whether the acting worker cannot know what a drain at this time noted in its `Meta`. Before that worker first looked, the row was
    /// purged and its agent registered a new one, or an operator's drain replaced it.
    fn note_is_lost(&self, noted: Time) -> bool {
        let since =
            |lost: Option<Time>| lost.is_some_and(|lost| noted <= lost && self.actor_looked_at.is_none_or(|at| lost <= at));
        since(self.purged) || since(self.operator_drained)
    }

    /// S3: decamp does not claim that services are gone which Consul never listed, and waits for services that the policy waits for. A
    /// worker that comes when everything is over knows the first only from the drain's `Meta`. If that is lost, the judge does not
    /// require it.
    pub(super) fn check_evidence(
        &mut self,
        at: Time,
        verdict: &Outcome,
        consul: &Consul,
        balancers: &LoadBalancers,
        subject: &Subject,
    ) {
        if !matches!(verdict, Outcome::Departed { .. }) {
            return;
        }
        if let Some((_, title)) = self.stopped_unlisted.clone().filter(|(noted, _)| !self.note_is_lost(*noted)) {
            self.broke(at, "S3", format!("Consul never listed {title}, and it says departed"));
        }
        // A later worker may see that the departure has begun, and not why the group lists nothing. An operator's drain looks the same. A
        // deleted group sends nothing, and a group in which another party registered the instance meanwhile did list it.
        let began = 1 < self.workers || self.operator_drained.is_some();
        let explained = |arn: &TargetGroupArn| self.registered_again.is_some() || !balancers.arns().any(|known| known == arn);
        if let Some(arn) = subject.never_registered.as_ref().filter(|arn| !began && !explained(arn)) {
            self.broke(at, "S3", format!("its hook names {}, which never listed it, and it says departed", arn.name()));
        }
        let state = consul.node(subject.consul_node);
        let mut by_hand =
            state.entries().filter(|entry| entry.allocation.is_by_hand() && entry.is_listed() && entry.is_passing());
        let routable = subject.consul_lists == Lists::All && consul.agent_lives(subject.consul_node);
        if let Some(entry) = by_hand.next().filter(|_| routable && self.waits_for_by_hand) {
            let name = entry.name.clone();
            self.broke(at, "S3", format!("{name} is registered by hand and passing, and was to be waited for"));
        }
    }
}
