//! The zones of instances, which Elastic Load Balancing does not tell of its targets and which never change.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{AutoScaling, INSTANCES_A_CALL, describe_instances};
use decamp_core::ids::InstanceId;
use decamp_net::lately::Lately;

/// How long they are remembered, those that Auto Scaling does not know among them.
const REMEMBERED: Duration = Duration::from_hours(1);

/// What was told of instances' zones; `None`: Auto Scaling does not know the instance.
#[derive(Clone)]
pub(super) struct Zones(Arc<Lately<InstanceId, Option<Arc<str>>>>);

impl Default for Zones {
    fn default() -> Self {
        Self(Arc::new(Lately::for_a(REMEMBERED)))
    }
}

impl Zones {
    /// What one answer told, about all that were asked for in it.
    pub(super) fn learn(&self, asked: &[InstanceId], told: impl Iterator<Item = (InstanceId, Arc<str>)>) {
        let mut told: HashMap<InstanceId, Arc<str>> = told.collect();
        asked.iter().for_each(|instance| self.0.put(*instance, told.remove(instance)));
    }
}

impl AutoScaling {
    /// The zones of an instance and of others, as far as Auto Scaling knows them and answers. Once one of the others is known to stand in
    /// the instance's zone, no more are asked for: the instance is not the last there.
    pub async fn zones_beside(&self, instance: InstanceId, others: &[InstanceId]) -> Vec<(InstanceId, Arc<str>)> {
        let all: Vec<InstanceId> = [instance].into_iter().chain(others.iter().copied()).collect();
        let known = |one: &InstanceId| Some((*one, self.zones.0.get(one)??));
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
