//! `decamp rehearse`: a whole instance refresh under live traffic on this machine, with and without decamp.

mod progress;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use decamp_config::duration;
use decamp_core::time::plain;
use decamp_rehearse::report::{Pending, command, page};
use decamp_rehearse::{
    CONTROL_RUN_LASTS, Chaos, DriverSetup, LoadBalancer, MOST_NODES, Plan, Run, Shell, Verdict, control_run, run,
};
use decamp_sim::drivers::Driver;
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::exit;
use super::out::{complain, say, say_json, say_wrapped};
use super::styled::say_styled;

const HELP: &str = "\
It starts a small cluster of real servers on loopback addresses, sends real HTTP requests through it (load balancer, ingress, \
service), replaces every instance, and counts the requests that failed: without a hook, with a script that drains, and with decamp. \
AWS, Nomad and Consul are simulated behind the same HTTP APIs; decamp is the program that you would deploy. With --nomad and --consul the \
agents are real, one of each per node, and every process is a task; with --traefik the ingress is real too.";

/// Rehearse an instance refresh under live traffic on this machine, with and without decamp.
#[derive(Debug, Args)]
#[command(after_help = format!("{HELP}\n\n{}", exit::help("rehearse")))]
pub(crate) struct Arguments {
    /// Nodes; all of them are replaced
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=i64::from(MOST_NODES)))]
    nodes: u32,
    /// Services behind the ingress, each with two to six copies
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=20))]
    services: u32,
    /// Requests per second
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=5000))]
    rate: u32,
    /// The tool that takes the instances out of service; may be repeated. Without it: terminate-at-once, drain-only, decamp
    #[arg(long, value_name = "NAME")]
    driver: Vec<Name>,
    /// The seed of everything random
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Add a service with a single copy, which decamp warns about and cannot keep available
    #[arg(long)]
    single: bool,
    /// Add a service that ignores its signal and one that dies of it: decamp names both, and cannot save their requests
    #[arg(long)]
    deaf: bool,
    /// Make the ingress poll Consul at this interval, such as 15s, instead of watching it
    #[arg(long, value_name = "TIME", value_parser = time)]
    ingress_poll: Option<Duration>,
    /// The load balancer before the ingresses. With nlb, clients keep their connections and send many requests on each
    #[arg(long, value_name = "KIND", default_value = "alb")]
    balancer: Kind,
    /// Kill decamp every few seconds and inject faults; consul-for-all cuts the ingress's path to Consul too
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "usual")]
    chaos: Option<Faults>,
    /// Use a real Consul instead of the simulated one: its binary
    #[arg(long, value_name = "FILE")]
    consul: Option<PathBuf>,
    /// Use a real Nomad instead of the simulated one: its binary, of 1.4 or later. Needs --consul, and root: each node
    /// has processes and mounts of its own
    #[arg(long, value_name = "FILE")]
    nomad: Option<PathBuf>,
    /// Use a real Traefik in place of the built-in ingress: its binary, of 3 or later. Needs --nomad, which runs it
    #[arg(long, value_name = "FILE")]
    traefik: Option<PathBuf>,
    /// The port of the ingress, on each of 127.0.0.11 and up
    #[arg(long, value_name = "PORT", default_value_t = 8089, value_parser = clap::value_parser!(u16).range(1024..20000))]
    port: u16,
    /// Write a report as one HTML file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Run decamp as its real Lambda binary, such as target/lambda/bootstrap
    #[arg(long, value_name = "FILE")]
    lambda: Option<PathBuf>,
    /// The number of refreshes, one after another
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How long to send load before the refresh begins
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = time)]
    calm: Duration,
    /// Print one JSON object per driver instead of text
    #[arg(long)]
    json: bool,
}

fn time(text: &str) -> Result<Duration, String> {
    let span = duration::read(text).map_err(|why| why.to_string())?;
    let allowed = Duration::from_secs(1)..=Duration::from_secs(60);
    if allowed.contains(&span) { Ok(span) } else { Err("between 1s and 60s".to_owned()) }
}

