//! The command line with several clusters: each command uses the Nomad and Consul of its group's cluster.

use std::process::Output;

use decamp_sandbox::TwoClusters;
use serde_json::Value;

use super::{code, decamp, has_only_hints, quick, terminate, text};

/// Runs a command with settings from a document in the account. The variables of blue's Nomad and Consul are not used.
async fn run(two: &TwoClusters, document: &str, arguments: &[&str]) -> Output {
    two.blue.shared.stores().parameters.insert("/decamp/settings".to_owned(), document.to_owned());
    let mut command = decamp(&two.blue, arguments);
    command.env("AWS_ENDPOINT_URL", two.aws.url()).env("DECAMP_CONFIG", "ssm:/decamp/settings").env_remove("DECAMP_GROUPS");
    command.output().await.expect("the binary starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_uses_the_cluster_of_the_group() {
    let two = TwoClusters::serve(&quick()).await.expect("loopback has free ports");
    let document = two.document();
    for group in ["web", "shop"] {
        let check = run(&two, &document, &["check", "--asg", group, "--json"]).await;
        let report: Value = serde_json::from_slice(&check.stdout).expect("JSON");
        assert!(code(&check) == Some(0) && has_only_hints(&report), "{group}: {report:#}");
    }
    let (blue, green) = (two.blue.instances[0], two.green.instances[0]);
    terminate(&two.blue, blue).await;
    terminate(&two.green, green).await;
    let status = run(&two, &document, &["status", "--json"]).await;
    let leaving: Value = serde_json::from_slice(&status.stdout).expect("JSON");
    let groups: Vec<&str> =
        leaving["leaving"].as_array().expect("a list").iter().filter_map(|one| one["asg.name"].as_str()).collect();
    assert_eq!(groups.len(), 2, "{leaving:#}");
    assert!(groups.contains(&"web") && groups.contains(&"shop"), "{leaving:#}");
    let green = green.to_string();
    let plan = run(&two, &document, &["plan", "--instance", &green]).await;
    let stdout = text(&plan.stdout);
    assert!(
        code(&plan) == Some(0)
            && stdout.contains("of shop: ")
            && stdout.contains("shop-named-1")
            && stdout.contains(" ineligible"),
        "{stdout}"
    );
    let departed = run(&two, &document, &["run", "--instance", &green]).await;
    assert_eq!(code(&departed), Some(0), "{}{}", text(&departed.stdout), text(&departed.stderr));
    let nodes = |sandbox: &decamp_sandbox::Sandbox| {
        let nodes = sandbox.shared.look(|models| models.more())["nodes"].clone();
        nodes.as_array().expect("a list").iter().filter(|node| node["eligible"] != true).count()
    };
    assert_eq!((nodes(&two.blue), nodes(&two.green)), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_error_for_a_group_of_no_cluster_says_what_to_do() {
    let two = TwoClusters::serve(&quick()).await.expect("loopback has free ports");
    let document = two.document();
    let green = document.find("[clusters.green]").expect("it has two");
    let blue = two.blue.instances[0].to_string();
    for arguments in [
        &["check", "--asg", "web"][..],
        &["status", "--asg", "web"],
        &["plan", "--instance", &blue],
        &["run", "--instance", &blue],
        &["init", "--asg", "web"],
    ] {
        let output = run(&two, &document[green..], arguments).await;
        let stderr = text(&output.stderr);
        assert_eq!(code(&output), Some(3), "{arguments:?}: {stderr}");
        assert!(
            stderr.contains("no cluster in the settings has the group web; add it to the groups of"),
            "{arguments:?}: {stderr}"
        );
    }
    let status = run(&two, &document[green..], &["status"]).await;
    assert_eq!(text(&status.stdout).trim(), "no instance is leaving", "{}", text(&status.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_groups_are_refused_before_any_request() {
    let two = TwoClusters::serve(&quick()).await.expect("loopback has free ports");
    let document = two.document().replace("[\"shop\"]", "[\"w*\"]");
    let output = run(&two, &document, &["status"]).await;
    assert_eq!(code(&output), Some(3));
    assert!(text(&output.stderr).contains("a group belongs to one cluster"), "{}", text(&output.stderr));
}
