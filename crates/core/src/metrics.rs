//! The metrics that decamp reports about itself. Each is named once, for the code that writes it and for the alarms.

use serde_json::{Map, Value, json};

use crate::time::Time;

/// The namespace of all of them.
pub const NAMESPACE: &str = "decamp";

/// A metric's name and unit, as CloudWatch has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
}

const fn count(name: &'static str) -> Metric {
    Metric { name, unit: "Count" }
}

const fn seconds(name: &'static str) -> Metric {
    Metric { name, unit: "Seconds" }
}

/// Departures that ended, by group and outcome.
pub const DEPARTURES: Metric = count("Departures");
/// From the entry into the hook to the end of the departure, by group and outcome.
pub const DEPARTURE_SECONDS: Metric = seconds("DepartureSeconds");
/// What of it was neither the load balancers' delay nor the stopping of allocations. Only of departures that one pass saw whole.
pub const SECONDS_ABOVE_FLOOR: Metric = seconds("SecondsAboveFloor");
/// Writes that the pass made which ended the departure, by group and outcome.
pub const STEPS: Metric = count("Steps");
/// Departures that a pass handed back unfinished, by group. Everyday.
pub const HANDED_BACK: Metric = count("HandedBack");
/// Heartbeats that Auto Scaling refused, by group.
pub const HEARTBEATS_REJECTED: Metric = count("HeartbeatsRejected");
/// Tasks that a departure stopped and that did not stop in order, by group and how: deaf, abrupt, out-of-memory, killed-early.
pub const HARD_STOPS: Metric = count("HardStops");
/// Findings that were compared with what a departure showed, by group and result.
pub const COMPARED: Metric = count("Compared");
/// Losses that a departure showed and that no finding had foreseen, by group and finding. Each is a defect of decamp.
pub const NOT_FORESEEN: Metric = count("NotForeseen");
/// Calls that a departure needs and that were denied, by call: counted at the first occurrence and once an hour.
pub const DENIED: Metric = count("Denied");
/// Records that can never be acted on, by why.
pub const EVENTS_REJECTED: Metric = count("EventsRejected");
/// Warnings of EC2 and AWS Health about instances, by kind.
pub const WARNINGS: Metric = count("InstanceWarnings");
/// Sweeps that saw all groups. None for a while: nobody looks after lost events.
pub const SWEEPS: Metric = count("Sweeps");
/// Instances that a sweep found in a terminating hook.
pub const WAITING: Metric = count("InstancesWaiting");
/// Instances that a sweep found retained: kept, and billed, until somebody terminates them.
pub const RETAINED: Metric = count("InstancesRetained");

/// All of them.
pub const ALL: [Metric; 15] = [
    DEPARTURES,
    DEPARTURE_SECONDS,
    SECONDS_ABOVE_FLOOR,
    STEPS,
    HANDED_BACK,
    HEARTBEATS_REJECTED,
    HARD_STOPS,
    COMPARED,
    NOT_FORESEEN,
    DENIED,
    EVENTS_REJECTED,
    WARNINGS,
    SWEEPS,
    WAITING,
    RETAINED,
];

/// The dimension that names an Auto Scaling group.
pub const ASG: &str = "Asg";
/// The dimension that names how a departure ended.
pub const OUTCOME: &str = "Outcome";
/// The dimension that names why a record was refused, of what a warning warns, which call was denied, how a task stopped, what a comparison
/// showed, or which finding was missing.
pub const KIND: &str = "Kind";

/// One line of CloudWatch's embedded metric format. The values count without dimensions, by the first, by the first two, and so on,
/// so that an alarm over everything needs to know no group.
#[must_use]
pub fn line(now: Time, dimensions: &[(&'static str, &str)], values: &[(Metric, f64)]) -> String {
    let sets: Vec<Vec<&str>> = (0..=dimensions.len()).map(|n| dimensions[..n].iter().map(|(name, _)| *name).collect()).collect();
    let metrics: Vec<_> = values.iter().map(|(metric, _)| json!({"Name": metric.name, "Unit": metric.unit})).collect();
    let mut line = Map::new();
    line.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": now.0,
            "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": sets, "Metrics": metrics}],
        }),
    );
    for (name, value) in dimensions {
        line.insert((*name).to_owned(), Value::from(dimension(value)));
    }
    for (metric, value) in values {
        line.insert(metric.name.to_owned(), Value::from(*value));
    }
    Value::Object(line).to_string()
}

/// CloudWatch takes printable ASCII as a dimension's value, not empty, and drops the whole line otherwise.
fn dimension(value: &str) -> String {
    let plain: String = value.chars().take(250).map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
    if plain.trim().is_empty() { "-".to_owned() } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_object_that_names_each_value_and_dimension() {
        let text = line(Time(1_000), &[(ASG, "workers"), (OUTCOME, "departed")], &[(DEPARTURES, 1.0), (DEPARTURE_SECONDS, 12.5)]);
        assert!(!text.contains('\n'));
        let line: Value = serde_json::from_str(&text).unwrap();
        let told = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(line["_aws"]["Timestamp"], 1_000);
        assert_eq!(told["Dimensions"], json!([[], ["Asg"], ["Asg", "Outcome"]]));
        assert_eq!(told["Metrics"][1], json!({"Name": "DepartureSeconds", "Unit": "Seconds"}));
        assert_eq!(
            (&line["Asg"], &line["Outcome"], &line["DepartureSeconds"]),
            (&json!("workers"), &json!("departed"), &json!(12.5))
        );
    }

    #[test]
    fn a_dimension_that_cloudwatch_would_refuse_costs_no_metric() {
        assert_eq!(dimension("größe\n"), "gr??e?");
        assert_eq!(dimension(""), "-");
    }

    #[test]
    fn no_two_metrics_have_one_name() {
        for (place, metric) in ALL.iter().enumerate() {
            assert!(ALL[..place].iter().all(|other| other.name != metric.name), "{}", metric.name);
        }
    }
}
