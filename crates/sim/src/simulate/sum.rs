//! Sums over many departures.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::faults::{Fault, Faults};
use crate::oracle::Violation;
use crate::run::RunReport;

/// How many broken seeds are kept. The others are only counted.
const KEPT: usize = 2000;

/// A departure that broke an invariant or in which the driver lost a request.
#[derive(Debug, Clone)]
pub struct Broken {
    /// Its seed.
    pub seed: u64,
    /// The invariants that were broken.
    pub violations: Vec<Violation>,
    /// Requests that the driver lost.
    pub attributable: u64,
    /// A description of the first of them.
    pub example: Option<String>,
}

/// Sums over departures.
#[derive(Debug, Clone, Default)]
pub struct Sum {
    /// Departures run.
    pub departures: u64,
    /// Requests sent.
    pub requests: u64,
    /// Requests failed: attributable to the driver, foreseen, the world's.
    pub failed: [u64; 3],
    /// Violations.
    pub violations: u64,
    /// How often each outcome occurred.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// How often each fault was drawn.
    pub faults: BTreeMap<&'static str, u64>,
    /// Effects that took place.
    pub effects: u64,
    /// How often a worker was killed right before (`false`) or right after (`true`) its n-th effect.
    pub crashes: BTreeMap<(u32, bool), u64>,
    /// Milliseconds above the floor of departures in order: first those that drained after the delay, then those that drained beside it.
    pub above_floor: [Vec<u32>; 2],
    /// Calls of AWS above 5G + 6 in departures without faults, where G is the number of target groups. It should be 0.
    pub calls_over: u64,
    /// Calls of AWS.
    pub aws_calls: u64,
    /// The first broken seeds.
    pub broken: Vec<Broken>,
    /// How many departures were broken.
    pub broken_count: u64,
    /// The elapsed real time.
    pub took: Duration,
}

impl Sum {
    /// Adds a departure.
    pub fn add(&mut self, seed: u64, faults: Faults, report: &RunReport) {
        self.departures += 1;
        let requests = &report.requests;
        self.requests += requests.sent;
        self.failed[0] += requests.attributable;
        self.failed[1] += requests.foreseen;
        self.failed[2] += requests.worlds;
        self.violations += report.violations.len() as u64;
        *self.outcomes.entry(report.outcome.as_ref().map_or("never-ended", |o| o.word())).or_default() += 1;
        for fault in faults.iter() {
            *self.faults.entry(Fault::name(fault)).or_default() += 1;
        }
        self.effects += u64::from(report.effects);
        for point in &report.crashed {
            *self.crashes.entry((point.effect, point.after)).or_default() += 1;
        }
        self.aws_calls += u64::from(report.calls.aws);
        if faults.is_empty() {
            let budget = 5 * u32::try_from(report.groups).unwrap_or(0) + 6;
            self.calls_over += u64::from(report.calls.aws.saturating_sub(budget));
            if let Some(above) = report.above_floor {
                let millis = u32::try_from(above.as_millis()).unwrap_or(u32::MAX);
                self.above_floor[usize::from(report.overlapped)].push(millis);
            }
        }
        if !report.violations.is_empty() || 0 < requests.attributable {
            self.broken_count += 1;
            if self.broken.len() < KEPT {
                self.broken.push(Broken {
                    seed,
                    violations: report.violations.clone(),
                    attributable: requests.attributable,
                    example: requests.example.clone(),
                });
            }
        }
    }

    /// Whether anything was broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        0 < self.broken_count
    }

    /// Adds two sums.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.departures += other.departures;
        self.requests += other.requests;
        for (mine, theirs) in self.failed.iter_mut().zip(other.failed) {
            *mine += theirs;
        }
        self.violations += other.violations;
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        self.effects += other.effects;
        for (point, count) in other.crashes {
            *self.crashes.entry(point).or_default() += count;
        }
        for (mine, theirs) in self.above_floor.iter_mut().zip(other.above_floor) {
            mine.extend(theirs);
        }
        self.calls_over += other.calls_over;
        self.aws_calls += other.aws_calls;
        self.broken.extend(other.broken);
        self.broken.sort_by_key(|broken| broken.seed);
        self.broken.truncate(KEPT);
        self.broken_count += other.broken_count;
        self
    }

    /// A percentile of the milliseconds above the floor; `None` if none was measured.
    #[must_use]
    pub fn above_floor_at(&self, overlapped: bool, percent: usize) -> Option<u32> {
        let mut millis = self.above_floor[usize::from(overlapped)].clone();
        millis.sort_unstable();
        let last = millis.len().checked_sub(1)?;
        millis.get((millis.len() * percent / 100).min(last)).copied()
    }
}
