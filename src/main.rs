//! The command line: words in, words and an exit code out.

mod check;
mod connect;
mod depart;
mod exit;
mod logging;
mod out;
mod part;
mod plan;
mod refresh;
mod rehearse;
mod sandbox;
mod screen;
mod serve;
mod settings;
mod simulate;
mod status;
mod survey;
mod words;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::out::{complain, say};

const ABOUT: &str = "Takes a Nomad node out of service without dropping a request, when AWS decides that its instance must go.";

const LONG_ABOUT: &str = "\
Takes a Nomad node out of service without dropping a request, when AWS decides that its instance must go.

An instance of an Auto Scaling group with a terminating lifecycle hook waits before it is terminated. decamp uses that time: it \
takes the instance out of its load balancers, drains its Nomad node, waits until nothing is left on it and service discovery has \
forgotten it, and then lets Auto Scaling go on. Nothing is stored: whoever runs decamp again goes on from what is true.";

const EXAMPLES: &str = "Examples:
  decamp check --asg web                         what would a departure from this group cost, and what to set
  decamp plan --instance i-0123456789abcdef0     look, decide, and write nothing
  decamp run --instance i-0123456789abcdef0      walk one instance out
  decamp status --watch                          who waits, for what, and how long
  decamp refresh start --asg web                 replace every instance that is not as it should be, and watch
  decamp serve --config decamp.toml              serve: events and queues in, departures walked out, a page to see them
  decamp simulate                                10,000 departures in a pretend world, with every fault there is

Nomad, Consul and AWS are found as their own tools find them: NOMAD_ADDR, NOMAD_TOKEN, CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, \
AWS_REGION, AWS_PROFILE and so on. `decamp settings` lists every variable that decamp reads.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "decamp", version, about = ABOUT, long_about = LONG_ABOUT, after_help = EXAMPLES, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read a whole group while nothing leaves: what a departure costs, and every setting that cannot work
    Check(check::Arguments),
    /// Look at one instance and say what would be done; write nothing
    Plan(plan::Arguments),
    /// Walk one instance out
    Run(depart::Arguments),
    /// List every instance that waits in a hook: step, reason, time left
    Status(status::Arguments),
    /// Replace the instances of a group by an instance refresh: start it, watch it, stop it, take it back
    Refresh(refresh::Arguments),
    /// Serve: events and queues in, departures walked out, a page and an API to see them
    Serve(serve::Arguments),
    /// Rehearse a whole instance refresh under live traffic on this machine, with and without decamp
    Rehearse(rehearse::Arguments),
    /// Be one process of a rehearsal with a real Nomad, whose jobs call for it
    #[command(hide = true)]
    Part(part::Arguments),
    /// Play departures in a pretend world, with faults, and judge them
    Simulate(simulate::Arguments),
    /// Serve a small pretend cluster for decamp, the AWS CLI, nomad and consul
    Sandbox(sandbox::Arguments),
    /// List every environment variable that decamp reads
    Settings(settings::Arguments),
    /// Print a completion script for a shell
    Completions {
        /// For which shell
        shell: Shell,
    },
}

/// A simulated departure makes and drops thousands of small things: with the system's allocator it takes a ninth longer. Without huge
/// pages, which make it no faster, and of which a service with a thousand departures in hand held 20 MiB half empty.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Reads the command line and does what it says.
fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Check(arguments) => live(check::check(arguments)),
        Command::Plan(arguments) => live(plan::plan(arguments)),
        Command::Run(arguments) => live(depart::depart(arguments)),
        Command::Status(arguments) => live(status::status(arguments)),
        Command::Refresh(arguments) => live(refresh::refresh(arguments)),
        Command::Serve(arguments) => live(serve::serve(arguments)),
        Command::Rehearse(arguments) => rehearse::rehearse(&arguments),
        Command::Part(arguments) => live(part::part(arguments)),
        Command::Simulate(arguments) => simulate::simulate(&arguments),
        Command::Sandbox(arguments) => sandbox::sandbox(&arguments),
        Command::Settings(arguments) => settings::settings(&arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "decamp", &mut script);
            say(String::from_utf8_lossy(&script).trim_end());
            ExitCode::SUCCESS
        }
    }
}

/// Runs what talks to the real world. Its errors are sentences; none of them leaves anything half done.
fn live(work: impl Future<Output = anyhow::Result<u8>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format!("cannot start: {error}"));
            return ExitCode::from(exit::ERROR);
        }
    };
    let code = runtime.block_on(work).unwrap_or_else(|error| {
        complain(format!("{error:#}"));
        exit::ERROR
    });
    // Whatever still hangs in a name look-up must not hold us up.
    runtime.shutdown_background();
    ExitCode::from(code)
}
