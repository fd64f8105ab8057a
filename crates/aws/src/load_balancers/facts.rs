//! What seldom changes about a target group: which kind of load balancer it belongs to, and what it does at a deregistration.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::types::ProtocolEnum;
use tokio::time::Instant;

use super::Client;
use super::classic::Classic;
use super::targets::Memory;
use super::zones::{Balancers, CROSS_ZONE, CrossZone};
use crate::aws::{refusal, unseen};
use crate::shared::{Crowd, Gather, Limiter};
use decamp_core::decide::{BalancerKind, Refusal, Unseen, Zones};
use decamp_core::ids::TargetGroupArn;

/// How long what is read of a group's attributes is believed.
const REMEMBERED: Duration = Duration::from_mins(5);
/// The most groups that one DescribeTargetGroups is asked for.
const GROUPS_A_CALL: usize = 20;
const DELAY: &str = "deregistration_delay.timeout_seconds";
const TERMINATION: &str = "deregistration_delay.connection_termination.enabled";

type Kinds = Arc<HashMap<TargetGroupArn, Kind>>;

/// What stands in front of a group.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    /// Which kind of load balancer.
    pub(super) kind: BalancerKind,
    /// The ARNs of those that use the group, as far as they could be seen.
    balancers: Arc<[Arc<str>]>,
}

impl From<BalancerKind> for Kind {
    fn from(kind: BalancerKind) -> Self {
        Self { kind, balancers: Arc::default() }
    }
}

/// What a group's attributes say of a deregistration; `None`: the group has no such attribute, or it cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// The deregistration delay.
    pub(super) delay: Option<Duration>,
    /// Whether connections are cut when it is over.
    pub(super) connection_termination: Option<bool>,
    /// Whether load balancing crosses zones.
    pub(super) cross_zone: Option<CrossZone>,
}

pub(super) struct Facts {
    kinds: Gather<(), TargetGroupArn, Kinds, Unseen>,
    attributes: Gather<TargetGroupArn, (), Attributes, Unseen>,
    /// A group's protocol never changes.
    known_kinds: Memory<Kind>,
    /// With when they were asked for.
    known_attributes: Memory<(Instant, Attributes)>,
    balancers: Balancers,
}

impl Facts {
    pub(super) fn new(client: &Client, classic: &Classic, limiter: &Arc<Limiter>, crowd: &Arc<Crowd>) -> Self {
        let (known_kinds, known_attributes) = (Memory::new(), Memory::new());
        let kinds = {
            let (client, known) = (client.clone(), known_kinds.clone());
            Gather::new(GROUPS_A_CALL, limiter, crowd, move |(), arns| {
                let (client, known) = (client.clone(), known.clone());
                async move { Ok(Arc::new(kinds_of(&client, arns, &known).await?)) }
            })
        };
        let attributes = {
            let (client, classic, known) = (client.clone(), classic.clone(), known_attributes.clone());
            Gather::new(usize::MAX, limiter, crowd, move |arn: TargetGroupArn, _| {
                let (client, classic, known) = (client.clone(), classic.clone(), known.clone());
                async move {
                    let asked = Instant::now();
                    let attributes = if arn.is_classic() {
                        classic.attributes(&arn).await.map_err(unseen)?
                    } else {
                        read_attributes(&client, &arn).await?
                    };
                    known.put(arn, (asked, attributes));
                    Ok(attributes)
                }
            })
        };
        Self { kinds, attributes, known_kinds, known_attributes, balancers: Balancers::new(client, limiter, crowd) }
    }

    /// What stands in front of a group. The slower kind if we may not see that: waiting longer loses nothing.
    ///
    /// # Errors
    ///
    /// What may be seen a moment later: to wait minutes for it would be a pity.
    pub(super) async fn kind(&self, arn: &TargetGroupArn) -> Result<Kind, Unseen> {
        if arn.is_classic() {
            return Ok(BalancerKind::Classic.into());
        }
        if let Some(known) = self.known_kinds.get(arn) {
            return Ok(known);
        }
        match self.kinds.ask((), arn.clone()).await {
            Ok(kinds) => Ok(kinds.get(arn).cloned().unwrap_or(BalancerKind::Nlb.into())),
            Err(why @ Unseen::Denied(_)) => {
                tracing::warn!(target_group = %arn, "may not see what kind of load balancer it belongs to, so the slower is assumed: {why}");
                Ok(BalancerKind::Nlb.into())
            }
            Err(why) => Err(why),
        }
    }

    /// Whether load balancing crosses zones in a group of this kind with these attributes; no zone of an instance is known yet.
    pub(super) async fn zones(&self, kind: &Kind, attributes: Attributes) -> Zones {
        self.balancers.zones(attributes.cross_zone, kind.kind, &kind.balancers).await
    }

    /// A group's attributes, at most five minutes old; what they were before, if they cannot be read now. None at all if we may not read
    /// them.
    ///
    /// # Errors
    ///
    /// They were never read, and may be a moment later.
    pub(super) async fn attributes(&self, arn: &TargetGroupArn, again: bool) -> Result<Attributes, Unseen> {
        let known = self.known_attributes.get(arn);
        if let Some((asked, attributes)) = known
            && !again
            && asked.elapsed() < REMEMBERED
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

/// The kinds of these groups. One that AWS does not know spoils the call for all of them, so each is then asked for alone.
async fn kinds_of(
    client: &Client,
    arns: Vec<TargetGroupArn>,
    known: &Memory<Kind>,
) -> Result<HashMap<TargetGroupArn, Kind>, Unseen> {
    let mut kinds = HashMap::new();
    match describe(client, &arns, &mut kinds).await {
        Ok(()) => {}
        Err(Refusal::Missing | Refusal::Rejected(_)) if 1 < arns.len() => {
            for arn in &arns {
                client.look().await?;
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
            kinds.insert(arn, Kind { kind: kind(group.protocol()), balancers });
        }
    }
    Ok(())
}

/// AWS adds protocols; an unknown one counts as the slower kind.
fn kind(protocol: Option<&ProtocolEnum>) -> BalancerKind {
    match protocol {
        Some(ProtocolEnum::Http | ProtocolEnum::Https) => BalancerKind::Alb,
        _ => BalancerKind::Nlb,
    }
}

async fn read_attributes(client: &Client, arn: &TargetGroupArn) -> Result<Attributes, Unseen> {
    let answer = client.call(|sdk| sdk.describe_target_group_attributes().target_group_arn(arn.as_str()).send()).await;
    let answer = match answer.map_err(|e| refusal(&e, None)) {
        Ok(answer) => answer,
        // Its health says that it is gone.
        Err(Refusal::Missing) => return Ok(Attributes::default()),
        Err(why) => return Err(unseen(why)),
    };
    let value = |key| answer.attributes().iter().find(|attribute| attribute.key() == Some(key)).and_then(|a| a.value());
    let delay = value(DELAY).and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let connection_termination = value(TERMINATION).and_then(|text| text.parse().ok());
    Ok(Attributes { delay, connection_termination, cross_zone: value(CROSS_ZONE).and_then(CrossZone::read) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_is_known_to_be_quick() {
        let quick: Vec<&str> =
            ProtocolEnum::values().iter().copied().filter(|p| kind(Some(&ProtocolEnum::from(*p))) == BalancerKind::Alb).collect();
        assert_eq!(quick, ["HTTP", "HTTPS"]);
        assert_eq!(kind(None), BalancerKind::Nlb);
    }
}
