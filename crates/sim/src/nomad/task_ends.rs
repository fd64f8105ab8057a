//! How the tasks of a stopped allocation ended, as their client records it in task events: Killing, then Terminated (recorded:
//! containers-stop, task-ignores-its-signal).

use std::sync::Arc;
use std::time::Duration;

use super::Nomad;
use super::state::{AllocationState, GroupState};
use super::stopping::Stopping;
use crate::event::AllocationNumber;
use decamp_core::decide::snapshot::{Stop, Task, TaskEnd, TaskRole};

impl Nomad {
    /// How the tasks of an allocation ended that were told to stop; empty before it is over.
    #[must_use]
    pub fn task_stops(&self, number: AllocationNumber) -> Vec<Stop> {
        let state = &self.allocations[number.index()];
        stops(state, &self.groups[state.group.index()], self.kill_cap())
    }
}

/// The same, as the rules see it.
pub(super) fn ends(state: &AllocationState, group: &GroupState, cap: Option<Duration>) -> Arc<[TaskEnd]> {
    stops(state, group, cap).into_iter().map(TaskEnd::Stopped).collect()
}

fn stops(state: &AllocationState, group: &GroupState, cap: Option<Duration>) -> Vec<Stop> {
    let Some(plan) = state.stopping.filter(|_| state.client.is_over()) else { return Vec::new() };
    let tasks = group.spec.group.tasks.iter().filter(|task| gets_kill_signal(task));
    tasks.map(|task| stop(state, group, &plan, task, cap)).collect()
}

fn stop(state: &AllocationState, group: &GroupState, plan: &Stopping, task: &Task, cap: Option<Duration>) -> Stop {
    let behaviour = &group.spec.behaviour;
    let signalled = plan.signals(task);
    let (span, killed) = super::stopping::kill(task, behaviour, cap);
    // The rehearsal's processes end when they end.
    let serves = Stopping::serves(&group.spec.group, task);
    let (took, killed) = if serves { (plan.ended.since(signalled), plan.killed) } else { (span, killed) };
    let kill_timeout = super::stopping::allowed(task, cap);
    let by_signal = behaviour.dies_of_signal && task.role != TaskRole::Sidecar;
    // Docker reports no signal, and the other drivers do.
    let docker = state.id.0.is_multiple_of(2);
    let (exit_code, signal) = match (killed, by_signal) {
        (true, _) => (137, if docker { 0 } else { 9 }),
        (false, true) => (143, if docker { 0 } else { 15 }),
        (false, false) => (i64::from(behaviour.exits_with_error), 0),
    };
    Stop { task: Arc::clone(&task.name), signalled, took, kill_timeout, exit_code, signal, out_of_memory: false }
}

/// Whether a task gets a kill signal when its allocation stops. Prestart and poststop tasks end by themselves.
pub(super) fn gets_kill_signal(task: &Task) -> bool {
    matches!(task.role, TaskRole::Leader | TaskRole::Main | TaskRole::Sidecar)
}
