//! Workers as in the Lambda: passes that end before the departure does, gaps between them, and a sweep each minute (ADR 0017).

use std::time::Duration;

use crate::faults::{Fault, Faults};
use crate::rng::Rng;
use crate::worker::Worker;
use decamp_core::decide::{Departure, Noted, Policy, last_heartbeat};
use decamp_core::run::{Ending, Observer, RunOptions, RunResult};
use decamp_core::sweep::Sweep;
use decamp_core::time::Time;
use decamp_core::world::World;

/// The schedule invokes the sweep this often.
pub(super) const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// How many calls of Auto Scaling a process makes in a second, by default.
const CALLS_A_SECOND: u32 = 15;
/// The longest that a message stays hidden after a pass has handed it back.
const HIDDEN: Duration = Duration::from_secs(5);
/// The longest from the reappearance of a message to its pass.
const POLLED_WITHIN: Duration = Duration::from_secs(1);
/// The longest that a message stays hidden after its pass has died.
const VISIBILITY: Duration = Duration::from_secs(360);
/// How many answers a pass needs, one after the other, before its first write.
const ANSWERS: u32 = 6;
/// decamp refuses the function for a hook whose time-out is shorter (ADR 0017).
const SHORTEST_HEARTBEAT: Duration = Duration::from_secs(180);

/// How the workers of one departure work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkMode {
    /// Each worker continues until the departure is over, as in the service and on the command line.
    Continuous,
    /// In passes, as the Lambda does.
    Passes(Passes),
}

/// The passes of one departure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passes {
    /// How long a pass runs.
    pub length: Duration,
    /// Whether the process stays warm between passes and keeps its memory.
    pub warm: bool,
    /// The hook's heartbeat time-out.
    pub heartbeat_timeout: Duration,
    /// Whether no message ever comes, so that sweeps alone bring the departure to its end.
    pub sweeps_alone: bool,
    /// Whether a message that is handed back stays hidden for its whole visibility time-out.
    pub late: bool,
}

/// What a pass can store in the cluster, and how long it must wait for load balancers. If it can store nothing, it must be long enough.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    /// Whether node metadata can be written.
    pub(super) notes: bool,
    /// The longest that a load balancer may route to a target after it no longer lists it.
    pub(super) guard: Duration,
}

impl WorkMode {
    /// Draws how the workers of this seed work. Half of all departures run in passes.
    pub(super) fn draw(seed: u64, faults: Faults, heartbeat_timeout: Duration, needs: Needs) -> Self {
        let mut rng = Rng::new(seed ^ 0x000b_a55e_5000_0001);
        let sweeps_alone = faults.has(Fault::SweepsAlone) || faults.has(Fault::LostEvent);
        let drawn = rng.one_in(2) || faults.has(Fault::SweepsAlone) || faults.has(Fault::MessageLate);
        let lengths = [10, 25, 55, 14 * 60];
        let length = Duration::from_secs(lengths[usize::try_from(rng.below(4)).unwrap_or(0)]);
        let warm = rng.one_in(2);
        // A notice of two minutes leaves no time for the gaps between passes, and decamp refuses a short hook.
        let possible = !faults.has(Fault::SpotInterruption) && SHORTEST_HEARTBEAT <= heartbeat_timeout;
        if !(drawn && possible) {
            return Self::Continuous;
        }
        let forgets = !needs.notes && !warm;
        // `decamp check` rejects passes that are too short for the guard, and operators do not run them.
        let (length, warm) = match forgets {
            true if sweeps_alone => (length, true),
            true if length <= needs.guard * 2 => (Duration::from_secs(14 * 60), warm),
            true | false => (length, warm),
        };
        let late = faults.has(Fault::MessageLate);
        Self::Passes(Passes { length, warm, heartbeat_timeout, sweeps_alone, late })
    }
}

impl WorkMode {
    /// How long a pass waits again for something that another pass waited for: a load balancer's guard, if its beginning is neither stored
    /// nor remembered.
    pub(super) fn repeated_wait(self, needs: Needs) -> Duration {
        match self {
            Self::Passes(passes) if !needs.notes && !passes.warm => needs.guard,
            Self::Passes(_) | Self::Continuous => Duration::ZERO,
        }
    }

    /// Whether no message ever comes.
    pub(super) fn is_swept_alone(self) -> bool {
        matches!(self, Self::Passes(Passes { sweeps_alone: true, .. }))
    }
}

impl Passes {
    /// When the message that a pass has handed back starts the next pass.
    pub(super) fn next(&self, now: Time, rng: &mut Rng) -> Time {
        if self.late {
            return self.redelivered(now, rng);
        }
        now + HIDDEN.min(self.heartbeat_timeout / 6) + rng.span(Duration::ZERO, POLLED_WITHIN)
    }

    /// When the message of a pass that died starts the next pass.
    pub(super) fn redelivered(&self, now: Time, rng: &mut Rng) -> Time {
        now + VISIBILITY.min(self.heartbeat_timeout / 2) + rng.span(Duration::ZERO, POLLED_WITHIN)
    }

    /// The longest time in which no worker looks that could take the next step. A sweep knows by a note, or by the memory of its own
    /// process, when a wait began. With neither (`notes` is false and the process is not warm) a sweep begins each wait again, and only
    /// the passes of the message make progress.
    #[must_use]
    pub fn longest_gap(&self, notes: bool) -> Duration {
        let visibility = VISIBILITY.min(self.heartbeat_timeout / 2) + POLLED_WITHIN;
        match (self.late, self.sweeps_alone) {
            (true, false) if !notes && !self.warm => visibility,
            (true, _) | (false, true) => SWEEP_EVERY,
            (false, false) => HIDDEN + POLLED_WITHIN,
        }
    }

    /// Whether a pass is over before it can take a step, because each answer takes this much longer. A pass reads the node and its
    /// allocations, then the owners of the addresses, then the node again before it concludes anything. It needs each of these reads, and
    /// operators do not run so short a function with servers so slow.
    pub(super) fn is_too_short(&self, slower: Duration) -> bool {
        self.length <= slower * ANSWERS
    }

    /// The options of a worker of this departure.
    pub(super) fn manner<'a>(&self, sweep: bool, now: Time, remembered: &'a [Noted]) -> RunOptions<'a> {
        let remembered = if self.warm { remembered } else { &[] };
        let number = sweep.then(|| Sweep::begin(now, SWEEP_EVERY, 1, CALLS_A_SECOND));
        RunOptions { stop_at: Some(now + self.length), never_wait: sweep, remembered, sweep: number, ..RunOptions::default() }
    }
}

/// Does what the Lambda does when a pass ends before its departure: it sends a last heartbeat.
pub(super) async fn hand_back(
    worker: &Worker<'_>,
    departure: &Departure,
    policy: &Policy,
    ending: &Ending,
    tell: &mut dyn Observer,
) {
    if ending.how != RunResult::HandedBack {
        return;
    }
    if let Some(heartbeat) = last_heartbeat(departure, &ending.seen, policy, worker.now()) {
        let answer = worker.act(departure, &heartbeat).await;
        tell.wrote(departure, &heartbeat, &answer, worker.now());
    }
}
