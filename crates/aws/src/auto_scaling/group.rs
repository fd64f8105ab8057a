//! The settings of an Auto Scaling group: hooks, attached target groups, tags, retention; and when its instances' activities began.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_autoscaling::operation::describe_scaling_activities::DescribeScalingActivitiesOutput;
use aws_sdk_autoscaling::types::{
    AutoScalingGroup, LifecycleHook, RetentionAction, ScalingActivityStatusCode, TrafficSourceState,
};
use tokio::time::Instant;

use super::Client;
use super::metadata::target_groups;
use crate::aws::{refusal, unseen};
use crate::coalescing::{Coalescer, InFlight};
use crate::integers::seconds;
use crate::rate_limiter::RateLimiter;
use decamp_core::decide::{Group, Hook, Launched, TrafficSource, Unseen};
use decamp_core::ids::{InstanceId, TargetGroupArn};
use decamp_core::time::Time;
use decamp_net::ttl_map::TtlMap;

/// How long a warm worker caches the settings of a group. The tag `decamp:hold` has to work within a minute.
const CACHED_FOR: Duration = Duration::from_secs(60);
/// The most pages of activities that are read. A page has a hundred activities, and unfinished ones come first, so this covers as many
/// departures as one process may have.
const ACTIVITY_PAGES: usize = 100;
/// How long the activities are cached for an instance that they do not mention.
const CACHED_WITHOUT_MENTION: Duration = Duration::from_secs(15);
const TERMINATING: &str = "autoscaling:EC2_INSTANCE_TERMINATING";
const HOLD: &str = "decamp:hold";

/// A cache by group, with the time of the request.
type ByGroup<T> = Arc<TtlMap<Arc<str>, (Instant, T)>>;

/// The activities of a group's instances.
#[derive(Debug, Default)]
struct Activities {
    /// When each leaving instance began to leave.
    leaving: HashMap<InstanceId, Time>,
    /// When each instance was launched, as far as the pages that were read go back.
    launched: HashMap<InstanceId, Time>,
}

/// The groups of this process's departures.
pub(super) struct Groups {
    groups: Coalescer<Arc<str>, (), Group, Unseen>,
    activities: Coalescer<Arc<str>, (), Arc<Activities>, Unseen>,
    cached_groups: ByGroup<Group>,
    cached_activities: ByGroup<Arc<Activities>>,
}

impl Activities {
    fn of(&self, instance: InstanceId) -> (Option<Time>, Launched) {
        let launched = self.launched.get(&instance).map_or(Launched::Untold, |at| Launched::At(*at));
        (self.leaving.get(&instance).copied(), launched)
    }
}

impl Groups {
    pub(super) fn new(client: &Client, limiter: &Arc<RateLimiter>, in_flight: &Arc<InFlight>) -> Self {
        let cached_groups: ByGroup<Group> = Arc::new(TtlMap::with_ttl(CACHED_FOR));
        let cached_activities: ByGroup<Arc<Activities>> = Arc::new(TtlMap::with_ttl(CACHED_FOR));
        let groups = {
            let (client, cache) = (client.clone(), Arc::clone(&cached_groups));
            Coalescer::new(usize::MAX, limiter, in_flight, move |asg: Arc<str>, _| {
                let (client, cache) = (client.clone(), Arc::clone(&cache));
                async move {
                    let requested = Instant::now();
                    let group = read_group(&client, &asg).await?;
                    cache.put(asg, (requested, group.clone()));
                    Ok(group)
                }
            })
        };
        let activities = {
            let (client, cache) = (client.clone(), Arc::clone(&cached_activities));
            Coalescer::new(usize::MAX, limiter, in_flight, move |asg: Arc<str>, _| {
                let (client, cache) = (client.clone(), Arc::clone(&cache));
                async move {
                    let requested = Instant::now();
                    let activities = read_activities(&client, &asg).await?;
                    cache.put(asg, (requested, Arc::clone(&activities)));
                    Ok(activities)
                }
            })
            .for_stable_facts()
        };
        Self { groups, activities, cached_groups, cached_activities }
    }

    /// The settings of a group, at most a minute old.
    pub(super) async fn group(&self, asg: &Arc<str>) -> Result<Group, Unseen> {
        match self.cached_groups.get(asg) {
            Some((requested, group)) if requested.elapsed() < CACHED_FOR => Ok(group),
            Some(_) | None => self.groups.ask(Arc::clone(asg), ()).await,
        }
    }

    /// When the instance's unfinished activity began, and when the instance was launched. These times only date its entry into the hook
    /// and its age, so nothing else is unknown when they cannot be read. Neither changes while the instance leaves. When thousands wait,
    /// a list of fifty pages is read once for all of them, which leaves the account's calls to their heartbeats.
    pub(super) async fn activities(&self, asg: &Arc<str>, instance: InstanceId) -> (Option<Time>, Launched) {
        if let Some((requested, all)) = self.cached_activities.get(asg) {
            let cached_for = if all.leaving.contains_key(&instance) { CACHED_FOR } else { CACHED_WITHOUT_MENTION };
            if requested.elapsed() < cached_for {
                return all.of(instance);
            }
        }
        match self.activities.ask(Arc::clone(asg), ()).await {
            Ok(all) => all.of(instance),
            Err(why) => {
                tracing::warn!(asg.name = %asg, instance.id = %instance, "cannot read when the instance began to leave: {why}");
                (None, Launched::Untold)
            }
        }
    }
}

