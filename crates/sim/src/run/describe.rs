//! Describes a decision and the final state of the world as text.

use crate::world::SimWorld;
use decamp_core::decide::Decision;

/// A decision as a line of a story.
pub(super) fn line(decision: &Decision) -> String {
    format!("{}, because {}", decision.action.brief(), decision.reason)
}

/// The final state: the instance's lifecycle, its registered targets and its live allocations.
pub(super) fn final_state(world: &SimWorld) -> String {
    let lifecycle = world.auto_scaling.lifecycle(world.subject.instance);
    let registered =
        world.subject.fronts.iter().filter(|arn| world.balancers.listed_until(arn, world.subject.instance).is_some()).count();
    let alive = world.nomad.allocations().iter().filter(|a| Some(a.node) == world.subject.node && a.is_alive()).count();
    format!("{lifecycle:?}, {registered} registered, {alive} alive, ended {:?}", world.oracle.action_ended.map(|(_, e)| e))
}
