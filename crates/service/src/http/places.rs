//! How many requests of those who show a key are answered at once, so that all of them together hold no more memory than a small
//! machine has. Strangers are bounded by their bodies ([`super::bodies`]).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Each may hold a body of 256 KiB: 64 MiB.
const MOST: usize = 256;

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places(Arc<Semaphore>);

impl Places {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }

    /// A place, given back when it is dropped; `None` if there is none left.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}
