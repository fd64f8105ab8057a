//! How an allocation stops on its client, layer by layer: group delay, leader, main tasks, sidecars, poststop (facts/nomad.md 5.1).

use std::time::Duration;

use super::state::Behaviour;
use decamp_core::decide::snapshot::{ClientStatus, Task, TaskGroup, TaskRole};
use decamp_core::time::Time;

/// When each layer of one stop begins. The plan is made when the client receives the request to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopping {
    /// When the client received the request: group services leave discovery.
    pub requested: Time,
    /// When the stops of the leader, the main tasks and the sidecars begin, and when poststop tasks start.
    pub turns: [Time; 4],
    /// When the serving task gets its kill signal.
    pub signal: Time,
    /// When the serving task's process is gone.
    pub ended: Time,
    /// Whether that process was killed. Otherwise it ended by itself.
    pub killed: bool,
    /// When the last task is gone.
    pub over: Time,
}

/// A task's state as its client reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// Not yet started, or inside its `shutdown_delay` (since 1.5).
    Pending,
    /// Running.
    Running,
    /// Ended.
    Dead,
}

impl TaskState {
    /// Nomad's word for the state.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Dead => "dead",
        }
    }
}

impl Stopping {
    /// The plan of a stop that a client receives at `requested`. `cap` is the client's `max_kill_timeout`, if its version has one.
    #[must_use]
    pub fn plan(group: &TaskGroup, behaviour: &Behaviour, requested: Time, cap: Option<Duration>) -> Self {
        let lasts = |task: &Task| task.shutdown_delay + kill(task, behaviour, cap).0;
        let mut turns = [requested + group.shutdown_delay; 4];
        for (place, role) in [(0, TaskRole::Leader), (1, TaskRole::Main), (2, TaskRole::Sidecar)] {
            let longest = group.tasks.iter().filter(|t| t.role == role).map(lasts).max().unwrap_or_default();
            turns[place + 1] = turns[place] + longest;
        }
        let runs_after = group.tasks.iter().any(|t| t.role == TaskRole::Poststop);
        let over = turns[3] + if runs_after { behaviour.poststop } else { Duration::ZERO };
        let Some((place, task)) = serving(group) else {
            return Self { requested, turns, signal: turns[0], ended: turns[0], killed: false, over: over.max(turns[0]) };
        };
        let (span, killed) = kill(task, behaviour, cap);
        let signal = turns[place] + task.shutdown_delay;
        Self { requested, turns, signal, ended: signal + span, killed, over }
    }

    /// When the layer of a task begins, before the task's own delay.
    fn turn(&self, role: TaskRole) -> Time {
        let place = match role {
            TaskRole::Leader => 0,
            TaskRole::Main => 1,
            TaskRole::Sidecar => 2,
            TaskRole::Poststop | TaskRole::Finished => 3,
        };
        self.turns[place]
    }

    /// When a task gets its kill signal, after its own delay.
    #[must_use]
    pub fn signals(&self, task: &Task) -> Time {
        self.turn(task.role) + task.shutdown_delay
    }

    /// Whether this task is the one that answers requests.
    pub(super) fn serves(group: &TaskGroup, task: &Task) -> bool {
        serving(group).is_some_and(|(_, serving)| serving.name == task.name)
    }

    /// The state of one task that the client reports during the stop.
    #[must_use]
    pub fn task_state(
        &self,
        task: &Task,
        behaviour: &Behaviour,
        at: Time,
        cap: Option<Duration>,
        shows_pending: bool,
    ) -> TaskState {
        match task.role {
            TaskRole::Leader | TaskRole::Main | TaskRole::Sidecar => {}
            TaskRole::Poststop if at < self.turns[3] => return TaskState::Pending,
            TaskRole::Poststop if at < self.over => return TaskState::Running,
            TaskRole::Poststop | TaskRole::Finished => return TaskState::Dead,
        }
        let turn = self.turn(task.role);
        if self.over <= at || turn + task.shutdown_delay + kill(task, behaviour, cap).0 <= at {
            TaskState::Dead
        } else if turn <= at && shows_pending && !task.shutdown_delay.is_zero() {
            TaskState::Pending
        } else {
            TaskState::Running
        }
    }

    /// The status that the client reports for the allocation before it is over.
    #[must_use]
    pub fn client_status(
        &self,
        group: &TaskGroup,
        behaviour: &Behaviour,
        at: Time,
        cap: Option<Duration>,
        shows_pending: bool,
    ) -> ClientStatus {
        // While any task still runs, the allocation is `running`. It is `pending` only if all remaining tasks are in their delay.
        let running = |task: &Task| self.task_state(task, behaviour, at, cap, shows_pending) == TaskState::Running;
        if !shows_pending || group.tasks.is_empty() || group.tasks.iter().any(running) {
            ClientStatus::Running
        } else {
            ClientStatus::Pending
        }
    }
}

/// The time that a client allows a task between its kill signal and SIGKILL.
pub(super) fn allowed(task: &Task, cap: Option<Duration>) -> Duration {
    cap.map_or(task.kill_timeout, |cap| task.kill_timeout.min(cap))
}

/// The time from the kill signal to the end of a task's process, and whether the process is killed.
pub(super) fn kill(task: &Task, behaviour: &Behaviour, cap: Option<Duration>) -> (Duration, bool) {
    let patience = allowed(task, cap);
    let stops_in = if task.role == TaskRole::Sidecar { behaviour.sidecars_stop_in } else { behaviour.stops_in };
    if behaviour.ignores_signal || patience < stops_in {
        (patience + behaviour.survives_kill_for, true)
    } else {
        (stops_in, false)
    }
}

/// The task that answers requests (the leader, else the first main task, else the first sidecar), and the number of its layer.
fn serving(group: &TaskGroup) -> Option<(usize, &Task)> {
    [(0, TaskRole::Leader), (1, TaskRole::Main), (2, TaskRole::Sidecar)]
        .into_iter()
        .find_map(|(place, role)| group.tasks.iter().find(|t| t.role == role).map(|task| (place, task)))
}
