//! Drivers: decamp's rules, the baselines that they are compared with, and wrong drivers that the simulator must catch.

mod baselines;
#[cfg(feature = "mutants")]
mod mutants;

use decamp_core::decide::{Compared, Decision, Departure, Finding, Outcome, Policy, Snapshot, TaskStops, compare, decide, stops};
use decamp_core::time::Time;

#[cfg(feature = "mutants")]
pub use self::mutants::Mutant;

/// A driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// decamp.
    Decamp,
    /// Completes the action at once, as a group without a hook does.
    TerminateAtOnce,
    /// Drains and completes when Nomad says "complete", as most scripts do.
    DrainOnly,
    /// Drains first, then deregisters and waits.
    DrainThenDeregister,
    /// Deregisters and drains at the same time, without regard to the processes behind the targets.
    NaiveOverlap,
    /// A wrong driver.
    #[cfg(feature = "mutants")]
    Mutant(Mutant),
}

impl Driver {
    /// The drivers that a user can choose, with their names.
    pub const NAMED: [(&'static str, Self); 5] = [
        ("terminate-at-once", Self::TerminateAtOnce),
        ("drain-only", Self::DrainOnly),
        ("drain-then-deregister", Self::DrainThenDeregister),
        ("naive-overlap", Self::NaiveOverlap),
        ("decamp", Self::Decamp),
    ];

    /// The driver's next step.
    #[must_use]
    pub fn decide(&self, departure: &Departure, seen: &Snapshot, policy: &Policy, now: Time) -> Decision {
        match self {
            Self::Decamp => decide(departure, seen, policy, now),
            Self::TerminateAtOnce => baselines::terminate_at_once(departure, seen),
            Self::DrainOnly => baselines::drain_only(departure, seen, now),
            Self::DrainThenDeregister => baselines::drain_then_deregister(departure, seen, policy, now),
            Self::NaiveOverlap => baselines::naive_overlap(departure, seen, policy, now),
            #[cfg(feature = "mutants")]
            Self::Mutant(mutant) => mutant.decide(departure, seen, policy, now),
        }
    }

    /// What the driver says of how tasks stopped, at the end.
    #[must_use]
    pub fn stops(&self, departure: &Departure, seen: &Snapshot, policy: &Policy) -> Vec<TaskStops> {
        match self {
            Self::Decamp | Self::TerminateAtOnce | Self::DrainOnly | Self::DrainThenDeregister | Self::NaiveOverlap => {
                stops(departure, seen, policy)
            }
            #[cfg(feature = "mutants")]
            Self::Mutant(mutant) => mutant.stops(departure, seen, policy),
        }
    }

    /// What the driver says of its findings at the end.
    #[must_use]
    pub fn compared(
        &self,
        departure: &Departure,
        seen: &Snapshot,
        policy: &Policy,
        reported: &[Finding],
        outcome: &Outcome,
    ) -> Vec<Compared> {
        let compared = compare(departure, seen, policy, reported, outcome);
        match self {
            Self::Decamp | Self::TerminateAtOnce | Self::DrainOnly | Self::DrainThenDeregister | Self::NaiveOverlap => compared,
            #[cfg(feature = "mutants")]
            Self::Mutant(mutant) => mutant.compared(compared),
        }
    }

    /// The findings that the driver reports before its first write.
    #[must_use]
    pub fn reported(&self, findings: Vec<Finding>) -> Vec<Finding> {
        match self {
            Self::Decamp | Self::TerminateAtOnce | Self::DrainOnly | Self::DrainThenDeregister | Self::NaiveOverlap => findings,
            #[cfg(feature = "mutants")]
            Self::Mutant(mutant) => findings.into_iter().filter(|finding| mutant.reports(finding)).collect(),
        }
    }
}
