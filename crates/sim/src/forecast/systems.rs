//! The systems of a forecast: Auto Scaling, load balancers, Nomad and discovery, which start as a snapshot shows them.

use std::sync::Arc;
use std::time::Duration;

use decamp_core::decide::snapshot::{
    Allocation, Beginning, ClientStatus, Drain, DrainStatus, Elsewhere, Group, JobKind, LastDrain, Node, Nomad, Registrations,
    TargetGroup, TargetHealth,
};
use decamp_core::decide::{
    Departure, Effect, Lifecycle, Observation, Observed, Part, Policy, Snapshot, System, TokenAccess, UNREADABLE_DELAY, Unseen,
};
use decamp_core::ids::{AllocationId, InstanceId, NodeId, TargetGroupArn, TargetId};
use decamp_core::time::Time;

use super::{DeparturePart, PartSpan, Stops};
use crate::nomad::BATCH;

/// The longest that a replacement takes to count as healthy before the next copy has to stop: the default of `migrate.min_healthy_time`,
/// which the lists that decamp reads do not show. In the shortest case it is healthy at once.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// The timed events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    /// The drainer stops the allocations that may stop now.
    Mark(NodeId),
    /// A drain's deadline stops all remaining allocations.
    Deadline(NodeId),
    /// An allocation is over.
    Over(AllocationId),
    /// A target leaves its group's list.
    Gone(TargetGroupArn, TargetId, u16),
}

/// All systems. A part that the snapshot does not show is answered as unseen.
#[derive(Debug)]
pub(super) struct Systems {
    pub(super) instance: InstanceId,
    policy: Policy,
    stops: Stops,
    lifecycle: Result<Lifecycle, Unseen>,
    pub(super) group: Result<Group, Unseen>,
    pub(super) balancers: Vec<(TargetGroupArn, Result<TargetGroup, Unseen>)>,
    pub(super) nomad: Result<Nomad, Unseen>,
    nomad_token: Result<TokenAccess, Unseen>,
    consul: Result<Registrations, Unseen>,
    nomad_services: Result<Registrations, Unseen>,
    elsewhere: Result<Elsewhere, Unseen>,
    pub(super) due: Vec<(Time, Due)>,
    pub(super) spans: Vec<PartSpan>,
}

/// What the snapshot shows of a part, or why it does not.
fn seen<T: Clone>(sight: &Observed<T>) -> Result<T, Unseen> {
    match (sight.last(), sight.blind()) {
        (Some(last), _) => Ok(last.clone()),
        (None, Some(blind)) => Err(blind.why.clone()),
        (None, None) => Err(Unseen::Away("it was not looked at".into())),
    }
}

/// The nodes if an operator lets their local data go.
fn without_holds(mut nomad: Nomad) -> Nomad {
    nomad.nodes.iter_mut().for_each(|node| node.leaves_local_data = true);
    nomad
}

impl Systems {
    pub(super) fn of(departure: &Departure, of: &Snapshot, policy: &Policy, stops: Stops, now: Time, enters: bool) -> Self {
        let instance = departure.instance;
        let balancers = of.balancers.iter().map(|balancer| (balancer.arn.clone(), seen(&balancer.sight))).collect();
        let mut systems = Self {
            instance,
            policy: policy.clone(),
            stops,
            lifecycle: if enters { Ok(Lifecycle::Waiting) } else { seen(&of.lifecycle) },
            // A hold lasts until somebody deletes its tag or lets local data go, at an unknown time. The forecast assumes that it is now.
            group: seen(&of.group).map(|group| Group { held: false, ..group }),
            balancers,
            nomad: seen(&of.nomad).map(without_holds),
            nomad_token: seen(&of.nomad_token),
            consul: seen(&of.consul),
            nomad_services: seen(&of.nomad_services),
            elsewhere: seen(&of.elsewhere),
            due: Vec::new(),
            spans: Vec::new(),
        };
        if enters {
            systems.leave_attached_groups();
        }
        systems.continue_what_is_in_progress(departure, now);
        systems
    }

    pub(super) fn into_spans(self) -> Vec<PartSpan> {
        self.spans
    }

    pub(super) fn next_event(&self) -> Option<Time> {
        self.due.iter().map(|(at, _)| *at).min()
    }

