//! SIGINT and SIGTERM, as they come.

use anyhow::{Context as _, Result};
use tokio::select;
use tokio::signal::unix::{self, SignalKind};

use crate::cli::exit;

/// One of the two.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// What service managers send.
    Terminate,
}

impl Signal {
    pub(in crate::cli) fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => exit::INTERRUPTED,
            Self::Terminate => exit::TERMINATED,
        }
    }
}

/// Both of them, heard from now on.
pub(in crate::cli) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    pub(in crate::cli) fn new() -> Result<Self> {
        let hear = |kind| unix::signal(kind).context("listen for signals");
        Ok(Self { interrupt: hear(SignalKind::interrupt())?, terminate: hear(SignalKind::terminate())? })
    }

    /// The next one.
    pub(in crate::cli) async fn next(&mut self) -> Signal {
        select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}
