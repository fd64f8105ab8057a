//! Facts about a target group that seldom change: the kind of its load balancer, and its deregistration attributes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::types::ProtocolEnum;
use tokio::time::Instant;

use super::Client;
use super::classic::Classic;
use super::cross_zone::{Balancers, CROSS_ZONE, CrossZone};
use super::targets::Cache;
use crate::aws::{refusal, unseen};
use crate::coalescing::{Coalescer, InFlight};
use crate::rate_limiter::RateLimiter;
use decamp_core::decide::{BalancerKind, Refusal, Unseen, Zones};
use decamp_core::ids::TargetGroupArn;

/// How long a group's attributes are cached.
const CACHED_FOR: Duration = Duration::from_mins(5);
/// The most groups in one DescribeTargetGroups.
const GROUPS_PER_CALL: usize = 20;
const DELAY: &str = "deregistration_delay.timeout_seconds";
const SLOW_START: &str = "slow_start.duration_seconds";
const TERMINATION: &str = "deregistration_delay.connection_termination.enabled";

type Kinds = Arc<HashMap<TargetGroupArn, Kind>>;

/// The load balancers in front of a group.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    /// Their kind.
    pub(super) kind: BalancerKind,
    /// Their ARNs, as far as they could be read.
    pub(super) balancers: Arc<[Arc<str>]>,
}

impl From<BalancerKind> for Kind {
    fn from(kind: BalancerKind) -> Self {
        Self { kind, balancers: Arc::default() }
    }
}

/// The attributes of a group that matter for a deregistration. An attribute that the group does not have, or that cannot be read, is
/// `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// The deregistration delay.
    pub(super) delay: Option<Duration>,
    /// Whether connections are cut at the end of the delay.
    pub(super) connection_termination: Option<bool>,
    /// Whether load balancing crosses zones.
    pub(super) cross_zone: Option<CrossZone>,
    /// How long an ALB raises the share of requests of a new target.
    pub(super) slow_start: Option<Duration>,
}

pub(super) struct Facts {
    kinds: Coalescer<(), TargetGroupArn, Kinds, Unseen>,
    attributes: Coalescer<TargetGroupArn, (), Attributes, Unseen>,
    /// Cached without expiry, because a group's protocol never changes.
    known_kinds: Cache<Kind>,
    /// Cached with the time of the request.
    known_attributes: Cache<(Instant, Attributes)>,
    balancers: Balancers,
}

impl Facts {
    pub(super) fn new(client: &Client, classic: &Classic, limiter: &Arc<RateLimiter>, in_flight: &Arc<InFlight>) -> Self {
        let (known_kinds, known_attributes) = (Cache::new(), Cache::new());
        let kinds = {
            let (client, known) = (client.clone(), known_kinds.clone());
            Coalescer::new(GROUPS_PER_CALL, limiter, in_flight, move |(), arns| {
                let (client, known) = (client.clone(), known.clone());
                async move { Ok(Arc::new(kinds_of(&client, arns, &known).await?)) }
            })
        };
        let attributes = {
            let (client, classic, known) = (client.clone(), classic.clone(), known_attributes.clone());
            Coalescer::new(usize::MAX, limiter, in_flight, move |arn: TargetGroupArn, _| {
                let (client, classic, known) = (client.clone(), classic.clone(), known.clone());
                async move {
                    let requested = Instant::now();
                    let attributes = if arn.is_classic() {
                        classic.attributes(&arn).await.map_err(unseen)?
                    } else {
                        read_attributes(&client, &arn).await?
                    };
                    known.put(arn, (requested, attributes));
                    Ok(attributes)
                }
            })
        };
        Self { kinds, attributes, known_kinds, known_attributes, balancers: Balancers::new(client, limiter, in_flight) }
    }

    /// The kind of a group's load balancer, or the assumed one ([`BalancerKind::assumed_without`]).
    ///
    /// # Errors
    ///
    /// A failure that may pass.
    pub(super) async fn kind(&self, arn: &TargetGroupArn) -> Result<Kind, Unseen> {
        if arn.is_classic() {
            return Ok(BalancerKind::Classic.into());
        }
        if let Some(known) = self.known_kinds.get(arn) {
            return Ok(known);
        }
        match self.kinds.ask((), arn.clone()).await {
            Ok(kinds) => Ok(kinds.get(arn).cloned().unwrap_or(BalancerKind::ASSUMED.into())),
            Err(why) => {
                let Some(kind) = BalancerKind::assumed_without(&why) else { return Err(why) };
                tracing::warn!(target_group = %arn, "may not read the kind of its load balancer, so the slower kind is assumed: {why}");
                Ok(kind.into())
            }
        }
    }

