//! What seldom changes about a target group: which kind of load balancer it belongs to, and its deregistration delay.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::types::ProtocolEnum;
use tokio::time::Instant;

use super::Client;
use super::targets::Memory;
use crate::aws::{refusal, unseen};
use crate::shared::{Crowd, Gather, Limiter};
use decamp_core::decide::{BalancerKind, Refusal, Unseen};
use decamp_core::ids::TargetGroupArn;

/// How long a deregistration delay is believed.
const REMEMBERED: Duration = Duration::from_mins(5);
/// The most groups that one DescribeTargetGroups is asked for.
const GROUPS_A_CALL: usize = 20;
const DELAY: &str = "deregistration_delay.timeout_seconds";

type Kinds = Arc<HashMap<TargetGroupArn, BalancerKind>>;

/// When it was asked for, and what it was; `None`: the group has no such attribute.
type Delay = (Instant, Option<Duration>);

pub(super) struct Facts {
    kinds: Gather<(), TargetGroupArn, Kinds, Unseen>,
    delays: Gather<TargetGroupArn, (), Option<Duration>, Unseen>,
    /// A group's protocol never changes.
    known_kinds: Memory<BalancerKind>,
    known_delays: Memory<Delay>,
}

impl Facts {
    pub(super) fn new(client: &Client, limiter: &Arc<Limiter>, crowd: &Arc<Crowd>) -> Self {
        let (known_kinds, known_delays) = (Memory::new(), Memory::new());
        let kinds = {
            let (client, known) = (client.clone(), known_kinds.clone());
            Gather::new(GROUPS_A_CALL, limiter, crowd, move |(), arns| {
                let (client, known) = (client.clone(), known.clone());
                async move { Ok(Arc::new(kinds_of(&client, arns, &known).await?)) }
            })
        };
        let delays = {
            let (client, known) = (client.clone(), known_delays.clone());
            Gather::new(usize::MAX, limiter, crowd, move |arn: TargetGroupArn, _| {
                let (client, known) = (client.clone(), known.clone());
                async move {
                    let asked = Instant::now();
                    let delay = read_delay(&client, &arn).await?;
                    known.put(arn, (asked, delay));
                    Ok(delay)
                }
            })
        };
        Self { kinds, delays, known_kinds, known_delays }
    }

    /// What stands in front of a group. The slower kind if we may not see that: waiting longer loses nothing.
    ///
    /// # Errors
    ///
    /// What may be seen a moment later: to wait minutes for it would be a pity.
    pub(super) async fn kind(&self, arn: &TargetGroupArn) -> Result<BalancerKind, Unseen> {
        if let Some(known) = self.known_kinds.get(arn) {
            return Ok(known);
        }
        match self.kinds.ask((), arn.clone()).await {
            Ok(kinds) => Ok(kinds.get(arn).copied().unwrap_or(BalancerKind::Nlb)),
            Err(why @ Unseen::Denied(_)) => {
                tracing::warn!(target_group = %arn, "may not see what kind of load balancer it belongs to, so the slower is assumed: {why}");
                Ok(BalancerKind::Nlb)
            }
            Err(why) => Err(why),
        }
    }

    /// A group's deregistration delay, at most five minutes old; what it was before, if it cannot be read now. `None`: it has none, or we may not
    /// read it.
    ///
    /// # Errors
    ///
    /// It was never read, and may be a moment later.
    pub(super) async fn delay(&self, arn: &TargetGroupArn, again: bool) -> Result<Option<Duration>, Unseen> {
        let known = self.known_delays.get(arn);
        if let Some((asked, delay)) = known
            && !again
            && asked.elapsed() < REMEMBERED
        {
            return Ok(delay);
        }
        match self.delays.ask(arn.clone(), ()).await {
            Ok(delay) => Ok(delay),
            Err(why) => {
                tracing::warn!(target_group = %arn, "cannot read its deregistration delay: {why}");
                match (known, &why) {
                    (Some((_, delay)), _) => Ok(delay),
                    (None, Unseen::Denied(_)) => Ok(None),
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
    known: &Memory<BalancerKind>,
) -> Result<HashMap<TargetGroupArn, BalancerKind>, Unseen> {
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
        known.put(arn.clone(), *kind);
    }
    Ok(kinds)
}

async fn describe(
    client: &Client,
    arns: &[TargetGroupArn],
    kinds: &mut HashMap<TargetGroupArn, BalancerKind>,
) -> Result<(), Refusal> {
    let names: Vec<String> = arns.iter().map(|arn| arn.as_str().to_owned()).collect();
    let answer = client.call(|sdk| sdk.describe_target_groups().set_target_group_arns(Some(names.clone())).send()).await;
    for group in answer.map_err(|e| refusal(&e, None))?.target_groups() {
        if let Some(arn) = group.target_group_arn().and_then(|arn| arn.parse().ok()) {
            kinds.insert(arn, kind(group.protocol()));
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

async fn read_delay(client: &Client, arn: &TargetGroupArn) -> Result<Option<Duration>, Unseen> {
    let answer = client.call(|sdk| sdk.describe_target_group_attributes().target_group_arn(arn.as_str()).send()).await;
    let answer = match answer.map_err(|e| refusal(&e, None)) {
        Ok(answer) => answer,
        // Its health says that it is gone.
        Err(Refusal::Missing) => return Ok(None),
        Err(why) => return Err(unseen(why)),
    };
    let delay =
        answer.attributes().iter().find(|attribute| attribute.key() == Some(DELAY)).and_then(|attribute| attribute.value());
    Ok(delay.and_then(|text| text.parse().ok()).map(Duration::from_secs))
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
