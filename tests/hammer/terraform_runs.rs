//! Fuzzes the reader of Terraform run notifications. Only an applied run with plain names is acted on.

use decamp_core::time::Time;
use decamp_service::terraform_run::{Invalid, RunNotification, read};
use serde_json::Value;

use super::Target;

/// The body of a notification, after its signature was verified.
pub(super) const TARGET: Target = Target { name: "runs", good, parse, check };

fn now() -> Time {
    Time::read("2026-11-24T10:00:00Z").expect("a time")
}

fn good() -> Vec<Vec<u8>> {
    let body = |trigger: &str, status: &str, at: &str| {
        format!(
            r#"{{"payload_version":1,"notification_configuration_id":"nc-1","run_url":"https://app.terraform.io/app/acme/web/runs/run-1","run_id":"run-FwnENkvDnrpyFC7M","run_message":"m","run_created_at":"2026-11-24T09:40:00.000Z","run_created_by":"u","workspace_id":"ws-1","workspace_name":"web","organization_name":"acme","notifications":[{{"message":"m","trigger":"{trigger}","run_status":{status},"run_updated_at":{at},"run_updated_by":"u"}}]}}"#
        )
        .into_bytes()
    };
    vec![
        body("run:completed", "\"applied\"", "\"2026-11-24T09:59:04.000Z\""),
        body("run:completed", "\"planned_and_finished\"", "\"2026-11-24T09:59:04.000Z\""),
        body("run:completed", "\"applied\"", "\"2026-11-23T09:59:04.000Z\""),
        body("run:errored", "\"errored\"", "\"2026-11-24T09:59:04.000Z\""),
        body("verification", "null", "null"),
    ]
}

fn parse(input: &[u8]) -> &'static str {
    match read(input, now()) {
        Ok(RunNotification::Verification) => "verification",
        Ok(RunNotification::Other(other)) => other.word(),
        Ok(RunNotification::Applied(_)) => "applied",
        Err(Invalid::NotAnObject) => "not one",
        Err(Invalid::Field(_)) => "a part",
        Err(Invalid::OutOfTime) => "out of time",
    }
}

/// Checks that a run that is acted on was applied, and that its names are plain.
fn check(input: &[u8]) {
    let Ok(RunNotification::Applied(run)) = read(input, now()) else { return };
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let (organization, workspace) = run.workspace.split_once('/').expect("two parts");
    assert!(plain(&run.id) && plain(organization) && plain(workspace), "{run:?}");
    // The parser skips an unpaired surrogate in a text that it does not need.
    let Ok(body) = serde_json::from_slice::<Value>(input) else { return };
    let notifications = body["notifications"].as_array().expect("a list");
    assert!(notifications.iter().any(|one| one["trigger"] == "run:completed" && one["run_status"] == "applied"), "{body}");
}
