//! Decisions, budgets and findings in words, for whoever reads them on a terminal or in a log.

use decamp_core::decide::{Action, Budget, Effect, Finding, Lifecycle};
pub(crate) use decamp_core::telling::because;
use decamp_core::telling::{effect_title, part};
use decamp_core::time::{Time, plain};

/// The word for an action, to search by.
pub(crate) fn kind(action: &Action) -> &'static str {
    match action {
        Action::Look(_) => "look",
        Action::Do(effects) => effects.first().map_or("do", effect_kind),
        Action::Wait { .. } => "wait",
        Action::End(_) => "end",
    }
}

/// The word for a write, to search by.
pub(crate) fn effect_kind(effect: &Effect) -> &'static str {
    match effect {
        Effect::Heartbeat(_) => "heartbeat",
        Effect::MakeIneligible(_) => "make-ineligible",
        Effect::Deregister { .. } => "deregister",
        Effect::Drain { .. } => "drain",
        Effect::Complete { .. } => "complete",
        Effect::Note { .. } => "note",
    }
}

/// An action in words.
pub(crate) fn title(action: &Action, now: Time) -> String {
    match action {
        Action::Look(parts) => format!("look at {}", parts.iter().map(part).collect::<Vec<_>>().join(", ")),
        Action::Do(effects) => effects.iter().map(effect).collect::<Vec<_>>().join(", "),
        Action::Wait { until, .. } => format!("wait {} at most", plain(until.since(now))),
        Action::End(outcome) => format!("end: {outcome}"),
    }
}

/// A write in words.
pub(crate) fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Heartbeat(_) => "heartbeat".to_owned(),
        Effect::MakeIneligible(node) => format!("make node {node} ineligible"),
        Effect::Deregister { group, targets } => {
            let ports: Vec<String> = targets.iter().map(|target| target.port.to_string()).collect();
            format!("deregister port {} of {}", ports.join(" and "), group.name())
        }
        Effect::Drain { node, deadline, meta, .. } => {
            format!("drain node {node} ({}, {})", meta.phase.word(), plain(deadline.span()))
        }
        Effect::Note { .. } => effect_title(effect),
        Effect::Complete { result, .. } => format!("complete the lifecycle action: {result:?}").to_lowercase(),
    }
}

/// Where an instance stands, in words.
pub(crate) fn lifecycle(lifecycle: &Lifecycle) -> String {
    match lifecycle {
        Lifecycle::Staying(state) => format!("staying ({state})"),
        Lifecycle::Terminating => "terminating, its hook has not begun".to_owned(),
        Lifecycle::Waiting => "waiting in its hook".to_owned(),
        Lifecycle::WaitingForWarmPool => "waiting in its hook, on its way into the warm pool".to_owned(),
        Lifecycle::ReplacingRootVolume => "waiting in its hook, for another root volume".to_owned(),
        Lifecycle::Past => "past its hook".to_owned(),
        Lifecycle::Retained => "retained".to_owned(),
        Lifecycle::Gone => "not listed".to_owned(),
        Lifecycle::Unknown(state) => format!("in a state that this version does not know ({state})"),
    }
}

/// The time that a departure has, as rows of what and how long. Points in time count from its beginning.
pub(crate) fn budget(budget: &Budget) -> Vec<(&'static str, String)> {
    let at =
        |time: Time| if time == Time::NEVER { "never".to_owned() } else { format!("at {}", plain(time.since(budget.began))) };
    vec![
        ("heartbeat", format!("every {} (time-out {})", plain(budget.heartbeat_every()), plain(budget.heartbeat_timeout))),
        ("load balancers may still send for", plain(budget.balancers)),
        ("longest stop of an allocation", plain(budget.longest_stop)),
        ("drain's deadline", at(budget.until)),
        ("forced, if it did not stop them", at(budget.force_at)),
        ("decamp ends it itself", at(budget.end)),
        ("hook ends", at(budget.hook_ends)),
    ]
}

/// A finding as lines: what is wrong, why, and the line to change.
pub(crate) fn finding(finding: &Finding) -> Vec<String> {
    let said = finding.to_string();
    let (what, set) = said.split_once(" Set: ").unwrap_or((&said, &finding.line));
    vec![what.trim_end_matches('.').to_owned(), format!("  set: {set}")]
}

/// A number of things: `1 call of AWS`, `2 calls of AWS`.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    let (noun, rest) = thing.split_once(' ').map_or((thing, String::new()), |(noun, rest)| (noun, format!(" {rest}")));
    format!("{count} {noun}{}{rest}", if count == 1 { "" } else { "s" })
}
