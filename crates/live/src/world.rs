//! The real systems behind the one seam that the rules know.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, join, join_all, join3, select};
use tokio::time::sleep_until;

use super::Live;
use decamp_core::decide::{
    Departure, Effect, Nomad, Part, Refusal, Registrations, Showing, Snapshot, TargetGroup, Unseen, Zones,
};
use decamp_core::ids::{InstanceId, TargetId};
use decamp_core::replacing::Replaces;
use decamp_core::time::Time;
use decamp_core::world::World;
use decamp_hashicorp::consul::CLOSE_WAIT;
use decamp_hashicorp::discovery;

impl World for Live {
    fn now(&self) -> Time {
        self.clock.now()
    }

    fn steady(&self) -> Duration {
        self.clock.steady()
    }

    async fn look(&self, departure: &Departure, seen: &Snapshot, parts: &[Part]) -> Vec<Showing> {
        self.crowd.hear(departure.instance);
        let aws = join_all(parts.iter().map(|part| self.look_at_aws(departure, seen, part)));
        let (aws, cluster) = join(aws, self.look_at_cluster(departure, seen, parts)).await;
        aws.into_iter().flatten().chain(cluster).collect()
    }

    async fn pause(&self, departure: &Departure, seen: &Snapshot, until: Time, watch: &[Part]) -> Vec<Showing> {
        self.crowd.hear(departure.instance);
        let until = self.clock.when(until);
        let known = seen.nomad.last();
        let nomad = async {
            match known.filter(|_| watch.contains(&Part::Nomad)) {
                Some(known) => self.nomad.watch(known, until).await,
                None => None,
            }
        };
        let consul = async {
            match self.consul.as_ref().filter(|_| watch.contains(&Part::Consul)) {
                Some(consul) => {
                    let blind = seen.consul.blind().is_some();
                    let due = || self.clock.when(seen.consul.at().unwrap_or_default() + CLOSE_WAIT);
                    let closely = seen.stops_in_consul().next().map(|_| due());
                    discovery::watch(consul, known, &seen.consul_namespaces(), seen.consul.last(), blind, closely, until).await
                }
                None => None,
            }
        };
        // A watch that ends without news says nothing, least of all that the time is up.
        let nomad = async {
            let news = nomad.await;
            if news.is_none() {
                sleep_until(until).await;
            }
            news
        };
        let consul = async {
            let news = consul.await;
            if news.is_none() {
                sleep_until(until).await;
            }
            news
        };
        match select(Box::pin(nomad), Box::pin(consul)).await {
            Either::Left((news, _)) => news.map(|news| Showing::Nomad(Ok(news))).into_iter().collect(),
            Either::Right((news, _)) => news.map(Showing::Consul).into_iter().collect(),
        }
    }

    async fn act(&self, departure: &Departure, effect: &Effect) -> Result<(), Refusal> {
        self.crowd.hear(departure.instance);
        match effect {
            Effect::Heartbeat(of) => self.auto_scaling.heartbeat(&departure.asg, departure.instance, of).await,
            Effect::Note { node, notes } => self.nomad.note(*node, notes).await,
            Effect::MakeIneligible(node) => self.nomad.make_ineligible(*node).await,
            Effect::Deregister { group, targets } => self.load_balancers.deregister(group, targets).await,
            Effect::Drain { node, deadline, ignore_system_jobs, meta } => {
                self.nomad.drain(*node, *deadline, *ignore_system_jobs, meta).await
            }
            Effect::Complete { of, result, verdict: _ } => {
                let answer = self.auto_scaling.complete(&departure.asg, departure.instance, of, *result).await;
                if answer.is_ok() {
                    self.crowd.leave(departure.instance);
                }
                answer
            }
        }
    }
}

impl Replaces for Live {
    async fn group_of(&self, instance: InstanceId) -> Result<Option<Arc<str>>, Unseen> {
        Ok(self.auto_scaling.instance(instance).await?.map(|listed| listed.asg))
    }

    async fn ask_to_replace(&self, instance: InstanceId) -> Result<(), Refusal> {
        self.auto_scaling.set_unhealthy(instance).await
    }
}

