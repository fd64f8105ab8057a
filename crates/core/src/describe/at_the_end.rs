//! What is logged and counted at the end of a departure: how its tasks stopped, and what was foreseen compared with what was seen.

use tracing::{info, warn};

use super::DecisionLog;
use crate::decide::{
    Cause, Compared, Departure, Finding, Match, Outcome, Policy, Snapshot, StopKind, compare, stop_evidence, stop_findings, stops,
};

impl DecisionLog<'_> {
    /// Logs how each task stopped, at the end. A task that had to be killed, or that died of its signal, is a warning.
    pub(super) fn log_stops(&mut self, departure: &Departure, seen: &Snapshot) {
        let (instance, asg) = (departure.instance, &*departure.asg);
        for line in stop_evidence(departure, seen, self.policy) {
            info!(instance.id = %instance, asg.name = asg, action = "stopped", "{line}");
        }
        self.stopped = stop_findings(departure, seen, self.policy);
        for finding in &self.stopped {
            let Finding { layer, loss, object, value, needed, why, line } = finding;
            warn!(
                instance.id = %instance, asg.name = asg, action = "stopped", layer = layer.word(), loss = loss.word(),
                object = &**object, value, needed, why, line, "stopped: {finding}"
            );
        }
    }

    /// Compares what was foreseen with what was seen, at the end, and logs it.
    pub(super) fn compare(&mut self, departure: &Departure, seen: &Snapshot, outcome: &Outcome) {
        self.compared = compare(departure, seen, self.policy, &self.foreseen, outcome);
        log_compared(departure, &self.compared);
    }
}

/// Logs each comparison. What was seen and not foreseen is a warning.
pub fn log_compared(departure: &Departure, compared: &[Compared]) {
    let (instance, asg) = (departure.instance, &*departure.asg);
    for one in compared {
        let Compared { result, object, .. } = one;
        if *result == Match::SeenNotForeseen {
            warn!(
                instance.id = %instance, asg.name = asg, action = "compared", result = result.word(), finding = one.finding(),
                object = &**object, "{one}"
            );
        } else {
            info!(
                instance.id = %instance, asg.name = asg, action = "compared", result = result.word(), finding = one.finding(),
                object = &**object, "{one}"
            );
        }
    }
}

/// Whether this worker's completion ended the departure. Only that worker counts what happened.
fn ended_here(departure: &Departure, seen: &Snapshot) -> bool {
    seen.history.completed.is_some() || matches!(departure.cause, Cause::Interruption { .. })
}

/// How many tasks of this departure stopped in each way that may have cut something, for a metric. Only the worker whose completion ended
/// the departure counts them.
#[must_use]
pub fn hard_stops(departure: &Departure, seen: &Snapshot, policy: &Policy) -> Vec<(StopKind, u32)> {
    let all = if ended_here(departure, seen) { stops(departure, seen, policy) } else { Vec::new() };
    let of = |kind| all.iter().map(|task| u32::try_from(task.count(kind)).unwrap_or(u32::MAX)).fold(0, u32::saturating_add);
    StopKind::CUT.into_iter().map(|kind| (kind, of(kind))).filter(|(_, count)| 0 < *count).collect()
}

/// The comparisons of a departure, counted for metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComparisonCounts {
    /// How many had each result.
    pub results: Vec<(Match, u32)>,
    /// The rules that should have found what was seen and not foreseen.
    pub not_foreseen: Vec<(&'static str, u32)>,
}

impl ComparisonCounts {
    /// Counts them. Only the worker whose completion ended the departure does.
    #[must_use]
    pub fn of(departure: &Departure, seen: &Snapshot, compared: &[Compared]) -> Self {
        let mut counts = Self::default();
        for one in compared.iter().filter(|_| ended_here(departure, seen)) {
            add(&mut counts.results, one.result);
            if one.result == Match::SeenNotForeseen {
                add(&mut counts.not_foreseen, one.finding());
            }
        }
        counts
    }
}

/// Adds one to a row.
fn add<K: PartialEq>(rows: &mut Vec<(K, u32)>, key: K) {
    match rows.iter_mut().find(|(known, _)| *known == key) {
        Some((_, count)) => *count = count.saturating_add(1),
        None => rows.push((key, 1)),
    }
}