/// The faults that are injected.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Faults {
    /// decamp is killed, and its path to Consul is cut; AWS throttles it, Nomad has no leader, events are lost
    Usual,
    /// The same, and the ingress's path to Consul is cut at the same times
    ConsulForAll,
}

/// The load balancer before the ingresses.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// An Application Load Balancer
    Alb,
    /// A Network Load Balancer: a connection stays with its target
    Nlb,
    /// The same, but it cuts connections at the end of the deregistration delay (connection termination)
    NlbTermination,
}

/// A driver's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Completes the action at once, like a group without a hook
    TerminateAtOnce,
    /// Drains, and completes when Nomad says "complete", as most scripts do
    DrainOnly,
    /// Drains first, then deregisters and waits
    DrainThenDeregister,
    /// Deregisters and drains at the same time, even if that stops the process that serves the targets
    NaiveOverlap,
    /// decamp
    Decamp,
    /// decamp as its HTTP service: two replicas, which run as a job on the nodes that are replaced; one is killed on the way
    Serve,
}

impl Name {
    fn setup(self, arguments: &Arguments, command: &Path) -> DriverSetup {
        let shell = match (self, &arguments.lambda) {
            (Self::Serve, _) => Shell::Serve,
            (Self::Decamp, Some(binary)) => Shell::Lambda(binary.clone()),
            (Self::Decamp | Self::TerminateAtOnce | Self::DrainOnly | Self::DrainThenDeregister | Self::NaiveOverlap, _) => {
                Shell::Loop
            }
        };
        DriverSetup { driver: self.driver(), shell, command: command.to_owned() }
    }

    fn driver(self) -> Driver {
        match self {
            Self::TerminateAtOnce => Driver::TerminateAtOnce,
            Self::DrainOnly => Driver::DrainOnly,
            Self::DrainThenDeregister => Driver::DrainThenDeregister,
            Self::NaiveOverlap => Driver::NaiveOverlap,
            Self::Decamp | Self::Serve => Driver::Decamp,
        }
    }
}

/// The drivers that run if none is named.
const DEFAULT_DRIVERS: [Name; 3] = [Name::TerminateAtOnce, Name::DrainOnly, Name::Decamp];

pub(crate) fn rehearse(arguments: &Arguments) -> ExitCode {
    if let Some(why) = cannot_be_together(arguments) {
        complain(why);
        return ExitCode::from(exit::USAGE);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format!("cannot start: {error}"));
            return ExitCode::from(exit::ERROR);
        }
    };
    let code = runtime.block_on(until_a_signal(arguments)).unwrap_or_else(|error| {
        complain(format!("{error:#}"));
        exit::ERROR
    });
    // A driver in the middle of a call must not delay the exit.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// Why these arguments contradict each other, if they do.
fn cannot_be_together(arguments: &Arguments) -> Option<&'static str> {
    let Arguments { consul, nomad, traefik, driver, chaos, .. } = arguments;
    if nomad.is_some() && consul.is_none() {
        return Some("--nomad needs --consul as well: a real Nomad registers its services in a real Consul");
    }
    if traefik.is_some() && nomad.is_none() {
        return Some("--traefik needs --nomad as well: it runs as a job of a real Nomad");
    }
    if traefik.is_some() && matches!(chaos, Some(Faults::ConsulForAll)) {
        return Some(
            "--chaos=consul-for-all needs the built-in ingress, because Traefik does not report a stale catalog: remove --traefik",
        );
    }
    if nomad.is_some() && driver.contains(&Name::Serve) {
        return Some("--driver serve works only with the simulated Nomad: remove --nomad");
    }
    None
}

async fn until_a_signal(arguments: &Arguments) -> Result<u8> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for signals")?;
    let mut hangup = signal(SignalKind::hangup()).context("listen for signals")?;
    select! {
        code = all(arguments) => code,
        _ = interrupt.recv() => Ok(exit::INTERRUPTED),
        _ = terminate.recv() => Ok(exit::TERMINATED),
        _ = hangup.recv() => Ok(exit::HUNG_UP),
    }
}

