//! Counts false alarms: findings that cost no request in a thousand runs of the same cluster (ADR 0021).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::drivers::Driver;
use crate::run::{Run, run_departure};
use decamp_core::decide::Loss;

/// The number of findings of one kind, and how many of them never cost a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Alarms {
    /// Findings in all clusters.
    pub named: u64,
    /// Findings that cost nothing in any run.
    pub idle: u64,
}

/// Runs each of `clusters` clusters without a fault until each of its findings has cost a request, at most `runs` times. Uses all cores.
#[must_use]
pub fn false_alarms(clusters: u64, runs: u64) -> BTreeMap<Loss, Alarms> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut mine: BTreeMap<Loss, Alarms> = BTreeMap::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if clusters <= seed {
                return mine;
            }
            for (loss, cost) in of_cluster(seed, runs) {
                let alarms = mine.entry(loss).or_default();
                alarms.named += 1;
                alarms.idle += u64::from(!cost);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let mut all: BTreeMap<Loss, Alarms> = BTreeMap::new();
        for (loss, alarms) in threads.into_iter().filter_map(|thread| thread.join().ok()).flatten() {
            let sum = all.entry(loss).or_default();
            sum.named += alarms.named;
            sum.idle += alarms.idle;
        }
        all
    })
}

/// Each finding of one cluster, and whether it ever cost a request. Rule and object identify a finding, because another run may report
/// the findings in another order.
fn of_cluster(seed: u64, runs: u64) -> Vec<(Loss, bool)> {
    let mut found: Vec<((Loss, std::sync::Arc<str>), bool)> = Vec::new();
    for again in 1..=runs {
        let report = run_departure(&Driver::Decamp, &Run { seed, again, ..Run::default() });
        for (place, finding) in report.findings.iter().take(64).enumerate() {
            let cost = report.requests.costly & 1 << place != 0;
            let name = (finding.loss, std::sync::Arc::clone(&finding.object));
            match found.iter_mut().find(|(known, _)| *known == name) {
                Some((_, ever)) => *ever |= cost,
                None => found.push((name, cost)),
            }
        }
        if found.iter().all(|(_, cost)| *cost) {
            break;
        }
    }
    found.into_iter().map(|((loss, _), cost)| (loss, cost)).collect()
}
