//! The signals that a service hears: those that stop it in order, and those that it goes on after.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{self, SignalKind};
use tracing::info;

/// All of them, heard from now on: any that is not ends a process at once, in the middle of a write.
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    quit: unix::Signal,
    hangup: unix::Signal,
    user_1: unix::Signal,
    user_2: unix::Signal,
}

impl Signals {
    /// Hears them.
    ///
    /// # Errors
    ///
    /// The system does not let it.
    pub(crate) fn new() -> Result<Self> {
        let hear = |kind| unix::signal(kind).context("listen for signals");
        Ok(Self {
            interrupt: hear(SignalKind::interrupt())?,
            terminate: hear(SignalKind::terminate())?,
            quit: hear(SignalKind::quit())?,
            hangup: hear(SignalKind::hangup())?,
            user_1: hear(SignalKind::user_defined1())?,
            user_2: hear(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the word to stop.
    pub(crate) async fn stop(&mut self) {
        loop {
            let passed_over = tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.quit.recv() => return,
                _ = self.hangup.recv() => "SIGHUP",
                _ = self.user_1.recv() => "SIGUSR1",
                _ = self.user_2.recv() => "SIGUSR2",
            };
            info!(
                signal = passed_over,
                "{passed_over} changes nothing: secrets and certificates are read again by themselves, settings at the next start"
            );
        }
    }
}
