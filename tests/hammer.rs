//! A short fuzz run over every parser. For a long one: `cargo run --release --example hammer`.

#[path = "hammer/mod.rs"]
mod hammer;

use hammer::{TARGETS, hammer as run};

/// The number of inputs: enough for every mutation of every sample. It takes a second or two for each parser.
const INPUTS: u64 = 30_000;

#[test]
fn no_parser_panics_misroutes_or_dawdles_under_the_hammer() {
    for target in TARGETS {
        let report = run(target, 1, 0, INPUTS);
        assert!(report.failure.is_none(), "{}: {}", target.name, report.failure.unwrap_or_default());
        assert!(4 <= report.results.len(), "the inputs get past the first check of {}: {:?}", target.name, report.results);
    }
}
