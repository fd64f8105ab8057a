//! Whether load balancing crosses zones: the target group's attribute, or the load balancer's if the target group's refers to it.

use std::sync::Arc;
use std::time::Duration;

use super::Client;
use crate::aws::{refusal, unseen};
use crate::coalescing::{Coalescer, InFlight};
use crate::rate_limiter::RateLimiter;
use decamp_core::decide::{BalancerKind, Unseen, Zones};
use decamp_net::ttl_map::TtlMap;

/// The attribute of a target group and of a load balancer.
pub(super) const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";
/// How long a load balancer's attribute is cached.
const CACHED_FOR: Duration = Duration::from_mins(5);

/// The value of a target group's attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CrossZone {
    /// `true`.
    On,
    /// `false`.
    Off,
    /// `use_load_balancer_configuration`.
    AsItsBalancer,
}

impl CrossZone {
    /// Reads a value; `None` if it is unknown.
    pub(super) fn read(value: &str) -> Option<Self> {
        match value {
            "true" => Some(Self::On),
            "false" => Some(Self::Off),
            "use_load_balancer_configuration" => Some(Self::AsItsBalancer),
            _ => None,
        }
    }
}

/// The attributes of load balancers, by ARN.
pub(super) struct Balancers {
    attributes: Coalescer<Arc<str>, (), Option<bool>, Unseen>,
    known: Arc<TtlMap<Arc<str>, Option<bool>>>,
}

impl Balancers {
    pub(super) fn new(client: &Client, limiter: &Arc<RateLimiter>, in_flight: &Arc<InFlight>) -> Self {
        let client = client.clone();
        let attributes = Coalescer::new(usize::MAX, limiter, in_flight, move |arn: Arc<str>, _| {
            let client = client.clone();
            async move { read(&client, &arn).await }
        });
        Self { attributes, known: Arc::new(TtlMap::with_ttl(CACHED_FOR)) }
    }

    /// Whether load balancing crosses zones in a group with this attribute, behind these load balancers. Only a finding depends on it.
    pub(super) async fn zones(&self, attribute: Option<CrossZone>, kind: BalancerKind, balancers: &[Arc<str>]) -> Zones {
        let crosses = match (attribute, kind, balancers) {
            (Some(CrossZone::On), _, _) => Some(true),
            (Some(CrossZone::Off), _, _) => Some(false),
            // For an Application Load Balancer itself it is always on, according to AWS.
            (Some(CrossZone::AsItsBalancer), BalancerKind::Alb, _) => Some(true),
            (Some(CrossZone::AsItsBalancer), BalancerKind::Nlb, [balancer]) => self.crosses(balancer).await,
            (Some(CrossZone::AsItsBalancer), BalancerKind::Nlb | BalancerKind::Classic, _) | (None, _, _) => None,
        };
        Zones::read(crosses)
    }

    async fn crosses(&self, balancer: &Arc<str>) -> Option<bool> {
        if let Some(known) = self.known.get(balancer) {
            return known;
        }
        match self.attributes.ask(Arc::clone(balancer), ()).await {
            Ok(crosses) => {
                self.known.put(Arc::clone(balancer), crosses);
                crosses
            }
            Err(why) => {
                tracing::warn!(load_balancer = &**balancer, "cannot read whether it crosses zones: {why}");
                if matches!(why, Unseen::Denied(_)) {
                    self.known.put(Arc::clone(balancer), None);
                }
                None
            }
        }
    }
}

async fn read(client: &Client, arn: &str) -> Result<Option<bool>, Unseen> {
    let answer = client.call(|sdk| sdk.describe_load_balancer_attributes().load_balancer_arn(arn).send()).await;
    let answer = answer.map_err(|e| unseen(refusal(&e, None)))?;
    let attribute = answer.attributes().iter().find(|attribute| attribute.key() == Some(CROSS_ZONE));
    Ok(attribute.and_then(|attribute| attribute.value()?.parse().ok()))
}
