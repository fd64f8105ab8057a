//! How tasks ended that were told to stop, as Nomad's task events record it (recorded: containers-stop, task-ignores-its-signal).

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::ids::AllocationId;
use crate::time::Time;

/// How a task's process is started and told to stop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Process {
    /// The driver, by Nomad's name: `docker`. Empty if it is unknown.
    pub driver: Arc<str>,
    /// The job's `kill_signal`. `None`: the driver's default.
    pub kill_signal: Option<Arc<str>>,
    /// The command with which a shell starts it, if its configuration shows one: `/bin/sh -c`, `/start.sh`.
    pub shell: Option<Arc<str>>,
    /// Whether an init runs as PID 1 in its container (docker's `init = true`).
    pub init: bool,
}

impl Process {
    /// The signal that tells it to stop, as far as the job and the driver show it. A docker image may name another one (`STOPSIGNAL`). The
    /// executor of `exec`, `raw_exec` and `java` sends SIGINT unless the job says otherwise (Nomad's `drivers/shared/executor`).
    #[must_use]
    pub fn signal(&self) -> &str {
        match (&self.kill_signal, &*self.driver) {
            (Some(signal), _) => signal,
            (None, "docker" | "podman") => "SIGTERM",
            (None, "exec" | "exec2" | "raw_exec" | "java") => "SIGINT",
            (None, _) => "its kill signal",
        }
    }
}

/// How one task ended that was told to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stop {
    /// The task's name.
    pub task: Arc<str>,
    /// When it got its signal.
    pub signalled: Time,
    /// From the signal to the end of its process.
    #[serde(serialize_with = "as_seconds")]
    pub took: Duration,
    /// The time that its client allowed it (`kill_timeout`, with the client's cap).
    #[serde(serialize_with = "as_seconds")]
    pub kill_timeout: Duration,
    /// Its exit code.
    pub exit_code: i64,
    /// The signal that ended it; 0 if none did, or if the driver does not report it. Docker never does.
    pub signal: i64,
    /// Whether the kernel killed it because its memory was used up.
    pub out_of_memory: bool,
}

/// What Nomad records of the end of one task that was told to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskEnd {
    /// It stopped.
    Stopped(Stop),
    /// Its events are in a form that is not known, so how it stopped is unknown.
    Unreadable {
        /// The task's name.
        task: Arc<str>,
        /// What cannot be read.
        why: Arc<str>,
    },
}

impl TaskEnd {
    /// The task's name.
    #[must_use]
    pub fn task(&self) -> &Arc<str> {
        match self {
            Self::Stopped(stop) => &stop.task,
            Self::Unreadable { task, .. } => task,
        }
    }
}

/// An allocation of a job that has ended, on whatever node it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PastAllocation {
    /// Its id.
    pub id: AllocationId,
    /// The name of its group in the job.
    pub group: Arc<str>,
    /// The version of its job.
    pub version: u64,
    /// How its tasks ended. Tasks that ended by themselves are left out.
    pub ends: Vec<TaskEnd>,
}

fn as_seconds<S: serde::Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(span.as_secs_f64())
}

impl super::history::Known {
    /// How long it was seen to be stopping.
    #[must_use]
    pub fn stopped_for(&self) -> std::time::Duration {
        self.told.map(|told| self.alive.since(told)).unwrap_or_default()
    }
}
