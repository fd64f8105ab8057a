//! A decision and the end of a departure in the words of a story.

use crate::stage::Stage;
use decamp_core::decide::Decision;

/// A decision as a line of a story.
pub(super) fn line(decision: &Decision) -> String {
    format!("{}, because {}", decision.action.brief(), decision.reason)
}

/// How the world stands: what of the instance is registered, alive or listed.
pub(super) fn final_state(stage: &Stage) -> String {
    let lifecycle = stage.auto_scaling.lifecycle(stage.cast.instance);
    let registered =
        stage.cast.fronts.iter().filter(|arn| stage.balancers.listed_until(arn, stage.cast.instance).is_some()).count();
    let alive = stage.nomad.allocations().iter().filter(|a| Some(a.node) == stage.cast.node && a.is_alive()).count();
    format!("{lifecycle:?}, {registered} registered, {alive} alive, ended {:?}", stage.oracle.action_ended.map(|(_, e)| e))
}