    /// Processes all events that are due by `now`, in order.
    pub(super) fn advance(&mut self, now: Time) {
        while let Some((place, at)) = self
            .due
            .iter()
            .enumerate()
            .map(|(place, (at, _))| (place, *at))
            .filter(|(_, at)| *at <= now)
            .min_by_key(|(_, at)| *at)
        {
            let (_, due) = self.due.remove(place);
            match due {
                Due::Mark(node) => self.mark(node, at),
                Due::Deadline(node) => self.deadline(node, at),
                Due::Over(allocation) => self.over(allocation, at),
                Due::Gone(arn, id, port) => self.gone(&arn, &id, port),
            }
        }
    }

    pub(super) fn show(&self, part: &Part) -> Vec<Observation> {
        match part {
            Part::Lifecycle => vec![Observation::Lifecycle(self.lifecycle.clone())],
            Part::Group { .. } => vec![Observation::Group(self.group.clone())],
            Part::TargetGroups { groups, .. } => {
                let unasked = || Err(Unseen::Away("it was not looked at".into()));
                let show = |arn: &TargetGroupArn| self.balancers.iter().find(|(known, _)| known == arn);
                let look = |arn: &TargetGroupArn| show(arn).map_or_else(unasked, |(_, look)| look.clone());
                groups.iter().map(|group| Observation::TargetGroup(group.arn.clone(), look(&group.arn))).collect()
            }
            Part::Scan => {
                let ours = TargetId::Instance(self.instance);
                let lists_it = |group: &TargetGroup| group.listed().any(|target| target.id == ours);
                let listing = self.balancers.iter().filter(|(_, group)| group.as_ref().is_ok_and(lists_it));
                vec![Observation::Scan(Ok(listing.map(|(arn, _)| arn.clone()).collect()))]
            }
            Part::Nomad => vec![Observation::Nomad(self.nomad.clone())],
            Part::NomadToken => vec![Observation::NomadToken(self.nomad_token.clone())],
            Part::Consul => vec![Observation::Consul(self.consul.clone())],
            Part::NomadServices => vec![Observation::NomadServices(self.nomad_services.clone())],
            Part::Addresses(_) => vec![Observation::Addresses(self.elsewhere.clone())],
        }
    }

    /// Whether a watch of this part would answer, because the part differs from the last look.
    pub(super) fn has_news(&self, part: &Part, seen: &Snapshot) -> bool {
        match part {
            Part::Nomad => self.nomad.as_ref().is_ok_and(|nomad| seen.nomad.last() != Some(nomad)),
            Part::Consul => self.consul.as_ref().is_ok_and(|consul| seen.consul.last() != Some(consul)),
            Part::NomadServices => self.nomad_services.as_ref().is_ok_and(|all| seen.nomad_services.last() != Some(all)),
            Part::Lifecycle
            | Part::Group { .. }
            | Part::TargetGroups { .. }
            | Part::Scan
            | Part::NomadToken
            | Part::Addresses(_) => false,
        }
    }

    pub(super) fn take(&mut self, effect: &Effect, now: Time) {
        match effect {
            Effect::Heartbeat(_) => {}
            Effect::MakeIneligible(node) => self.change_node(*node, |node| node.eligible = false),
            Effect::Deregister { group, targets } => self.deregister(group, targets, now),
            Effect::Drain { node: id, deadline, ignore_system_jobs, meta } => {
                let drain = Drain { force_deadline: Some(now + deadline.span()), ignore_system_jobs: *ignore_system_jobs };
                let last =
                    LastDrain { status: DrainStatus::Draining, started: Some(now), updated: Some(now), meta: Some(meta.clone()) };
                let mut name = None;
                self.end_drain_span(*id, now);
                self.change_node(*id, |node| {
                    (node.drain, node.last_drain, node.eligible) = (Some(drain.clone()), Some(last.clone()), false);
                    name = Some(Arc::clone(&node.name));
                });
                if let Some(name) = name {
                    self.spans.push(PartSpan { part: DeparturePart::Drain(name, meta.phase), from: now, to: None });
                }
                // A drain that is sent again replaces the deadline.
                self.due.retain(|(_, due)| *due != Due::Deadline(*id));
                self.due.push((now + BATCH, Due::Mark(*id)));
                self.due.push((now + deadline.span(), Due::Deadline(*id)));
            }
            Effect::Note { node, notes } => self.change_node(*node, |node| {
                let is_new = |what: Beginning| notes.iter().any(|note| note.what == what);
                node.notes.retain(|note| !is_new(note.what));
                node.notes.extend(notes.iter().cloned());
            }),
            Effect::Complete { .. } => self.lifecycle = Ok(Lifecycle::Past),
        }
    }