    /// Whether load balancing crosses zones in a group of this kind with these attributes. The zones of instances are added later.
    pub(super) async fn zones(&self, kind: &Kind, attributes: Attributes) -> Zones {
        self.balancers.zones(attributes.cross_zone, kind.kind, &kind.balancers).await
    }

    /// A group's attributes, at most five minutes old. If they cannot be read now, the earlier ones are returned. If AWS denies the call,
    /// they are empty.
    ///
    /// # Errors
    ///
    /// A failure that may pass, and the attributes were never read.
    pub(super) async fn attributes(&self, arn: &TargetGroupArn, again: bool) -> Result<Attributes, Unseen> {
        let known = self.known_attributes.get(arn);
        if let Some((requested, attributes)) = known
            && !again
            && requested.elapsed() < CACHED_FOR
        {
            return Ok(attributes);
        }
        match self.attributes.ask(arn.clone(), ()).await {
            Ok(attributes) => Ok(attributes),
            Err(why) => {
                tracing::warn!(target_group = %arn, "cannot read its deregistration delay: {why}");
                match (known, &why) {
                    (Some((_, attributes)), _) => Ok(attributes),
                    (None, Unseen::Denied(_)) => Ok(Attributes::default()),
                    (None, _) => Err(why),
                }
            }
        }
    }
}

/// The kinds of these groups. If one group does not exist the whole call fails, so each group is then requested alone.
async fn kinds_of(
    client: &Client,
    arns: Vec<TargetGroupArn>,
    known: &Cache<Kind>,
) -> Result<HashMap<TargetGroupArn, Kind>, Unseen> {
    let mut kinds = HashMap::new();
    match describe(client, &arns, &mut kinds).await {
        Ok(()) => {}
        Err(Refusal::Missing | Refusal::Rejected(_)) if 1 < arns.len() => {
            for arn in &arns {
                client.acquire_look().await?;
                match describe(client, std::slice::from_ref(arn), &mut kinds).await {
                    Ok(()) => {}
                    Err(why) => tracing::debug!(target_group = %arn, "cannot be described: {why}"),
                }
            }
        }
        Err(Refusal::Missing) => {}
        Err(why) => return Err(unseen(why)),
    }
    for (arn, kind) in &kinds {
        known.put(arn.clone(), kind.clone());
    }
    Ok(kinds)
}

async fn describe(client: &Client, arns: &[TargetGroupArn], kinds: &mut HashMap<TargetGroupArn, Kind>) -> Result<(), Refusal> {
    let names: Vec<String> = arns.iter().map(|arn| arn.as_str().to_owned()).collect();
    let answer = client.call(|sdk| sdk.describe_target_groups().set_target_group_arns(Some(names.clone())).send()).await;
    for group in answer.map_err(|e| refusal(&e, None))?.target_groups() {
        if let Some(arn) = group.target_group_arn().and_then(|arn| arn.parse().ok()) {
            let balancers = group.load_balancer_arns().iter().map(|arn| Arc::from(arn.as_str())).collect();
            kinds.insert(arn, Kind { kind: BalancerKind::of_protocol(group.protocol().map(ProtocolEnum::as_str)), balancers });
        }
    }
    Ok(())
}

async fn read_attributes(client: &Client, arn: &TargetGroupArn) -> Result<Attributes, Unseen> {
    let answer = client.call(|sdk| sdk.describe_target_group_attributes().target_group_arn(arn.as_str()).send()).await;
    let answer = match answer.map_err(|e| refusal(&e, None)) {
        Ok(answer) => answer,
        // The look at its health shows that the group does not exist.
        Err(Refusal::Missing) => return Ok(Attributes::default()),
        Err(why) => return Err(unseen(why)),
    };
    let value = |key| answer.attributes().iter().find(|attribute| attribute.key() == Some(key)).and_then(|a| a.value());
    let seconds = |key| value(key).and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let (delay, slow_start) = (seconds(DELAY), seconds(SLOW_START));
    let connection_termination = value(TERMINATION).and_then(|text| text.parse().ok());
    Ok(Attributes { delay, connection_termination, cross_zone: value(CROSS_ZONE).and_then(CrossZone::read), slow_start })
}
