//! The answers of Elastic Load Balancing's Describe calls: as the rules see them, and with AWS's own names for the sandbox.

use std::sync::Arc;
use std::time::Duration;

use super::group::Group;
use super::target::{Entry, TargetStage};
use super::{Kind, LoadBalancers, TargetProblem};
use crate::api_error::ApiError;
use decamp_core::decide::{TargetGroup, Unseen, Zones};
use decamp_core::ids::{TargetGroupArn, TargetId};

/// The attributes of a group that a worker remembers, so that it need not read them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its kind.
    pub kind: Kind,
    /// Its delay; `None` if it could not be read.
    pub delay: Option<Duration>,
    /// Whether its load balancer cuts connections at the end of the delay; `None` if it has no such attribute, or it could not be read.
    pub connection_termination: Option<bool>,
    /// Whether load balancing crosses zones; `None` if that could not be read.
    pub crosses_zones: Option<bool>,
}

/// A target's state with AWS's own names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AwsState {
    /// `TargetHealth.State`.
    pub state: &'static str,
    /// `TargetHealth.Reason`.
    pub reason: Option<&'static str>,
}

/// One row of `DescribeTargetHealth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetView {
    /// Its id.
    pub id: TargetId,
    /// Its port.
    pub port: u16,
    /// Its zone.
    pub zone: Option<Arc<str>>,
    /// Its state.
    pub state: AwsState,
}

impl LoadBalancers {
    /// One group as the rules see it: `DescribeTargetHealth` without a filter, after `DescribeTargetGroupAttributes` unless the
    /// attributes are `known`. That makes one or two calls. The kind comes from `DescribeTargetGroups`, which a worker calls once for all
    /// of its groups ([`LoadBalancers::describe_groups`]).
    ///
    /// # Errors
    /// Throttled or denied. If only the attributes are denied, the delay is `None`.
    pub fn look_group(&mut self, arn: &TargetGroupArn, attached: bool, known: Option<Known>) -> Result<TargetGroup, Unseen> {
        let known = match known {
            Some(known) => known,
            None => {
                let kind = self.group(arn).map_or(Kind::Nlb, |group| group.setup.kind);
                let delay = match self.delay(arn) {
                    Ok(delay) => Some(delay),
                    Err(ApiError::AccessDenied | ApiError::TargetGroupNotFound) => None,
                    Err(error) => return Err(error.unseen()),
                };
                let connection_termination = delay.and(self.connection_termination(arn));
                let crosses_zones = delay.and(self.setup(arn).map(|setup| setup.cross_zone.is_on()));
                Known { kind, delay, connection_termination, crosses_zones }
            }
        };
        let targets = match self.targets(arn) {
            Ok(targets) => Some(targets),
            Err(ApiError::TargetGroupNotFound) => None,
            Err(error) => return Err(error.unseen()),
        };
        let Known { kind, delay, connection_termination, crosses_zones } = known;
        let zones = Zones::read(crosses_zones);
        Ok(TargetGroup { arn: arn.clone(), attached, kind, delay, connection_termination, zones, targets })
    }

    /// Whether the load balancer cuts connections when the delay is over; `None` for a group without that attribute.
    #[must_use]
    pub fn connection_termination(&self, arn: &TargetGroupArn) -> Option<bool> {
        let setup = &self.group(arn)?.setup;
        (setup.kind == Kind::Nlb).then_some(setup.connection_termination)
    }

    /// `DescribeTargetHealth` without a filter: every target that is registered or draining.
    ///
    /// # Errors
    /// Throttled, denied, or the group is gone.
    pub fn targets(&mut self, arn: &TargetGroupArn) -> Result<Arc<[decamp_core::decide::Target]>, ApiError> {
        self.read_from(arn)?;
        self.group_mut(arn).map(Group::shown).ok_or(ApiError::TargetGroupNotFound)
    }

