//! `World` for the real systems: which adapter answers each look and makes each write.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, join, join_all, select};
use tokio::time::sleep_until;

use super::{Cluster, Live};
use decamp_core::decide::{Departure, Effect, Observation, Part, Refusal, Snapshot, TargetGroup, Unseen, Zones};
use decamp_core::ids::{InstanceId, TargetId};
use decamp_core::proactive_replacement::Replaces;
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

    async fn look(&self, departure: &Departure, seen: &Snapshot, parts: &[Part]) -> Vec<Observation> {
        self.in_flight.note(departure.instance);
        let aws = join_all(parts.iter().map(|part| self.look_at_aws(departure, seen, part)));
        let cluster = async {
            match self.cluster(&departure.asg) {
                Some(cluster) => cluster.look(departure.instance, seen, parts).await,
                None => unseen(&departure.asg, parts),
            }
        };
        let (aws, cluster) = join(aws, cluster).await;
        aws.into_iter().flatten().chain(cluster).collect()
    }

    async fn pause(&self, departure: &Departure, seen: &Snapshot, until: Time, watch: &[Part]) -> Vec<Observation> {
        self.in_flight.note(departure.instance);
        let until = self.clock.when(until);
        let known = seen.nomad.last();
        let cluster = self.cluster(&departure.asg);
        let nomad = async {
            match (cluster, known.filter(|_| watch.contains(&Part::Nomad))) {
                (Some(cluster), Some(known)) => cluster.nomad().watch(known, until).await,
                (None, _) | (_, None) => None,
            }
        };
        let consul = async {
            match cluster.and_then(Cluster::consul).filter(|_| watch.contains(&Part::Consul)) {
                Some(consul) => {
                    let is_unseen = seen.consul.blind().is_some();
                    let due = || self.clock.when(seen.consul.at().unwrap_or_default() + CLOSE_WAIT);
                    let closely = seen.stops_in_consul().next().map(|_| due());
                    discovery::watch(consul, known, &seen.consul_namespaces(), seen.consul.last(), is_unseen, closely, until)
                        .await
                }
                None => None,
            }
        };
        // A watch that ends without news does not mean that the time is up.
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
            Either::Left((news, _)) => news.map(|news| Observation::Nomad(Ok(news))).into_iter().collect(),
            Either::Right((news, _)) => news.map(Observation::Consul).into_iter().collect(),
        }
    }

    async fn act(&self, departure: &Departure, effect: &Effect) -> Result<(), Refusal> {
        self.in_flight.note(departure.instance);
        let nomad =
            || self.cluster(&departure.asg).map(Cluster::nomad).ok_or_else(|| Refusal::Rejected(of_no_cluster(&departure.asg)));
        match effect {
            Effect::Heartbeat(of) => self.auto_scaling.heartbeat(&departure.asg, departure.instance, of).await,
            Effect::Note { node, notes } => nomad()?.note(*node, notes).await,
            Effect::MakeIneligible(node) => nomad()?.make_ineligible(*node).await,
            Effect::Deregister { group, targets } => self.load_balancers.deregister(group, targets).await,
            Effect::Drain { node, deadline, ignore_system_jobs, meta } => {
                nomad()?.drain(*node, *deadline, *ignore_system_jobs, meta).await
            }
            Effect::Complete { of, result, verdict: _ } => {
                let answer = self.auto_scaling.complete(&departure.asg, departure.instance, of, *result).await;
                if answer.is_ok() {
                    self.in_flight.remove(departure.instance);
                }
                answer
            }
        }
    }
}

/// The looks at a group that no cluster has.
fn unseen(group: &str, parts: &[Part]) -> Vec<Observation> {
    let why = || Unseen::Away(of_no_cluster(group));
    let unseen = |part: &Part| match part {
        Part::Nomad => Some(Observation::Nomad(Err(why()))),
        Part::NomadToken => Some(Observation::NomadToken(Err(why()))),
        Part::Consul => Some(Observation::Consul(Err(why()))),
        Part::NomadServices => Some(Observation::NomadServices(Err(why()))),
        Part::Addresses(_) => Some(Observation::Addresses(Err(why()))),
        Part::Lifecycle | Part::Group { .. } | Part::TargetGroups { .. } | Part::Scan => None,
    };
    parts.iter().filter_map(unseen).collect()
}

fn of_no_cluster(group: &str) -> Arc<str> {
    format!("no cluster in the settings has the group {group}").into()
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
    /// Looks at one part of AWS. Parts of other systems return nothing.
    async fn look_at_aws(&self, departure: &Departure, seen: &Snapshot, part: &Part) -> Vec<Observation> {
        match part {
            Part::Lifecycle => vec![Observation::Lifecycle(self.auto_scaling.lifecycle(departure).await)],
            Part::Group { with_activity } => vec![Observation::Group(self.auto_scaling.group(departure, *with_activity).await)],
            Part::TargetGroups { groups, attributes_again } => {
                let groups: Vec<_> = groups.iter().map(|group| (group.arn.clone(), group.attached)).collect();
                let looks = self.load_balancers.look(&groups, *attributes_again).await;
                let looks = looks.into_iter().map(|(arn, mut look)| async move {
                    if let Ok(group) = &mut look {
                        self.look_at_zones(departure.instance, group).await;
                    }
                    Observation::TargetGroup(arn, look)
                });
                join_all(looks).await
            }
            Part::Scan => {
                let addresses = seen.addresses();
                vec![Observation::Scan(self.load_balancers.scan(departure.instance, &addresses).await)]
            }
            Part::Nomad | Part::NomadToken | Part::Consul | Part::NomadServices | Part::Addresses(_) => Vec::new(),
        }
    }

    /// If load balancing does not cross zones: finds the zones of the targets that receive requests.
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
}
