//! The loops of a service, supervised. One that ends before the word to stop would be missed by nobody who looks at the health of the
//! process; so it ends the process, and whoever runs it starts another.

use anyhow::{Error, anyhow};
use futures_util::FutureExt as _;
use futures_util::future::select_all;
use tokio::task::{JoinHandle, spawn_local};

/// A loop that runs beside the others.
pub(super) struct Loop {
    name: &'static str,
    task: JoinHandle<()>,
}

impl Loop {
    /// Begins one.
    pub(super) fn begin(name: &'static str, work: impl Future<Output = ()> + 'static) -> Self {
        Self { name, task: spawn_local(work) }
    }

    /// Waits until it has ended, after the word to stop.
    pub(super) async fn ended(self) {
        // One that was waited for already must not be polled again.
        if !self.task.is_finished() {
            self.task.await.ok();
        }
    }
}

/// Waits until one of these ends, and answers which.
pub(super) async fn first_to_end(loops: impl Iterator<Item = &mut Loop>) -> Error {
    let tasks = loops.map(|Loop { name, task }| task.map(move |ended| (name, ended)));
    let ((name, ended), ..) = select_all(tasks).await;
    match ended {
        Ok(()) => anyhow!("{name} ended without a word to stop"),
        Err(defect) => anyhow!("{name} ended by a defect: {defect}"),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn a_loop_that_ends_or_panics_is_named() {
        let local = LocalSet::new();
        local
            .run_until(async {
                let mut loops = vec![Loop::begin("the queue", pending()), Loop::begin("the sweep", async { panic!("a defect") })];
                let why = first_to_end(loops.iter_mut()).await.to_string();
                assert!(why.contains("the sweep ended by a defect"), "{why}");
                loops.pop().expect("two").ended().await;
                loops.push(Loop::begin("the doors", async {}));
                assert_eq!(first_to_end(loops.iter_mut()).await.to_string(), "the doors ended without a word to stop");
            })
            .await;
    }
}
