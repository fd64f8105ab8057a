//! Classic Load Balancers, by signed calls of their own API (version 2012-06-01). They list instances where a target group lists targets.
//! For the rules an instance is a target at each port that a listener sends to.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use tokio::time::Instant;

use super::cross_zone::CrossZone;
use super::facts::Attributes;
use super::targets::{Cache, Listing};
use crate::aws::Aws;
use crate::rate_limiter::{LONGEST_WAIT, RateLimiter};
use crate::signed::{CALL, Operation, Signed};
use crate::xml::{self, Texts};
use decamp_core::decide::{Refusal, Target, TargetHealth};
use decamp_core::ids::{InstanceId, TargetGroupArn, TargetId};

const fn operation(name: &'static str) -> Operation {
    Operation { name, service: "elasticloadbalancing", target: "", kind: "application/x-www-form-urlencoded; charset=utf-8" }
}

const BALANCERS: Operation = operation("DescribeLoadBalancers");
const ATTRIBUTES: Operation = operation("DescribeLoadBalancerAttributes");
const HEALTH: Operation = operation("DescribeInstanceHealth");
const DEREGISTER: Operation = operation("DeregisterInstancesFromLoadBalancer");
const VERSION: &str = "2012-06-01";
/// How long the ports of a balancer's listeners are cached.
const CACHED_FOR: Duration = Duration::from_mins(5);

/// A client of the API for Classic Load Balancers. It shares the rate limits with the other kinds.
#[derive(Clone)]
pub(super) struct Classic {
    signed: Arc<Signed>,
    look_limiter: Arc<RateLimiter>,
    ports: Cache<(Instant, Arc<[u16]>)>,
}

impl Classic {
    pub(super) fn new(aws: &Aws, look_limiter: &Arc<RateLimiter>) -> Self {
        Self { signed: Arc::new(Signed::new(aws)), look_limiter: Arc::clone(look_limiter), ports: Cache::new() }
    }

    /// Every instance of a balancer, once for each port that its listeners send to; `None` if there is no such balancer. The caller has
    /// taken a token for one call.
    pub(super) async fn listing(&self, arn: &TargetGroupArn) -> Result<Listing, Refusal> {
        let states = self.ask(&HEALTH, arn, &["DescribeInstanceHealthResult", "InstanceStates", "member"]);
        let (states, ports) = join(states, self.ports(arn)).await;
        let states = match states {
            Err(Refusal::Missing) => return Ok(None),
            states => states?,
        };
        let ports = ports?;
        let mut targets = Vec::with_capacity(states.len() * ports.len());
        for state in &states {
            let id = state.get("InstanceId").ok_or_else(|| Refusal::Away("an instance without an id".into()))?;
            for port in ports.iter() {
                targets.push(Target { id: TargetId::read(id), port: *port, zone: None, health: health(state) });
            }
        }
        Ok(Some(targets.into()))
    }

    /// The connection draining, whose time-out is the delay (zero if draining is off), and whether the balancer crosses zones. The
    /// attributes of a balancer that does not exist are empty. The caller has taken a token.
    pub(super) async fn attributes(&self, arn: &TargetGroupArn) -> Result<Attributes, Refusal> {
        let answer = match self.call(&ATTRIBUTES, arn, &[]).await {
            Err(Refusal::Missing) => return Ok(Attributes::default()),
            answer => answer?,
        };
        let read = |part| {
            let path = ["DescribeLoadBalancerAttributesResult", "LoadBalancerAttributes", part];
            xml::elements(&answer, ATTRIBUTES.name, &path)
        };
        let (draining, zones) = (read("ConnectionDraining")?, read("CrossZoneLoadBalancing")?);
        let cross_zone = zones.first().and_then(|zones| CrossZone::read(zones.get("Enabled")?));
        Ok(Attributes { delay: draining.first().and_then(delay), cross_zone, ..Attributes::default() })
    }

