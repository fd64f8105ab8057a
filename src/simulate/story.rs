//! One simulated departure line by line: its faults, every decision, the findings, and who lost which requests.

use std::process::ExitCode;

use decamp_core::time::plain;
use decamp_sim::simulate::{Draw, faults_of, play_seed};
use serde_json::json;

use super::{Arguments, NamedDriver};
use crate::describe;
use crate::exit;
use crate::out::{say, say_json};

pub(super) fn print(arguments: &Arguments, draw: Draw, driver: NamedDriver) -> ExitCode {
    let seed = arguments.seed;
    let played = play_seed(seed, draw, &driver.driver, true);
    let broken = !played.violations.is_empty() || 0 < played.requests.attributable;
    let code = ExitCode::from(if broken { exit::BROKEN } else { 0 });
    let faults = faults_of(seed, draw);
    let requests = &played.requests;
    if arguments.json {
        let violations: Vec<_> = played.violations.iter().map(|v| json!({ "rule": v.rule, "what": v.what })).collect();
        say_json(&json!({
            "seed": seed,
            "driver": driver.name,
            "faults": faults.iter().map(|fault| fault.name()).collect::<Vec<_>>(),
            "story": played.trace,
            "foreseen": played.findings,
            "compared": played.compared,
            "outcome": played.outcome.as_ref().map_or("never-ended", |outcome| outcome.word()),
            "seconds": played.took.as_secs_f64(),
            "seconds_above_floor": played.above_floor.map(|above| above.as_secs_f64()),
            "requests": requests.sent,
            "failed": { "attributable": requests.attributable, "foreseen": requests.foreseen, "the_worlds": requests.worlds },
            "aws_calls": played.calls.aws,
            "violations": violations,
        }));
        return code;
    }
    say(format!("seed {seed}, driver {}", driver.name));
    for fault in faults.iter() {
        say(format!("  fault {:>2}  {}: {}", fault.number(), fault.name(), fault.meaning()));
    }
    if faults.is_empty() {
        say("  no fault");
    }
    say("");
    played.trace.iter().for_each(say);
    say("");
    for finding in &played.findings {
        for (place, line) in describe::finding(finding).iter().enumerate() {
            say(format!("{:<10}{line}", if place == 0 { "foreseen" } else { "" }));
        }
    }
    let above = played.above_floor.map(|above| format!(", {:.1} s above the floor", above.as_secs_f64())).unwrap_or_default();
    match &played.outcome {
        Some(outcome) => say(format!("{outcome}: {}; {}{above}", outcome.meaning(), plain(played.took))),
        None => say("it never ended"),
    }
    played.compared.iter().for_each(|one| say(format!("{:<10}{one}", "compared")));
    say(format!(
        "{} requests, {} failed: {} by the driver, {} foreseen, {} by the world; {} calls of AWS",
        requests.sent, requests.failed, requests.attributable, requests.foreseen, requests.worlds, played.calls.aws
    ));
    if let Some(example) = &requests.example {
        say(format!("  lost by the driver: {example}"));
    }
    for violation in &played.violations {
        say(format!("broken: {} {}", violation.rule, violation.what));
    }
    code
}
