//! The events of a task that was told to stop, in the forms and the order in which Nomad records them (recorded: containers-stop,
//! task-ignores-its-signal; Nomad's `client/allocrunner/taskrunner` for the delay).

use std::time::Duration;

use serde_json::{Value, json};

use decamp_core::decide::Stop;
use decamp_core::time::Time;

/// The events of a task that its client received then, and those of its stop.
pub(super) fn of_task(received: Time, stop: Option<(&Stop, Duration)>) -> Vec<Value> {
    let mut events = vec![event("Received", received, "Task received by client", &json!({}))];
    events.extend(stop.into_iter().flat_map(|(stop, delay)| of(stop, delay)));
    events
}

/// The events of one stop.
fn of(stop: &Stop, shutdown_delay: Duration) -> Vec<Value> {
    let told = stop.signalled - shutdown_delay;
    let ended = stop.signalled + stop.took;
    let timeout = format!("{}s", stop.kill_timeout.as_secs_f64());
    let wait = format!("Sent interrupt. Waiting {timeout} before force killing");
    let mut events = vec![event("Killing", told, &wait, &json!({ "kill_timeout": timeout }))];
    if !shutdown_delay.is_zero() {
        let wait = format!("Waiting for shutdown_delay of {}s before killing the task.", shutdown_delay.as_secs_f64());
        events.push(event("Waiting for shutdown delay", told, &wait, &json!({})));
    }
    let signal = if stop.signal == 0 { String::new() } else { format!(", Signal: {}", stop.signal) };
    let details = json!({ "exit_code": stop.exit_code.to_string(), "signal": stop.signal.to_string(),
        "oom_killed": stop.out_of_memory.to_string() });
    events.push(event("Terminated", ended, &format!("Exit Code: {}{signal}", stop.exit_code), &details));
    events.push(event("Killed", ended, "Task successfully killed", &json!({})));
    events
}

fn event(kind: &str, at: Time, shown: &str, details: &Value) -> Value {
    json!({ "Type": kind, "Time": at.0.saturating_mul(1_000_000), "DisplayMessage": shown, "Details": details })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events after the first `Killing` of every recorded task that was told to stop.
    fn recorded() -> Vec<Vec<Value>> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/recordings/");
        let mut all = Vec::new();
        for file in ["nomad-2.0.5-containers-stop.jsonl", "nomad-2.0.5-task-ignores-its-signal.jsonl"] {
            let text = std::fs::read_to_string(format!("{folder}{file}")).expect("it was recorded");
            let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("an exchange")).collect();
            let lists = lines.iter().filter(|line| line["path"].as_str().is_some_and(|path| path.ends_with("/allocations")));
            let last = lists.filter_map(|line| line["body"].as_array()).next_back().expect("a list");
            let states =
                last.iter().filter_map(|allocation| allocation["TaskStates"].as_object()).flat_map(|states| states.values());
            let events = states.filter_map(|state| state["Events"].as_array());
            all.extend(
                events.map(|events| events.iter().skip_while(|event| event["Type"] != "Killing").cloned().collect::<Vec<_>>()),
            );
        }
        all.retain(|events| !events.is_empty());
        all
    }

    fn number(event: &Value, name: &str) -> i64 {
        event["Details"][name].as_str().and_then(|text| text.parse().ok()).expect("a number")
    }

    fn time(event: &Value) -> Time {
        Time(event["Time"].as_u64().expect("a time") / 1_000_000)
    }

    #[test]
    fn the_events_of_a_stop_have_the_forms_and_the_order_of_the_recorded_ones() {
        let recorded = recorded();
        assert!(8 < recorded.len(), "{}", recorded.len());
        for real in recorded {
            let [killing, terminated, ..] = real.as_slice() else { panic!("{real:?}") };
            let timeout = killing["Details"]["kill_timeout"].as_str().and_then(|text| text.strip_suffix('s')?.parse().ok());
            let stop = Stop {
                task: "server".into(),
                signalled: time(killing),
                took: time(terminated).since(time(killing)),
                kill_timeout: Duration::from_secs(timeout.expect("seconds")),
                exit_code: number(terminated, "exit_code"),
                signal: number(terminated, "signal"),
                out_of_memory: terminated["Details"]["oom_killed"] == "true",
            };
            let ours = of(&stop, Duration::ZERO);
            assert_eq!(ours.len(), real.len(), "{real:?}");
            for (own, real) in ours.iter().zip(&real) {
                assert_eq!(own["Type"], real["Type"]);
                let mut details = real["Details"].clone();
                // Docker adds a message, which says what the exit code says.
                details.as_object_mut().expect("an object").remove("exit_message");
                assert_eq!(own["Details"], details, "{real}");
            }
            assert_eq!((time(&ours[0]), time(&ours[1])), (time(killing), time(terminated)));
        }
    }

    #[test]
    fn a_task_with_a_delay_is_told_before_it_gets_its_signal() {
        let stop = Stop {
            task: "server".into(),
            signalled: Time(10_000),
            took: Duration::from_secs(1),
            kill_timeout: Duration::from_secs(5),
            exit_code: 0,
            signal: 0,
            out_of_memory: false,
        };
        let events = of(&stop, Duration::from_secs(3));
        let order: Vec<_> = events.iter().map(|event| (event["Type"].as_str(), time(event).0)).collect();
        let expected = [("Killing", 7_000), ("Waiting for shutdown delay", 7_000), ("Terminated", 11_000), ("Killed", 11_000)];
        assert_eq!(order, expected.map(|(kind, at)| (Some(kind), at)));
    }
}
