//! `decamp simulate`: simulates departures and reports violated invariants.

mod print;
mod story;

use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::Args;
use decamp_sim::drivers::Driver;
use decamp_sim::faults::Fault;
use decamp_sim::simulate::{Draw, Simulation, Sum, simulate as play_many};
use indicatif::{ProgressBar, ProgressStyle};

use super::exit;
use super::out::{complain, is_interactive, say, say_json};

/// The baselines fail so often that fewer departures show it as well.
const DEPARTURES_OF_A_BASELINE: u64 = 1000;
/// A progress bar appears only after this time.
const BAR_AFTER: Duration = Duration::from_secs(2);

const HELP: &str =
    "Without --driver decamp also simulates the baselines, on the first of the same seeds: their losses show that a zero \
means something.

Examples:
  decamp simulate --departures 1000000
  decamp simulate --faults crash,two-workers
  decamp simulate --seed 42 --trace              one departure, one decision per line
  decamp simulate --driver drain-only --faults none";

/// Simulate departures with faults, and check every invariant.
///
/// Each departure draws its cluster and its faults from its seed. The same seed gives the same departure on every machine.
#[derive(Debug, Args)]
#[command(after_help = format!("{HELP}\n\n{}", exit::help("simulate")))]
pub(crate) struct Arguments {
    /// The number of departures
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    departures: u64,
    /// The first departure's seed; each later one adds 1
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// all, none, or names separated by commas, of which each departure has one or more; `list` lists them
    #[arg(long, value_name = "FAULTS", default_value = "all")]
    faults: FaultSelection,
    /// The driver: decamp, terminate-at-once, drain-only, drain-then-deregister or naive-overlap
    #[arg(long, value_name = "NAME")]
    driver: Option<NamedDriver>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Print the departure of --seed line by line
    #[arg(long)]
    trace: bool,
}

/// The faults that may be drawn, with the text of the argument.
#[derive(Debug, Clone)]
struct FaultSelection {
    text: String,
    /// `None`: list all faults.
    draw: Option<Draw>,
}

impl FromStr for FaultSelection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let draw = match text {
            "list" => None,
            faults => Some(faults.parse()?),
        };
        Ok(Self { text: text.to_owned(), draw })
    }
}

/// A driver and its name.
#[derive(Debug, Clone, Copy)]
struct NamedDriver {
    name: &'static str,
    driver: Driver,
}

impl FromStr for NamedDriver {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<&str> = Driver::NAMED.iter().map(|(name, _)| *name).collect();
        let found = Driver::NAMED.iter().find(|(name, _)| *name == text);
        let (name, driver) = *found.ok_or_else(|| format!("there is no driver {text:?}; choose one of {}", names.join(", ")))?;
        Ok(Self { name, driver })
    }
}

const DECAMP: NamedDriver = NamedDriver { name: "decamp", driver: Driver::Decamp };

pub(crate) fn simulate(arguments: &Arguments) -> ExitCode {
    let Some(draw) = arguments.faults.draw else {
        for fault in Fault::all() {
            say(format!("{:<34} {:>2}  {}", fault.name(), fault.number(), fault.meaning()));
        }
        return ExitCode::SUCCESS;
    };
    let driver = arguments.driver.unwrap_or(DECAMP);
    if arguments.trace {
        return story::print(arguments, draw, driver);
    }
    let mut sums = vec![(driver, run(arguments, arguments.departures, draw, driver))];
    if arguments.driver.is_none() {
        for (name, baseline) in Driver::NAMED.iter().filter(|(name, _)| *name != DECAMP.name) {
            let named = NamedDriver { name, driver: *baseline };
            sums.push((named, run(arguments, arguments.departures.min(DEPARTURES_OF_A_BASELINE), draw, named)));
        }
    }
    if arguments.json {
        say_json(&print::json(arguments, &sums));
    } else {
        print::lines(arguments, &sums).iter().for_each(say);
    }
    let broken = sums.first().is_some_and(|(_, sum)| sum.is_broken());
    ExitCode::from(if broken { exit::BROKEN } else { 0 })
}

fn run(arguments: &Arguments, departures: u64, draw: Draw, driver: NamedDriver) -> Sum {
    let begun = Instant::now();
    let interactive = is_interactive() && !arguments.json;
    let mut bar: Option<ProgressBar> = None;
    let simulation = Simulation { departures, seed: arguments.seed, draw, driver: driver.driver, stop_at_first: false };
    let sum = play_many(&simulation, |done| {
        if interactive && BAR_AFTER <= begun.elapsed() {
            let bar = bar.get_or_insert_with(|| {
                let bar = ProgressBar::new(departures);
                let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos} of {human_len}, {eta} left");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.set_message(driver.name);
                bar
            });
            bar.set_position(done);
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    if sum.departures != departures {
        complain(format!("{} departures were lost, because their thread panicked", departures - sum.departures));
    }
    sum
}

/// The command that simulates one seed again and prints each decision.
fn replay(arguments: &Arguments, driver: NamedDriver, seed: u64) -> String {
    let faults = if arguments.faults.text == "all" { String::new() } else { format!(" --faults {}", arguments.faults.text) };
    let by = if driver.name == DECAMP.name { String::new() } else { format!(" --driver {}", driver.name) };
    format!("decamp simulate --seed {seed} --trace{faults}{by}")
}
