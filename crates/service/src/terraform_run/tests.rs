//! Tests with notifications as documented and with invalid ones.

use serde_json::{Value, json};

use super::*;

const NOW: &str = "2026-11-24T10:00:00Z";

fn now() -> Time {
    Time::read(NOW).expect("a time")
}

/// An applied run as documented.
fn applied() -> Value {
    json!({
        "payload_version": 1,
        "notification_configuration_id": "nc-AeUQ2zfKZzW9TiGZ",
        "run_url": "https://app.terraform.io/app/acme/web/runs/run-FwnENkvDnrpyFC7M",
        "run_id": "run-FwnENkvDnrpyFC7M",
        "run_message": "A new image",
        "run_created_at": "2026-11-24T09:40:00.000Z",
        "run_created_by": "somebody",
        "workspace_id": "ws-XdeUVMWShTesDMME",
        "workspace_name": "web",
        "organization_name": "acme",
        "notifications": [{
            "message": "Run Applied",
            "trigger": "run:completed",
            "run_status": "applied",
            "run_updated_at": "2026-11-24T09:59:04.000Z",
            "run_updated_by": "somebody",
        }],
    })
}

fn told(change: impl FnOnce(&mut Value)) -> Result<RunNotification, Invalid> {
    let mut body = applied();
    change(&mut body);
    read(body.to_string().as_bytes(), now())
}

#[test]
fn an_applied_run_names_itself_and_its_workspace() {
    let run = Run { id: "run-FwnENkvDnrpyFC7M".into(), workspace: "acme/web".into() };
    assert_eq!(told(|_| ()), Ok(RunNotification::Applied(run)));
}

#[test]
fn a_test_and_other_events_of_a_run_start_nothing() {
    let ping = told(|body| {
        for part in ["run_url", "run_id", "run_message", "workspace_id", "workspace_name", "organization_name"] {
            body[part] = Value::Null;
        }
        body["notifications"] = json!([{ "message": "Verification of decamp", "trigger": "verification", "run_status": null,
            "run_updated_at": null, "run_updated_by": null }]);
    });
    assert_eq!(ping, Ok(RunNotification::Verification));
    let others = [
        ("run:created", "pending", Other::OtherRun),
        ("run:planning", "planning", Other::OtherRun),
        ("run:needs_attention", "planned", Other::OtherRun),
        ("run:needs_attention", "policy_override", Other::OtherRun),
        ("run:applying", "applying", Other::OtherRun),
        ("run:errored", "errored", Other::OtherRun),
        ("run:errored", "canceled", Other::OtherRun),
        ("run:errored", "force_canceled", Other::OtherRun),
        ("run:errored", "applied", Other::OtherRun),
        ("run:completed", "planned_and_finished", Other::OtherRun),
        ("run:completed", "planned_and_saved", Other::OtherRun),
        ("run:completed", "policy_checked", Other::OtherRun),
        ("run:completed", "discarded", Other::OtherRun),
        ("run:completed", "Applied", Other::OtherRun),
        ("run:deferred", "pending", Other::OtherRun),
        ("assessment:drifted", "applied", Other::Assessment),
        ("assessment:check_failure", "", Other::Assessment),
        ("assessment:failed", "", Other::Assessment),
        ("workspace:auto_destroy_reminder", "", Other::AutoDestroy),
        ("workspace:auto_destroy_run_results", "applied", Other::AutoDestroy),
        ("workspace:auto_destro_reminder", "", Other::AutoDestroy),
        ("change_request:created", "", Other::ChangeRequest),
        ("team:change_request", "", Other::ChangeRequest),
        ("workspace:renamed", "", Other::Unknown),
        ("stack:deployed", "applied", Other::Unknown),
        ("something", "applied", Other::Unknown),
        ("", "applied", Other::Unknown),
    ];
    for (trigger, status, expected) in others {
        let other = told(|body| {
            body["notifications"][0]["trigger"] = trigger.into();
            body["notifications"][0]["run_status"] = status.into();
        });
        assert_eq!(other, Ok(RunNotification::Other(expected)), "{trigger} {status}");
    }
    assert_eq!(told(|body| body["notifications"][0]["run_status"] = Value::Null), Ok(RunNotification::Other(Other::OtherRun)));
}

