//! L4 and S13: what a departure may cost in calls.

use std::time::Duration;

use super::Oracle;
use crate::run::WorkMode;
use crate::world::Calls;
use decamp_core::time::Time;

impl Oracle {
    /// L4: no wait costs more than a call a second and worker, and the departure itself a hundred.
    pub fn steady(&mut self, at: Time, calls: Calls, took: Duration, workers: usize, work_mode: WorkMode, allocations: usize) {
        let all = calls.aws + calls.nomad + calls.consul;
        // Each allocation may wake a watch as it begins to stop, stops its tasks, and ends: two reads each time.
        let each = 100 + 8 * allocations as u64;
        let workers = workers as u64;
        let allowed = match work_mode {
            WorkMode::Continuous => (took.as_secs() + each).saturating_mul(workers),
            // One message and one sweep at a time; each pass looks at everything anew.
            WorkMode::Passes(_) => (took.as_secs() + each).saturating_mul(2) + 40 * workers,
        };
        if allowed < u64::from(all) {
            self.broke(at, "L4", format!("{all} calls in {}", decamp_core::time::plain(took)));
        }
    }

    /// S13: without a fault a departure costs no more calls of AWS than 5 for each target group, and 6; with workers that remember
    /// groups and hooks (`warm`) no more than 4, and 3, and its heartbeats, of which a short departure has few.
    pub fn thrifty(&mut self, at: Time, calls: Calls, groups: usize, warm: bool) {
        let groups = u32::try_from(groups).unwrap_or(u32::MAX / 8);
        let cold = 5 * groups + 6;
        let budget = if warm { cold.min(4 * groups + 3 + self.heartbeats) } else { cold };
        if budget < calls.aws {
            let word = if warm { "warm" } else { "cold" };
            self.broke(at, "S13", format!("{} calls of AWS by a {word} worker, {budget} are enough", calls.aws));
        }
    }
}
