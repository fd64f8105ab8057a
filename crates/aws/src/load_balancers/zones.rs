//! Whether load balancing crosses zones: a target group's own attribute, or, where that leaves it to the load balancer, the load balancer's.

use std::sync::Arc;
use std::time::Duration;

use super::Client;
use crate::aws::{refusal, unseen};
use crate::shared::{Crowd, Gather, Limiter};
use decamp_core::decide::{BalancerKind, Unseen, Zones};
use decamp_net::lately::Lately;

/// The attribute, of a target group and of a load balancer.
pub(super) const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";
/// How long what is read of a load balancer is believed.
const REMEMBERED: Duration = Duration::from_mins(5);

/// What a target group's attribute says.
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
    /// `None`: a value that is not known.
    pub(super) fn read(value: &str) -> Option<Self> {
        match value {
            "true" => Some(Self::On),
            "false" => Some(Self::Off),
            "use_load_balancer_configuration" => Some(Self::AsItsBalancer),
            _ => None,
        }
    }
}

/// What load balancers are set to, by ARN.
pub(super) struct Balancers {
    attributes: Gather<Arc<str>, (), Option<bool>, Unseen>,
    known: Arc<Lately<Arc<str>, Option<bool>>>,
}

impl Balancers {
    pub(super) fn new(client: &Client, limiter: &Arc<Limiter>, crowd: &Arc<Crowd>) -> Self {
        let client = client.clone();
        let attributes = Gather::new(usize::MAX, limiter, crowd, move |arn: Arc<str>, _| {
            let client = client.clone();
            async move { read(&client, &arn).await }
        });
        Self { attributes, known: Arc::new(Lately::for_a(REMEMBERED)) }
    }

    /// Whether load balancing crosses zones in a group whose attribute says this, behind these load balancers. It is only for a finding:
    /// not to see it hides nothing else.
    pub(super) async fn zones(&self, says: Option<CrossZone>, kind: BalancerKind, balancers: &[Arc<str>]) -> Zones {
        let crosses = match (says, kind, balancers) {
            (Some(CrossZone::On), _, _) => Some(true),
            (Some(CrossZone::Off), _, _) => Some(false),
            // AWS: always on for the load balancer itself.
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