/// Notifications in other forms, each with its kind.
#[test]
fn notifications_that_are_not_about_a_run_are_read_in_their_own_forms() {
    let drifted = json!({
        "payload_version": 1, "notification_configuration_id": "nc-1", "trigger_scope": "assessment", "trigger": "assessment:drifted",
        "message": "Drift Detected", "workspace_id": "ws-1", "workspace_name": "web", "organization_name": "acme",
        "assessment_result": {"result_id": "asmtres-1", "created_at": "2026-11-24T09:40:00Z"}, "notifications": [],
    });
    let check = json!({
        "payload_version": 1, "run_id": null, "workspace_name": "web", "organization_name": "acme", "trigger_scope": "assessment",
        "notifications": [{"trigger": "assessment:check_failure", "message": "Check Failed", "run_status": null}],
    });
    let change_request = json!({
        "payload_version": "2", "notification_configuration_url": "https://app.terraform.io/app/acme/settings/teams/team-1",
        "notification_configuration_id": "nc-1", "workspace_id": "ws-1", "workspace_name": "web", "organization_name": "acme",
        "trigger": "change_request:created", "notifications": [{"message": "m", "trigger": "change_request:created"}],
        "run_id": null, "run_url": null,
    });
    let reminder = json!({
        "payload_version": "2", "trigger_scope": "workspace", "trigger": "workspace:auto_destroy_reminder", "workspace_name": "web",
        "organization_name": "acme", "details": {"auto_destroy_at": "2026-11-25T09:40:00Z"},
    });
    let cases = [
        (drifted, Other::Assessment),
        (check, Other::Assessment),
        (change_request, Other::ChangeRequest),
        (reminder, Other::AutoDestroy),
        (json!({"payload_version": "2"}), Other::Unknown),
        (json!({}), Other::Unknown),
        (json!({"payload_version": 1, "notifications": []}), Other::Unknown),
        (json!({"payload_version": 1, "notifications": {}}), Other::Unknown),
        (json!({"payload_version": 1, "notifications": [7]}), Other::Unknown),
        (json!({"payload_version": 1, "run_id": 7, "notifications": [{"trigger": 7}]}), Other::Unknown),
        (json!({"text": "a message in Slack's form"}), Other::Unknown),
    ];
    for (body, expected) in cases {
        assert_eq!(read(body.to_string().as_bytes(), now()), Ok(RunNotification::Other(expected)), "{body}");
    }
    for version in [Value::Null, 2.into(), "2".into(), "1".into(), 1.5.into()] {
        assert_eq!(
            told(|body| body["payload_version"] = version.clone()),
            Ok(RunNotification::Other(Other::Unknown)),
            "{version}"
        );
    }
}

#[test]
fn a_run_is_acted_on_for_an_hour_after_it_was_applied() {
    let at = |time: &str| told(|body| body["notifications"][0]["run_updated_at"] = time.into());
    for good in ["2026-11-24T09:00:00Z", NOW, "2026-11-24T10:04:59Z", "2026-11-24T10:30:00+01:00"] {
        assert!(matches!(at(good), Ok(RunNotification::Applied(_))), "{good}: {:?}", at(good));
    }
    for old in ["2026-11-24T08:59:59Z", "2026-11-24T10:05:01Z", "1970-01-01T00:00:00Z", "9999-01-01T00:00:00Z"] {
        assert_eq!(at(old), Err(Invalid::OutOfTime), "{old}");
    }
    for none in ["", "yesterday", "2026-11-24", "-1"] {
        assert_eq!(at(none), Err(Invalid::Field("run_updated_at")), "{none}");
    }
    assert_eq!(told(|body| body["notifications"][0]["run_updated_at"] = Value::Null), Err(Invalid::Field("run_updated_at")));
}

#[test]
fn an_invalid_notification_is_refused() {
    for body in ["", "{", "[]", "null", "7", "\u{0}", "\"{}\"", "payload={}"] {
        assert_eq!(read(body.as_bytes(), now()), Err(Invalid::NotAnObject), "{body}");
    }
    let broken: Vec<u8> =
        applied().to_string().replace("A new image", "?").bytes().map(|b| if b == b'?' { 0xff } else { b }).collect();
    assert_eq!(read(&broken, now()), Err(Invalid::NotAnObject), "a field that is skipped is not text");
    for part in ["run_id", "organization_name", "workspace_name"] {
        for wrong in
            [Value::Null, "".into(), "a/b".into(), "a b".into(), "<script>".into(), "a\nb".into(), "x".repeat(129).into()]
        {
            assert_eq!(told(|body| body[part] = wrong.clone()), Err(Invalid::Field(part)), "{part}: {wrong}");
        }
    }
}
