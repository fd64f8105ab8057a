//! Decisions, writes and the end of a departure in the words of a story.

use std::fmt::Write as _;

use crate::stage::Stage;
use decamp_core::decide::{Action, Decision, Effect, Part};

/// A decision as a line of a story.
pub(super) fn line(decision: &Decision) -> String {
    let mut line = match &decision.action {
        Action::Look(parts) => format!("look at {}", parts.iter().map(part_word).collect::<Vec<_>>().join(", ")),
        Action::Do(effects) => effects.iter().map(effect_word).collect::<Vec<_>>().join("; "),
        Action::Wait { .. } => "wait".to_owned(),
        Action::End(outcome) => format!("end: {outcome}"),
    };
    // Writing to a String cannot fail.
    let _ = write!(line, ", because {}", decision.reason);
    line
}

fn part_word(part: &Part) -> &'static str {
    match part {
        Part::Lifecycle => "the instance",
        Part::Group { .. } => "its group",
        Part::TargetGroups { .. } => "its target groups",
        Part::Scan => "all target groups",
        Part::Nomad => "its node",
        Part::NomadSight => "our Nomad token",
        Part::Consul => "Consul",
        Part::NomadServices => "Nomad's services",
        Part::Addresses(_) => "the addresses of other nodes",
    }
}

/// An effect in a few words.
pub(super) fn effect_word(effect: &Effect) -> String {
    match effect {
        Effect::Heartbeat(_) => "heartbeat".to_owned(),
        Effect::MakeIneligible(_) => "make the node ineligible".to_owned(),
        Effect::Deregister { group, targets } => format!("deregister {} of {}", targets.len(), group.name()),
        Effect::Drain { deadline, meta, .. } => {
            format!("drain {} ({})", meta.phase.word(), decamp_core::time::plain(deadline.span()))
        }
        Effect::Complete { result, .. } => format!("complete: {result:?}"),
        Effect::Note { notes, .. } => format!("note {}", notes.iter().map(|note| note.what.key()).collect::<Vec<_>>().join(", ")),
    }
}

/// How the world stands: what of the instance is registered, alive or listed.
pub(super) fn final_state(stage: &Stage) -> String {
    let lifecycle = stage.auto_scaling.lifecycle(stage.cast.instance);
    let registered =
        stage.cast.fronts.iter().filter(|arn| stage.balancers.listed_until(arn, stage.cast.instance).is_some()).count();
    let alive = stage.nomad.allocations().iter().filter(|a| Some(a.node) == stage.cast.node && a.is_alive()).count();
    format!("{lifecycle:?}, {registered} registered, {alive} alive, ended {:?}", stage.oracle.action_ended.map(|(_, e)| e))
}
