//! One target of a group: its health checks, its deregistration delay, and its routing lag.

use std::sync::Arc;
use std::time::Duration;

use decamp_core::decide::TargetHealth;
use decamp_core::ids::TargetId;
use decamp_core::time::Time;

/// How long health checks take to change a target's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthTimes {
    /// From registration until the first check (`Elb.RegistrationInProgress`).
    pub registration: Duration,
    /// From the first check that passes until `healthy`.
    pub up: Duration,
    /// From the first check that fails until `unhealthy`.
    pub down: Duration,
    /// For how long an unhealthy target is `unhealthy.draining` first, with an NLB. Zero with an ALB.
    pub unhealthy_draining: Duration,
}

impl Default for HealthTimes {
    fn default() -> Self {
        Self {
            registration: Duration::from_secs(1),
            up: Duration::from_secs(10),
            down: Duration::from_secs(10),
            unhealthy_draining: Duration::ZERO,
        }
    }
}

/// Another problem of a registered target. None of these deregisters it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetProblem {
    /// Its instance is stopped or terminated (`unused`, `Target.InvalidState`).
    InvalidState,
    /// Its address cannot be used (`unused`, `Target.IpUnusable`).
    IpUnusable,
    /// Checks are off (`unavailable`, `Target.HealthCheckDisabled`). The target gets requests.
    HealthCheckDisabled,
    /// Checks fail on AWS's side (`unavailable`, `Elb.InternalError`). The target gets requests.
    InternalError,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetStage {
    Registering,
    FirstChecks,
    Healthy,
    Unhealthy,
    UnhealthyDraining,
    Draining {
        since: Time,
    },
    /// No longer listed. Routing may still send to it.
    Gone,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: TargetId,
    pub(super) port: u16,
    pub(super) zone: Option<Arc<str>>,
    pub(super) stage: TargetStage,
    /// When the next timed change of the stage is due.
    pub(super) changes_at: Time,
    /// Whether the process there passes its checks.
    pub(super) answers: bool,
    pub(super) problem: Option<TargetProblem>,
    /// Until when routing still sends to it after a deregistration.
    pub(super) lags_until: Time,
}

impl Entry {
    pub(super) fn new(id: TargetId, port: u16, zone: Option<Arc<str>>) -> Self {
        let (changes_at, lags_until) = (Time::NEVER, Time(0));
        Self { id, port, zone, stage: TargetStage::Healthy, changes_at, answers: true, problem: None, lags_until }
    }

    /// When its next change is due.
    pub(super) fn next(&self, now: Time) -> Time {
        let lag = if now < self.lags_until { self.lags_until } else { Time::NEVER };
        self.changes_at.min(lag)
    }

    pub(super) fn is_registered(&self) -> bool {
        match self.stage {
            TargetStage::Registering
            | TargetStage::FirstChecks
            | TargetStage::Healthy
            | TargetStage::Unhealthy
            | TargetStage::UnhealthyDraining => true,
            TargetStage::Draining { .. } | TargetStage::Gone => false,
        }
    }

    pub(super) fn is_listed(&self) -> bool {
        self.stage != TargetStage::Gone
    }

    /// Whether it is neither listed nor routed to any more.
    pub(super) fn is_over(&self, now: Time) -> bool {
        self.stage == TargetStage::Gone && self.lags_until <= now
    }

    /// The zone that the list shows. It shows none for an instance target (facts/aws.md 3.8).
    pub(super) fn shown_zone(&self) -> Option<Arc<str>> {
        self.zone.clone().filter(|_| !matches!(self.id, TargetId::Instance(_)))
    }

    /// Whether it was deregistered and routing still sends to it.
    pub(super) fn lags(&self, now: Time) -> bool {
        !self.is_registered() && now < self.lags_until
    }

    /// Whether it gets requests because of its own health, if its group is in use.
    pub(super) fn is_fit(&self) -> bool {
        match self.problem {
            Some(TargetProblem::InvalidState | TargetProblem::IpUnusable) => false,
            Some(TargetProblem::HealthCheckDisabled | TargetProblem::InternalError) => self.is_registered(),
            None => self.stage == TargetStage::Healthy,
        }
    }

    /// Whether it gets requests when no target is fit, because load balancers fail open.
    pub(super) fn is_last_resort(&self) -> bool {
        self.is_registered() && !matches!(self.problem, Some(TargetProblem::InvalidState | TargetProblem::IpUnusable))
    }

    pub(super) fn health(&self, in_use: bool) -> TargetHealth {
        match (self.stage, self.problem) {
            (TargetStage::Gone, _) => TargetHealth::NotRegistered,
            (TargetStage::Draining { .. }, _) => TargetHealth::Draining,
            (_, Some(TargetProblem::InvalidState | TargetProblem::IpUnusable)) => TargetHealth::RegisteredUnused,
            _ if !in_use => TargetHealth::RegisteredUnused,
            (_, Some(TargetProblem::HealthCheckDisabled | TargetProblem::InternalError)) => TargetHealth::Registered,
            (TargetStage::Healthy, None) => TargetHealth::Healthy,
            (
                TargetStage::Registering | TargetStage::FirstChecks | TargetStage::Unhealthy | TargetStage::UnhealthyDraining,
                None,
            ) => TargetHealth::Registered,
        }
    }

    pub(super) fn register(&mut self, now: Time, times: &HealthTimes) {
        self.stage = TargetStage::Registering;
        self.changes_at = now + times.registration;
        self.problem = None;
    }

    pub(super) fn deregister(&mut self, now: Time, delay: Duration, lags_until: Time) {
        self.lags_until = lags_until;
        if delay.is_zero() {
            self.stage = TargetStage::Gone;
            self.changes_at = Time::NEVER;
        } else {
            self.stage = TargetStage::Draining { since: now };
            self.changes_at = now + delay;
        }
    }

    /// The process there began or ceased to pass its checks.
    pub(super) fn answer(&mut self, now: Time, answers: bool, times: &HealthTimes) {
        self.answers = answers;
        self.changes_at = match (self.stage, answers) {
            (TargetStage::Healthy, false) => now + times.down,
            (TargetStage::Unhealthy | TargetStage::UnhealthyDraining, true) => now + times.up,
            (TargetStage::FirstChecks, true) => now + times.up,
            (TargetStage::FirstChecks, false) => now + times.down,
            (TargetStage::Healthy, true) | (TargetStage::Unhealthy, false) => Time::NEVER,
            (TargetStage::UnhealthyDraining, false)
            | (TargetStage::Registering | TargetStage::Draining { .. } | TargetStage::Gone, _) => self.changes_at,
        };
    }

    /// Makes the change of the stage that is due.
    pub(super) fn change_stage(&mut self, now: Time, times: &HealthTimes) {
        self.changes_at = Time::NEVER;
        self.stage = match self.stage {
            TargetStage::Registering => {
                self.changes_at = now + if self.answers { times.up } else { times.down };
                TargetStage::FirstChecks
            }
            TargetStage::FirstChecks | TargetStage::Healthy | TargetStage::Unhealthy if self.answers => TargetStage::Healthy,
            TargetStage::UnhealthyDraining if self.answers => TargetStage::Healthy,
            TargetStage::Healthy if !times.unhealthy_draining.is_zero() => {
                self.changes_at = now + times.unhealthy_draining;
                TargetStage::UnhealthyDraining
            }
            TargetStage::FirstChecks | TargetStage::Healthy | TargetStage::Unhealthy | TargetStage::UnhealthyDraining => {
                TargetStage::Unhealthy
            }
            TargetStage::Draining { .. } | TargetStage::Gone => TargetStage::Gone,
        };
    }
}
