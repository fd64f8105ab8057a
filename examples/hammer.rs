//! A long fuzz run: `cargo run --release --example hammer -- [--target NAME] [--seed N] [--first N] [--inputs N]`.

#[path = "../tests/hammer/mod.rs"]
mod hammer;

use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use hammer::{TARGETS, Target, hammer as run};

/// The options of the command line.
struct Options {
    target: Option<String>,
    seed: u64,
    first: u64,
    inputs: u64,
}

fn main() -> ExitCode {
    let options = match parse_options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}\nusage: hammer [--target NAME] [--seed N] [--first N] [--inputs N]");
            return ExitCode::from(2);
        }
    };
    // A panic is reported as a failure. Its location is printed only for a single input.
    if options.inputs != 1 {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let chosen = TARGETS.iter().filter(|target| options.target.as_ref().is_none_or(|name| name == target.name));
    let mut passed = true;
    let mut any = false;
    for target in chosen {
        any = true;
        passed &= report(target, &options);
    }
    match (any, passed) {
        (true, true) => ExitCode::SUCCESS,
        (true, false) => ExitCode::FAILURE,
        (false, _) => {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            eprintln!("no such target; the targets are: {}", names.join(", "));
            ExitCode::from(2)
        }
    }
}

fn parse_options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { target: None, seed: 1, first: 0, inputs: 10_000_000 };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{name}: {value:?} is not a number"));
        match name.as_str() {
            "--target" => options.target = Some(value),
            "--seed" => options.seed = number()?,
            "--first" => options.first = number()?,
            "--inputs" => options.inputs = number()?,
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(options)
}

/// Runs one target on all cores, prints the results, and returns whether it passed.
fn report(target: &'static Target, options: &Options) -> bool {
    let cores = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let share = options.inputs.div_ceil(cores);
    let began = Instant::now();
    let workers: Vec<_> = (0..cores)
        .map(|core| (core * share, share.min(options.inputs.saturating_sub(core * share))))
        .filter(|(_, count)| 0 < *count)
        .map(|(from, count)| {
            let (seed, first) = (options.seed, options.first + from);
            thread::spawn(move || run(target, seed, first, count))
        })
        .collect();
    let reports: Vec<_> = workers.into_iter().map(|worker| worker.join().expect("a worker catches its panics")).collect();
    let took = began.elapsed();
    let inputs: u64 = reports.iter().flat_map(|report| report.results.values()).sum();
    println!(
        "{}: {inputs} inputs in {:.1} s, {:.0} per second",
        target.name,
        took.as_secs_f64(),
        inputs as f64 / took.as_secs_f64()
    );
    let mut words = std::collections::BTreeMap::new();
    for (word, count) in reports.iter().flat_map(|report| &report.results) {
        *words.entry(*word).or_insert(0_u64) += count;
    }
    for (word, count) in words {
        println!("  {word:<20} {count:>12}");
    }
    let slowest = reports.iter().map(|report| report.slowest).max().unwrap_or_default();
    println!("  slowest input: {slowest:?}");
    let failures: Vec<_> = reports.iter().filter_map(|report| report.failure.as_deref()).collect();
    for failure in &failures {
        println!("FAILED: {failure}");
    }
    failures.is_empty()
}
