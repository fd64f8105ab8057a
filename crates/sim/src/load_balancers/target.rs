//! One target of a group: its checks, its deregistration delay, and until when routing still knows it.

use std::sync::Arc;
use std::time::Duration;

use decamp_core::decide::TargetHealth;
use decamp_core::ids::TargetId;
use decamp_core::time::Time;

/// How long health checks take to make up their mind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthTimes {
    /// From registration until the first check (`Elb.RegistrationInProgress`).
    pub registration: Duration,
    /// From the first check that passes until `healthy`.
    pub up: Duration,
    /// From the first check that fails until `unhealthy`.
    pub down: Duration,
    /// NLB: how long an unhealthy target is `unhealthy.draining` first; zero for ALB.
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

/// What else may be wrong with a registered target. None of these deregisters it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// Its instance is stopped or terminated (`unused`, `Target.InvalidState`).
    InvalidState,
    /// Its address cannot be used (`unused`, `Target.IpUnusable`).
    IpUnusable,
    /// Checks are off (`unavailable`, `Target.HealthCheckDisabled`); it is routed to.
    HealthCheckDisabled,
    /// Checks fail on AWS's side (`unavailable`, `Elb.InternalError`); it is routed to.
    InternalError,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Registering,
    FirstChecks,
    Healthy,
    Unhealthy,
    UnhealthyDraining,
    Draining {
        since: Time,
    },
    /// No longer listed, but routing may still know it.
    Gone,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: TargetId,
    pub(super) port: u16,
    pub(super) zone: Option<Arc<str>>,
    pub(super) stage: Stage,
    /// When the stage changes by itself.
    pub(super) turns: Time,
    /// Whether what listens there passes its checks.
    pub(super) answers: bool,
    pub(super) oddity: Option<Oddity>,
    /// After a deregistration: until when routing still sends to it.
    pub(super) lags_until: Time,
}

impl Entry {
    pub(super) fn new(id: TargetId, port: u16, zone: Option<Arc<str>>) -> Self {
        let (turns, lags_until) = (Time::NEVER, Time(0));
        Self { id, port, zone, stage: Stage::Healthy, turns, answers: true, oddity: None, lags_until }
    }

    /// When something changes next.
    pub(super) fn next(&self, now: Time) -> Time {
        let lag = if now < self.lags_until { self.lags_until } else { Time::NEVER };
        self.turns.min(lag)
    }

    pub(super) fn is_registered(&self) -> bool {
        match self.stage {
            Stage::Registering | Stage::FirstChecks | Stage::Healthy | Stage::Unhealthy | Stage::UnhealthyDraining => true,
            Stage::Draining { .. } | Stage::Gone => false,
        }
    }

    pub(super) fn is_listed(&self) -> bool {
        self.stage != Stage::Gone
    }

    /// Whether nothing knows it any more.
    pub(super) fn is_over(&self, now: Time) -> bool {
        self.stage == Stage::Gone && self.lags_until <= now
    }

    /// The zone that the list shows: that of an instance target is not (facts/aws.md 3.8).
    pub(super) fn shown_zone(&self) -> Option<Arc<str>> {
        self.zone.clone().filter(|_| !matches!(self.id, TargetId::Instance(_)))
    }

    /// Whether it was deregistered, and routing has not heard of that.
    pub(super) fn lags(&self, now: Time) -> bool {
        !self.is_registered() && now < self.lags_until
    }

    /// Whether requests are sent to it for its own sake, its group being in use.
    pub(super) fn is_fit(&self) -> bool {
        match self.oddity {
            Some(Oddity::InvalidState | Oddity::IpUnusable) => false,
            Some(Oddity::HealthCheckDisabled | Oddity::InternalError) => self.is_registered(),
            None => self.stage == Stage::Healthy,
        }
    }

    /// Whether requests are sent to it when no target is fit: balancers fail open.
    pub(super) fn is_last_resort(&self) -> bool {
        self.is_registered() && !matches!(self.oddity, Some(Oddity::InvalidState | Oddity::IpUnusable))
    }

    pub(super) fn health(&self, in_use: bool) -> TargetHealth {
        match (self.stage, self.oddity) {
            (Stage::Gone, _) => TargetHealth::NotRegistered,
            (Stage::Draining { .. }, _) => TargetHealth::Draining,
            (_, Some(Oddity::InvalidState | Oddity::IpUnusable)) => TargetHealth::RegisteredUnused,
            _ if !in_use => TargetHealth::RegisteredUnused,
            (_, Some(Oddity::HealthCheckDisabled | Oddity::InternalError)) => TargetHealth::Registered,
            (Stage::Healthy, None) => TargetHealth::Healthy,
            (Stage::Registering | Stage::FirstChecks | Stage::Unhealthy | Stage::UnhealthyDraining, None) => {
                TargetHealth::Registered
            }
        }
    }

    pub(super) fn register(&mut self, now: Time, times: &HealthTimes) {
        self.stage = Stage::Registering;
        self.turns = now + times.registration;
        self.oddity = None;
    }

    pub(super) fn deregister(&mut self, now: Time, delay: Duration, lags_until: Time) {
        self.lags_until = lags_until;
        if delay.is_zero() {
            self.stage = Stage::Gone;
            self.turns = Time::NEVER;
        } else {
            self.stage = Stage::Draining { since: now };
            self.turns = now + delay;
        }
    }

    /// What listens there began or ceased to pass its checks.
    pub(super) fn answer(&mut self, now: Time, answers: bool, times: &HealthTimes) {
        self.answers = answers;
        self.turns = match (self.stage, answers) {
            (Stage::Healthy, false) => now + times.down,
            (Stage::Unhealthy | Stage::UnhealthyDraining, true) => now + times.up,
            (Stage::FirstChecks, true) => now + times.up,
            (Stage::FirstChecks, false) => now + times.down,
            (Stage::Healthy, true) | (Stage::Unhealthy, false) => Time::NEVER,
            (Stage::UnhealthyDraining, false) | (Stage::Registering | Stage::Draining { .. } | Stage::Gone, _) => self.turns,
        };
    }

    /// Takes the step that is due.
    pub(super) fn turn(&mut self, now: Time, times: &HealthTimes) {
        self.turns = Time::NEVER;
        self.stage = match self.stage {
            Stage::Registering => {
                self.turns = now + if self.answers { times.up } else { times.down };
                Stage::FirstChecks
            }
            Stage::FirstChecks | Stage::Healthy | Stage::Unhealthy if self.answers => Stage::Healthy,
            Stage::UnhealthyDraining if self.answers => Stage::Healthy,
            Stage::Healthy if !times.unhealthy_draining.is_zero() => {
                self.turns = now + times.unhealthy_draining;
                Stage::UnhealthyDraining
            }
            Stage::FirstChecks | Stage::Healthy | Stage::Unhealthy | Stage::UnhealthyDraining => Stage::Unhealthy,
            Stage::Draining { .. } | Stage::Gone => Stage::Gone,
        };
    }
}
