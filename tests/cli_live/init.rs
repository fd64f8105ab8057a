//! `decamp init`: the files that it writes for a group.

use serde_json::Value;

use super::{code, quick, run, text};
use decamp_sandbox::wire::{FaultPlan, Rule, Side, WireFault};
use decamp_sandbox::{ACCOUNT, ASG, REGION, Sandbox};

/// A sandbox that denies each write to AWS and each call of Nomad and Consul.
async fn read_only() -> Sandbox {
    let sandbox = decamp_sandbox::serve(&quick()).await.expect("loopback has free ports");
    let side = |side| Rule { side: Some(side), ..Rule::next(u32::MAX, "", WireFault::Denied) };
    let writes =
        ["Complete", "Record", "Set", "Put", "Deregister", "Start"].map(|verb| Rule::next(u32::MAX, verb, WireFault::Denied));
    let rules = [side(Side::Nomad), side(Side::Consul)].into_iter().chain(writes).collect();
    sandbox.shared.set_faults(FaultPlan::new(rules, 1));
    sandbox
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_files_for_the_aws_cli_are_for_this_group_and_nothing_is_applied() {
    let sandbox = read_only().await;
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("decamp-web");
    let to = folder.to_str().expect("a name");
    let output = run(&sandbox, &["init", "--asg", ASG, "--to", to, "--with", "aws-cli"]).await;
    assert_eq!(code(&output), Some(0), "{}", text(&output.stderr));
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_else(|why| panic!("{name}: {why}"));
    let json = |name: &str| -> Value { serde_json::from_str(&read(name)).unwrap_or_else(|why| panic!("{name}: {why}")) };
    let role = json("role-policy.json");
    let statement = |sid: &str| {
        let all = role["Statement"].as_array().expect("statements");
        all.iter().find(|statement| statement["Sid"] == sid).unwrap_or_else(|| panic!("{sid} in {role:#}")).clone()
    };
    let group = format!("arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:*:autoScalingGroupName/{ASG}");
    assert_eq!(statement("Lifecycle")["Resource"], group);
    let target_groups = statement("Deregister")["Resource"].as_array().expect("a list").clone();
    assert_eq!(target_groups.len(), 2, "the attached one and the hook's: {target_groups:?}");
    let environment = &json("environment.json")["Variables"];
    assert_eq!((environment["DECAMP_GROUPS"].as_str(), environment["DECAMP_MODE"].as_str()), (Some(ASG), Some("observe")));
    assert!(environment.to_string().len() < 4096, "Lambda allows 4 KB");
    assert_eq!(json("event-pattern.json")["detail"]["AutoScalingGroupName"][0], ASG);
    // The values of a queue's attributes are strings. Two of them contain JSON.
    let redrive: Value = serde_json::from_str(json("queue.json")["RedrivePolicy"].as_str().expect("a text")).expect("JSON");
    assert_eq!(redrive["maxReceiveCount"], 500);
    assert!(!read("install.sh").contains("put-lifecycle-hook"), "the group has the hook already");
    assert!(read("README.md").contains("already has the terminating lifecycle hook `decamp`"));
    assert!(!format!("{role}{}", read("tokens.sh")).contains("0a0a0a0a"), "a token was written");
    let again = run(&sandbox, &["init", "--asg", ASG, "--to", to, "--with", "aws-cli"]).await;
    assert_eq!(code(&again), Some(3));
    assert!(text(&again.stderr).contains("overwrites no file"), "{}", text(&again.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_folder_the_terraform_call_is_printed() {
    let sandbox = read_only().await;
    let output = run(&sandbox, &["init", "--asg", ASG]).await;
    assert_eq!(code(&output), Some(0), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    for word in
        ["# ==> main.tf", "# ==> nomad-policy.hcl", "# ==> tokens.sh", "name              = \"web\"", "create_hook = false"]
    {
        assert!(stdout.contains(word), "{word} is not in\n{stdout}");
    }
    let output = run(&sandbox, &["init", "--asg", "wbe"]).await;
    assert_eq!(code(&output), Some(3));
    assert!(text(&output.stderr).contains("there is no Auto Scaling group wbe"), "{}", text(&output.stderr));
}