async fn all(arguments: &Arguments) -> Result<u8> {
    let plan = plan(arguments);
    let binary = std::env::current_exe().context("find out where decamp itself is")?;
    let setups = |names: &[Name]| -> Vec<DriverSetup> { names.iter().map(|name| name.setup(arguments, &binary)).collect() };
    let named = setups(&arguments.driver);
    let drivers = if named.is_empty() { setups(&DEFAULT_DRIVERS) } else { named.clone() };
    if !arguments.json {
        let drivers_take: Duration = drivers.iter().map(|setup| plan.takes(setup.driver != Driver::TerminateAtOnce)).sum();
        let takes = drivers_take + CONTROL_RUN_LASTS;
        say_wrapped(&plan.to_string());
        say_wrapped(&format!(
            "about {} for {}",
            plain(takes),
            drivers.iter().map(DriverSetup::name).collect::<Vec<_>>().join(", ")
        ));
    }
    let pending = arguments.report.as_deref().map(|path| {
        let cannot = || format!("write the report to {}", path.display());
        Pending::begin(path).with_context(cannot)
    });
    let pending = pending.transpose()?;
    let names: Vec<&str> = named.iter().map(DriverSetup::name).collect();
    let command = command(&plan, &names, arguments.lambda.as_deref());
    let capacity = control_run(&plan).await?;
    if arguments.json {
        say_json(&table::capacity_json(&capacity));
    } else {
        say_wrapped(&table::capacity(&capacity));
    }
    let mut runs: Vec<Run> = Vec::new();
    for setup in drivers {
        let name = setup.name();
        if setup.shell == Shell::Serve && !arguments.json {
            let [first, second] = [1, 2].map(|number| format!("http://{}:{}/", Plan::address(number), plan.page()));
            say_wrapped(&format!("decamp's page while {name} runs: {first} and {second}, until these nodes leave"));
        }
        let (sender, seen) = watch::channel(decamp_rehearse::Progress::default());
        let played = run(&plan, &setup, &sender);
        let shown = progress::show(name, seen, !arguments.json);
        let one = select! {
            one = played => one.with_context(|| format!("rehearse {name}"))?,
            never = shown => match never {},
        };
        if arguments.json {
            say_json(&one);
        } else {
            say_styled(&table::line(&one));
        }
        runs.push(one);
    }
    if !arguments.json {
        table::lines(&plan, &runs, &capacity).iter().for_each(say_styled);
    }
    if let (Some(pending), Some(path)) = (pending, &arguments.report) {
        let text = page(&plan, &runs, &table::cells(&runs), &command);
        pending.finish(&text).with_context(|| format!("write the report to {}", path.display()))?;
        if !arguments.json {
            say(format!("report: {}", path.display()));
        }
    }
    Ok(code(&runs))
}

/// The exit code of all runs. A run that shows a loss overrides one that shows nothing.
fn code(runs: &[Run]) -> u8 {
    let is = |verdict: Verdict| runs.iter().any(|run| run.verdict == verdict);
    if is(Verdict::Lost) || is(Verdict::Unfinished) {
        exit::BROKEN
    } else if is(Verdict::Unfair) {
        exit::UNFAIR
    } else {
        0
    }
}

fn plan(arguments: &Arguments) -> Plan {
    Plan {
        nodes: arguments.nodes,
        services: arguments.services,
        rate: arguments.rate,
        seed: arguments.seed,
        port: arguments.port,
        single: arguments.single,
        deaf: arguments.deaf,
        ingress_poll: arguments.ingress_poll,
        balancer: match arguments.balancer {
            Kind::Alb => LoadBalancer::Application,
            Kind::Nlb => LoadBalancer::Network,
            Kind::NlbTermination => LoadBalancer::NetworkThatTerminates,
        },
        chaos: arguments.chaos.map(|faults| match faults {
            Faults::Usual => Chaos::Usual,
            Faults::ConsulForAll => Chaos::ConsulForAll,
        }),
        consul: arguments.consul.clone(),
        nomad: arguments.nomad.clone(),
        traefik: arguments.traefik.clone(),
        calm: arguments.calm,
        rounds: arguments.rounds,
    }
}
