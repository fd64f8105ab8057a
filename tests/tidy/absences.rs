//! What decamp does not do, as far as its sources can prove it.

use std::collections::BTreeSet;

use super::{Text, dependencies, file, lines_with, none, texts};

/// The sources without their unit tests.
fn running(folders: &[&str]) -> Vec<Text> {
    let tests = |name: &str| name.contains("/tests/") || name.ends_with("/tests.rs");
    let mut all: Vec<Text> = texts(folders, &[".rs"]).into_iter().filter(|file| !tests(&file.name)).collect();
    for file in &mut all {
        if let Some(place) = file.text.find("#[cfg(test)]") {
            file.text.truncate(place);
        }
    }
    assert!(all.iter().any(|file| 5 < file.text.lines().count()), "the sources of {folders:?} are found");
    all
}

#[test]
fn no_call_of_aws_terminates_an_instance_or_is_of_ec2() {
    let verbs = ["Terminate", "Stop", "Reboot", "Detach", "Delete", "Run"];
    let harmful = |operation: &&decamp_aws::Operation| {
        operation.service == "ec2"
            || operation.service == "autoscaling" && verbs.iter().any(|verb| operation.name.starts_with(verb))
    };
    let found =
        decamp_aws::OPERATIONS.iter().filter(harmful).map(|operation| format!("{}:{}", operation.service, operation.name));
    none(found.collect(), "decamp terminates nothing");
    let linked = file("Cargo.lock");
    assert!(linked.contains("\"aws-sdk-autoscaling\""), "the crates of AWS have names of this form");
    assert!(!linked.contains("\"aws-sdk-ec2\""), "there is no client of EC2");
}

#[test]
fn nothing_is_written_to_consul() {
    let consul = running(&["crates/hashicorp/src"]).into_iter().filter(|file| file.name.contains("consul"));
    let consul: Vec<Text> = consul.collect();
    assert!(consul.iter().any(|file| file.text.contains(".get(")), "reads have this form");
    none(lines_with(&consul, &["http.put", "http.post", "http.delete", "Method::"]), "Consul is only read");
}

#[test]
fn no_node_is_ever_made_eligible() {
    let all = running(&["crates/hashicorp/src"]);
    let says = |text: &str| all.iter().any(|file| file.text.contains(text));
    assert!(says("\"Eligibility\": \"ineligible\"") && says("\"MarkEligible\": false"), "writes have this form");
    none(lines_with(&all, &["\"eligible\"", "\"MarkEligible\": true"]), "decamp makes no node eligible");
}

#[test]
fn no_write_but_a_heartbeat_is_made_outside_of_the_rules() {
    let writes = ["Deregister {", "Drain {", "Complete {", "MakeIneligible(", "Note {"];
    let mut made = Vec::new();
    let mut all = running(&["src", "lambda/src", "crates/core/src", "crates/live/src", "crates/service/src"]);
    all.retain(|file| !file.name.starts_with("crates/core/src/decide"));
    for Text { name, text } in &all {
        for (number, line) in text.lines().enumerate() {
            let named = writes.iter().any(|write| line.contains(&format!("Effect::{write}")));
            // A pattern contains one of these. An expression that makes an effect contains none.
            let matches = ["..", "=>", "(_)", "matches!", "let Effect"].iter().any(|sign| line.contains(sign));
            if named && !matches {
                made.push(format!("{name}:{} {}", number + 1, line.trim()));
            }
        }
    }
    none(made, "only core::decide decides on writes");
}

#[test]
fn the_sdk_of_aws_is_known_in_one_crate() {
    let elsewhere = running(&["src", "lambda/src", "crates"]).into_iter().filter(|file| !file.name.starts_with("crates/aws/"));
    let types = ["aws_sdk_autoscaling::", "aws_sdk_elasticloadbalancingv2::", "aws_smithy_types::", "aws_smithy_runtime_api::"];
    let inside = running(&["crates/aws/src"]);
    assert!(types.iter().all(|name| inside.iter().any(|file| file.text.contains(name))), "the SDK's crates have these names");
    none(lines_with(&elsewhere.collect::<Vec<_>>(), &types), "no type of the SDK leaves crates/aws");
}

#[test]
fn the_lambda_links_no_server_and_no_pretend_world() {
    let linked = file("lambda/crates.txt");
    let linked: BTreeSet<&str> = linked.lines().collect();
    assert!(linked.contains("decamp_core"), "our crates have names of this form");
    let absent = ["axum", "decamp_service", "decamp_sim", "decamp_sandbox", "decamp_rehearse"];
    none(absent.iter().filter(|name| linked.contains(**name)).map(|name| (*name).to_owned()).collect(), "lambda/crates.txt");
    // `just check` compares the list with cargo's output. This compares our own manifests with it.
    let mut used: Vec<String> = dependencies("lambda/Cargo.toml");
    let mut place = 0;
    while let Some(name) = used.get(place).cloned() {
        if let Some(ours) = name.strip_prefix("decamp-") {
            let more = dependencies(&format!("crates/{ours}/Cargo.toml")).into_iter().filter(|name| !used.contains(name));
            used.extend(more.collect::<Vec<_>>());
        }
        place += 1;
    }
    let found = used.iter().filter(|name| absent.contains(&&*name.replace('-', "_"))).cloned();
    none(found.collect(), "the Lambda's manifests");
}
