//! Elastic Load Balancing: reads target groups and Classic Load Balancers, which list instances themselves, and deregisters exactly the
//! targets that were listed.

mod classic;
mod cross_zone;
mod facts;
mod health_checks;
mod scan;
mod targets;

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::{join, join_all};

use self::classic::Classic;
use self::facts::{Attributes, Facts};
pub use self::health_checks::HealthCheck;
use self::scan::Scan;
use self::targets::{Deregistered, Listing};
use super::attempts::RateLimited;
use super::aws::{Aws, CallKind};
use super::coalescing::{Coalescer, InFlight};
use super::rate_limiter::RateLimiter;
use decamp_core::decide::{Refusal, Target, TargetGroup, Unseen};
use decamp_core::ids::{InstanceId, TargetGroupArn};

/// The process's rate limit for `Describe…`. The account's bucket holds 40 tokens and is refilled with 10 per second.
const LOOKS_BURST: u32 = 20;
const LOOKS_PER_SECOND: u32 = 5;
/// Deregistrations have a separate, smaller bucket, whose size AWS does not publish.
const WRITES_BURST: u32 = 10;
const WRITES_PER_SECOND: u32 = 5;

type Client = RateLimited<aws_sdk_elasticloadbalancingv2::Client>;

/// A client of Elastic Load Balancing that all departures of this process share.
pub struct LoadBalancers {
    facts: Facts,
    health: Arc<Coalescer<TargetGroupArn, (), Listing, Unseen>>,
    deregister: Coalescer<TargetGroupArn, Vec<Target>, Deregistered, Refusal>,
    scan: Scan,
    looks: Client,
}

impl LoadBalancers {
    /// Makes a client. It coalesces the looks of the departures of `in_flight`. Nothing is sent yet.
    pub fn new(aws: &Aws, in_flight: &Arc<InFlight>) -> Self {
        let sdk = aws.load_balancers();
        let look_limiter = Arc::new(RateLimiter::new(LOOKS_BURST, LOOKS_PER_SECOND));
        let write_limiter = Arc::new(RateLimiter::new(WRITES_BURST, WRITES_PER_SECOND));
        let looks = RateLimited::new(sdk.clone(), &look_limiter, CallKind::Look, aws.backoff);
        let writes = RateLimited::new(sdk, &write_limiter, CallKind::Write, aws.backoff);
        let classic = Classic::new(aws, &look_limiter);
        let health = Arc::new(targets::health(&looks, &classic, &look_limiter, in_flight));
        let scan = Scan::new(&looks, &health);
        let deregister = targets::deregister(&writes, &classic, &write_limiter, in_flight);
        Self { facts: Facts::new(&looks, &classic, &look_limiter, in_flight), health, deregister, scan, looks }
    }

    /// Looks at each of these target groups. The caller says which of them are attached.
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

    /// The ARN of the load balancer that this group belongs to, as an earlier look read it. `None` if it belongs to none or to several, or
    /// if that could not be read.
    pub async fn balancer_of(&self, group: &TargetGroupArn) -> Option<Arc<str>> {
        match self.facts.kind(group).await.ok()?.balancers.as_ref() {
            [only] => Some(Arc::clone(only)),
            _ => None,
        }
    }

    /// Deregisters exactly these targets. Concurrent deregistrations from the same group share one call.
    pub async fn deregister(&self, group: &TargetGroupArn, targets: &[Target]) -> Result<(), Refusal> {
        if targets.is_empty() {
            return Ok(());
        }
        let answers = self.deregister.ask(group.clone(), targets.to_vec()).await?;
        let mut ours = answers.iter().filter(|(id, port, _)| targets.iter().any(|t| t.id == *id && t.port == *port));
        ours.try_for_each(|(_, _, answer)| answer.clone())
    }

    /// Every target group that lists the instance by its id or one of its addresses. A scan that is not finished within a few seconds
    /// continues with the next call.
    pub async fn scan(&self, instance: InstanceId, addresses: &[IpAddr]) -> Result<Vec<TargetGroupArn>, Unseen> {
        self.scan.groups_of(instance, addresses).await
    }
}
