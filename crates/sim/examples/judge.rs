//! Simulates departures and prints the violations, without building the command. It is the fastest check of a changed rule.
//!
//! `cargo run --release -p decamp-sim --example judge -- [DEPARTURES] [SEED] [FAULT,FAULT] [WRONG DRIVER]`, or `trace SEED [FAULT,FAULT]
//! [WRONG DRIVER]` for the trace of one departure.

use std::collections::BTreeMap;
use std::process::ExitCode;

use decamp_sim::drivers::{Driver, Mutant};
use decamp_sim::faults::Fault;
use decamp_sim::simulate::{Draw, Simulation, faults_of, play_seed, simulate};

/// At most this many broken seeds are printed one by one.
const MOST_SEEDS: usize = 40;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let trace = words.first().is_some_and(|word| word == "trace");
    let number = |place: usize| words.get(place).and_then(|word| word.parse::<u64>().ok());
    let draw = match words.get(2).map_or("all", String::as_str).parse() {
        Ok(draw) => draw,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let driver = match words.get(3).map(|name| Mutant::named(name).ok_or(name)) {
        Some(Err(name)) => {
            eprintln!("there is no wrong driver {name:?}");
            return ExitCode::from(2);
        }
        Some(Ok(mutant)) => Driver::Mutant(mutant),
        None => Driver::Decamp,
    };
    let seed = number(1).unwrap_or(1);
    if trace {
        return print_trace(seed, draw, &driver);
    }
    let departures = number(0).unwrap_or(100_000);
    let simulation = Simulation { departures, seed, draw, driver, stop_at_first: false };
    let sum = simulate(&simulation, |_| ());
    let mut rules: BTreeMap<String, (u64, u64, String)> = BTreeMap::new();
    for broken in &sum.broken {
        let lost = (0 < broken.attributable).then(|| ("lost".to_owned(), broken.example.clone().unwrap_or_default()));
        let violated = broken.violations.iter().map(|violation| (violation.rule.to_string(), violation.what.clone()));
        for (rule, what) in violated.chain(lost) {
            rules.entry(rule).or_insert((0, broken.seed, what)).0 += 1;
        }
    }
    for broken in sum.broken.iter().take(MOST_SEEDS) {
        let faults: Vec<&str> = faults_of(broken.seed, draw).iter().map(Fault::name).collect();
        let rules: Vec<&str> = broken.violations.iter().map(|violation| violation.rule).collect();
        let lost = broken.attributable;
        println!("seed {}: {} ({lost} lost), faults: {}", broken.seed, rules.join(" "), faults.join(", "));
    }
    for (rule, (count, first, what)) in &rules {
        println!("{rule:<6} {count:>6} times, first in seed {first}: {what}");
    }
    println!(
        "{} departures, {} requests, {} lost by the driver, {} violations in {} departures, {:.1} s",
        sum.departures,
        sum.requests,
        sum.failed[0],
        sum.violations,
        sum.broken_count,
        sum.took.as_secs_f64()
    );
    ExitCode::from(u8::from(sum.is_broken()))
}

fn print_trace(seed: u64, draw: Draw, driver: &Driver) -> ExitCode {
    let report = play_seed(seed, draw, driver, true);
    let faults: Vec<&str> = faults_of(seed, draw).iter().map(Fault::name).collect();
    println!("seed {seed}, faults: {}", faults.join(", "));
    report.trace.iter().for_each(|line| println!("{line}"));
    for finding in &report.findings {
        println!("foreseen: {:?} of {}: {}", finding.loss, finding.object, finding.value);
    }
    if let Some(outcome) = &report.outcome {
        println!("ended: {}", outcome.meaning());
    }
    println!(
        "outcome {}, requests {:?}",
        report.outcome.as_ref().map_or("never-ended", |outcome| outcome.word()),
        report.requests
    );
    for violation in &report.violations {
        println!("violated: {} {}", violation.rule, violation.what);
    }
    ExitCode::from(u8::from(!report.violations.is_empty() || 0 < report.requests.attributable))
}
