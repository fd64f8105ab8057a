//! The ends of tasks in events that no recording shows: other forms, delays, restarts.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use decamp_core::decide::{JobKind, Process, TaskRole};

const SECOND: u64 = 1_000_000_000;

fn group(shutdown_delay: u64) -> TaskGroup {
    let seconds = Duration::from_secs;
    TaskGroup {
        namespace: "default".into(),
        job: "web".into(),
        name: "app".into(),
        kind: JobKind::Service,
        csi_plugin: false,
        migrates_disk: false,
        volumes: Vec::new(),
        count: 2,
        max_parallel: Some(1),
        shutdown_delay: Duration::ZERO,
        tasks: vec![Task {
            name: "server".into(),
            shutdown_delay: seconds(shutdown_delay),
            kill_timeout: seconds(5),
            role: TaskRole::Main,
            process: Process::default(),
        }],
        services: Vec::new(),
        ingress: None,
    }
}

fn event(kind: &str, seconds: f64, details: Value) -> Value {
    json!({ "Type": kind, "Time": (seconds * SECOND as f64) as u64, "Details": details })
}

fn killing(seconds: f64) -> Value {
    event(KILLING, seconds, json!({ "kill_timeout": "5s" }))
}

fn terminated(seconds: f64, code: i64) -> Value {
    event(TERMINATED, seconds, json!({ "exit_code": code.to_string(), "signal": "0", "oom_killed": "false" }))
}

fn read(events: Value, delay: u64, skipped: bool) -> Vec<TaskEnd> {
    let state: wire::TaskState =
        serde_json::from_value(json!({ "State": "dead", "StartedAt": "2026-11-28T20:46:06Z", "Events": events }))
            .expect("a state");
    ends([(&"server".to_owned(), &state)], Some(&group(delay)), skipped)
}

fn stop(events: Value, delay: u64) -> Stop {
    match read(events, delay, false).as_slice() {
        [TaskEnd::Stopped(stop)] => stop.clone(),
        other => panic!("{other:?}"),
    }
}

fn why(events: Value) -> String {
    match read(events, 0, false).as_slice() {
        [TaskEnd::Unreadable { why, .. }] => why.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stop_lasts_from_the_signal_and_not_from_the_delay_before_it() {
    let plain = stop(json!([killing(100.0), terminated(101.5, 0)]), 0);
    assert_eq!(
        (plain.took, plain.kill_timeout, plain.signalled),
        (Duration::from_millis(1_500), Duration::from_secs(5), Time(100_000))
    );
    let waited = json!([killing(100.0), event(DELAYED, 100.5, json!({})), terminated(104.0, 0)]);
    assert_eq!(stop(waited, 3).took, Duration::from_millis(500));
    let unsaid = json!([killing(100.0), terminated(104.0, 0)]);
    assert_eq!(stop(unsaid, 3).took, Duration::from_secs(1), "older clients do not record that they wait");
    let skipped = json!([killing(100.0), event(UNDELAYED, 100.1, json!({})), terminated(101.1, 0)]);
    assert_eq!(stop(skipped, 3).took, Duration::from_secs(1));
    let [TaskEnd::Stopped(by_request)] = &*read(json!([killing(100.0), terminated(101.0, 0)]), 3, true) else {
        panic!("it stopped")
    };
    assert_eq!(by_request.took, Duration::from_secs(1));
}

#[test]
fn a_task_that_ended_by_itself_or_before_its_signal_is_no_evidence() {
    assert_eq!(read(json!([event("Started", 90.0, json!({})), terminated(95.0, 1)]), 0, false), []);
    assert_eq!(read(json!([killing(100.0), terminated(101.0, 0)]), 3, false), [], "within its delay");
    assert_eq!(read(json!(null), 0, false), []);
    let ended_before = json!([event("Started", 90.0, json!({})), terminated(95.0, 0), killing(100.0)]);
    assert_eq!(read(ended_before, 0, false), []);
}

#[test]
fn the_last_stop_counts() {
    let restarted =
        json!([killing(10.0), terminated(15.0, 137), event("Started", 16.0, json!({})), killing(100.0), terminated(100.1, 143)]);
    let last = stop(restarted, 0);
    assert_eq!((last.exit_code, last.took), (143, Duration::from_millis(100)));
}

#[test]
fn events_in_a_form_that_is_not_known_cost_only_their_evidence_and_are_named() {
    let odd = "Nomad lists a task event in a form that this version of decamp does not know";
    assert_eq!(why(json!("many")), odd);
    assert_eq!(why(json!([killing(1.0), 7])), odd);
    assert_eq!(why(json!([{ "Type": KILLING, "Time": "yesterday" }])), odd);
    assert_eq!(why(json!([{ "Type": { "name": KILLING }, "Time": 1 }])), odd);
    assert_eq!(why(json!([killing(1.0)])), "Nomad lists no event with the end of the task");
    let without = json!([killing(1.0), event(TERMINATED, 2.0, json!({ "signal": "0" }))]);
    assert_eq!(why(without), "Nomad's event Terminated has exit_code not at all");
    let other = json!([killing(1.0), event(TERMINATED, 2.0, json!({ "signal": "SIGTERM", "exit_code": "0" }))]);
    assert_eq!(why(other), "Nomad's event Terminated has signal with a value that cannot be read");
    let timeout = json!([event(KILLING, 1.0, json!({ "kill_timeout": "soon" })), terminated(2.0, 0)]);
    assert_eq!(why(timeout), "Nomad's event Killing has kill_timeout with a value that cannot be read");
}

#[test]
fn a_duration_is_read_as_go_prints_it() {
    let cases = [
        ("5s", 5_000),
        ("1m30s", 90_000),
        ("1.5s", 1_500),
        ("250ms", 250),
        ("0s", 0),
        ("1h0m0s", 3_600_000),
        ("1m30.5s", 90_500),
    ];
    for (text, milliseconds) in cases {
        assert_eq!(go_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
    }
    assert_eq!(go_duration("1.5µs"), Some(Duration::from_nanos(1_500)));
    assert_eq!(go_duration("2562047h47m16.854775807s"), Some(Duration::from_nanos(i64::MAX.unsigned_abs())));
    for text in ["", "5", "s", "5x", "-5s", "1..5s", "99999999999999999999h"] {
        assert_eq!(go_duration(text), None, "{text}");
    }
}
