//! The targets of one group: listing all of them, and deregistering them as they were listed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_elasticloadbalancingv2::types::{
    TargetDescription, TargetHealthDescription, TargetHealthReasonEnum as Reason, TargetHealthStateEnum as State,
};

use super::Client;
use super::classic::Classic;
use crate::aws::{refusal, unseen};
use crate::coalescing::{Coalescer, InFlight};
use crate::rate_limiter::RateLimiter;
use decamp_core::decide::{Refusal, Target, TargetHealth, Unseen};
use decamp_core::ids::{TargetGroupArn, TargetId};

/// The most targets in one deregistration. AWS documents no limit.
const TARGETS_PER_CALL: usize = 100;

/// Every target of a group; `None` if the group does not exist.
pub(super) type Listing = Option<Arc<[Target]>>;

/// The answer to the deregistration of each target.
pub(super) type Deregistered = Arc<[(TargetId, u16, Result<(), Refusal>)]>;

/// One DescribeTargetHealth per group for all departures. It names no targets, so that the answer includes draining ones.
pub(super) fn health(
    client: &Client,
    classic: &Classic,
    limiter: &Arc<RateLimiter>,
    in_flight: &Arc<InFlight>,
) -> Coalescer<TargetGroupArn, (), Listing, Unseen> {
    let (client, classic) = (client.clone(), classic.clone());
    Coalescer::new(usize::MAX, limiter, in_flight, move |arn: TargetGroupArn, _| {
        let (client, classic) = (client.clone(), classic.clone());
        async move {
            if arn.is_classic() {
                return classic.listing(&arn).await.map_err(unseen);
            }
            let answer = client.call(|sdk| sdk.describe_target_health().target_group_arn(arn.as_str()).send()).await;
            match answer.map_err(|e| refusal(&e, None)) {
                Ok(answer) => Ok(Some(answer.target_health_descriptions().iter().filter_map(target).collect())),
                Err(Refusal::Missing) => Ok(None),
                Err(why) => Err(unseen(why)),
            }
        }
    })
}

/// One DeregisterTargets per group and 100 targets, for all departures that deregister at the same time.
pub(super) fn deregister(
    client: &Client,
    classic: &Classic,
    limiter: &Arc<RateLimiter>,
    in_flight: &Arc<InFlight>,
) -> Coalescer<TargetGroupArn, Vec<Target>, Deregistered, Refusal> {
    let (client, classic) = (client.clone(), classic.clone());
    Coalescer::new(usize::MAX, limiter, in_flight, move |arn: TargetGroupArn, requested: Vec<Vec<Target>>| {
        let (client, classic) = (client.clone(), classic.clone());
        async move {
            let mut targets: Vec<Target> = Vec::new();
            for target in requested.into_iter().flatten() {
                if !targets.iter().any(|t| t.id == target.id && t.port == target.port) {
                    targets.push(target);
                }
            }
            let mut answers = Vec::with_capacity(targets.len());
            for (place, chunk) in targets.chunks(TARGETS_PER_CALL).enumerate() {
                // The coalescer has taken a token for the first call.
                let answer = match if place == 0 { Ok(()) } else { client.acquire_write().await } {
                    Ok(()) => deregister_once(&client, &classic, &arn, chunk).await,
                    Err(why) => Err(why),
                };
                // One target that AWS rejects must not keep the others registered.
                if matches!(answer, Err(Refusal::Rejected(_))) && chunk.len() > 1 {
                    for target in chunk {
                        let alone = match client.acquire_write().await {
                            Ok(()) => deregister_once(&client, &classic, &arn, std::slice::from_ref(target)).await,
                            Err(why) => Err(why),
                        };
                        answers.push((target.id.clone(), target.port, alone));
                    }
                } else {
                    answers.extend(chunk.iter().map(|t| (t.id.clone(), t.port, answer.clone())));
                }
            }
            Ok(answers.into())
        }
    })
}

