//! Mutants: decamp's rules with one mistake each. The simulator must catch every one of them.

#[expect(clippy::wildcard_enum_match_arm, reason = "all other variants stay unchanged")]
mod balancers;
mod beginnings;
mod comparisons;
#[expect(clippy::wildcard_enum_match_arm, reason = "all other variants stay unchanged")]
mod disks;
#[expect(clippy::wildcard_enum_match_arm, reason = "all other variants stay unchanged")]
mod drain;
#[expect(clippy::wildcard_enum_match_arm, reason = "all other variants stay unchanged")]
mod ends;
mod findings;
#[expect(clippy::wildcard_enum_match_arm, reason = "all other variants stay unchanged")]
mod hook;
#[expect(clippy::wildcard_enum_match_arm, reason = "all other variants stay unchanged")]
mod over;
#[expect(clippy::wildcard_enum_match_arm, reason = "all other variants stay unchanged")]
mod volumes;

use std::time::Duration;

use crate::faults::{Fault, Faults};
use crate::simulate::Draw;
use decamp_core::decide::{
    Action, ActionRef, Allocation, Compared, Decision, Departure, Effect, Finding, Loss, Outcome, Policy, Reason, Snapshot, Stop,
    StopKind, TaskEnd, TaskStops, decide, our_hook, stops,
};
use decamp_core::time::Time;

/// The wait of a mutant that waits until a time that is over.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// One wrong driver.
struct WrongDriver {
    name: &'static str,
    mistake: &'static str,
    /// The faults that reveal the mistake; empty if it shows without faults.
    faults: &'static [Fault],
    kind: Mistake,
}

/// The kind of mistake.
enum Mistake {
    /// It decides on an altered snapshot or policy.
    Sees(fn(&mut AlteredView<'_>)),
    /// It alters the decision.
    Does(fn(&Context<'_>, Decision) -> Decision),
    /// It decides as decamp does, and does not report findings of this loss.
    Omits(Loss),
    /// It decides as decamp does, and reads this in the events of a task that was told to stop.
    Reads(fn(&Stop) -> Stop),
    /// It decides as decamp does, and says this of a finding at the end. `None`: nothing.
    Says(fn(Compared) -> Option<Compared>),
}

/// The snapshot and policy that a mutant may alter before it decides.
struct AlteredView<'a> {
    departure: &'a Departure,
    seen: Snapshot,
    policy: Policy,
    now: Time,
}

/// The snapshot and policy of a decision that a mutant may alter.
struct Context<'a> {
    departure: &'a Departure,
    seen: &'a Snapshot,
    policy: &'a Policy,
    now: Time,
}

const TABLES: &[&[WrongDriver]] = &[
    hook::WRONG_DRIVERS,
    balancers::WRONG_DRIVERS,
    drain::WRONG_DRIVERS,
    over::WRONG_DRIVERS,
    disks::WRONG_DRIVERS,
    volumes::WRONG_DRIVERS,
    beginnings::WRONG_DRIVERS,
    ends::WRONG_DRIVERS,
    findings::WRONG_DRIVERS,
    comparisons::WRONG_DRIVERS,
];

/// A mutant, by its indices in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mutant {
    table: usize,
    place: usize,
}

impl Mutant {
    /// All mutants.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..TABLES.len()).flat_map(|table| (0..TABLES[table].len()).map(move |place| Self { table, place }))
    }