/// Three concurrent calls: hooks, traffic sources, and the group without its instances. The caller has taken a token for one of them.
async fn read_group(client: &Client, asg: &str) -> Result<Group, Unseen> {
    client.acquire_look().await?;
    client.acquire_look().await?;
    let hooks = client.call(|sdk| sdk.describe_lifecycle_hooks().auto_scaling_group_name(asg).send());
    let send = |sdk: &aws_sdk_autoscaling::Client, from| {
        // Of every type, because sources that decamp cannot deregister from are reported.
        sdk.describe_traffic_sources().auto_scaling_group_name(asg).set_next_token(from).send()
    };
    let sources = client.pages(usize::MAX, send, |page| page.next_token());
    let group =
        client.call(|sdk| sdk.describe_auto_scaling_groups().auto_scaling_group_names(asg).include_instances(false).send());
    let (hooks, sources, group) = tokio::join!(hooks, sources, group);
    let group = group.map_err(|e| unseen(refusal(&e, None)))?;
    let Some(group) = group.auto_scaling_groups().iter().find(|g| g.auto_scaling_group_name() == Some(asg)) else {
        // The group is deleted, so it has no hooks and no attached target groups.
        return Ok(Group {
            hooks: Vec::new(),
            attached: Vec::new(),
            unhandled: Vec::new(),
            held: false,
            retains: false,
            activity_began: None,
            launched: Launched::Unasked,
        });
    };
    let hooks = hooks.map_err(|e| unseen(refusal(&e, None)))?;
    let sources = sources?;
    let (mut attached, mut unhandled) = (Vec::new(), Vec::new());
    for source in sources.iter().flat_map(|page| page.traffic_sources()) {
        match traffic_source(source, group.auto_scaling_group_arn().unwrap_or_default()) {
            Ok(arn) => attached.push(arn),
            Err(source) => unhandled.push(source),
        }
    }
    Ok(Group {
        hooks: hooks.lifecycle_hooks().iter().filter_map(hook).collect(),
        attached,
        unhandled,
        held: group.tags().iter().any(|tag| tag.key() == Some(HOLD)),
        retains: retains(group),
        activity_began: None,
        launched: Launched::Unasked,
    })
}

/// A traffic source as a target group that decamp can deregister from. For a Classic Load Balancer AWS gives only the name. The rest of
/// its ARN is taken from the Auto Scaling group's.
///
/// # Errors
///
/// decamp cannot deregister from a source of this type, or its name cannot be read.
fn traffic_source(source: &TrafficSourceState, asg: &str) -> Result<TargetGroupArn, TrafficSource> {
    let name = source.identifier().unwrap_or_default();
    let kind = source.r#type().unwrap_or_default();
    let arn = match kind {
        "elb" => {
            let mut parts = asg.split(':');
            let (partition, region, account) = (parts.nth(1), parts.nth(1), parts.next());
            let [partition, region, account] = [partition, region, account].map(Option::unwrap_or_default);
            format!("arn:{partition}:elasticloadbalancing:{region}:{account}:loadbalancer/{name}")
        }
        _ => name.to_owned(),
    };
    let parsed = arn.parse().ok().filter(|_| matches!(kind, "elb" | "elbv2" | ""));
    parsed.ok_or_else(|| TrafficSource { kind: kind.into(), name: name.into() })
}

fn retains(group: &AutoScalingGroup) -> bool {
    let triggers = group.instance_lifecycle_policy().and_then(|policy| policy.retention_triggers());
    triggers.and_then(|triggers| triggers.terminate_hook_abandon()) == Some(&RetentionAction::Retain)
}

/// A terminating hook; `None` for a hook of another transition.
fn hook(hook: &LifecycleHook) -> Option<Hook> {
    let name: Arc<str> = hook.lifecycle_hook_name().filter(|_| hook.lifecycle_transition() == Some(TERMINATING))?.into();
    let heartbeat_timeout = hook.heartbeat_timeout().and_then(seconds).unwrap_or(Duration::from_hours(1));
    let bound = (heartbeat_timeout * 100).min(Duration::from_hours(48));
    let (target_groups, misnamed) = hook.notification_metadata().map(target_groups).unwrap_or_default();
    for fault in &misnamed {
        tracing::warn!(hook = &*name, "cannot read the target groups in the hook's NotificationMetadata: {fault}");
    }
    let global_timeout = hook.global_timeout().and_then(seconds).unwrap_or(bound);
    Some(Hook { name, heartbeat_timeout, global_timeout, target_groups, misnamed })
}