async fn deregister_once(client: &Client, classic: &Classic, arn: &TargetGroupArn, targets: &[Target]) -> Result<(), Refusal> {
    if arn.is_classic() {
        return classic.deregister(arn, targets).await;
    }
    let named = targets.iter().map(|target| {
        TargetDescription::builder()
            .id(target.id.to_string())
            .port(i32::from(target.port))
            .set_availability_zone(target.zone.as_deref().map(str::to_owned))
            .build()
    });
    let named: Vec<TargetDescription> = named.collect();
    let send = |sdk: &aws_sdk_elasticloadbalancingv2::Client| {
        sdk.deregister_targets().target_group_arn(arn.as_str()).set_targets(Some(named.clone())).send()
    };
    client.call(send).await.map(drop).map_err(|e| refusal(&e, None))
}

/// A target as it is listed; `None` for a row without an id.
fn target(row: &TargetHealthDescription) -> Option<Target> {
    let named = row.target()?;
    let health = row.target_health();
    Some(Target {
        id: TargetId::read(named.id()?),
        // Targets without a port are Lambda functions, which are no instances.
        port: named.port().and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
        zone: named.availability_zone().map(Into::into),
        health: read_health(health.and_then(|h| h.state()), health.and_then(|h| h.reason())),
    })
}

/// The health from a state and its reason. `unused` has two meanings. Any unknown state counts as registered.
fn read_health(state: Option<&State>, reason: Option<&Reason>) -> TargetHealth {
    match state {
        Some(State::Healthy) => TargetHealth::Healthy,
        Some(State::Draining) => TargetHealth::Draining,
        Some(State::Unused) => match reason {
            Some(Reason::NotRegistered) => TargetHealth::NotRegistered,
            Some(Reason::NotInUse | Reason::InvalidState | Reason::IpUnusable) => TargetHealth::RegisteredUnused,
            _ => TargetHealth::Registered,
        },
        _ => TargetHealth::Registered,
    }
}

/// The most groups in a cache. No account has so many at a time. If they are created and deleted for years, the cache starts anew.
const MOST_CACHED: usize = 1_000;

/// A small cache that concurrent looks share.
#[derive(Clone)]
pub(super) struct Cache<V>(Arc<Mutex<HashMap<TargetGroupArn, V>>>);

impl<V: Clone> Cache<V> {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    pub(super) fn get(&self, arn: &TargetGroupArn) -> Option<V> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(arn).cloned()
    }

    pub(super) fn put(&self, arn: TargetGroupArn, value: V) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if MOST_CACHED <= all.len() && !all.contains_key(&arn) {
            all.clear();
        }
        all.insert(arn, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_of_groups_is_bounded() {
        let cache = Cache::new();
        let arn = |number: usize| {
            let arn = format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/{number:016x}");
            arn.parse::<TargetGroupArn>().expect("an ARN")
        };
        for number in 0..=MOST_CACHED {
            cache.put(arn(number), number);
            assert_eq!(cache.get(&arn(number)), Some(number));
        }
        assert!(cache.0.lock().expect("nobody panicked").len() <= MOST_CACHED);
    }

    #[test]
    fn an_unused_target_counts_as_deregistered_only_if_its_reason_says_so() {
        let read = |state: &str, reason: Option<&str>| read_health(Some(&state.into()), reason.map(Reason::from).as_ref());
        let table = [
            ("initial", Some("Elb.RegistrationInProgress"), TargetHealth::Registered),
            ("healthy", None, TargetHealth::Healthy),
            ("unhealthy", Some("Target.Timeout"), TargetHealth::Registered),
            ("unhealthy.draining", None, TargetHealth::Registered),
            ("draining", Some("Target.DeregistrationInProgress"), TargetHealth::Draining),
            ("unused", Some("Target.NotRegistered"), TargetHealth::NotRegistered),
            ("unused", Some("Target.NotInUse"), TargetHealth::RegisteredUnused),
            ("unused", Some("Target.InvalidState"), TargetHealth::RegisteredUnused),
            ("unused", Some("Target.IpUnusable"), TargetHealth::RegisteredUnused),
            ("unused", Some("Target.ReasonOfTomorrow"), TargetHealth::Registered),
            ("unused", None, TargetHealth::Registered),
            ("unavailable", Some("Target.HealthCheckDisabled"), TargetHealth::Registered),
            ("state-of-tomorrow", None, TargetHealth::Registered),
        ];
        for (state, reason, expected) in table {
            assert_eq!(read(state, reason), expected, "{state} {reason:?}");
        }
        assert_eq!(read_health(None, None), TargetHealth::Registered);
    }
}
