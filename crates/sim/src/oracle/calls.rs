//! L4 and S13: how many calls a departure may make.

use std::time::Duration;

use super::Oracle;
use crate::run::WorkMode;
use crate::world::Calls;
use decamp_core::time::Time;

impl Oracle {
    /// L4: a worker makes at most one call a second while it waits, and a departure makes at most a hundred more.
    pub fn check_call_rate(
        &mut self,
        at: Time,
        calls: Calls,
        took: Duration,
        workers: usize,
        work_mode: WorkMode,
        allocations: usize,
    ) {
        let all = calls.aws + calls.nomad + calls.consul;
        // Each allocation may wake a watch when it begins to stop, when its tasks stop, and when it ends, with two reads each time.
        let each = 100 + 8 * allocations as u64;
        let workers = workers as u64;
        let allowed = match work_mode {
            WorkMode::Continuous => (took.as_secs() + each).saturating_mul(workers),
            // There is one message and one sweep at a time, and each pass looks at everything again.
            WorkMode::Passes(_) => (took.as_secs() + each).saturating_mul(2) + 40 * workers,
        };
        if allowed < u64::from(all) {
            self.broke(at, "L4", format!("{all} calls in {}", decamp_core::time::plain(took)));
        }
    }

    /// S13: without faults a departure makes at most 5 calls of AWS for each target group, and 6 more. With workers that remember groups
    /// and hooks (`warm`) it makes at most 4 for each, 3 more, and its heartbeats, of which a short departure has few.
    pub fn check_call_budget(&mut self, at: Time, calls: Calls, groups: usize, warm: bool) {
        let groups = u32::try_from(groups).unwrap_or(u32::MAX / 8);
        let cold = 5 * groups + 6;
        let budget = if warm { cold.min(4 * groups + 3 + self.heartbeats) } else { cold };
        if budget < calls.aws {
            let word = if warm { "warm" } else { "cold" };
            self.broke(at, "S13", format!("{} calls of AWS by a {word} worker, {budget} are enough", calls.aws));
        }
    }
}
