//! Prints a digest of the departures of some seeds: `cargo run --release -p decamp-sim --example digest -- FROM TO`. If two states of the
//! program print the same digest, they draw, drive and judge these departures in the same way.

use std::process::ExitCode;

use decamp_core::ids::{hash, hex};
use decamp_sim::drivers::Driver;
use decamp_sim::simulate::{Draw, play_seed};

fn main() -> ExitCode {
    let mut bounds = std::env::args().skip(1).map_while(|text| text.parse::<u64>().ok());
    let (Some(from), Some(to)) = (bounds.next(), bounds.next()) else {
        eprintln!("usage: digest FROM TO");
        return ExitCode::from(2);
    };
    let mut digest = String::new();
    let (mut requests, mut violations) = (0, 0);
    for seed in from..=to {
        let report = play_seed(seed, Draw::All, &Driver::Decamp, false);
        let outcome = report.outcome.as_ref().map_or("none", |outcome| outcome.word());
        let of_this = format!("{} {:?} {outcome} {} {:?}", report.mark, report.requests, report.final_state, report.violations);
        digest = hex(&hash(&[&digest, &of_this]));
        requests += report.requests.sent;
        violations += report.violations.len();
    }
    println!("seeds {from} to {to}: {digest} ({requests} requests, {violations} violations)");
    ExitCode::SUCCESS
}
