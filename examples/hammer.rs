//! A long run of the hammer: `cargo run --release --example hammer -- [--target NAME] [--seed N] [--first N] [--inputs N]`.

#[path = "../tests/hammer/mod.rs"]
mod hammer;

use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use hammer::{TARGETS, Target, hammer as run};

/// What the command line asks for.
struct Asked {
    target: Option<String>,
    seed: u64,
    first: u64,
    inputs: u64,
}

fn main() -> ExitCode {
    let asked = match asked(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("{why}\nusage: hammer [--target NAME] [--seed N] [--first N] [--inputs N]");
            return ExitCode::from(2);
        }
    };
    // A panic is a finding with its own line; where in the parser it happened is told by the one input alone.
    if asked.inputs != 1 {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let chosen = TARGETS.iter().filter(|target| asked.target.as_ref().is_none_or(|name| name == target.name));
    let mut sound = true;
    let mut any = false;
    for target in chosen {
        any = true;
        sound &= report(target, &asked);
    }
    match (any, sound) {
        (true, true) => ExitCode::SUCCESS,
        (true, false) => ExitCode::FAILURE,
        (false, _) => {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            eprintln!("no such target; there are: {}", names.join(", "));
            ExitCode::from(2)
        }
    }
}

fn asked(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked { target: None, seed: 1, first: 0, inputs: 10_000_000 };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{name}: {value:?} is not a number"));
        match name.as_str() {
            "--target" => asked.target = Some(value),
            "--seed" => asked.seed = number()?,
            "--first" => asked.first = number()?,
            "--inputs" => asked.inputs = number()?,
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(asked)
}

/// Runs one target on all cores, prints what came out, and answers whether it was sound.
fn report(target: &'static Target, asked: &Asked) -> bool {
    let cores = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let share = asked.inputs.div_ceil(cores);
    let began = Instant::now();
    let workers: Vec<_> = (0..cores)
        .map(|core| (core * share, share.min(asked.inputs.saturating_sub(core * share))))
        .filter(|(_, count)| 0 < *count)
        .map(|(from, count)| {
            let (seed, first) = (asked.seed, asked.first + from);
            thread::spawn(move || run(target, seed, first, count))
        })
        .collect();
    let reports: Vec<_> = workers.into_iter().map(|worker| worker.join().expect("a worker catches its panics")).collect();
    let took = began.elapsed();
    let inputs: u64 = reports.iter().flat_map(|report| report.words.values()).sum();
    println!(
        "{}: {inputs} inputs in {:.1} s, {:.0} a second",
        target.name,
        took.as_secs_f64(),
        inputs as f64 / took.as_secs_f64()
    );
    let mut words = std::collections::BTreeMap::new();
    for (word, count) in reports.iter().flat_map(|report| &report.words) {
        *words.entry(*word).or_insert(0_u64) += count;
    }
    for (word, count) in words {
        println!("  {word:<20} {count:>12}");
    }
    let slowest = reports.iter().map(|report| report.slowest).max().unwrap_or_default();
    println!("  slowest input: {slowest:?}");
    let findings: Vec<_> = reports.iter().filter_map(|report| report.finding.as_deref()).collect();
    for finding in &findings {
        println!("FOUND: {finding}");
    }
    findings.is_empty()
}
