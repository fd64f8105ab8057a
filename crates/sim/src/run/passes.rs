//! Workers as the Lambda has them: passes that end before the departure does, gaps between them, and a sweep each minute (0017).

use std::time::Duration;

use crate::faults::{Fault, Faults};
use crate::rng::Rng;
use crate::worker::Worker;
use decamp_core::decide::{Departure, Noted, Policy, last_heartbeat};
use decamp_core::run::{Ending, How, Manner, Tell};
use decamp_core::sweep::Sweep;
use decamp_core::time::Time;
use decamp_core::world::World;

/// The schedule invokes the sweep this often.
pub(super) const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// How many calls of Auto Scaling a process makes, by default.
const CALLS_A_SECOND: u32 = 15;
/// A message that a pass hands back stays hidden for this long at most.
const HIDDEN: Duration = Duration::from_secs(5);
/// From a message's reappearance to the pass that it begins.
const POLLED_WITHIN: Duration = Duration::from_secs(1);
/// A message whose pass died stays hidden for this long at most.
const VISIBILITY: Duration = Duration::from_secs(360);
/// The answers that a pass needs, one after the other, before it takes a step.
const ANSWERS: u32 = 6;
/// The function is refused where the hook's time-out is shorter (0017).
const SHORTEST_HEARTBEAT: Duration = Duration::from_secs(180);

/// How the workers of one departure work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkMode {
    /// Each goes on until the departure is over, as the service and the command line do.
    Continuous,
    /// In passes, as the Lambda does.
    Passes(Passes),
}

/// The passes of one departure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passes {
    /// A pass looks and acts for this long.
    pub length: Duration,
    /// Whether the process stays warm between them, with its memory.
    pub warm: bool,
    /// The hook's heartbeat time-out.
    pub heartbeat_timeout: Duration,
    /// Whether no message ever comes, so that the sweep alone ends the departure.
    pub sweeps_alone: bool,
    /// Whether the message is never handed back early: it stays hidden until its visibility is over.
    pub late: bool,
}

/// What the cluster lets a pass write down and what it must wait for: where nothing can be written, a pass must be long enough.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    /// Whether node metadata can be written.
    pub(super) notes: bool,
    /// The longest that a load balancer may route to a target after it left the list.
    pub(super) guard: Duration,
}

impl WorkMode {
    /// How the workers of this seed work: half of all departures are walked in passes.
    pub(super) fn draw(seed: u64, faults: Faults, heartbeat_timeout: Duration, needs: Needs) -> Self {
        let mut rng = Rng::new(seed ^ 0x000b_a55e_5000_0001);
        let sweeps_alone = faults.has(Fault::SweepsAlone) || faults.has(Fault::LostEvent);
        let drawn = rng.one_in(2) || faults.has(Fault::SweepsAlone) || faults.has(Fault::MessageLate);
        let lengths = [10, 25, 55, 14 * 60];
        let length = Duration::from_secs(lengths[usize::try_from(rng.below(4)).unwrap_or(0)]);
        let warm = rng.one_in(2);
        // Two minutes' notice go by without a queue's gaps, and a short hook is refused.
        let possible = !faults.has(Fault::SpotInterruption) && SHORTEST_HEARTBEAT <= heartbeat_timeout;
        if !(drawn && possible) {
            return Self::Continuous;
        }
        let forgets = !needs.notes && !warm;
        // What `check` says would not work, nobody runs.
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
    /// What a pass waits for anew after another has ended: a load balancer's guard, where nothing was written down and nothing is
    /// remembered of when it began.
    pub(super) fn waits_anew(self, needs: Needs) -> Duration {
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
    /// When the message that a pass has handed back begins the next one.
    pub(super) fn next(&self, now: Time, rng: &mut Rng) -> Time {
        if self.late {
            return self.redelivered(now, rng);
        }
        now + HIDDEN.min(self.heartbeat_timeout / 6) + rng.span(Duration::ZERO, POLLED_WITHIN)
    }

    /// When the message of a pass that died begins the next one.
    pub(super) fn redelivered(&self, now: Time, rng: &mut Rng) -> Time {
        now + VISIBILITY.min(self.heartbeat_timeout / 2) + rng.span(Duration::ZERO, POLLED_WITHIN)
    }

    /// The longest that nobody looks at the departure who can take its next step. What began in a pass is known to a sweep by a note, or
    /// in its own process: where there is neither (`notes`), a sweep begins each wait anew, and only the message's own passes go on.
    #[must_use]
    pub fn longest_gap(&self, notes: bool) -> Duration {
        let visibility = VISIBILITY.min(self.heartbeat_timeout / 2) + POLLED_WITHIN;
        match (self.late, self.sweeps_alone) {
            (true, false) if !notes && !self.warm => visibility,
            (true, _) | (false, true) => SWEEP_EVERY,
            (false, false) => HIDDEN + POLLED_WITHIN,
        }
    }

    /// Whether a pass is over before it can take a step, because each answer comes so much later. A pass reads the node and its
    /// allocations, then whose the addresses are, then the node once more before it concludes anything: the world allows no less, and
    /// nobody runs a function so short beside servers so slow.
    pub(super) fn is_too_short(&self, slower: Duration) -> bool {
        self.length <= slower * ANSWERS
    }

    /// How a worker of this departure is to behave.
    pub(super) fn manner<'a>(&self, sweep: bool, now: Time, remembered: &'a [Noted]) -> Manner<'a> {
        let remembered = if self.warm { remembered } else { &[] };
        let number = sweep.then(|| Sweep::begin(now, SWEEP_EVERY, 1, CALLS_A_SECOND));
        Manner { stop_at: Some(now + self.length), never_wait: sweep, remembered, sweep: number, ..Manner::default() }
    }
}

/// What the Lambda does when a pass is over before its departure: it keeps the hook alive.
pub(super) async fn hand_back(worker: &Worker<'_>, departure: &Departure, policy: &Policy, ending: &Ending, tell: &mut dyn Tell) {
    if ending.how != How::HandedBack {
        return;
    }
    if let Some(heartbeat) = last_heartbeat(departure, &ending.seen, policy, worker.now()) {
        let answer = worker.act(departure, &heartbeat).await;
        tell.wrote(departure, &heartbeat, &answer, worker.now());
    }
}