    fn deregister(&mut self, arn: &TargetGroupArn, targets: &[decamp_core::decide::Target], now: Time) {
        let Some((_, Ok(group))) = self.balancers.iter_mut().find(|(known, _)| known == arn) else { return };
        let gone = now + group.delay.unwrap_or(UNREADABLE_DELAY);
        let named = |id: &TargetId, port: u16| targets.iter().any(|target| target.id == *id && target.port == port);
        let mut all = group.targets.as_deref().unwrap_or_default().to_vec();
        for target in all.iter_mut().filter(|target| named(&target.id, target.port)) {
            target.health = TargetHealth::Draining;
            self.due.push((gone, Due::Gone(arn.clone(), target.id.clone(), target.port)));
        }
        group.targets = Some(all.into());
        self.spans.push(PartSpan { part: DeparturePart::Balancer(arn.clone()), from: now, to: Some(gone) });
    }

    fn gone(&mut self, arn: &TargetGroupArn, id: &TargetId, port: u16) {
        if let Some((_, Ok(group))) = self.balancers.iter_mut().find(|(known, _)| known == arn) {
            let stays = |one: &&decamp_core::decide::Target| one.id != *id || one.port != port;
            group.targets = group.targets.take().map(|all| all.iter().filter(stays).cloned().collect());
        }
    }

    fn change_node(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        let nodes = self.nomad.as_mut().map(|nomad| &mut nomad.nodes[..]).unwrap_or_default();
        if let Some(node) = nodes.iter_mut().find(|node| node.id == id) {
            change(node);
        }
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nomad.as_ref().ok()?.nodes.iter().find(|node| node.id == id)
    }

    fn is_stopping(&self, allocation: &Allocation) -> bool {
        self.due.iter().any(|(_, due)| *due == Due::Over(allocation.id))
    }

    /// One round of the drainer: stops as many copies of each service as `migrate.max_parallel` allows. Batch jobs end by themselves.
    fn mark(&mut self, id: NodeId, now: Time) {
        let Some(node) = self.node(id).filter(|node| node.drain.is_some()).cloned() else { return };
        let mut stopped: Vec<(String, u32)> = Vec::new();
        for allocation in node.allocations.iter().filter(|a| !a.client.is_over() && !a.group.csi_plugin) {
            let stops = match allocation.group.kind {
                JobKind::Service => true,
                // Nobody knows when a batch job ends by itself: at once, or not before the deadline.
                JobKind::Batch | JobKind::SysBatch => self.stops == Stops::AtTheSignal,
                JobKind::System => false,
            };
            if !stops {
                continue;
            }
            let title = format!("{}/{}", allocation.group.namespace, allocation.group.title());
            let most = allocation.group.max_parallel.unwrap_or(u32::MAX).max(1);
            let of_it = match stopped.iter_mut().position(|(known, _)| *known == title) {
                Some(place) => &mut stopped[place].1,
                None => {
                    stopped.push((title, 0));
                    &mut stopped.last_mut().expect("it was pushed").1
                }
            };
            if *of_it < most {
                *of_it += 1;
                if allocation.wanted && !self.is_stopping(allocation) {
                    self.stop(id, allocation, now);
                }
            }
        }
        self.complete_if_done(id, now);
    }

    fn deadline(&mut self, id: NodeId, now: Time) {
        let Some(node) = self.node(id).cloned() else { return };
        let Some(drain) = &node.drain else { return };
        let stays = |a: &Allocation| a.client.is_over() || (drain.ignore_system_jobs && a.group.kind == JobKind::System);
        for allocation in node.allocations.iter().filter(|a| a.wanted && !stays(a)) {
            self.stop(id, allocation, now);
        }
        self.complete(id, now);
    }

    fn stop(&mut self, node: NodeId, allocation: &Allocation, now: Time) {
        let id = allocation.id;
        self.change_allocation(node, id, |allocation| allocation.wanted = false);
        self.begin_stop(allocation, now);
    }

