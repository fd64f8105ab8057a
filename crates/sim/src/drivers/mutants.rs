//! Wrong drivers: decamp's rules with one mistake each. The simulator must catch every one of them.

#[expect(clippy::wildcard_enum_match_arm, reason = "what it does not get wrong stays as it was")]
mod balancers;
mod beginnings;
#[expect(clippy::wildcard_enum_match_arm, reason = "what it does not get wrong stays as it was")]
mod drain;
#[expect(clippy::wildcard_enum_match_arm, reason = "what it does not get wrong stays as it was")]
mod ends;
mod findings;
#[expect(clippy::wildcard_enum_match_arm, reason = "what it does not get wrong stays as it was")]
mod hook;
#[expect(clippy::wildcard_enum_match_arm, reason = "what it does not get wrong stays as it was")]
mod over;

use std::time::Duration;

use crate::faults::{Fault, Faults};
use crate::simulate::Draw;
use decamp_core::decide::{
    Action, ActionRef, Decision, Departure, Effect, Finding, Loss, Outcome, Policy, Reason, Snapshot, decide, our_hook,
};
use decamp_core::time::Time;

/// No wait is shorter: a driver that waits for what has passed would stop the clock.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// One wrong driver.
struct Wrong {
    name: &'static str,
    mistake: &'static str,
    /// The faults that bring the mistake to light; none: it shows without any.
    faults: &'static [Fault],
    how: How,
}

/// Where it goes wrong.
enum How {
    /// It sees, or is set to, what is not so.
    Sees(fn(&mut View<'_>)),
    /// It does something else than was decided.
    Does(fn(&Scene<'_>, Decision) -> Decision),
    /// It does what decamp does, and does not name what its settings will cost in this way.
    KeepsQuietOf(Loss),
}

/// What it sees, and may change before it decides.
struct View<'a> {
    departure: &'a Departure,
    seen: Snapshot,
    policy: Policy,
    now: Time,
}

/// What it saw when it decided.
struct Scene<'a> {
    departure: &'a Departure,
    seen: &'a Snapshot,
    policy: &'a Policy,
    now: Time,
}

const TABLES: &[&[Wrong]] =
    &[hook::WRONG, balancers::WRONG, drain::WRONG, over::WRONG, beginnings::WRONG, ends::WRONG, findings::WRONG];

/// A wrong driver, by its place in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mutant {
    table: usize,
    place: usize,
}

impl Mutant {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..TABLES.len()).flat_map(|table| (0..TABLES[table].len()).map(move |place| Self { table, place }))
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|mutant| mutant.name() == name)
    }

    fn wrong(self) -> &'static Wrong {
        &TABLES[self.table][self.place]
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.wrong().name
    }

    /// What is wrong with it, in a sentence.
    #[must_use]
    pub fn mistake(self) -> &'static str {
        self.wrong().mistake
    }

    /// The faults among which those are drawn that bring its mistake to light.
    #[must_use]
    pub fn draw(self) -> Draw {
        match self.wrong().faults {
            [] => Draw::None,
            faults => Draw::Among(faults.iter().copied().fold(Faults::NONE, Faults::with)),
        }
    }

    /// Whether it names this before its first write.
    pub(super) fn names(self, finding: &Finding) -> bool {
        match self.wrong().how {
            How::KeepsQuietOf(loss) => finding.loss != loss,
            How::Sees(_) | How::Does(_) => true,
        }
    }

    /// Its next step.
    pub(super) fn decide(self, departure: &Departure, seen: &Snapshot, policy: &Policy, now: Time) -> Decision {
        let decision = match self.wrong().how {
            How::Sees(change) => {
                let mut view = View { departure, seen: seen.clone(), policy: policy.clone(), now };
                change(&mut view);
                decide(departure, &view.seen, &view.policy, now)
            }
            How::Does(change) => change(&Scene { departure, seen, policy, now }, decide(departure, seen, policy, now)),
            How::KeepsQuietOf(_) => decide(departure, seen, policy, now),
        };
        let idle = match &decision.action {
            Action::Look(parts) => parts.is_empty(),
            Action::Do(effects) => effects.is_empty(),
            Action::Wait { until, .. } => *until < now + SHORTEST_WAIT,
            Action::End(_) => false,
        };
        if idle { wait(now, Duration::from_secs(10)) } else { decision }
    }
}

/// To wait for a while, watching nothing.
fn wait(now: Time, span: Duration) -> Decision {
    Decision { action: Action::Wait { until: now + span, watch: Vec::new() }, reason: Reason::MustLook }
}

impl Scene<'_> {
    /// The completion of its action, saying this.
    fn complete(&self, verdict: Outcome) -> Option<Decision> {
        let hook = our_hook(self.departure, self.seen, self.policy)?;
        let token = self.departure.action().and_then(|action| action.token.clone()).filter(|_| !self.seen.history.token_refused);
        let of = ActionRef { hook: hook.name.clone(), token };
        let effect = Effect::Complete { of, result: decamp_core::decide::LifecycleResult::Continue, verdict };
        Some(Decision { action: Action::Do(vec![effect]), reason: Reason::NothingLeft })
    }

    /// The decision with each of its effects changed, or left out.
    fn effects(&self, mut decision: Decision, change: impl Fn(Effect) -> Option<Effect>) -> Decision {
        if let Action::Do(effects) = decision.action {
            decision.action = Action::Do(effects.into_iter().filter_map(change).collect());
        }
        decision
    }
}
