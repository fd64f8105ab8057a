//! The signals of the service: those that stop it in order, and those that it ignores.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{self, SignalKind};
use tracing::info;

/// Listens for all of them. A signal that is not listened for would end the process at once, in the middle of a write.
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    quit: unix::Signal,
    hangup: unix::Signal,
    user_1: unix::Signal,
    user_2: unix::Signal,
}

impl Signals {
    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// The system refuses to register a handler.
    pub(crate) fn new() -> Result<Self> {
        let listen = |kind| unix::signal(kind).context("listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            quit: listen(SignalKind::quit())?,
            hangup: listen(SignalKind::hangup())?,
            user_1: listen(SignalKind::user_defined1())?,
            user_2: listen(SignalKind::user_defined2())?,
        })
    }

    /// Waits for a signal that stops the service.
    pub(crate) async fn stop(&mut self) {
        loop {
            let ignored = tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.quit.recv() => return,
                _ = self.hangup.recv() => "SIGHUP",
                _ = self.user_1.recv() => "SIGUSR1",
                _ = self.user_2.recv() => "SIGUSR2",
            };
            info!(
                signal = ignored,
                "{ignored} is ignored: secrets and certificates are reloaded automatically, settings at the next start"
            );
        }
    }
}
