//! What Elastic Load Balancing shows of a target group and its targets.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::decide::observed::Unseen;
use crate::ids::{InstanceId, TargetGroupArn, TargetId};

/// One target group that may send traffic to the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetGroup {
    /// Its ARN.
    pub arn: TargetGroupArn,
    /// Attached to the Auto Scaling group (true), or named in settings or the hook's metadata (false).
    pub attached: bool,
    /// The kind of load balancer in front of it.
    pub kind: BalancerKind,
    /// `deregistration_delay.timeout_seconds`, or a Classic Load Balancer's connection draining, which is zero if it is off. `None` if it
    /// could not be read, which counts as 300 s.
    pub delay: Option<Duration>,
    /// `deregistration_delay.connection_termination.enabled`: whether connections that clients keep open are cut when the delay is over.
    /// They carry new requests to the target until then, or until the target closes them (facts/aws.md 3.2). `None`: the group has no such
    /// attribute, as behind an ALB, or it could not be read.
    pub connection_termination: Option<bool>,
    /// Whether its load balancer's nodes send to targets in other zones.
    pub zones: Zones,
    /// All of its targets, ours and others'. `None`: the group no longer exists.
    pub targets: Option<Arc<[Target]>>,
}

impl TargetGroup {
    /// Its targets, ours and others'. None if the group no longer exists.
    pub fn listed(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().flat_map(|targets| targets.iter())
    }

    /// The healthy ones among them.
    pub fn healthy(&self) -> impl Iterator<Item = &Target> {
        self.listed().filter(|target| target.health == TargetHealth::Healthy)
    }
}

/// Whether a load balancer's nodes send to targets in other zones (`load_balancing.cross_zone.enabled`, or a Classic Load Balancer's
/// `CrossZoneLoadBalancing`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Zones {
    /// They do: a request reaches any target.
    Crossed,
    /// They do not: clients that reach the node of a zone have the targets of that zone alone. With the zones of the instances that Auto
    /// Scaling knows, because the list of targets has the zones of addresses only.
    Apart(Arc<[(InstanceId, Arc<str>)]>),
    /// It could not be read, or the group belongs to no load balancer, or to several.
    Unknown,
}

impl Zones {
    /// By the attribute. No instance's zone is known yet.
    #[must_use]
    pub fn read(crosses: Option<bool>) -> Self {
        match crosses {
            Some(true) => Self::Crossed,
            Some(false) => Self::Apart(Arc::default()),
            None => Self::Unknown,
        }
    }
}

/// The kind of load balancer that a target group belongs to. It decides how long routing lags behind a deregistration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BalancerKind {
    /// Application Load Balancer (HTTP, HTTPS).
    Alb,
    /// Classic Load Balancer. It has instances instead of targets, one for each port that a listener sends to.
    Classic,
    /// Network or Gateway Load Balancer (TCP, TLS, UDP, GENEVE), and any unknown kind.
    Nlb,
}

impl BalancerKind {
    /// What a load balancer of an unknown kind is taken for: the kind whose routing lags longest.
    pub const ASSUMED: Self = Self::Nlb;

    /// The kind for a target group's protocol, such as `HTTP`. AWS adds protocols, so an unknown one counts as the assumed kind.
    #[must_use]
    pub fn of_protocol(protocol: Option<&str>) -> Self {
        match protocol {
            Some("HTTP" | "HTTPS") => Self::Alb,
            Some(_) | None => Self::ASSUMED,
        }
    }

    /// The kind to assume if it could not be read for this reason. Waiting longer loses no request. `None`: the failure may pass, and the
    /// assumed kind would cost minutes without need, so decamp looks again.
    #[must_use]
    pub fn assumed_without(why: &Unseen) -> Option<Self> {
        match why {
            Unseen::Denied(_) => Some(Self::ASSUMED),
            Unseen::Away(_) | Unseen::Throttled | Unseen::Stale => None,
        }
    }
}

/// One target: (id, port) in its group. Both are needed to deregister it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The instance or the address.
    pub id: TargetId,
    /// Its port.
    pub port: u16,
    /// Its zone, as it was registered. It is passed back unchanged.
    pub zone: Option<Arc<str>>,
    /// Its health.
    pub health: TargetHealth,
}

/// A target's state and reason, as far as they matter here (facts/aws.md 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetHealth {
    /// Registered, passing its checks.
    Healthy,
    /// Registered, whatever its checks show (`initial`, `unhealthy`, `unhealthy.draining`, `unavailable`, and unknown states).
    Registered,
    /// Registered, but nothing is sent to it (`unused` with NotInUse, InvalidState or IpUnusable).
    RegisteredUnused,
    /// Deregistered. Requests in progress may finish.
    Draining,
    /// `unused` with `Target.NotRegistered`: not there.
    NotRegistered,
}

impl TargetHealth {
    /// Whether it must still be deregistered.
    #[must_use]
    pub fn is_registered(self) -> bool {
        match self {
            Self::Healthy | Self::Registered | Self::RegisteredUnused => true,
            Self::Draining | Self::NotRegistered => false,
        }
    }
}