impl Live {
    /// One part of AWS; nothing for the parts of others.
    async fn look_at_aws(&self, departure: &Departure, seen: &Snapshot, part: &Part) -> Vec<Showing> {
        match part {
            Part::Lifecycle => vec![Showing::Lifecycle(self.auto_scaling.lifecycle(departure).await)],
            Part::Group { with_activity } => vec![Showing::Group(self.auto_scaling.group(departure, *with_activity).await)],
            Part::TargetGroups { groups, attributes_again } => {
                let looks = self.load_balancers.look(groups, *attributes_again).await;
                let looks = looks.into_iter().map(|(arn, mut look)| async move {
                    if let Ok(group) = &mut look {
                        self.look_at_zones(departure.instance, group).await;
                    }
                    Showing::TargetGroup(arn, look)
                });
                join_all(looks).await
            }
            Part::Scan => {
                let addresses = seen.nomad.last().map(Nomad::addresses).unwrap_or_default();
                vec![Showing::Scan(self.load_balancers.scan(departure.instance, &addresses).await)]
            }
            Part::Nomad | Part::NomadSight | Part::Consul | Part::NomadServices | Part::Addresses(_) => Vec::new(),
        }
    }

    /// Where load balancing does not cross zones: who stands in which zone, of those that are sent to.
    async fn look_at_zones(&self, instance: InstanceId, group: &mut TargetGroup) {
        if !matches!(group.zones, Zones::Apart(_)) {
            return;
        }
        let others = group.healthy().filter_map(|target| match target.id {
            TargetId::Instance(other) => Some(other).filter(|other| *other != instance),
            TargetId::Ip(_) | TargetId::Other(_) => None,
        });
        let others: Vec<InstanceId> = others.collect();
        group.zones = Zones::Apart(self.auto_scaling.zones_beside(instance, &others).await.into());
    }

    /// Nomad and discovery. Only Nomad tells what to ask discovery for, so it is looked at first where both are wanted.
    async fn look_at_cluster(&self, departure: &Departure, seen: &Snapshot, parts: &[Part]) -> Vec<Showing> {
        let wanted = |part| parts.contains(&part);
        let before = seen.nomad.last();
        let sight = async { if wanted(Part::NomadSight) { Some(Showing::NomadSight(self.nomad.sight().await)) } else { None } };
        let rest = async {
            let nomad = if wanted(Part::Nomad) { Some(self.nomad.look(departure.instance, before).await) } else { None };
            let known = nomad.as_ref().and_then(|look| look.as_ref().ok()).or(before);
            let consul =
                async { if wanted(Part::Consul) { Some(Showing::Consul(self.look_at_consul(seen, known).await)) } else { None } };
            let services = async {
                if wanted(Part::NomadServices) { Some(Showing::NomadServices(self.look_at_services(known).await)) } else { None }
            };
            let asked = parts.iter().find_map(|part| if let Part::Addresses(asked) = part { Some(asked) } else { None });
            let addresses = async {
                let look = self.nomad.elsewhere(departure.instance, known, asked?).await;
                Some(Showing::Addresses(look))
            };
            let (consul, services, addresses) = join3(consul, services, addresses).await;
            [nomad.map(Showing::Nomad), consul, services, addresses]
        };
        let (sight, rest) = join(sight, rest).await;
        rest.into_iter().flatten().chain(sight).collect()
    }

    async fn look_at_consul(&self, seen: &Snapshot, known: Option<&Nomad>) -> Result<Registrations, Unseen> {
        match &self.consul {
            Some(consul) => {
                let mut namespaces = seen.consul_namespaces();
                // What the same round of looks found on the node may declare others.
                let new = known.map(Nomad::consul_namespaces).unwrap_or_default();
                namespaces.extend(new.into_iter().filter(|name| !seen.consul_namespaces().contains(name)));
                discovery::look(consul, known, &namespaces).await
            }
            None => Err(Unseen::Away("Consul is switched off".into())),
        }
    }

    async fn look_at_services(&self, known: Option<&Nomad>) -> Result<Registrations, Unseen> {
        match known {
            Some(known) => self.nomad.services(known).await,
            None => Err(Unseen::Away("no Nomad node tells which allocations to ask for".into())),
        }
    }
}
