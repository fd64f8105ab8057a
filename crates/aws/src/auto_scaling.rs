//! EC2 Auto Scaling: the states of instances, the settings of their groups, and their lifecycle actions.

mod arn;
mod group;
mod lifecycle;
mod metadata;
mod origins;
mod past_terminations;
mod refreshes;
mod roster;

use std::collections::HashMap;
use std::sync::Arc;

use self::group::Groups;
use self::lifecycle::lifecycle;
pub use self::metadata::target_groups;
pub use self::origins::Origin;
use self::origins::Origins;
pub use self::past_terminations::Terminated;
pub use self::refreshes::Template;
pub use self::roster::Roster;
use super::attempts::RateLimited;
use super::aws::{Aws, CallKind, refusal};
use super::coalescing::{Coalescer, InFlight};
use super::rate_limiter::RateLimiter;
use decamp_core::decide::{ActionRef, Departure, Group, Lifecycle, LifecycleResult, Refusal, Unseen};
use decamp_core::ids::InstanceId;

/// The most instances in one DescribeAutoScalingInstances.
const INSTANCES_PER_CALL: usize = 50;
/// The most groups in one DescribeAutoScalingGroups.
const GROUPS_PER_CALL: usize = 50;
/// The burst, in seconds of the rate. A bucket of 100 tokens that is refilled with 20 per second was observed.
const BURST_SECONDS: u32 = 5;

/// An instance as Auto Scaling lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its group.
    pub asg: Arc<str>,
    /// Its lifecycle state.
    pub lifecycle: Lifecycle,
}

/// An instance that is leaving its group, which a sweep continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// Its group.
    pub asg: Arc<str>,
    /// The instance.
    pub instance: InstanceId,
    /// Its lifecycle state.
    pub lifecycle: Lifecycle,
}

type Client = RateLimited<aws_sdk_autoscaling::Client>;

type Instances = Arc<HashMap<InstanceId, Listed>>;

/// A client of Auto Scaling that all departures of this process share.
pub struct AutoScaling {
    looks: Client,
    writes: Client,
    instances: Coalescer<(), InstanceId, Instances, Unseen>,
    origins: Origins,
    groups: Groups,
}

impl AutoScaling {
    /// Makes a client. It coalesces the looks of the departures of `in_flight`. Nothing is sent yet.
    pub fn new(aws: &Aws, in_flight: &Arc<InFlight>) -> Self {
        let (sdk, rate) = (aws.auto_scaling(), aws.settings.auto_scaling_rate);
        let limiter = Arc::new(RateLimiter::new(rate * BURST_SECONDS, rate));
        let looks = RateLimited::new(sdk.clone(), &limiter, CallKind::Look, aws.backoff);
        let origins = Origins::default();
        let (client, known) = (looks.clone(), origins.clone());
        let instances = Coalescer::new(INSTANCES_PER_CALL, &limiter, in_flight, move |(), ids| {
            let (client, known) = (client.clone(), known.clone());
            async move { describe_instances(&client, ids, &known).await }
        });
        let groups = Groups::new(&looks, &limiter, in_flight);
        Self { looks, writes: RateLimited::new(sdk, &limiter, CallKind::Write, aws.backoff), instances, origins, groups }
    }

    /// The state and the group of an instance; `None` if no group lists it.
    pub async fn instance(&self, instance: InstanceId) -> Result<Option<Listed>, Unseen> {
        Ok(self.instances.ask((), instance).await?.get(&instance).cloned())
    }

    /// The state of a departure's instance in the departure's group.
    pub async fn lifecycle(&self, departure: &Departure) -> Result<Lifecycle, Unseen> {
        Ok(match self.instance(departure.instance).await? {
            None => Lifecycle::Gone,
            Some(listed) if listed.asg == departure.asg => listed.lifecycle,
            // The event or the person named the wrong group. Leaving its real group would be another departure.
            Some(listed) => Lifecycle::Staying(format!("in another group, {}", listed.asg).into()),
        })
    }

    /// The settings of a group. With `with_activity`, also the times when the instance's unfinished activity began and when the instance
    /// was launched.
    pub async fn group(&self, departure: &Departure, with_activity: bool) -> Result<Group, Unseen> {
        if !with_activity {
            return self.groups.group(&departure.asg).await;
        }
        let (group, (activity_began, launched)) =
            tokio::join!(self.groups.group(&departure.asg), self.groups.activities(&departure.asg, departure.instance));
        Ok(Group { activity_began, launched, ..group? })
    }

