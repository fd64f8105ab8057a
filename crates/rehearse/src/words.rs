//! Decisions in words, for the story of a departure.

use decamp_core::decide::{Action, Effect};
use decamp_core::time::plain;

/// What is done, without a time that would never be the same twice.
pub(super) fn action(action: &Action) -> String {
    match action {
        Action::Look(_) => "look".to_owned(),
        Action::Wait { .. } => "wait".to_owned(),
        Action::Do(effects) => effects.iter().map(effect).collect::<Vec<_>>().join(", "),
        Action::End(outcome) => format!("end: {}", outcome.word()),
    }
}

fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Heartbeat(_) => "heartbeat".to_owned(),
        Effect::MakeIneligible(_) => "make the node ineligible".to_owned(),
        Effect::Deregister { group, .. } => format!("deregister from {}", group.name()),
        Effect::Drain { deadline, ignore_system_jobs, .. } => {
            let what = if *ignore_system_jobs { "drain the services" } else { "drain everything" };
            format!("{what}, at most {}", plain(deadline.span()))
        }
        Effect::Note { .. } => "note when the wait began".to_owned(),
        Effect::Complete { .. } => "complete the lifecycle action".to_owned(),
    }
}
