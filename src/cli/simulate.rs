//! `decamp simulate`: plays departures in the pretend world and says what was broken.

use clap::Args;
use std::process::ExitCode;
#[derive(Debug, Args)]
pub(crate) struct Arguments {}
pub(crate) fn simulate(_: &Arguments) -> ExitCode {
    ExitCode::SUCCESS
}
