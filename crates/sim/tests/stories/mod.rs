//! Stories: departures that people can read, each run from its seed. `just stories` writes them again after a change of a rule.

mod all;

use std::fmt::Write as _;
use std::path::PathBuf;

use decamp_core::decide::Match;
use decamp_sim::drivers::Driver;
use decamp_sim::faults::{Fault, Faults};
use decamp_sim::run::{CrashPoint, Run, RunReport, WorkMode, run_departure};

pub(crate) use self::all::all_stories;

/// One story: a departure and what its trace must show.
pub(crate) struct Story {
    /// The name of its file.
    pub(crate) name: &'static str,
    /// A sentence about it.
    pub(crate) about: &'static str,
    /// The faults that it meets.
    pub(crate) faults: &'static [Fault],
    /// Where its first worker is killed.
    pub(crate) crash: Option<CrashPoint>,
    /// How its workers work.
    pub(crate) work_mode: WorkMode,
    /// Its outcome.
    pub(crate) outcome: &'static str,
    /// Phrases that its trace must have.
    pub(crate) shows: &'static [&'static str],
    /// Phrases that its trace must not have.
    pub(crate) never: &'static [&'static str],
    /// The results of its comparison of what was foreseen and seen. Its text has them if it must have some.
    pub(crate) compares: &'static [Match],
}

impl Story {
    /// Runs it with this seed.
    pub(crate) fn run(&self, seed: u64) -> RunReport {
        let faults = self.faults.iter().copied().fold(Faults::NONE, Faults::with);
        run_departure(
            &Driver::Decamp,
            &Run {
                seed,
                faults,
                crashes: self.crash.into_iter().collect(),
                trace: true,
                work_mode: Some(self.work_mode),
                ..Run::default()
            },
        )
    }

    /// The text of its file.
    pub(crate) fn text(&self, seed: u64, report: &RunReport) -> String {
        let mut text = format!("{}\nseed {seed}", self.about);
        let faults: Vec<_> = self.faults.iter().map(|fault| fault.name()).collect();
        if !faults.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(text, ", faults {}", faults.join(","));
        }
        if let Some(CrashPoint { effect, after }) = self.crash {
            let _ = write!(text, ", killed {} effect {effect}", if after { "after" } else { "before" });
        }
        if let WorkMode::Passes(passes) = self.work_mode {
            let _ = write!(text, ", in passes of {}", decamp_core::time::plain(passes.length));
        }
        text.push_str("\n\n");
        text.push_str(&shortened(&report.trace));
        if !self.compares.is_empty() {
            text.push('\n');
            report.compared.iter().for_each(|one| text.push_str(&format!("{one}\n")));
        }
        let requests = &report.requests;
        let _ = writeln!(
            text,
            "\n{}; {} requests, {} failed by decamp, {} foreseen; {}",
            report.outcome.as_ref().map_or("never ended", decamp_core::decide::Outcome::word),
            requests.sent,
            requests.attributable,
            requests.foreseen,
            report.final_state
        );
        text
    }

    /// Whether a departure shows this story.
    pub(crate) fn is_shown_by(&self, report: &RunReport) -> bool {
        let lines = || report.trace.iter();
        let shown = |phrase: &&str| lines().any(|line| line.contains(*phrase));
        let in_order = report.violations.is_empty() && report.requests.attributable == 0;
        let outcome = report.outcome.as_ref().map_or("never ended", decamp_core::decide::Outcome::word);
        let compared = self.compares.iter().all(|result| report.compared.iter().any(|one| one.result == *result));
        in_order && compared && outcome == self.outcome && self.shows.iter().all(shown) && !self.never.iter().any(shown)
    }

    /// The path of its file.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/stories").join(format!("{}.txt", self.name))
    }
}

/// The trace without lines that repeat an earlier line of the same worker since its last write. `…` replaces them.
fn shortened(trace: &[String]) -> String {
    let mut text = String::new();
    let mut seen: Vec<&str> = Vec::new();
    let mut again = false;
    for line in trace {
        // The text after the time, whose width varies.
        let words = line.split_once("s  ").map_or(line.as_str(), |(_, words)| words);
        if seen.contains(&words) {
            again = true;
            continue;
        }
        if std::mem::take(&mut again) {
            text.push_str("        …\n");
        }
        if ["deregister", "drain", "make the node", "complete"].iter().any(|write| words.contains(write)) {
            seen.clear();
        }
        seen.push(words);
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// The seed in the text of a story's file.
pub(crate) fn seed_of(text: &str) -> Option<u64> {
    let line = text.lines().nth(1)?;
    line.strip_prefix("seed ")?.split([',', ' ']).next()?.parse().ok()
}
