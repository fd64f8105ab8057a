//! Elastic Load Balancing: target groups, and Classic Load Balancers, which are groups of instances themselves; what they do with their targets, and deregistering exactly the targets that were listed.

mod classic;
mod facts;
mod scan;
mod targets;
mod zones;

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::{join, join_all};

use self::classic::Classic;
use self::facts::{Attributes, Facts};
use self::scan::Scan;
use self::targets::{Deregistered, Listing};
use super::attempts::Paced;
use super::aws::{Aws, Use};
use super::shared::{Crowd, Gather, Limiter};
use decamp_core::decide::{Refusal, Target, TargetGroup, Unseen};
use decamp_core::ids::{InstanceId, TargetGroupArn};

/// Our share of the account's bucket of `Describe…`, which holds 40 and is refilled with 10 a second.
const LOOKS_BURST: u32 = 20;
const LOOKS_PER_SECOND: u32 = 5;
/// Deregistrations have a smaller bucket of their own, whose size AWS does not publish.
const WRITES_BURST: u32 = 10;
const WRITES_PER_SECOND: u32 = 5;

type Client = Paced<aws_sdk_elasticloadbalancingv2::Client>;

/// The load balancers' target groups, as all departures of this process share them.
pub struct LoadBalancers {
    facts: Facts,
    health: Arc<Gather<TargetGroupArn, (), Listing, Unseen>>,
    deregister: Gather<TargetGroupArn, Vec<Target>, Deregistered, Refusal>,
    scan: Scan,
}

impl LoadBalancers {
    /// A client that shares its looks with all departures of `crowd`. Nothing is sent yet.
    pub fn new(aws: &Aws, crowd: &Arc<Crowd>) -> Self {
        let sdk = aws.load_balancers();
        let looking = Arc::new(Limiter::new(LOOKS_BURST, LOOKS_PER_SECOND));
        let writing = Arc::new(Limiter::new(WRITES_BURST, WRITES_PER_SECOND));
        let looks = Paced::new(sdk.clone(), &looking, Use::Look, aws.backoff);
        let writes = Paced::new(sdk, &writing, Use::Write, aws.backoff);
        let classic = Classic::new(aws, &looking);
        let health = Arc::new(targets::health(&looks, &classic, &looking, crowd));
        let scan = Scan::new(&looks, &health);
        let deregister = targets::deregister(&writes, &classic, &writing, crowd);
        Self { facts: Facts::new(&looks, &classic, &looking, crowd), health, deregister, scan }
    }

    /// Looks at each of these target groups; whether it is attached is the caller's to say.
    pub async fn look(
        &self,
        groups: &[(TargetGroupArn, bool)],
        attributes_again: bool,
    ) -> Vec<(TargetGroupArn, Result<TargetGroup, Unseen>)> {
        join_all(
            groups.iter().map(|(arn, attached)| async move { (arn.clone(), self.group(arn, *attached, attributes_again).await) }),
        )
        .await
    }

    async fn group(&self, arn: &TargetGroupArn, attached: bool, attributes_again: bool) -> Result<TargetGroup, Unseen> {
        let facts = async {
            let (kind, attributes) = join(self.facts.kind(arn), self.facts.attributes(arn, attributes_again)).await;
            let (kind, attributes) = (kind?, attributes?);
            let zones = self.facts.zones(&kind, attributes).await;
            Ok((kind.kind, attributes, zones))
        };
        let (facts, targets) = join(facts, self.health.ask(arn.clone(), ())).await;
        let (kind, Attributes { delay, connection_termination, .. }, zones) = facts?;
        Ok(TargetGroup { arn: arn.clone(), attached, kind, delay, connection_termination, zones, targets: targets? })
    }

    /// Deregisters exactly these targets, together with what others deregister from the same group at this moment.
    pub async fn deregister(&self, group: &TargetGroupArn, targets: &[Target]) -> Result<(), Refusal> {
        if targets.is_empty() {
            return Ok(());
        }
        let answers = self.deregister.ask(group.clone(), targets.to_vec()).await?;
        let mut ours = answers.iter().filter(|(id, port, _)| targets.iter().any(|t| t.id == *id && t.port == *port));
        ours.try_for_each(|(_, _, answer)| answer.clone())
    }

    /// Every target group that lists the instance by its id, or one of its addresses. What is not finished in a few seconds goes on
    /// with the next look.
    pub async fn scan(&self, instance: InstanceId, addresses: &[IpAddr]) -> Result<Vec<TargetGroupArn>, Unseen> {
        self.scan.groups_of(instance, addresses).await
    }
}
