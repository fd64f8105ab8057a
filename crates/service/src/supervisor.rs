//! Supervises the service's background tasks. Health checks would not notice a task that ended early, so its end ends the process, and
//! the process's own supervisor starts another one.

use anyhow::{Error, anyhow};
use futures_util::FutureExt as _;
use futures_util::future::select_all;
use tokio::task::{JoinHandle, spawn_local};

/// A background task that runs until the service stops.
pub(super) struct Task {
    name: &'static str,
    task: JoinHandle<()>,
}

impl Task {
    /// Starts a task.
    pub(super) fn spawn(name: &'static str, work: impl Future<Output = ()> + 'static) -> Self {
        Self { name, task: spawn_local(work) }
    }

    /// Waits until the task has ended, after the service was told to stop.
    pub(super) async fn ended(self) {
        // A `JoinHandle` that has returned its result must not be polled again.
        if !self.task.is_finished() {
            self.task.await.ok();
        }
    }
}

/// Waits until one of these tasks ends, and says which one and why.
pub(super) async fn first_to_end(tasks: impl Iterator<Item = &mut Task>) -> Error {
    let tasks = tasks.map(|Task { name, task }| task.map(move |ended| (name, ended)));
    let ((name, ended), ..) = select_all(tasks).await;
    match ended {
        Ok(()) => anyhow!("{name} ended although the service was not told to stop"),
        Err(defect) => anyhow!("{name} ended by a defect: {defect}"),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_or_panics_is_named() {
        let local = LocalSet::new();
        local
            .run_until(async {
                let mut tasks = vec![Task::spawn("the queue", pending()), Task::spawn("the sweep", async { panic!("a defect") })];
                let why = first_to_end(tasks.iter_mut()).await.to_string();
                assert!(why.contains("the sweep ended by a defect"), "{why}");
                tasks.pop().expect("two").ended().await;
                tasks.push(Task::spawn("the listeners", async {}));
                let why = first_to_end(tasks.iter_mut()).await.to_string();
                assert_eq!(why, "the listeners ended although the service was not told to stop");
            })
            .await;
    }
}
