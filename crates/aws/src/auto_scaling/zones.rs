//! Where instances stand and what they were launched from: neither ever changes, and Elastic Load Balancing does not tell it of its targets.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{AutoScaling, INSTANCES_A_CALL, describe_instances};
use decamp_core::ids::InstanceId;
use decamp_net::lately::Lately;

/// How long they are remembered, those that Auto Scaling does not know among them.
const REMEMBERED: Duration = Duration::from_hours(1);

/// What never changes of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its zone.
    pub zone: Arc<str>,
    /// Its launch template with its version, or its launch configuration, where Auto Scaling names one.
    pub launched_from: Option<Arc<str>>,
}

/// What was told of instances; `None`: Auto Scaling does not know the instance.
#[derive(Clone)]
pub(super) struct Zones(Arc<Lately<InstanceId, Option<Origin>>>);

impl Default for Zones {
    fn default() -> Self {
        Self(Arc::new(Lately::for_a(REMEMBERED)))
    }
}

impl Zones {
    /// What one answer told, about all that were asked for in it.
    pub(super) fn learn(&self, asked: &[InstanceId], told: impl Iterator<Item = (InstanceId, Origin)>) {
        let mut told: HashMap<InstanceId, Origin> = told.collect();
        asked.iter().for_each(|instance| self.0.put(*instance, told.remove(instance)));
    }
}

impl AutoScaling {
    /// Where an instance stands and what it was launched from, as the last look at it told. Asks nobody.
    pub fn origin(&self, instance: InstanceId) -> Option<Origin> {
        self.zones.0.get(&instance).flatten()
    }

    /// The zones of an instance and of others, as far as Auto Scaling knows them and answers. Once one of the others is known to stand in
    /// the instance's zone, no more are asked for: the instance is not the last there.
    pub async fn zones_beside(&self, instance: InstanceId, others: &[InstanceId]) -> Vec<(InstanceId, Arc<str>)> {
        let all: Vec<InstanceId> = [instance].into_iter().chain(others.iter().copied()).collect();
        let known = |one: &InstanceId| Some((*one, self.zones.0.get(one)??.zone));
        let new: Vec<InstanceId> = all.iter().copied().filter(|one| self.zones.0.get(one).is_none()).collect();
        for chunk in new.chunks(INSTANCES_A_CALL) {
            let ours = known(&instance);
            if ours.is_some_and(|(_, zone)| others.iter().filter_map(known).any(|(_, other)| other == zone)) {
                break;
            }
            let answer = match self.looks.look().await {
                Ok(()) => describe_instances(&self.looks, chunk.to_vec(), &self.zones).await.map(drop),
                Err(why) => Err(why),
            };
            if let Err(why) = answer {
                tracing::debug!(instance.id = %instance, "cannot see in which zones it and others stand: {why}");
                break;
            }
        }
        all.iter().filter_map(known).collect()
    }
}
