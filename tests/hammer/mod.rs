//! Hammers on parsers with inputs that are nearly good. It runs on stable Rust, and every input can be made again from its number.
//!
//! To add a parser: write a module with a `Target` next to `events`, and name it in `TARGETS`.

mod consul;
mod events;
mod mutate;
mod nomad;
mod runs;
mod signed;
mod words;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use mutate::{Luck, mutate};

/// A parser under the hammer.
pub(crate) struct Target {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// Good inputs to start from.
    pub(crate) good: fn() -> Vec<Vec<u8>>,
    /// Parses an input and says in a word what came out. A panic is a finding, and this alone is timed.
    pub(crate) parse: fn(&[u8]) -> &'static str,
    /// Checks what takes longer than parsing to check, as slowly as it likes. A panic is a finding.
    pub(crate) check: fn(&[u8]),
}

/// Every parser there is.
pub(crate) const TARGETS: &[Target] =
    &[events::TARGET, nomad::NODE, nomad::POLICY, consul::TARGET, signed::TARGET, runs::TARGET, words::SPAN, words::METADATA];

/// What 64 KiB may take.
const MOST_TIME: Duration = Duration::from_millis(10);

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Report {
    /// How often each word came out.
    pub(crate) words: BTreeMap<&'static str, u64>,
    /// The longest time for one input, scaled to 64 KiB where it is longer than that.
    pub(crate) slowest: Duration,
    /// What went wrong first, with the number that makes it again.
    pub(crate) finding: Option<String>,
}

/// Parses inputs number `first` to `first + count` of a seed, and stops at the first finding.
pub(crate) fn hammer(target: &Target, seed: u64, first: u64, count: u64) -> Report {
    let good = (target.good)();
    let mut report = Report { words: BTreeMap::new(), slowest: Duration::ZERO, finding: None };
    for number in first..first.saturating_add(count) {
        let input = mutate(&mut Luck(seed ^ number.wrapping_mul(0xd134_2543_de82_ef95)), &good);
        let began = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| (target.parse)(&input)));
        let mut took = began.elapsed();
        let result = result.and_then(|word| {
            catch_unwind(AssertUnwindSafe(|| (target.check)(&input)))?;
            Ok(word)
        });
        match result {
            Ok(word) => *report.words.entry(word).or_default() += 1,
            Err(panic) => {
                let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
                report.finding = Some(found(target, seed, number, said.unwrap_or("it panicked"), &input));
                return report;
            }
        }
        let allowed = MOST_TIME * u32::try_from(input.len().div_ceil(64 * 1024).max(1)).unwrap_or(u32::MAX);
        // A slow moment of the machine is not a slow parser: only what is slow every time counts.
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
            report.finding = Some(found(target, seed, number, &format!("it took {took:?} for {} bytes", input.len()), &input));
            return report;
        }
    }
    report
}

fn found(target: &Target, seed: u64, number: u64, what: &str, input: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&input[..input.len().min(4_000)]).into_owned();
    format!(
        "{what}\nmake it again: cargo run --example hammer -- --target {} --seed {seed} --first {number} --inputs 1\n{shown}",
        target.name
    )
}

/// The two halves of an input that stands for two answers: a mutation may put the line break anywhere, or take it away.
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

/// The files of a folder of the repository, its own folders included.
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
    // The order of a folder is not the same everywhere.
    all.sort();
    all.into_iter().map(|(_, sample)| sample).collect()
}
