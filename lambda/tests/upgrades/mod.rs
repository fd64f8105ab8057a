//! An upgrade changes a function's environment before its code: both mixtures take an instance out.

use std::path::{Path, PathBuf};

use decamp_sandbox::{ASG, Sandbox};
use serde_json::Value;
use tokio::process::Command;

use super::departure::walk::{Walked, options, walk_out_of};

/// The settings that the module of 28 November 2026 set, and no more: those of the oldest environment that a function may still have.
const OLD: &str = include_str!("environment.json");

/// What a version says that goes on with settings that it does not know.
const WARNING: &str = "is not a setting of this version of decamp";

fn new() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bootstrap"))
}

/// The binary of an older version, where `just upgrade-from` built one.
fn old() -> Option<PathBuf> {
    let built: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/upgrade/bootstrap");
    built.exists().then_some(built)
}

/// What the module of today sets, but for where Nomad and Consul are, which the sandbox decides.
fn of_today() -> Vec<(&'static str, String)> {
    let snapshot = include_str!("../../../infra/tests/combinations/snapshots/least.json");
    let snapshot: Value = serde_json::from_str(snapshot).expect("a snapshot");
    let set = snapshot["aws_lambda_function.this[0]"]["environment"][0]["variables"].as_object().expect("an environment");
    let own = |name: &str| [("DECAMP_GROUPS", ASG), ("DECAMP_CONSUL", "true")].into_iter().find(|(own, _)| *own == name);
    let text = |name: &str, value: &Value| own(name).map_or_else(|| value.as_str().expect("a text"), |(_, own)| own).to_owned();
    let all = set.iter().filter(|(name, _)| !name.starts_with("NOMAD_"));
    all.map(|(name, value)| (&*name.clone().leak(), text(name, value))).collect()
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
    let Some(old) = old() else {
        println!("skipped: no older binary (`just upgrade-from REVISION`)");
        return;
    };
    let mut environment = of_today();
    assert!(10 < environment.len(), "{environment:?}");
    // Builds before 29 November 2026 refuse a setting that they do not know.
    let warns = std::fs::read(&old).expect("it is there");
    let warns = warns.windows(WARNING.len()).any(|text| text == WARNING.as_bytes());
    if warns {
        environment.extend(of_tomorrow());
    }
    let printed = departs(sandbox().await, Command::new(old), &environment).await;
    assert_eq!(printed.contains(WARNING), warns, "{printed}");
    println!("an older function with {} settings of today{}", environment.len(), if warns { " and tomorrow" } else { "" });
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
