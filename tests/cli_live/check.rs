//! `decamp check` of all groups, of names that do not exist, and with systems that cannot be seen.

use serde_json::Value;

use super::{code, decamp, quick, run, text};
use decamp_sandbox::wire::{FaultPlan, Rule, Side, WireFault};
use decamp_sandbox::{ASG, serve};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_name_all_groups_that_are_allowed_are_read() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let all = run(&sandbox, &["check"]).await;
    let said = text(&all.stdout);
    assert_eq!(code(&all), Some(0), "{said}{}", text(&all.stderr));
    assert!(said.starts_with(&format!("{ASG}: a departure works")), "the verdict comes first: {said}");
    assert!(!said.contains("heartbeat time-out") && said.contains("--verbose"), "facts are for who asks: {said}");
    let verbose = text(&run(&sandbox, &["check", "--verbose"]).await.stdout);
    assert!(verbose.contains("heartbeat time-out") && verbose.contains("Time budget"), "{verbose}");
    let prefix = decamp(&sandbox, &["check", "--json"]).env("DECAMP_GROUPS", "w*").output().await.expect("it starts");
    let report: Value = serde_json::from_slice(&prefix.stdout).expect("JSON");
    assert_eq!((code(&prefix), report["asg.name"].as_str()), (Some(0), Some(ASG)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_does_not_exist_is_said_with_the_one_that_may_be_meant() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let listed = decamp(&sandbox, &["check"]).env("DECAMP_GROUPS", "wbe").output().await.expect("it starts");
    let said = text(&listed.stdout);
    assert_eq!(code(&listed), Some(3), "{said}");
    assert!(said.contains("DECAMP_GROUPS names wbe") && said.contains("did you mean web?"), "{said}");
    for arguments in [&["check", "--asg", "wbe"] as &[&str], &["status", "--asg", "wbe"], &["init", "--asg", "wbe"]] {
        let output = decamp(&sandbox, arguments).env_remove("DECAMP_GROUPS").output().await.expect("it starts");
        assert_eq!(code(&output), Some(3), "{arguments:?}");
        assert!(text(&output.stderr).contains("did you mean web?"), "{}", text(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_that_cannot_be_seen_is_said_once_and_first_and_nothing_of_it_is_guessed() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let away = Rule { side: Some(Side::Nomad), ..Rule::next(u32::MAX, "", WireFault::Error500) };
    sandbox.shared.set_faults(FaultPlan::new(vec![away], 1));
    let output = run(&sandbox, &["check", "--verbose"]).await;
    let said = text(&output.stdout);
    assert_eq!(code(&output), Some(3), "{said}");
    assert!(said.starts_with("Nomad cannot be seen"), "{said}");
    assert_eq!(said.matches("cannot be seen").count(), 1, "{said}");
    assert!(said.contains("longest stop of an allocation      unknown") && !said.contains("0 allocations"), "{said}");
}
