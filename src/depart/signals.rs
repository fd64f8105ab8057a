//! SIGINT and SIGTERM, as they come.

use anyhow::{Context as _, Result};
use tokio::select;
use tokio::signal::unix::{self, SignalKind};

use crate::exit;

/// One of the two.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// What service managers send.
    Terminate,
}

impl Signal {
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => exit::INTERRUPTED,
            Self::Terminate => exit::TERMINATED,
        }
    }
}

/// Both of them, heard from now on.
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self> {
        let hear = |kind| unix::signal(kind).context("listen for signals");
        Ok(Self { interrupt: hear(SignalKind::interrupt())?, terminate: hear(SignalKind::terminate())? })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Signal {
        select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}
