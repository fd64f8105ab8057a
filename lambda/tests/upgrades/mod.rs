//! An upgrade changes a function's environment before its code: both mixtures take an instance out.

use std::path::{Path, PathBuf};

use decamp_sandbox::{ASG, Sandbox};
use tokio::process::Command;

use super::departure::walk::{Walked, options, walk_out_of};

/// The settings that the module of 28 November 2026 set, and no more: those of the oldest environment that a function may still have.
const OLD: &str = include_str!("environment.json");

fn new() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bootstrap"))
}

/// The binary of an older version, where `just upgrade-from` built one.
fn old() -> Option<Command> {
    let built: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/upgrade/bootstrap");
    built.exists().then(|| Command::new(built))
}

async fn sandbox() -> Sandbox {
    decamp_sandbox::serve(&options()).await.expect("loopback is there")
}

async fn departs(sandbox: Sandbox, command: Command, more: &[(&'static str, String)]) -> String {
    let Walked { sandbox, printed, .. } = walk_out_of(sandbox, command, more).await;
    let more = sandbox.shared.look(|stage| stage.more());
    assert_eq!(more["requests"]["failed"], 0, "{}\n{printed}", more["requests"]);
    assert!(printed.contains("\"outcome\":\"departed\""), "{printed}");
    printed
}

/// What a version of tomorrow sets besides.
fn of_tomorrow() -> Vec<(&'static str, String)> {
    vec![("DECAMP_OF_TOMORROW", "true".to_owned()), ("NOMAD_OF_TOMORROW", "true".to_owned())]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_does_not_know_a_setting_yet_warns_and_goes_on() {
    let printed = departs(sandbox().await, new(), &of_tomorrow()).await;
    let warned = printed.lines().filter(|line| line.contains("DECAMP_OF_TOMORROW is not a setting of this version")).count();
    assert_eq!(warned, 1, "once, when it begins: {printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_code_goes_on_with_an_old_environment() {
    let sandbox = sandbox().await;
    let old: std::collections::BTreeMap<&'static str, String> = serde_json::from_str(OLD).expect("texts by name");
    let more: Vec<_> = old.into_iter().collect();
    departs(sandbox, new(), &more).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_code_goes_on_with_a_new_environment() {
    match old() {
        Some(command) => drop(departs(sandbox().await, command, &of_tomorrow()).await),
        None => println!("skipped: no older binary (`just upgrade-from REVISION`)"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_are_kept_in_aws_take_an_instance_out() {
    let sandbox = sandbox().await;
    let document = format!(
        "DECAMP_GROUPS = [\"{ASG}\"]\nDECAMP_GUARD_ALB = \"2s\"\nDECAMP_HOOKS = [\"decamp\"]\nDECAMP_OF_TOMORROW = 1\n[webhooks.x]\nscheme = \"github\"\n"
    );
    sandbox.shared.stores().parameters.insert("/decamp/settings:3".to_owned(), document);
    let more = [
        ("DECAMP_CONFIG", "ssm:/decamp/settings:3".to_owned()),
        ("DECAMP_GROUPS", String::new()),
        ("DECAMP_GUARD_ALB", String::new()),
    ];
    let printed = departs(sandbox, new(), &more).await;
    assert!(printed.contains("DECAMP_OF_TOMORROW is not a setting of this version"), "{printed}");
}