    /// `DescribeTargetHealth` without a filter, with AWS's own names.
    ///
    /// # Errors
    /// Throttled, denied, or the group is gone.
    pub fn target_views(&mut self, arn: &TargetGroupArn) -> Result<Vec<TargetView>, ApiError> {
        self.read_from(arn)?;
        self.group(arn).map(views).ok_or(ApiError::TargetGroupNotFound)
    }

    /// `DescribeTargetGroupAttributes`, of which only the delay matters.
    ///
    /// # Errors
    /// Throttled, denied, or the group is gone.
    pub fn delay(&mut self, arn: &TargetGroupArn) -> Result<Duration, ApiError> {
        self.read_from(arn)?;
        let group = self.group(arn).ok_or(ApiError::TargetGroupNotFound)?;
        if group.attributes_unreadable { Err(ApiError::AccessDenied) } else { Ok(group.setup.delay) }
    }

    /// `DescribeTargetGroups` for these groups, in one call: their kinds, in the same order.
    ///
    /// # Errors
    /// Throttled, or one of the groups is gone.
    pub fn describe_groups(&mut self, arns: &[TargetGroupArn]) -> Result<Vec<Kind>, ApiError> {
        self.read()?;
        arns.iter().map(|arn| self.group(arn).map(|g| g.setup.kind).ok_or(ApiError::TargetGroupNotFound)).collect()
    }

    /// Takes one token for a call out of the Describe bucket.
    ///
    /// # Errors
    /// Throttled.
    pub fn read(&mut self) -> Result<(), ApiError> {
        if self.reads.take(self.now) { Ok(()) } else { Err(ApiError::Throttled) }
    }

    /// All targets without a call, for the judge.
    #[must_use]
    pub fn inside(&self, arn: &TargetGroupArn) -> Vec<TargetView> {
        self.group(arn).map(views).unwrap_or_default()
    }

    /// Whether decamp may not read this target group.
    #[must_use]
    pub fn denies_reads(&self, arn: &TargetGroupArn) -> bool {
        self.group(arn).is_some_and(|group| group.denies_reads)
    }

    fn read_from(&mut self, arn: &TargetGroupArn) -> Result<(), ApiError> {
        self.read()?;
        if self.denies_reads(arn) { Err(ApiError::AccessDenied) } else { Ok(()) }
    }
}

fn views(group: &Group) -> Vec<TargetView> {
    let row =
        |e: &Entry| TargetView { id: e.id.clone(), port: e.port, zone: e.shown_zone(), state: state(e, group.setup.in_use) };
    group.entries.iter().filter(|e| e.is_listed()).map(row).collect()
}

fn state(entry: &Entry, in_use: bool) -> AwsState {
    let with = |state, reason| AwsState { state, reason: Some(reason) };
    match (entry.stage, entry.problem) {
        (TargetStage::Gone, _) => with("unused", "Target.NotRegistered"),
        (TargetStage::Draining { .. }, _) => with("draining", "Target.DeregistrationInProgress"),
        (_, Some(TargetProblem::InvalidState)) => with("unused", "Target.InvalidState"),
        (_, Some(TargetProblem::IpUnusable)) => with("unused", "Target.IpUnusable"),
        _ if !in_use => with("unused", "Target.NotInUse"),
        (_, Some(TargetProblem::HealthCheckDisabled)) => with("unavailable", "Target.HealthCheckDisabled"),
        (_, Some(TargetProblem::InternalError)) => with("unavailable", "Elb.InternalError"),
        (TargetStage::Registering, None) => with("initial", "Elb.RegistrationInProgress"),
        (TargetStage::FirstChecks, None) => with("initial", "Elb.InitialHealthChecking"),
        (TargetStage::Healthy, None) => AwsState { state: "healthy", reason: None },
        (TargetStage::Unhealthy, None) => with("unhealthy", "Target.FailedHealthChecks"),
        (TargetStage::UnhealthyDraining, None) => with("unhealthy.draining", "Target.FailedHealthChecks"),
    }
}
