//! The hammer: a fuzzer for parsers that mutates valid inputs. It runs on stable Rust, and each input can be reproduced from its number.
//!
//! To add a parser, write a module with a `Target` and add it to `TARGETS`.

mod consul;
mod events;
mod grammars;
mod mutate;
mod nomad;
mod signed;
mod terraform_runs;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use mutate::{Rng, mutate};

/// A parser to fuzz.
pub(crate) struct Target {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// Valid inputs to mutate.
    pub(crate) good: fn() -> Vec<Vec<u8>>,
    /// Parses an input and returns the result as a word. A panic is a failure. Only this step is timed.
    pub(crate) parse: fn(&[u8]) -> &'static str,
    /// Checks the result of an input, and may be slow. A panic is a failure.
    pub(crate) check: fn(&[u8]),
}

/// All parsers.
pub(crate) const TARGETS: &[Target] = &[
    events::TARGET,
    nomad::NODE,
    nomad::POLICY,
    consul::TARGET,
    signed::TARGET,
    terraform_runs::TARGET,
    grammars::SPAN,
    grammars::METADATA,
];

/// The longest time that 64 KiB may take.
const MOST_TIME: Duration = Duration::from_millis(10);

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Report {
    /// How often each result occurred.
    pub(crate) results: BTreeMap<&'static str, u64>,
    /// The longest time for one input. The allowed time grows with inputs above 64 KiB.
    pub(crate) slowest: Duration,
    /// The first failure, with the number that reproduces it.
    pub(crate) failure: Option<String>,
}

/// Parses the inputs number `first` to `first + count` of a seed, and stops at the first failure.
pub(crate) fn hammer(target: &Target, seed: u64, first: u64, count: u64) -> Report {
    let good = (target.good)();
    let mut report = Report { results: BTreeMap::new(), slowest: Duration::ZERO, failure: None };
    for number in first..first.saturating_add(count) {
        let input = mutate(&mut Rng(seed ^ number.wrapping_mul(0xd134_2543_de82_ef95)), &good);
        let began = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| (target.parse)(&input)));
        let mut took = began.elapsed();
        let result = result.and_then(|word| {
            catch_unwind(AssertUnwindSafe(|| (target.check)(&input)))?;
            Ok(word)
        });
        match result {
            Ok(word) => *report.results.entry(word).or_default() += 1,
            Err(panic) => {
                let message = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
                report.failure = Some(found(target, seed, number, message.unwrap_or("it panicked"), &input));
                return report;
            }
        }
        let allowed = MOST_TIME * u32::try_from(input.len().div_ceil(64 * 1024).max(1)).unwrap_or(u32::MAX);
        // The machine may have been slow for a moment. Only an input that is slow every time counts.
        for _ in 0..20 {
            if took <= allowed / 8 {
                break;
            }
            let again = Instant::now();
            (target.parse)(&input);
            took = took.min(again.elapsed());
        }
        report.slowest = report.slowest.max(took);
        if allowed < took {
            report.failure = Some(found(target, seed, number, &format!("it took {took:?} for {} bytes", input.len()), &input));
            return report;
        }
    }
    report
}

fn found(target: &Target, seed: u64, number: u64, what: &str, input: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&input[..input.len().min(4_000)]).into_owned();
    format!(
        "{what}\nreproduce it: cargo run --example hammer -- --target {} --seed {seed} --first {number} --inputs 1\n{shown}",
        target.name
    )
}

/// The two halves of an input that contains two answers. A mutation may move or remove the line break between them.
pub(crate) fn halves(input: &[u8]) -> (&[u8], &[u8]) {
    match input.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (input, b"[]"),
    }
}

/// How often a text occurs in an input.
pub(crate) fn count(input: &[u8], text: &str) -> usize {
    input.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
}

/// The files of a folder of the repository and of its subfolders.
pub(crate) fn samples(folder: &str) -> Vec<Vec<u8>> {
    fn gather(folder: &Path, all: &mut Vec<(std::path::PathBuf, Vec<u8>)>) {
        for entry in std::fs::read_dir(folder).expect("the samples are there").flatten() {
            if entry.path().is_dir() {
                gather(&entry.path(), all);
            } else {
                all.push((entry.path(), std::fs::read(entry.path()).expect("a sample can be read")));
            }
        }
    }
    let mut all = Vec::new();
    gather(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut all);
    // The order of directory entries differs between systems.
    all.sort();
    all.into_iter().map(|(_, sample)| sample).collect()
}
