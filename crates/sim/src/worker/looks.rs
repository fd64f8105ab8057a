//! The looks of a worker: each part as the API of its system would show it, with the faults of the APIs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::{CONSUL_ANSWERS_EVERY, Worker};
use crate::api_error::ApiError;
use crate::api_faults::{CallOutcome, unseen};
use crate::load_balancers::Known;
use crate::nomad::Read;
use crate::world::{Lists, SimWorld};
use crate::{consul, nomad};
use decamp_core::decide::{
    BRIEF, Departure, Nomad, Observation, Part, Registrations, Snapshot, System, TargetGroup, TokenAccess, Twin, Unseen, Zones,
    set_aside,
};
use decamp_core::ids::{NodeId, TargetGroupArn, TargetId};
use decamp_core::time::Time;

impl Worker<'_> {
    pub(super) async fn look_at(&self, departure: &Departure, seen: &Snapshot, part: &Part) -> Vec<Observation> {
        match part {
            Part::Lifecycle => {
                let look = self.call(System::AutoScaling, None, |s| {
                    if s.api_faults.denies_instances(s.now) {
                        return Err(unseen(CallOutcome::Denied));
                    }
                    s.auto_scaling.look_lifecycle(departure.instance)
                });
                vec![Observation::Lifecycle(flat(look.await))]
            }
            Part::Group { with_activity } => {
                let activity_of = with_activity.then_some(departure.instance);
                // Hooks, traffic sources and tags. A warm worker reads only the tags.
                let more = if self.warm { 0 } else { 2 } + u32::from(*with_activity);
                self.world.borrow_mut().calls.aws += more;
                let look = self.call(System::AutoScaling, None, |s| {
                    let look = s.auto_scaling.look_group(&departure.asg, activity_of);
                    if look.is_ok() {
                        s.oracle.group_looked_at.get_or_insert(s.now);
                    }
                    look
                });
                vec![Observation::Group(flat(look.await))]
            }
            Part::TargetGroups { groups, attributes_again } => {
                let new = groups.iter().any(|group| !self.remembers(&group.arn));
                if new && !self.warm {
                    let kinds = self.call(System::LoadBalancers, None, |s| s.balancers.read()).await;
                    if let Err(why) = flat(kinds.map(|answer| answer.map_err(|error| error.unseen()))) {
                        return groups
                            .iter()
                            .map(|group| Observation::TargetGroup(group.arn.clone(), Err(why.clone())))
                            .collect();
                    }
                }
                let looks = groups.iter().map(|group| self.look_at_group(&group.arn, group.attached, *attributes_again));
                join_all(looks).await
            }
            Part::Scan => {
                let addresses = seen.addresses();
                let instance = TargetId::Instance(departure.instance);
                let ours = |id: &TargetId| *id == instance || matches!(id, TargetId::Ip(ip) if addresses.contains(ip));
                let look = self.call(System::LoadBalancers, None, |s| {
                    s.balancers.read()?;
                    Ok(s.balancers.groups_listing(ours))
                });
                vec![Observation::Scan(flat(look.await.map(|answer| answer.map_err(|error: ApiError| error.unseen()))))]
            }
            Part::Nomad => {
                vec![Observation::Nomad(self.look_at_nomad(departure, seen).await)]
            }
            Part::NomadToken => {
                let look = self.call(System::Nomad, None, |s| s.nomad.token_access(&s.subject.nomad_token.clone())).await;
                vec![Observation::NomadToken(flat(look.map(|answer| answer.map_err(|error| error.unseen()))))]
            }
            Part::Consul => vec![Observation::Consul(self.look_at_consul(seen).await)],
            Part::NomadServices => {
                let look = self.call(System::Nomad, None, |s| {
                    let node = s.subject.node.map(|n| s.nomad.node(n).spec.id);
                    let token = s.subject.nomad_token.clone();
                    match node {
                        Some(id) => s.nomad.registrations(id, &token, Read::Default).map(|a| a.body),
                        None => Ok(Registrations { whole: true, agent_dead: false, services: [].into(), by_hand: [].into() }),
                    }
                });
                vec![Observation::NomadServices(flat(look.await.map(|answer| answer.map_err(|error| error.unseen()))))]
            }
            Part::Addresses(asked) => {
                self.world.borrow_mut().calls.nomad += 1;
                let look = self.call(System::Nomad, None, |s| {
                    let token = s.subject.nomad_token.clone();
                    s.nomad.elsewhere(departure.instance, asked, &token)
                });
                vec![Observation::Addresses(flat(look.await.map(|answer| answer.map_err(|error| error.unseen()))))]
            }
        }
    }

    fn remembers(&self, arn: &TargetGroupArn) -> bool {
        self.known.borrow().iter().any(|(known, _)| known == arn)
    }

    async fn look_at_group(&self, arn: &TargetGroupArn, attached: bool, again: bool) -> Observation {
        let remembered = self.known.borrow().iter().find(|(known, _)| known == arn).map(|(_, known)| *known).filter(|_| !again);
        if remembered.is_none() && !self.warm {
            // Attributes and health are two calls, and the model counts the second.
            self.world.borrow_mut().calls.aws += 1;
        }
        let asked = self.true_now();
        let look = self
            .call(System::LoadBalancers, None, |s| {
                let mut look = s.balancers.look_group(arn, attached, remembered);
                if let (Ok(group), Some((_, looks))) =
                    (&mut look, s.subject.lists_late.as_mut().filter(|(hides, _)| hides == arn))
                    && 0 < *looks
                {
                    *looks -= 1;
                    let ours = TargetId::Instance(s.subject.instance);
                    group.targets = group.targets.as_ref().map(|all| all.iter().filter(|t| t.id != ours).cloned().collect());
                }
                if let Ok(group) = &look {
                    s.oracle.looked_at_targets(asked, group, &s.subject);
                }
                look
            })
            .await;
        let mut look = flat(look);
        if let Ok(group) = &mut look {
            self.look_at_zones(group).await;
        }
        if let Ok(group) = &look {
            let mut known = self.known.borrow_mut();
            known.retain(|(a, _)| a != arn);
            let (kind, delay, connection_termination) = (group.kind, group.delay, group.connection_termination);
            let crosses_zones = match group.zones {
                Zones::Crossed => Some(true),
                Zones::Apart(_) => Some(false),
                Zones::Unknown => None,
            };
            known.push((arn.clone(), Known { kind, delay, connection_termination, crosses_zones }));
        }
        Observation::TargetGroup(arn.clone(), look)
    }

    /// Reads the zones of the instances if load balancing does not cross zones. If that fails, the rest of the look is still valid.
    async fn look_at_zones(&self, group: &mut TargetGroup) {
        let Zones::Apart(zones) = &mut group.zones else { return };
        if !self.knows_zones.get() {
            let answer = self.call(System::AutoScaling, None, |s| s.auto_scaling.call()).await;
            self.knows_zones.set(matches!(answer, Ok(Ok(()))));
            self.world.borrow_mut().subject.zones_unanswered = !self.knows_zones.get();
        }
        if self.knows_zones.get() {
            *zones = Arc::clone(&self.world.borrow().subject.zones);
        }
    }

    fn read(&self) -> Read {
        if self.stale_reads { Read::Stale } else { Read::Default }
    }

    /// The indices that a blocking query waits on: of the node's allocations and of its registrations.
    pub(super) fn versions(&self) -> (u64, u64) {
        self.versions_of(&self.world.borrow())
    }

    fn versions_of(&self, world: &SimWorld) -> (u64, u64) {
        // The adapter polls while a replacement copies a disk, so a change of it is news too.
        let changed = world.subject.node.map_or(0, |n| world.nomad.node(n).allocations_index.max(world.nomad.disks_version(n)));
        // A server that lags has no news until it catches up.
        let nomad = world.nomad.lags_since(self.read()).map_or(changed, |index| changed.min(index));
        (nomad, world.consul.node(world.subject.consul_node).index)
    }

    pub(super) async fn look_at_nomad(&self, departure: &Departure, seen: &Snapshot) -> Result<Nomad, Unseen> {
        if seen.nomad.at().is_none() {
            // The first look finds the node by its instance id before it reads the node and its allocations.
            let found = self.call(System::Nomad, None, |s| s.nomad.may_read(&s.subject.nomad_token.clone(), Read::Default)).await;
            flat(found.map(|answer| answer.map_err(|error| error.unseen())))?;
        }
        self.world.borrow_mut().calls.nomad += 1;
        let read = self.read();
        let instance = departure.instance;
        let look = self
            .call(System::Nomad, None, |s| {
                let token = s.subject.nomad_token.clone();
                s.nomad.may_read(&token, read)?;
                if token.token_access() == TokenAccess::Full {
                    s.oracle.looked_at.get_or_insert(s.now);
                    self.first_full_look.set(self.first_full_look.get().or(Some(s.now)));
                }
                self.looked.set((self.versions_of(s).0, self.looked.get().1));
                let ids: Vec<_> = s.nomad.nodes_of(instance).collect();
                let mut nodes = Vec::with_capacity(ids.len());
                let mut index = u64::MAX;
                for id in ids {
                    let answer = s.nomad.look(id, &token, read)?;
                    index = index.min(answer.index);
                    // What ended allocations left behind is read on its own.
                    s.calls.nomad += answer.body.data_reads();
                    nodes.push(answer.body);
                }
                Ok((index, nodes))
            })
            .await;
        let (index, mut nodes) = flat(look.map(|answer: Result<_, nomad::ApiError>| answer.map_err(|e| e.unseen())))?;
        // Only a lagging follower may be behind the worker's last write, and not for long.
        if read == Read::Stale && index < self.written_index.get() {
            return Err(Unseen::Stale);
        }
        let twin = |n: &decamp_core::decide::Node| {
            let drained_by_us = n.last_drain.as_ref().is_some_and(|drain| drain.meta.is_some());
            Twin { id: n.id, status: n.status, taken_out: !n.eligible || drained_by_us || !n.notes.is_empty() }
        };
        let (_, mut aside) = set_aside(&nodes.iter().map(twin).collect::<Vec<_>>());
        // As in the adapter: a node that was seen before stays visible although its agent dies.
        let seen_before = |id: &NodeId| seen.nomad.last().is_some_and(|nomad| nomad.nodes.iter().any(|known| known.id == *id));
        aside.retain(|id| !seen_before(id));
        nodes.retain(|node| !aside.contains(&node.id));
        Ok(Nomad { nodes, set_aside: aside })
    }

    /// Asks Consul every few seconds, and returns its answer. If Consul fails for `BRIEF`, returns the failure. It returns only before
    /// `until`.
    pub(super) async fn await_consul(&self, seen: &Snapshot, was_blind: bool, until: Time) -> Result<Registrations, Unseen> {
        let mut failing = None;
        loop {
            let pause = if failing.is_some() { Duration::from_secs(1) } else { CONSUL_ANSWERS_EVERY };
            let next = (self.consul_asked.get() + pause).max(self.true_now());
            self.sleep_until(if until <= next { Time::NEVER } else { next }).await;
            let asked = self.true_now();
            let look = self.look_at_consul(seen).await;
            match (&look, was_blind) {
                (Ok(_), _) => return look,
                (Err(_), true) => {}
                (Err(_), false) => {
                    let first: Time = *failing.get_or_insert(asked);
                    if first + BRIEF <= self.true_now() {
                        return look;
                    }
                }
            }
        }
    }

    /// Consul's answer after a change to `version`. As in the adapter, a denied request does not end the wait.
    pub(super) async fn news_from_consul(&self, seen: &Snapshot, version: u64) -> Option<Observation> {
        let look = self.look_at_consul(seen).await;
        if matches!(look, Err(Unseen::Denied(_))) {
            self.looked.set((self.looked.get().0, version));
            return None;
        }
        Some(Observation::Consul(look))
    }

    pub(super) async fn look_at_consul(&self, seen: &Snapshot) -> Result<Registrations, Unseen> {
        self.consul_asked.set(self.true_now());
        let namespaces = seen.consul_namespaces();
        self.world.borrow_mut().calls.consul += 1;
        let look = self.call(System::Consul, None, |s| {
            self.looked.set((self.looked.get().0, self.versions_of(s).1));
            let token = s.subject.consul_token.clone();
            let (node, read) = (s.subject.consul_node, consul::Read::Default);
            let mut seen = s.consul.look_in(node, &token, read, &namespaces).map_err(|error| error.unseen())?.body;
            match s.subject.consul_lists {
                Lists::All => {}
                Lists::NoServices => seen.services = [].into(),
                Lists::NoNode => {
                    seen = Registrations { whole: false, agent_dead: false, services: [].into(), by_hand: [].into() }
                }
            }
            Ok(seen)
        });
        flat(look.await)
    }
}

fn flat<T>(look: Result<Result<T, Unseen>, CallOutcome>) -> Result<T, Unseen> {
    match look {
        Ok(answer) => answer,
        Err(outcome) => Err(unseen(outcome)),
    }
}
