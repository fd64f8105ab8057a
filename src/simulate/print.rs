//! The results of a simulation, as text and as JSON.

use decamp_sim::faults::Fault;
use decamp_sim::simulate::{Broken, Sum};
use serde_json::{Value, json};

use super::{Arguments, NamedDriver, replay};

/// How many broken seeds the text lists. JSON lists all that were kept.
const LISTED_SEEDS: usize = 10;

fn a_minute(sum: &Sum) -> f64 {
    let seconds = sum.took.as_secs_f64();
    if seconds > 0.0 { count(sum.departures) / seconds * 60.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "for people; nobody simulates 2^52 departures")]
fn count(number: u64) -> f64 {
    number as f64
}

fn a_departure(number: u64, sum: &Sum) -> f64 {
    count(number) / count(sum.departures.max(1))
}

/// A number with its thousands separated.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn floor(sum: &Sum, overlapped: bool) -> String {
    let at = |percent| sum.above_floor_at(overlapped, percent).map(|ms| format!("{:.1} s", f64::from(ms) / 1000.0));
    match (at(50), at(99)) {
        (Some(half), Some(most)) => {
            format!("p50 {half}, p99 {most} ({} departures)", sum.above_floor[usize::from(overlapped)].len())
        }
        (_, _) => "not measured (departures without faults only)".to_owned(),
    }
}

