//! A short run of the hammer over every parser. The long one: `cargo run --release --example hammer`.

#[path = "hammer/mod.rs"]
mod hammer;

use hammer::{TARGETS, hammer as run};

/// Enough for every kind of blow to fall on every sample; a second or two a parser.
const INPUTS: u64 = 30_000;

#[test]
fn no_parser_panics_misroutes_or_dawdles_under_the_hammer() {
    for target in TARGETS {
        let report = run(target, 1, 0, INPUTS);
        assert!(report.finding.is_none(), "{}: {}", target.name, report.finding.unwrap_or_default());
        assert!(4 <= report.words.len(), "the hammer reaches more than the first check of {}: {:?}", target.name, report.words);
    }
}
