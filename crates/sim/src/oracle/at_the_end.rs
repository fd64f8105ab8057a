//! L1, L2 and S9: the checks of a whole departure at its end.

use std::time::Duration;

use super::Oracle;
use crate::api_faults::ApiFaults;
use crate::auto_scaling::Ending;
use decamp_core::decide::Outcome;
use decamp_core::time::Time;

impl Oracle {
    /// Whether nobody may complete the action, and a worker that comes long after a drain or a note takes it for an earlier departure's. Then
    /// sweeps begin anew until the hook's own end.
    pub(super) fn begins_anew(&self) -> bool {
        self.bounds.entry_is_unreported && self.bounds.denied_for_good
    }

    /// How long heartbeats keep a hook alive (facts/aws.md 2.1).
    pub(super) fn hook_lives_on(&self) -> Duration {
        self.bounds.heartbeat_timeout * 100
    }

    /// Called at the end: L1, L2, S9.
    pub fn check_end(
        &mut self,
        at: Time,
        outcome: Option<&Outcome>,
        faultless: bool,
        heartbeat_timeout: Duration,
        api_faults: &ApiFaults,
    ) {
        let lives = self.hook_began.is_some_and(|began| at < began + self.hook_lives_on());
        if outcome.is_none() && !(self.begins_anew() && lives) {
            self.broke(at, "L1", "no worker ever ended it".to_owned());
        }
        if faultless && !self.finished(outcome) {
            let word = outcome.map_or("nothing", Outcome::word);
            self.broke(at, "L2", format!("it could finish, and ended as {word}"));
        }
        if let Some((ended, Ending::Expired(_) | Ending::GlobalTimeout(_))) = self.action_ended {
            let lease = ended.before(heartbeat_timeout);
            let excused = self.ran_too_late(ended) || api_faults.auto_scaling_failed(lease, ended);
            if !excused {
                self.broke(ended, "S9", "the hook ran out although a worker was running".to_owned());
            }
        }
    }
}
