//! The command line: parses the arguments, runs the subcommand and exits with its code.

mod check;
mod connect;
mod depart;
mod describe;
mod exit;
mod init;
mod logging;
mod man;
mod nearest;
mod out;
mod plan;
mod refresh;
mod rehearsal_process;
mod rehearse;
mod sandbox;
mod screen;
mod serve;
mod settings;
mod simulate;
mod status;
mod styled;
mod survey;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use decamp_core::runbook;

use crate::out::{complain, say_raw};

/// The version, and the commit that the program is built from.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), env!("DECAMP_BUILT_FROM"));

const ABOUT: &str = "Takes a Nomad node out of service without dropping a request, when AWS decides that its instance must go.";

const LONG_ABOUT: &str = "\
Takes a Nomad node out of service without dropping a request, when AWS decides that its instance must go.

An instance of an Auto Scaling group with a terminating lifecycle hook waits before it is terminated. decamp uses that time: it \
removes the instance from its load balancers, drains its Nomad node, waits until nothing runs on it and service discovery no longer \
lists it, and then completes the hook. decamp keeps no state: run it again at any time, and it continues from the live systems.";

const EXAMPLES: &str = "Examples:
  decamp check                                   what a departure costs, and what to change
  decamp plan --instance i-0123456789abcdef0     show every step with its times; writes nothing
  decamp run --instance i-0123456789abcdef0      drain one instance
  decamp status --watch                          which instances wait, for what, and how long
  decamp refresh start --asg web                 replace every instance that does not match
  decamp serve --config decamp.toml              run as a service
  decamp simulate                                10,000 simulated departures, with every fault

decamp reads the same variables as the tools of Nomad, Consul and AWS: NOMAD_ADDR, NOMAD_TOKEN, CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, \
AWS_REGION, AWS_PROFILE and so on. `decamp settings` lists every variable that decamp reads.";

const COMPLETIONS: &str = "How to install them:
  decamp completions bash > ~/.local/share/bash-completion/completions/decamp
  decamp completions zsh  > \"${fpath[1]}/_decamp\"
  decamp completions fish > ~/.config/fish/completions/decamp.fish";

/// The text below the help of the whole command: examples and the runbook's address.
fn help() -> String {
    format!("{EXAMPLES}\n\nWhat to do about an alarm, an outcome or a wait: {}", runbook::FIRST)
}

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "decamp", version = VERSION, about = ABOUT, long_about = LONG_ABOUT, after_help = help(), max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check groups while no instance leaves: what a departure costs, and every setting that loses requests
    Check(check::Arguments),
    /// Show what decamp would do with one instance, with times; writes nothing
    Plan(plan::Arguments),
    /// Drain one instance and complete its lifecycle action
    Run(depart::Arguments),
    /// List every instance that waits in a hook: step, reason, time left
    Status(status::Arguments),
    /// Replace the instances of a group by an instance refresh: start, watch, cancel, roll back
    Refresh(refresh::Arguments),
    /// Run as a service: events and queues, a page, an API and metrics
    Serve(serve::Arguments),
    /// Rehearse an instance refresh under live traffic on this machine, with and without decamp
    Rehearse(rehearse::Arguments),
    /// Run one process of a rehearsal with a real Nomad, as its jobs do
    #[command(hide = true)]
    Part(rehearsal_process::Arguments),
    /// Simulate departures with faults, and check every invariant
    Simulate(simulate::Arguments),
    /// Run a small simulated cluster for decamp, the AWS CLI, nomad and consul
    Sandbox(sandbox::Arguments),
    /// Write the files that install decamp for a group: policies, the hook, and a Terraform module call or commands
    Init(init::Arguments),
    /// List every environment variable that decamp reads
    Settings(settings::Arguments),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write man pages into a folder
    #[command(hide = true)]
    Man(man::Arguments),
}

/// A simulated departure allocates and frees thousands of small objects. With the system's allocator it takes a ninth longer. Huge pages
/// are off: they make it no faster, and a service with a thousand departures in progress held 20 MiB of them half empty.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Parses the command line and runs the subcommand.
fn main() -> ExitCode {
    let parsed = Cli::try_parse().unwrap_or_else(|why| {
        // clap prints help and the version on standard output, and errors of the command line on standard error.
        let _ = why.print();
        std::process::exit(if why.use_stderr() { exit::USAGE.into() } else { 0 });
    });
    match parsed.command {
        Command::Check(arguments) => live(check::check(arguments)),
        Command::Plan(arguments) => live(plan::plan(arguments)),
        Command::Run(arguments) => live(depart::depart(arguments)),
        Command::Status(arguments) => live(status::status(arguments)),
        Command::Refresh(arguments) => live(refresh::refresh(arguments)),
        Command::Serve(arguments) => live(serve::serve(arguments)),
        Command::Rehearse(arguments) => rehearse::rehearse(&arguments),
        Command::Part(arguments) => live(rehearsal_process::play_part(arguments)),
        Command::Simulate(arguments) => simulate::simulate(&arguments),
        Command::Sandbox(arguments) => sandbox::sandbox(&arguments),
        Command::Settings(arguments) => settings::settings(&arguments),
        Command::Init(arguments) => live(init::init(arguments)),
        Command::Man(arguments) => man::man(&arguments, Cli::command()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "decamp", &mut script);
            say_raw(String::from_utf8_lossy(&script).trim_end());
            ExitCode::SUCCESS
        }
    }
}

/// Runs a subcommand that calls the live systems, and prints its error.
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
    // A blocking DNS lookup must not delay the exit.
    runtime.shutdown_background();
    ExitCode::from(code)
}