    /// Every leaving instance of these groups, or of all groups if none is named.
    pub async fn leaving(&self, asgs: &[Arc<str>]) -> Result<Vec<Leaving>, Unseen> {
        let mut leaving = Vec::new();
        let chunks: Vec<&[Arc<str>]> = if asgs.is_empty() { vec![&[]] } else { asgs.chunks(GROUPS_PER_CALL).collect() };
        for chunk in chunks {
            self.looks.acquire_look().await?;
            let names: Option<Vec<String>> = (!chunk.is_empty()).then(|| chunk.iter().map(ToString::to_string).collect());
            let send = |client: &aws_sdk_autoscaling::Client, from| {
                client.describe_auto_scaling_groups().set_auto_scaling_group_names(names.clone()).set_next_token(from).send()
            };
            let pages = self.looks.pages(usize::MAX, send, |page| page.next_token()).await?;
            for group in pages.iter().flat_map(|page| page.auto_scaling_groups()) {
                let asg: Arc<str> = group.auto_scaling_group_name().unwrap_or_default().into();
                leaving.extend(group.instances().iter().filter_map(|listed| {
                    let instance = listed.instance_id()?.parse().ok()?;
                    let lifecycle = lifecycle(listed.lifecycle_state()?.as_str());
                    let stays = matches!(lifecycle, Lifecycle::Staying(_) | Lifecycle::Unknown(_));
                    (!stays).then(|| Leaving { asg: Arc::clone(&asg), instance, lifecycle })
                }));
            }
        }
        Ok(leaving)
    }

    /// Restarts the heartbeat time-out of a lifecycle action.
    pub async fn heartbeat(&self, asg: &str, instance: InstanceId, of: &ActionRef) -> Result<(), Refusal> {
        self.writes.acquire_write().await?;
        let token = of.token.as_ref().map(|token| token.expose().to_owned());
        let send = |client: &aws_sdk_autoscaling::Client| {
            let call = client.record_lifecycle_action_heartbeat().set_lifecycle_action_token(token.clone());
            call.auto_scaling_group_name(asg).lifecycle_hook_name(&*of.hook).instance_id(instance.to_string()).send()
        };
        self.writes.call(send).await.map(drop).map_err(|e| refusal(&e, token.as_deref()))
    }

    /// Completes a lifecycle action.
    pub async fn complete(
        &self,
        asg: &str,
        instance: InstanceId,
        of: &ActionRef,
        result: LifecycleResult,
    ) -> Result<(), Refusal> {
        self.writes.acquire_write().await?;
        let result = match result {
            LifecycleResult::Continue => "CONTINUE",
            LifecycleResult::Abandon => "ABANDON",
        };
        let token = of.token.as_ref().map(|token| token.expose().to_owned());
        let send = |client: &aws_sdk_autoscaling::Client| {
            let call = client.complete_lifecycle_action().lifecycle_action_result(result);
            let call = call.set_lifecycle_action_token(token.clone()).auto_scaling_group_name(asg);
            call.lifecycle_hook_name(&*of.hook).instance_id(instance.to_string()).send()
        };
        self.writes.call(send).await.map(drop).map_err(|e| refusal(&e, token.as_deref()))
    }

    /// Asks Auto Scaling to replace an instance, through its hook (ADR 0014).
    pub async fn set_unhealthy(&self, instance: InstanceId) -> Result<(), Refusal> {
        self.writes.acquire_write().await?;
        let send = |client: &aws_sdk_autoscaling::Client| {
            let call = client.set_instance_health().instance_id(instance.to_string());
            call.health_status("Unhealthy").should_respect_grace_period(false).send()
        };
        self.writes.call(send).await.map(drop).map_err(|e| refusal(&e, None))
    }
}

/// One call, for at most 50 instances. The answer does not list instances that Auto Scaling does not know.
async fn describe_instances(client: &Client, instances: Vec<InstanceId>, origins: &Origins) -> Result<Instances, Unseen> {
    let ids: Vec<String> = instances.iter().map(ToString::to_string).collect();
    let send = |client: &aws_sdk_autoscaling::Client, from| {
        client.describe_auto_scaling_instances().set_instance_ids(Some(ids.clone())).set_next_token(from).send()
    };
    let pages = client.pages(usize::MAX, send, |page| page.next_token()).await?;
    let rows = || pages.iter().flat_map(|page| page.auto_scaling_instances());
    let origin = |row: &aws_sdk_autoscaling::types::AutoScalingInstanceDetails| {
        let template = row.launch_template().and_then(|from| {
            let name = from.launch_template_name().or(from.launch_template_id())?;
            Some(from.version().map_or_else(|| name.to_owned(), |version| format!("{name}, version {version}")))
        });
        let launched_from = template.or_else(|| row.launch_configuration_name().map(str::to_owned)).map(Arc::from);
        Some((row.instance_id()?.parse().ok()?, Origin { zone: row.availability_zone()?.into(), launched_from }))
    };
    origins.learn(&instances, rows().filter_map(origin));
    let listed = rows().filter_map(|row| {
        let state = lifecycle(row.lifecycle_state()?);
        let asg = row.auto_scaling_group_name()?.into();
        Some((row.instance_id()?.parse().ok()?, Listed { asg, lifecycle: state }))
    });
    Ok(Arc::new(listed.collect()))
}