    /// Begins the stop of an allocation. Its services leave discovery before its processes stop (facts/nomad.md 5).
    pub(super) fn begin_stop(&mut self, allocation: &Allocation, now: Time) {
        let group = &allocation.group;
        let lasts = match self.stops {
            Stops::AtTheSignal => group.longest_stop(Duration::ZERO, Duration::ZERO),
            Stops::AtTheTimeout => self.policy.longest_stop(group),
        };
        self.due.push((now + lasts, Due::Over(allocation.id)));
        let part = DeparturePart::Allocation(allocation.id, group.title().into());
        self.spans.push(PartSpan { part, from: now, to: Some(now + lasts) });
        for (system, sight) in [(System::Consul, &mut self.consul), (System::Nomad, &mut self.nomad_services)] {
            let Ok(registered) = sight else { continue };
            let stays = |one: &&decamp_core::decide::Registration| one.allocation != allocation.id;
            if registered.services.iter().all(|one| stays(&one)) {
                continue;
            }
            registered.services = registered.services.iter().filter(stays).cloned().collect();
            let left = registered.services.is_empty();
            let part = DeparturePart::Discovery(system);
            let place = self.spans.iter().position(|span| span.part == part).unwrap_or_else(|| {
                self.spans.push(PartSpan { part, from: now, to: None });
                self.spans.len() - 1
            });
            self.spans[place].to = left.then_some(now);
        }
    }

    fn change_allocation(&mut self, node: NodeId, id: AllocationId, change: impl Fn(&mut Allocation)) {
        self.change_node(node, |node| {
            let mut all = node.allocations.to_vec();
            all.iter_mut().filter(|allocation| allocation.id == id).for_each(change);
            node.allocations = all.into();
        });
    }

    fn over(&mut self, id: AllocationId, now: Time) {
        let nodes = self.nomad.as_ref().map(|nomad| nomad.nodes.clone()).unwrap_or_default();
        let found = nodes.iter().find_map(|node| Some((node, node.allocations.iter().find(|a| a.id == id)?)));
        let Some((node, allocation)) = found else { return };
        let requested = self
            .spans
            .iter()
            .find(|span| matches!(span.part, DeparturePart::Allocation(of, _) if of == id))
            .map(|span| span.from);
        self.change_allocation(node.id, id, |allocation| {
            (allocation.client, allocation.ended, allocation.wanted) = (ClientStatus::Complete, Some(now), false);
            allocation.told = requested;
        });
        let waits = node.allocations.iter().any(|a| a.wanted && !a.client.is_over() && a.group == allocation.group);
        if node.drain.is_some() && waits && allocation.group.kind == JobKind::Service {
            let healthy_after = match self.stops {
                Stops::AtTheSignal => Duration::ZERO,
                Stops::AtTheTimeout => HEALTHY_AFTER,
            };
            self.due.push((now + healthy_after, Due::Mark(node.id)));
        }
        self.complete_if_done(node.id, now);
    }

    /// Completes a drain when only system jobs are left (facts/nomad.md 3.1).
    fn complete_if_done(&mut self, id: NodeId, now: Time) {
        let Some(node) = self.node(id).filter(|node| node.drain.is_some()) else { return };
        let left = |a: &Allocation| !a.client.is_over() && a.group.kind != JobKind::System && !a.group.csi_plugin;
        if !node.allocations.iter().any(left) {
            self.complete(id, now);
        }
    }

    /// Completes a drain. Nomad then stops the remaining system jobs, unless the drain ignores them.
    fn complete(&mut self, id: NodeId, now: Time) {
        let Some(node) = self.node(id).cloned() else { return };
        let Some(drain) = &node.drain else { return };
        if !drain.ignore_system_jobs {
            for allocation in node.allocations.iter().filter(|a| a.wanted && !a.client.is_over() && !a.group.csi_plugin) {
                self.stop(id, allocation, now);
            }
        }
        self.due.retain(|(_, due)| *due != Due::Deadline(id));
        self.end_drain_span(id, now);
        self.change_node(id, |node| {
            node.drain = None;
            if let Some(last) = &mut node.last_drain {
                (last.status, last.updated) = (DrainStatus::Complete, Some(now));
            }
        });
    }

    fn end_drain_span(&mut self, id: NodeId, now: Time) {
        let Some(name) = self.node(id).map(|node| Arc::clone(&node.name)) else { return };
        let of_it = |span: &&mut PartSpan| span.to.is_none() && matches!(&span.part, DeparturePart::Drain(of, _) if *of == name);
        self.spans.iter_mut().filter(of_it).for_each(|span| span.to = Some(now));
    }
}
