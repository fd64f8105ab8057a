//! What `decamp run` says at the end of what it foresaw: by what the departure saw, and by what the load balancers counted.

use std::time::Duration;

use decamp_core::ids::InstanceId;
use decamp_sandbox::wire::{FaultPlan, Rule, WireFault};
use decamp_sandbox::{Options, Sandbox, serve};
use futures_util::future::join3;
use serde_json::Value;

use super::{code, decamp, quick, terminate, text};

/// Every line of a run in JSON, and its exit code.
async fn report(sandbox: &Sandbox, instance: InstanceId, more: &[(&str, &str)]) -> (Option<i32>, Vec<Value>) {
    let mut command = decamp(sandbox, &["run", "--instance", &instance.to_string(), "--json"]);
    command.envs(more.iter().copied());
    let output = command.output().await.expect("it starts");
    let lines = text(&output.stdout);
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}")));
    (code(&output), lines.collect())
}

/// The comparisons in the last line of this kind, each as result, finding and object.
fn compared(lines: &[Value], kind: &str) -> Vec<(String, String, String)> {
    let line = lines.iter().rfind(|line| line["kind"] == kind).unwrap_or_else(|| panic!("no {kind} in {lines:#?}"));
    let text = |one: &Value, field: &str| one[field].as_str().unwrap_or_else(|| panic!("{field}: {one}")).to_owned();
    let all = line["compared"].as_array().unwrap_or_else(|| panic!("{line}"));
    all.iter().map(|one| (text(one, "match"), text(one, "finding"), text(one, "object"))).collect()
}

fn has(all: &[(String, String, String)], result: &str, finding: &str) -> bool {
    all.iter().any(|(of, named, _)| of == result && named == finding)
}

const LOOKS_BACK: [(&str, &str); 2] = [("DECAMP_LOOK_BACK", "cloudwatch"), ("DECAMP_LOOK_BACK_FOR", "30s")];

/// A group that decamp leaves itself, with one service and many requests.
fn busy() -> Options {
    Options { attached: 0, named: 1, services: 1, rate: 200, ..quick() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_ignores_its_signal_is_foreseen_and_seen() {
    let sandbox = serve(&Options { deaf: true, ..quick() }).await.expect("loopback has free ports");
    let instance = sandbox.instances[0];
    terminate(&sandbox, instance).await;
    let (code, lines) = report(&sandbox, instance, &[]).await;
    assert_eq!(code, Some(0), "{lines:#?}");
    let all = compared(&lines, "end");
    let seen = all.iter().any(|(result, _, object)| result == "foreseen-and-seen" && object.starts_with("deaf/"));
    assert!(seen && !all.iter().any(|(result, ..)| result == "seen-not-foreseen"), "{all:#?}");
    assert!(!lines.iter().any(|line| line["kind"] == "compared"), "without the option nothing is looked back at");
}

/// The counts are by the minute, so this takes one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_load_balancers_counts_confirm_what_was_foreseen_and_show_what_was_not() {
    // It stops at once, and the ingress sends to it for two seconds more.
    let early = async {
        let sandbox = serve(&Options { shutdown_delay: Duration::ZERO, ..busy() }).await.expect("loopback has free ports");
        terminate(&sandbox, sandbox.instances[0]).await;
        let (code, lines) = report(&sandbox, sandbox.instances[0], &LOOKS_BACK).await;
        assert_eq!(code, Some(0), "{lines:#?}");
        assert!(has(&compared(&lines, "end"), "foreseen-cannot-be-seen", "leaves-before-forgotten"), "{lines:#?}");
        assert!(has(&compared(&lines, "compared"), "foreseen-and-seen", "leaves-before-forgotten"), "{lines:#?}");
    };
    // Requests take four times as long as the settings say, and the load balancer cuts them at the end of its delay.
    let cut = async {
        let longest_request = Duration::from_secs(4);
        let delay = Duration::from_secs(2);
        let sandbox = serve(&Options { longest_request, delay, ..busy() }).await.expect("loopback has free ports");
        terminate(&sandbox, sandbox.instances[0]).await;
        let (code, lines) = report(&sandbox, sandbox.instances[0], &LOOKS_BACK).await;
        assert_eq!(code, Some(0), "{lines:#?}");
        assert!(!compared(&lines, "end").iter().any(|(result, ..)| result == "seen-not-foreseen"), "{lines:#?}");
        assert!(has(&compared(&lines, "compared"), "seen-not-foreseen", "load-balancer-errors"), "{lines:#?}");
    };
    // The role lacks the action.
    let denied = async {
        let sandbox = serve(&Options { shutdown_delay: Duration::ZERO, ..busy() }).await.expect("loopback has free ports");
        sandbox.shared.set_faults(FaultPlan::new(vec![Rule::next(u32::MAX, "GetMetricData", WireFault::Denied)], 0));
        terminate(&sandbox, sandbox.instances[0]).await;
        let (code, lines) = report(&sandbox, sandbox.instances[0], &LOOKS_BACK).await;
        assert_eq!(code, Some(0), "a denied call of CloudWatch does not fail the departure: {lines:#?}");
        let looked = lines.iter().rfind(|line| line["kind"] == "compared").expect("it says so");
        assert!(looked["unread"][0].as_str().is_some_and(|why| why.contains("allow cloudwatch:GetMetricData")), "{looked:#}");
        assert!(has(&compared(&lines, "compared"), "foreseen-cannot-be-seen", "leaves-before-forgotten"), "{looked:#}");
    };
    join3(early, cut, denied).await;
}