/// When the leaving instances of a group began to leave, and when instances were launched lately.
async fn read_activities(client: &Client, asg: &str) -> Result<Arc<Activities>, Unseen> {
    let mut activities = Activities::default();
    let send = |sdk: &aws_sdk_autoscaling::Client, from| {
        sdk.describe_scaling_activities().auto_scaling_group_name(asg).max_records(100).set_next_token(from).send()
    };
    // Unfinished activities come first, so none follows a page without one.
    let unfinished = |page: &DescribeScalingActivitiesOutput| page.activities().iter().any(|one| !is_over(one.status_code()));
    let pages = client.pages(ACTIVITY_PAGES, send, |page| page.next_token().filter(|_| unfinished(page))).await?;
    for page in pages {
        for activity in page.activities() {
            let start = activity.start_time().and_then(|at| u64::try_from(at.to_millis().ok()?).ok()).map(Time);
            let launched = activity.description().and_then(launched_instance);
            if let (Some(instance), Some(start)) = (launched, start) {
                activities.launched.entry(instance).or_insert(start);
            }
            if is_over(activity.status_code()) {
                continue;
            }
            let instance = activity.description().and_then(terminated_instance);
            if let (Some(instance), Some(start)) = (instance, start) {
                activities.leaving.entry(instance).or_insert(start);
            }
        }
    }
    Ok(Arc::new(activities))
}

/// The instance of `Terminating EC2 instance: i-… - Waiting For …`.
pub(super) fn terminated_instance(description: &str) -> Option<InstanceId> {
    let (_, rest) = description.split_once("Terminating EC2 instance: ")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The instance of `Launching a new EC2 instance: i-…`.
fn launched_instance(description: &str) -> Option<InstanceId> {
    let (_, rest) = description.split_once("Launching a new EC2 instance: ")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Whether an activity has ended. AWS adds states, and every state that is not an end counts as unfinished.
pub(super) fn is_over(status: Option<&ScalingActivityStatusCode>) -> bool {
    use ScalingActivityStatusCode::{Cancelled, Failed, Successful};
    status.is_none_or(|status| matches!(status, Cancelled | Failed | Successful))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_classic_load_balancer_has_an_arn_and_a_source_of_an_unknown_type_is_named() {
        let asg = "arn:aws-cn:autoscaling:cn-north-1:123456789012:autoScalingGroup:0b4e:autoScalingGroupName/web";
        let read = |kind: &str, name: &str| {
            let source = TrafficSourceState::builder().r#type(kind).identifier(name).build();
            traffic_source(&source, asg).map(|arn| arn.to_string()).map_err(|source| source.to_string())
        };
        let classic = "arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012:loadbalancer/old-web";
        let group = "arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012:targetgroup/web/0123456789abcdef";
        let lattice = "arn:aws-cn:vpc-lattice:cn-north-1:123456789012:targetgroup/tg-0123456789abcdef0";
        assert_eq!(read("elb", "old-web"), Ok(classic.to_owned()));
        assert_eq!(read("elbv2", group), Ok(group.to_owned()));
        assert_eq!(read("vpc-lattice", lattice), Err(format!("vpc-lattice {lattice}")));
        assert_eq!(read("elb", "no name"), Err("elb no name".to_owned()));
        assert_eq!(read("type-of-tomorrow", group), Err(format!("type-of-tomorrow {group}")));
    }

    #[test]
    fn a_launching_hook_is_ignored() {
        let launching =
            LifecycleHook::builder().lifecycle_hook_name("h").lifecycle_transition("autoscaling:EC2_INSTANCE_LAUNCHING");
        assert_eq!(hook(&launching.build()), None);
    }

    #[test]
    fn a_hook_without_a_global_timeout_ends_after_a_hundred_heartbeats_or_two_days() {
        for (heartbeat, hours) in [(36, 1), (7200, 48)] {
            let given =
                LifecycleHook::builder().lifecycle_hook_name("h").lifecycle_transition(TERMINATING).heartbeat_timeout(heartbeat);
            let read = hook(&given.build()).map(|hook| hook.global_timeout);
            assert_eq!(read, Some(Duration::from_hours(hours)));
        }
    }

    #[test]
    fn the_description_of_an_activity_names_its_instance() {
        let id = "i-0123456789abcdef0".parse().ok();
        assert_eq!(terminated_instance("Terminating EC2 instance: i-0123456789abcdef0"), id);
        assert_eq!(
            terminated_instance("Terminating EC2 instance: i-0123456789abcdef0 - Waiting For ELB connection draining."),
            id
        );
        assert_eq!(terminated_instance("Launching a new EC2 instance: i-0123456789abcdef0"), None);
        assert_eq!(launched_instance("Launching a new EC2 instance: i-0123456789abcdef0"), id);
        assert_eq!(launched_instance("Terminating EC2 instance: i-0123456789abcdef0"), None);
    }
}