pub(super) fn lines(arguments: &Arguments, sums: &[(NamedDriver, Sum)]) -> Vec<String> {
    let Some((driver, sum)) = sums.first() else { return Vec::new() };
    let mut lines = vec![
        format!(
            "{}: {} departures from seed {} with faults: {}, in {:.1} s ({} a minute)",
            driver.name,
            grouped(sum.departures),
            arguments.seed,
            arguments.faults.text,
            sum.took.as_secs_f64(),
            grouped(rounded(a_minute(sum)))
        ),
        format!("  requests               {} ({:.0} a departure)", grouped(sum.requests), a_departure(sum.requests, sum)),
        format!("  violations             {}", grouped(sum.violations)),
        format!(
            "  failed requests        {} by the driver, {} foreseen, {} by the world",
            grouped(sum.failed[0]),
            grouped(sum.failed[1]),
            grouped(sum.failed[2])
        ),
        format!("  outcomes               {}", outcomes(sum)),
        format!("  above the floor        delay, then drain: {}", floor(sum, false)),
        format!("                         drain beside the delay: {}", floor(sum, true)),
        format!("  calls of AWS           {:.1} a departure", a_departure(sum.aws_calls, sum)),
    ];
    if sum.calls_over > 0 {
        lines.push(format!("                         {} above 5G + 6 where there was no fault", grouped(sum.calls_over)));
    }
    lines.push(format!("  writes                 {} ({:.1} a departure)", grouped(sum.effects), a_departure(sum.effects, sum)));
    coverage(sum, &mut lines);
    baselines(sums, &mut lines);
    broken(arguments, *driver, sum, &mut lines);
    lines
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate of departures is positive and small")]
fn rounded(number: f64) -> u64 {
    number.round() as u64
}

fn outcomes(sum: &Sum) -> String {
    let mut outcomes: Vec<_> = sum.outcomes.iter().collect();
    outcomes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    outcomes.iter().map(|(word, count)| format!("{word} {}", grouped(**count))).collect::<Vec<_>>().join(", ")
}

fn coverage(sum: &Sum, lines: &mut Vec<String>) {
    if !sum.faults.is_empty() {
        lines.push("  faults drawn".to_owned());
        let cells: Vec<String> = sum.faults.iter().map(|(name, count)| format!("{name:<31} {:>8}", grouped(*count))).collect();
        lines.extend(cells.chunks(2).map(|row| format!("    {}", row.join("    ").trim_end())));
    }
    if !sum.crashes.is_empty() {
        lines.push("  workers killed before/after their n-th write".to_owned());
        let last = sum.crashes.keys().map(|(effect, _)| *effect).max().unwrap_or(0);
        let at = |effect, after| grouped(sum.crashes.get(&(effect, after)).copied().unwrap_or(0));
        let cells: Vec<String> = (0..=last).map(|n| format!("{:>2}: {}/{}", n + 1, at(n, false), at(n, true))).collect();
        lines.extend(cells.chunks(5).map(|row| format!("    {}", row.join("   "))));
    }
}

fn baselines(sums: &[(NamedDriver, Sum)], lines: &mut Vec<String>) {
    if sums.len() < 2 {
        return;
    }
    lines.push(String::new());
    lines.push("On the same seeds, with fewer departures for the baselines".to_owned());
    lines.push(format!(
        "  {:<22} {:>11} {:>13} {:>10} {:>13} {:>11}",
        "driver", "departures", "by the driver", "foreseen", "by the world", "violations"
    ));
    for (driver, sum) in sums {
        lines.push(format!(
            "  {:<22} {:>11} {:>13} {:>10} {:>13} {:>11}",
            driver.name,
            grouped(sum.departures),
            grouped(sum.failed[0]),
            grouped(sum.failed[1]),
            grouped(sum.failed[2]),
            grouped(sum.violations)
        ));
    }
}

fn broken(arguments: &Arguments, driver: NamedDriver, sum: &Sum, lines: &mut Vec<String>) {
    if !sum.is_broken() {
        return;
    }
    lines.push(String::new());
    lines.push(format!("{} departures were broken", grouped(sum.broken_count)));
    for one in sum.broken.iter().take(LISTED_SEEDS) {
        lines.push(format!("  seed {}: {}", one.seed, what(one)));
        lines.push(format!("    {}", replay(arguments, driver, one.seed)));
    }
}

fn what(broken: &Broken) -> String {
    match (broken.violations.first(), &broken.example) {
        (Some(violation), _) => format!("{} {}", violation.rule, violation.what),
        (None, Some(example)) => format!("{} requests lost by the driver: {example}", broken.attributable),
        (None, None) => format!("{} requests lost by the driver", broken.attributable),
    }
}

pub(super) fn json(arguments: &Arguments, sums: &[(NamedDriver, Sum)]) -> Value {
    let each: Vec<Value> = sums.iter().map(|(driver, sum)| of_driver(arguments, *driver, sum)).collect();
    json!({ "seed": arguments.seed, "faults": arguments.faults.text, "drivers": each })
}

fn of_driver(arguments: &Arguments, driver: NamedDriver, sum: &Sum) -> Value {
    let above = |overlapped| {
        json!({ "departures": sum.above_floor[usize::from(overlapped)].len(),
            "p50_ms": sum.above_floor_at(overlapped, 50), "p99_ms": sum.above_floor_at(overlapped, 99) })
    };
    let crashes: Vec<Value> = sum
        .crashes
        .iter()
        .map(|((effect, after), count)| json!({ "write": effect + 1, "side": if *after { "after" } else { "before" }, "count": count }))
        .collect();
    let broken: Vec<Value> = sum
        .broken
        .iter()
        .map(|one| json!({ "seed": one.seed, "what": what(one), "replay": replay(arguments, driver, one.seed) }))
        .collect();
    // Faults that were never drawn are listed too, with a zero.
    let faults: serde_json::Map<String, Value> =
        Fault::all().map(|fault| (fault.name().to_owned(), sum.faults.get(fault.name()).copied().unwrap_or(0).into())).collect();
    json!({
        "driver": driver.name,
        "departures": sum.departures,
        "seconds": sum.took.as_secs_f64(),
        "departures_a_minute": a_minute(sum),
        "requests": sum.requests,
        "violations": sum.violations,
        "failed": { "attributable": sum.failed[0], "foreseen": sum.failed[1], "the_worlds": sum.failed[2] },
        "outcomes": sum.outcomes,
        "above_floor": { "delay_then_drain": above(false), "beside_the_delay": above(true) },
        "aws_calls_a_departure": a_departure(sum.aws_calls, sum),
        "aws_calls_over_5g_plus_6": sum.calls_over,
        "writes": sum.effects,
        "faults_drawn": faults,
        "crash_points": crashes,
        "broken_departures": sum.broken_count,
        "broken": broken,
    })
}
