//! `decamp man`: a man page for each command, for packages.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};

use super::exit;
use super::out::{complain, say};

/// Write man pages into a folder.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The folder, which must exist
    folder: PathBuf,
}

pub(crate) fn man(arguments: &Arguments, command: Command) -> ExitCode {
    match clap_mangen::generate_to(command, &arguments.folder) {
        Ok(()) => {
            say(format!("man pages are in {}", arguments.folder.display()));
            ExitCode::SUCCESS
        }
        Err(why) => {
            complain(format!("write man pages into {}: {why}", arguments.folder.display()));
            ExitCode::from(exit::ERROR)
        }
    }
}
