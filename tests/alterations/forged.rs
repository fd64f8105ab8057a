//! Names from the cluster that contain newlines and control characters. In decamp's output they stay on one line and move no cursor.

use serde_json::Value;

use super::forwarder::{Alteration, Change, Forwarder};
use super::rows::NOMAD;
use super::shells::{command, options, settings};
use decamp_sandbox::ASG;

/// The beginning of a forged line.
const FORGED: &str = "FORGED";

/// Appends a second line and an escape sequence that clears the screen to every name that a user can choose.
fn forge(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if let Value::String(name) = value
                    && ["Name", "TaskGroup", "ServiceName"].contains(&key.as_str())
                {
                    name.push_str("\nFORGED all is well\u{1b}[2J\u{9b}2J\u{202e}");
                } else {
                    forge(value);
                }
            }
        }
        Value::Array(rows) => rows.iter_mut().for_each(forge),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

/// The standard output and standard error of a command.
async fn printed(settings: &[(&'static str, String)], arguments: &[&str]) -> String {
    let output = command(settings).args(arguments).output().await.expect("the binary starts");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_in_nomad_forges_no_line_of_any_command() {
    let sandbox = decamp_sandbox::serve(&options()).await.expect("loopback is there");
    let instance = sandbox.instances[0];
    let alteration = Alteration { side: NOMAD, operation: "", skip: 0, times: u32::MAX, change: Change::Json(forge) };
    let forwarder = Forwarder::start(sandbox.aws.url(), sandbox.nomad.url(), sandbox.consul.url(), Some(alteration)).await;
    let mut settings = settings(&sandbox, &forwarder);
    settings.push(("DECAMP_LOG", "debug".to_owned()));
    let check = printed(&settings, &["check", "--asg", ASG]).await;
    sandbox.terminate_these(&[instance]).await.expect("it is in service");
    let id = instance.to_string();
    let plan = printed(&settings, &["plan", "--instance", &id]).await;
    let status = printed(&settings, &["status"]).await;
    // This run need not succeed: half of the names that it compares are changed.
    settings.retain(|(name, _)| *name != "DECAMP_MAX_DEPARTURE");
    settings.push(("DECAMP_MAX_DEPARTURE", "45s".to_owned()));
    let run = printed(&settings, &["run", "--instance", &id, "--asg", ASG]).await;
    let mut forged = 0;
    for (command, text) in [("check", check), ("plan", plan), ("status", status), ("run", run)] {
        forged += text.matches("\\nFORGED").count();
        for line in text.lines() {
            let controls = line.chars().any(|letter| letter.is_control() || letter == '\u{202e}');
            assert!(!line.trim_start().starts_with(FORGED) && !controls, "{command}: {line:?}\n{text}");
        }
    }
    assert!(3 < forged, "no forged name was printed, so the test proves nothing");
}
