//! `decamp check` of all groups, of names that do not exist, and while a system is unavailable.

use serde_json::Value;

use super::{code, decamp, quick, run, text};
use decamp_sandbox::wire::{FaultPlan, Rule, Side, WireFault};
use decamp_sandbox::{ASG, serve};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_name_all_allowed_groups_are_checked() {
    let sandbox = serve(&quick()).await.expect("loopback has free ports");
    let all = run(&sandbox, &["check"]).await;
    let stdout = text(&all.stdout);
    assert_eq!(code(&all), Some(0), "{stdout}{}", text(&all.stderr));
    assert!(stdout.starts_with(&format!("{ASG}: a departure works")), "the verdict comes first: {stdout}");
    assert!(!stdout.contains("heartbeat time-out") && stdout.contains("--verbose"), "facts need --verbose: {stdout}");
    let verbose = text(&run(&sandbox, &["check", "--verbose"]).await.stdout);
    assert!(verbose.contains("heartbeat time-out") && verbose.contains("Time budget"), "{verbose}");
    let prefix = decamp(&sandbox, &["check", "--json"]).env("DECAMP_GROUPS", "w*").output().await.expect("it starts");
    let report: Value = serde_json::from_slice(&prefix.stdout).expect("JSON");
    assert_eq!((code(&prefix), report["asg.name"].as_str()), (Some(0), Some(ASG)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_error_for_an_unknown_group_suggests_a_similar_name() {
    let sandbox = serve(&quick()).await.expect("loopback has free ports");
    let listed = decamp(&sandbox, &["check"]).env("DECAMP_GROUPS", "wbe").output().await.expect("it starts");
    let stdout = text(&listed.stdout);
    assert_eq!(code(&listed), Some(3), "{stdout}");
    assert!(stdout.contains("DECAMP_GROUPS names wbe") && stdout.contains("did you mean web?"), "{stdout}");
    for arguments in [&["check", "--asg", "wbe"] as &[&str], &["status", "--asg", "wbe"], &["init", "--asg", "wbe"]] {
        let output = decamp(&sandbox, arguments).env_remove("DECAMP_GROUPS").output().await.expect("it starts");
        assert_eq!(code(&output), Some(3), "{arguments:?}");
        assert!(text(&output.stderr).contains("did you mean web?"), "{}", text(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unavailable_system_is_reported_once_and_first_and_its_facts_are_unknown() {
    let sandbox = serve(&quick()).await.expect("loopback has free ports");
    let unavailable = Rule { side: Some(Side::Nomad), ..Rule::next(u32::MAX, "", WireFault::Error500) };
    sandbox.shared.set_faults(FaultPlan::new(vec![unavailable], 1));
    let output = run(&sandbox, &["check", "--verbose"]).await;
    let stdout = text(&output.stdout);
    assert_eq!(code(&output), Some(3), "{stdout}");
    assert!(stdout.starts_with("Nomad cannot be seen"), "{stdout}");
    assert_eq!(stdout.matches("cannot be seen").count(), 1, "{stdout}");
    assert!(stdout.contains("longest stop of an allocation      unknown") && !stdout.contains("0 allocations"), "{stdout}");
}