    /// The mutant of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|mutant| mutant.name() == name)
    }

    fn wrong(self) -> &'static WrongDriver {
        &TABLES[self.table][self.place]
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.wrong().name
    }

    /// A sentence that describes its mistake.
    #[must_use]
    pub fn mistake(self) -> &'static str {
        self.wrong().mistake
    }

    /// The faults to draw so that its mistake shows.
    #[must_use]
    pub fn draw(self) -> Draw {
        match self.wrong().faults {
            [] => Draw::None,
            faults => Draw::Among(faults.iter().copied().fold(Faults::NONE, Faults::with)),
        }
    }

    /// Whether the mutant reports this finding before its first write.
    pub(super) fn reports(self, finding: &Finding) -> bool {
        match self.wrong().kind {
            Mistake::Omits(loss) => finding.loss != loss,
            Mistake::Sees(_) | Mistake::Does(_) | Mistake::Reads(_) | Mistake::Says(_) => true,
        }
    }

    /// What the mutant says of how tasks stopped.
    pub(super) fn stops(self, departure: &Departure, seen: &Snapshot, policy: &Policy) -> Vec<TaskStops> {
        let omits = |loss| matches!(self.wrong().kind, Mistake::Omits(omitted) if omitted == loss);
        let read = |end: &TaskEnd| match (&self.wrong().kind, end) {
            (Mistake::Reads(change), TaskEnd::Stopped(stop)) => TaskEnd::Stopped(change(stop)),
            _ => end.clone(),
        };
        let mut view = seen.clone();
        for known in &mut view.history.known {
            known.ends = known.ends.iter().map(read).collect();
        }
        view.nomad.edit(|nomad| {
            for node in &mut nomad.nodes {
                let read_all = |one: &Allocation| Allocation { ends: one.ends.iter().map(read).collect(), ..one.clone() };
                node.allocations = node.allocations.iter().map(read_all).collect();
            }
        });
        let mut said = stops(departure, &view, policy);
        for task in &mut said {
            task.stops.retain(|(kind, _)| {
                let omitted =
                    *kind == StopKind::Deaf && omits(Loss::DeafTask) || *kind == StopKind::Abrupt && omits(Loss::AbruptTask);
                !omitted
            });
        }
        said
    }

    /// What the mutant says of its findings at the end.
    pub(super) fn compared(self, compared: Vec<Compared>) -> Vec<Compared> {
        match self.wrong().kind {
            Mistake::Says(change) => compared.into_iter().filter_map(change).collect(),
            Mistake::Sees(_) | Mistake::Does(_) | Mistake::Omits(_) | Mistake::Reads(_) => compared,
        }
    }

    /// The mutant's next step.
    pub(super) fn decide(self, departure: &Departure, seen: &Snapshot, policy: &Policy, now: Time) -> Decision {
        let decision = match self.wrong().kind {
            Mistake::Sees(change) => {
                let mut view = AlteredView { departure, seen: seen.clone(), policy: policy.clone(), now };
                change(&mut view);
                decide(departure, &view.seen, &view.policy, now)
            }
            Mistake::Does(change) => change(&Context { departure, seen, policy, now }, decide(departure, seen, policy, now)),
            Mistake::Omits(_) | Mistake::Reads(_) | Mistake::Says(_) => decide(departure, seen, policy, now),
        };
        keeps_time(decision, now)
    }
}

/// The decision of a mutant, unless it would stop the clock: it does nothing, or waits until a time that is over.
fn keeps_time(decision: Decision, now: Time) -> Decision {
    match decision.action {
        Action::Look(parts) if parts.is_empty() => wait(now, Duration::from_secs(10)),
        Action::Do(effects) if effects.is_empty() => wait(now, Duration::from_secs(10)),
        Action::Wait { until, watch } if until <= now => {
            Decision { action: Action::Wait { until: now + SHORTEST_WAIT, watch }, ..decision }
        }
        Action::Look(_) | Action::Do(_) | Action::Wait { .. } | Action::End(_) => decision,
    }
}

/// A decision to wait for a while without watching.
fn wait(now: Time, span: Duration) -> Decision {
    Decision { action: Action::Wait { until: now + span, watch: Vec::new() }, reason: Reason::NotKnownYet }
}

impl Context<'_> {
    /// The completion of the action with this outcome.
    fn complete(&self, verdict: Outcome) -> Option<Decision> {
        let hook = our_hook(self.departure, self.seen, self.policy)?;
        let token = self.departure.action().and_then(|action| action.token.clone()).filter(|_| !self.seen.history.token_refused);
        let of = ActionRef { hook: hook.name.clone(), token };
        let effect = Effect::Complete { of, result: decamp_core::decide::LifecycleResult::Continue, verdict };
        Some(Decision { action: Action::Do(vec![effect]), reason: Reason::NothingLeft })
    }

    /// The decision with each of its effects changed or removed.
    fn effects(&self, mut decision: Decision, change: impl Fn(Effect) -> Option<Effect>) -> Decision {
        if let Action::Do(effects) = decision.action {
            decision.action = Action::Do(effects.into_iter().filter_map(change).collect());
        }
        decision
    }
}
