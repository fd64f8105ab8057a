//! An upgrade changes a function's environment before its code. Both combinations of old and new must handle a departure.

use std::path::{Path, PathBuf};

use decamp_sandbox::{ASG, Sandbox};
use serde_json::Value;
use tokio::process::Command;

use super::departure::depart::{Departed, depart_from, options};

/// The settings of the module of 28 November 2026: the oldest environment that a function may still have.
const OLD: &str = include_str!("environment.json");

/// The warning of a version that continues in spite of unknown settings.
const WARNING: &str = "is not a setting of this version of decamp";

fn new() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bootstrap"))
}

/// The binary of an older version, if `just upgrade-from` built one.
fn old() -> Option<PathBuf> {
    let built: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/upgrade/bootstrap");
    built.exists().then_some(built)
}

/// The settings of the current module, without the addresses of Nomad and Consul, which the sandbox sets.
fn current_settings() -> Vec<(&'static str, String)> {
    let snapshot = include_str!("../../../infra/tests/combinations/snapshots/least.json");
    let snapshot: Value = serde_json::from_str(snapshot).expect("a snapshot");
    let set = snapshot["aws_lambda_function.this[0]"]["environment"][0]["variables"].as_object().expect("an environment");
    let own = |name: &str| [("DECAMP_GROUPS", ASG), ("DECAMP_CONSUL", "true")].into_iter().find(|(own, _)| *own == name);
    let text = |name: &str, value: &Value| own(name).map_or_else(|| value.as_str().expect("a text"), |(_, own)| own).to_owned();
    let all = set.iter().filter(|(name, _)| !name.starts_with("NOMAD_"));
    all.map(|(name, value)| (&*name.clone().leak(), text(name, value))).collect()
}

async fn sandbox() -> Sandbox {
    decamp_sandbox::serve(&options()).await.expect("loopback has free ports")
}

async fn departs(sandbox: Sandbox, command: Command, more: &[(&'static str, String)]) -> String {
    let Departed { sandbox, printed, .. } = depart_from(sandbox, command, more).await;
    let more = sandbox.shared.look(|models| models.more());
    assert_eq!(more["requests"]["failed"], 0, "{}\n{printed}", more["requests"]);
    assert!(printed.contains("\"outcome\":\"departed\""), "{printed}");
    printed
}

/// Settings that only a future version knows.
fn future_settings() -> Vec<(&'static str, String)> {
    vec![("DECAMP_OF_TOMORROW", "true".to_owned()), ("NOMAD_OF_TOMORROW", "true".to_owned())]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_does_not_know_a_setting_warns_and_continues() {
    let printed = departs(sandbox().await, new(), &future_settings()).await;
    let warned = printed.lines().filter(|line| line.contains("DECAMP_OF_TOMORROW is not a setting of this version")).count();
    assert_eq!(warned, 1, "once, at the start: {printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_code_works_with_an_old_environment() {
    let sandbox = sandbox().await;
    let old: std::collections::BTreeMap<&'static str, String> = serde_json::from_str(OLD).expect("texts by name");
    let more: Vec<_> = old.into_iter().collect();
    departs(sandbox, new(), &more).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_code_works_with_a_new_environment() {
    let Some(old) = old() else {
        println!("skipped: no older binary (`just upgrade-from REVISION`)");
        return;
    };
    let mut environment = current_settings();
    assert!(10 < environment.len(), "{environment:?}");
    // Builds before 29 November 2026 refuse a setting that they do not know.
    let warns = std::fs::read(&old).expect("the binary can be read");
    let warns = warns.windows(WARNING.len()).any(|text| text == WARNING.as_bytes());
    if warns {
        environment.extend(future_settings());
    }
    let printed = departs(sandbox().await, Command::new(old), &environment).await;
    assert_eq!(printed.contains(WARNING), warns, "{printed}");
    println!("an older function with {} current settings{}", environment.len(), if warns { " and future ones" } else { "" });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_are_stored_in_aws_are_read() {
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
