//! Lifecycle states, budgets and findings as text for people.

use decamp_core::decide::{Budget, Finding, Lifecycle, Reason, Snapshot};
pub(crate) use decamp_core::describe::because;
use decamp_core::describe::sentence;
use decamp_core::time::{Time, plain};
use serde::Serialize;
use serde_json::Value;

/// An instance's lifecycle state.
pub(crate) fn lifecycle(lifecycle: &Lifecycle) -> String {
    match lifecycle {
        Lifecycle::Staying(state) => format!("staying ({state})"),
        Lifecycle::Terminating => "terminating, its hook has not begun".to_owned(),
        Lifecycle::Waiting => "waiting in its hook".to_owned(),
        Lifecycle::WaitingForWarmPool => "waiting in its hook, on its way into the warm pool".to_owned(),
        Lifecycle::ReplacingRootVolume => "waiting in its hook, to have its root volume replaced".to_owned(),
        Lifecycle::Past => "past its hook".to_owned(),
        Lifecycle::Retained => "retained".to_owned(),
        Lifecycle::Gone => "not listed".to_owned(),
        Lifecycle::Unknown(state) => format!("in a state that this version of decamp does not know ({state})"),
    }
}

/// Which parts of a budget were read. The others are assumed, and printed as unknown, so that a printed zero is always a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Known {
    hook: bool,
    balancers: bool,
    stops: bool,
}

impl Known {
    /// The parts that one survey read.
    pub(crate) fn of(seen: &Snapshot) -> Self {
        let group = seen.group.last();
        Self {
            hook: group.is_some(),
            balancers: group.is_some() && seen.balancers.iter().all(|balancer| balancer.sight.last().is_some()),
            stops: seen.nomad.last().is_some(),
        }
    }

    /// The parts that every survey of several instances read.
    pub(crate) fn of_all<'a>(all: impl Iterator<Item = &'a Snapshot>) -> Self {
        let both = |one: Self, other: Self| Self {
            hook: one.hook && other.hook,
            balancers: one.balancers && other.balancers,
            stops: one.stops && other.stops,
        };
        all.map(Self::of).reduce(both).unwrap_or(Self { hook: false, balancers: false, stops: false })
    }

    /// A budget as JSON. Unknown parts are null.
    pub(crate) fn budget_json(self, budget: &Budget) -> Value {
        let mut json = serde_json::to_value(budget).unwrap_or_default();
        let unknown: [(bool, &[&str]); 3] = [
            (self.hook, &["heartbeat_timeout", "hook_ends"]),
            (self.balancers, &["balancers"]),
            (self.stops, &["longest_stop", "until", "force_at"]),
        ];
        for field in unknown.iter().filter(|(known, _)| !known).flat_map(|(_, fields)| *fields) {
            json[*field] = Value::Null;
        }
        json
    }
}

/// A reason's word and its sentence, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NamedReason {
    reason: &'static str,
    because: String,
}

impl NamedReason {
    /// Every one of these reasons.
    pub(crate) fn each(reasons: &[Reason], seen: &Snapshot) -> Vec<Self> {
        reasons.iter().map(|reason| Self { reason: reason.word(), because: sentence(reason, seen) }).collect()
    }
}

/// The row of a budget that says how long a stop may take.
pub(crate) const LONGEST_STOP: &str = "longest stop of an allocation";

/// A budget as rows of a name and a time. Points in time count from the beginning of the departure.
pub(crate) fn budget(budget: &Budget, known: Known) -> Vec<(&'static str, String)> {
    let if_known = |known: bool, text: String| if known { text } else { "unknown".to_owned() };
    let at =
        |time: Time| if time == Time::NEVER { "never".to_owned() } else { format!("at {}", plain(time.since(budget.began))) };
    let beat = format!("every {} (time-out {})", plain(budget.heartbeat_every()), plain(budget.heartbeat_timeout));
    vec![
        ("heartbeat", if_known(known.hook, beat)),
        ("load balancers may still send for", if_known(known.balancers, plain(budget.balancers))),
        (LONGEST_STOP, if_known(known.stops, plain(budget.longest_stop))),
        ("drain's deadline", if_known(known.stops, at(budget.until))),
        ("forced, if it did not stop them", if_known(known.stops, at(budget.force_at))),
        ("decamp completes the action", at(budget.end)),
        ("hook ends", if_known(known.hook, at(budget.hook_ends))),
    ]
}

/// A finding as lines: the problem with its reason, and the line to change.
pub(crate) fn finding(finding: &Finding) -> Vec<String> {
    let text = finding.to_string();
    let (problem, set) = text.split_once(" Set: ").unwrap_or((&text, &finding.line));
    vec![problem.trim_end_matches('.').to_owned(), format!("  set: {set}")]
}

/// A number with its noun in the right form: `1 call of AWS`, `2 calls of AWS`.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    let (noun, rest) = thing.split_once(' ').map_or((thing, String::new()), |(noun, rest)| (noun, format!(" {rest}")));
    format!("{count} {noun}{}{rest}", if count == 1 { "" } else { "s" })
}
