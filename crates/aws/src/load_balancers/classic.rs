//! Classic Load Balancers, by hand-signed calls of their own API (version 2012-06-01): they have instances where a target group has targets.
//! In the rules an instance is a target at each port that a listener sends to.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use tokio::time::Instant;

use super::facts::Attributes;
use super::targets::{Listing, Memory};
use super::zones::CrossZone;
use crate::aws::Aws;
use crate::shared::{Limiter, PATIENCE};
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
/// How long the ports of a balancer's listeners are believed.
const REMEMBERED: Duration = Duration::from_mins(5);

/// Calls about Classic Load Balancers, with the shares of the account's buckets that the other kinds have.
#[derive(Clone)]
pub(super) struct Classic {
    signed: Arc<Signed>,
    looking: Arc<Limiter>,
    ports: Memory<(Instant, Arc<[u16]>)>,
}

impl Classic {
    pub(super) fn new(aws: &Aws, looking: &Arc<Limiter>) -> Self {
        Self { signed: Arc::new(Signed::new(aws)), looking: Arc::clone(looking), ports: Memory::new() }
    }

    /// Every instance of a balancer, once for each port that its listeners send to; `None`: there is no such balancer. A place for
    /// one call was taken.
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

    /// Its connection draining: the time-out is the delay, and there is none if it is off; and whether it crosses zones. `None`: there is
    /// no such balancer. A place for the call was taken.
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

    /// Takes these instances out of it. A place for the call was taken.
    pub(super) async fn deregister(&self, arn: &TargetGroupArn, targets: &[Target]) -> Result<(), Refusal> {
        let mut instances: Vec<InstanceId> = targets.iter().filter_map(|target| instance(&target.id)).collect();
        instances.sort_unstable();
        instances.dedup();
        let names: Vec<_> = (1..).map(|place| format!("Instances.member.{place}.InstanceId")).zip(instances).collect();
        let fields: Vec<_> = names.iter().map(|(field, id)| (field.as_str(), id.to_string())).collect();
        self.call(&DEREGISTER, arn, &fields).await.map(drop)
    }

    /// The ports that its listeners send to, at most five minutes old.
    async fn ports(&self, arn: &TargetGroupArn) -> Result<Arc<[u16]>, Refusal> {
        if let Some((asked, ports)) = self.ports.get(arn)
            && asked.elapsed() < REMEMBERED
        {
            return Ok(ports);
        }
        let asked = Instant::now();
        if !self.looking.enter(PATIENCE).await {
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
            // Nothing is sent through it; its instances are registered all the same.
            ports.push(0);
        }
        let ports: Arc<[u16]> = ports.into();
        self.ports.put(arn.clone(), (asked, Arc::clone(&ports)));
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

/// What a balancer does with an instance. While one is let go it reads `InService` or not; its description tells (AWS, "Configure connection
/// draining for your Classic Load Balancer").
fn health(row: &Texts) -> TargetHealth {
    let description = row.get("Description").unwrap_or_default();
    let says = |words: &str| description.to_ascii_lowercase().contains(words);
    match row.get("State") {
        _ if says("deregistration currently in progress") => TargetHealth::Draining,
        Some("OutOfService") if says("not currently registered") => TargetHealth::NotRegistered,
        Some("InService") => TargetHealth::Healthy,
        _ => TargetHealth::Registered,
    }
}