    /// Deregisters these instances. The caller has taken a token.
    pub(super) async fn deregister(&self, arn: &TargetGroupArn, targets: &[Target]) -> Result<(), Refusal> {
        let mut instances: Vec<InstanceId> = targets.iter().filter_map(|target| instance(&target.id)).collect();
        instances.sort_unstable();
        instances.dedup();
        let names: Vec<_> = (1..).map(|place| format!("Instances.member.{place}.InstanceId")).zip(instances).collect();
        let fields: Vec<_> = names.iter().map(|(field, id)| (field.as_str(), id.to_string())).collect();
        self.call(&DEREGISTER, arn, &fields).await.map(drop)
    }

    /// The ports that the listeners send to, at most five minutes old.
    async fn ports(&self, arn: &TargetGroupArn) -> Result<Arc<[u16]>, Refusal> {
        if let Some((requested, ports)) = self.ports.get(arn)
            && requested.elapsed() < CACHED_FOR
        {
            return Ok(ports);
        }
        let requested = Instant::now();
        if !self.look_limiter.acquire(LONGEST_WAIT).await {
            return Err(Refusal::Throttled);
        }
        let answer = self.call(&BALANCERS, arn, &[("LoadBalancerNames.member.1", arn.name().to_owned())]).await?;
        let listeners =
            ["DescribeLoadBalancersResult", "LoadBalancerDescriptions", "member", "ListenerDescriptions", "member", "Listener"];
        let rows = xml::elements(&answer, BALANCERS.name, &listeners)?;
        let mut ports: Vec<u16> = rows.iter().filter_map(|row| row.get("InstancePort")?.parse().ok()).collect();
        ports.sort_unstable();
        ports.dedup();
        if ports.is_empty() {
            // A balancer without listeners sends nothing, but its instances are registered.
            ports.push(0);
        }
        let ports: Arc<[u16]> = ports.into();
        self.ports.put(arn.clone(), (requested, Arc::clone(&ports)));
        Ok(ports)
    }

    async fn ask(&self, operation: &Operation, arn: &TargetGroupArn, path: &[&str]) -> Result<Vec<Texts>, Refusal> {
        let answer = self.call(operation, arn, &[]).await?;
        xml::elements(&answer, operation.name, path)
    }

    async fn call(&self, operation: &Operation, arn: &TargetGroupArn, fields: &[(&str, String)]) -> Result<Vec<u8>, Refusal> {
        let answer = self.signed.call(operation, Some(arn.region()), form(operation, arn, fields), "", CALL).await?;
        Ok(answer.to_vec())
    }
}

fn form(operation: &Operation, arn: &TargetGroupArn, fields: &[(&str, String)]) -> String {
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.append_pair("Action", operation.name).append_pair("Version", VERSION);
    if operation.name != BALANCERS.name {
        body.append_pair("LoadBalancerName", arn.name());
    }
    body.extend_pairs(fields).finish()
}

fn instance(id: &TargetId) -> Option<InstanceId> {
    match id {
        TargetId::Instance(id) => Some(*id),
        TargetId::Ip(_) | TargetId::Other(_) => None,
    }
}

fn delay(draining: &Texts) -> Option<Duration> {
    match draining.get("Enabled")? {
        "false" => Some(Duration::ZERO),
        _ => draining.get("Timeout")?.parse().ok().map(Duration::from_secs),
    }
}

/// The health of an instance. While an instance is deregistered its state may still be `InService`. Only the description shows the
/// deregistration (AWS, "Configure connection draining for your Classic Load Balancer").
fn health(row: &Texts) -> TargetHealth {
    let description = row.get("Description").unwrap_or_default();
    let says = |text: &str| description.to_ascii_lowercase().contains(text);
    match row.get("State") {
        _ if says("deregistration currently in progress") => TargetHealth::Draining,
        Some("OutOfService") if says("not currently registered") => TargetHealth::NotRegistered,
        Some("InService") => TargetHealth::Healthy,
        _ => TargetHealth::Registered,
    }
}
