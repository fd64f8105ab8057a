//! The zones of instances and their launch templates. Neither ever changes, and Elastic Load Balancing does not report them for
//! its targets.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{AutoScaling, INSTANCES_PER_CALL, describe_instances};
use decamp_core::ids::InstanceId;
use decamp_net::ttl_map::TtlMap;

/// How long an origin is cached, also that Auto Scaling does not know an instance.
const CACHED_FOR: Duration = Duration::from_hours(1);

/// The facts about an instance that never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The instance's zone.
    pub zone: Arc<str>,
    /// Its launch template with the version, or its launch configuration, if Auto Scaling names one.
    pub launched_from: Option<Arc<str>>,
}

/// The known origins; `None` for an instance that Auto Scaling does not know.
#[derive(Clone)]
pub(super) struct Origins(Arc<TtlMap<InstanceId, Option<Origin>>>);

impl Default for Origins {
    fn default() -> Self {
        Self(Arc::new(TtlMap::with_ttl(CACHED_FOR)))
    }
}

impl Origins {
    /// Stores one answer about these instances.
    pub(super) fn learn(&self, instances: &[InstanceId], answer: impl Iterator<Item = (InstanceId, Origin)>) {
        let mut answer: HashMap<InstanceId, Origin> = answer.collect();
        instances.iter().for_each(|instance| self.0.put(*instance, answer.remove(instance)));
    }
}

impl AutoScaling {
    /// An instance's origin, if a look has shown it. Makes no call.
    pub fn origin(&self, instance: InstanceId) -> Option<Origin> {
        self.origins.0.get(&instance).flatten()
    }

    /// The zones of an instance and of others, as far as Auto Scaling knows them and answers. When one of the others is known to be in the
    /// instance's zone, no further calls are made, because the instance is not the last one there.
    pub async fn zones_beside(&self, instance: InstanceId, others: &[InstanceId]) -> Vec<(InstanceId, Arc<str>)> {
        let all: Vec<InstanceId> = [instance].into_iter().chain(others.iter().copied()).collect();
        let known = |one: &InstanceId| Some((*one, self.origins.0.get(one)??.zone));
        let new: Vec<InstanceId> = all.iter().copied().filter(|one| self.origins.0.get(one).is_none()).collect();
        for chunk in new.chunks(INSTANCES_PER_CALL) {
            let ours = known(&instance);
            if ours.is_some_and(|(_, zone)| others.iter().filter_map(known).any(|(_, other)| other == zone)) {
                break;
            }
            let answer = match self.looks.acquire_look().await {
                Ok(()) => describe_instances(&self.looks, chunk.to_vec(), &self.origins).await.map(drop),
                Err(why) => Err(why),
            };
            if let Err(why) = answer {
                tracing::debug!(instance.id = %instance, "cannot read the zones of the instance and others: {why}");
                break;
            }
        }
        all.iter().filter_map(known).collect()
    }
}
