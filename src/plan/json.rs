//! The simulated departure of `decamp plan` as JSON. Seconds count from the entry into the hook, or from now if the instance waits already.

use decamp_core::decide::Snapshot;
use decamp_sim::forecast::{Forecast, ForecastEnd};
use serde_json::{Value, json};

use super::foreseen::{Foreseen, Range};

/// The simulated departure. An unknown number is null.
pub(super) fn forecast(played: &Foreseen, seen: &Snapshot) -> Value {
    let range = |range: Range| json!({ "earliest": range.earliest.map(|at| at.as_secs_f64()), "latest": range.latest.map(|at| at.as_secs_f64()) });
    let steps = played.written(seen);
    let steps: Vec<Value> = steps
        .iter()
        .map(|step| json!({ "at_s": range(step.at), "what": step.what, "reason": step.reason, "because": step.because }))
        .collect();
    let bars = played.bars();
    let bars: Vec<Value> =
        bars.iter().map(|bar| json!({ "what": bar.name, "from_s": range(bar.from), "to_s": range(bar.to) })).collect();
    let waits = played.latest.waits.iter();
    let waits: Vec<Value> = waits
        .map(|wait| json!({ "at_s": wait.at.since(played.latest.begins).as_secs_f64(), "reason": wait.reason, "because": wait.because }))
        .collect();
    json!({
        "begins": played.latest.begins,
        "steps": steps,
        "parts": bars,
        "waits": waits,
        "earliest": end(&played.earliest),
        "latest": end(&played.latest),
    })
}

fn end(forecast: &Forecast) -> Value {
    let since = |at: decamp_core::time::Time| at.since(forecast.begins).as_secs_f64();
    match &forecast.end {
        ForecastEnd::Ended(outcome, at) => json!({ "outcome": outcome.word(), "at_s": since(*at) }),
        ForecastEnd::Unknown(at, system, why) => {
            json!({ "outcome": null, "unknown_from_s": since(*at), "system": system, "why": why.to_string() })
        }
        ForecastEnd::Waits(at) => json!({ "outcome": null, "still_waits_at_s": since(*at) }),
    }
}
