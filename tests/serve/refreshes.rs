//! Refreshes by notification: a signed one replaces every instance without a failed request, and any other starts nothing.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use decamp_core::refresh::Status;
use decamp_core::time::Time;
use decamp_sandbox::wire::FaultPlan;
use decamp_sandbox::{ASG, Options, Sandbox, serve};
use reqwest::Response;
use ring::hmac;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::replica::{Replica, quick, requests};

const SECRET: &str = "canary-terraform-secret";
/// The secret of the webhook that starts a refresh: 32 bytes, as the specification writes it.
pub(crate) const WEBHOOK: &str = "whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5LXg9";

/// A settings' file that allows one workspace and one webhook.
fn settings() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("decamp.toml");
    let text = format!(
        "[terraform]\nsecret = \"{SECRET}\"\n[terraform.workspaces]\n\"acme/web\" = [\"{ASG}\"]\n\
         [refresh]\nmin_healthy = 100\nmax_healthy = 134\nwarm_up = 1\n\
         [webhooks.deploy]\nscheme = \"standard\"\naction = \"refresh\"\ngroup = \"{ASG}\"\nsecret = \"{WEBHOOK}\"\n"
    );
    std::fs::write(&file, text).expect("it is ours");
    (folder, file)
}

async fn replica(sandbox: &Sandbox, file: &Path, more: &[(&str, &str)]) -> Replica {
    let more = [&[("DECAMP_SWEEP", "1s")], more].concat();
    Replica::start_with(sandbox, &["--config", &file.display().to_string()], &more).await
}

fn swift() -> Options {
    Options { starts_in: Duration::from_secs(1), ..quick() }
}

pub(crate) fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs()
}

fn applied(run: &str) -> Value {
    let at = Time(seconds() * 1000).to_string();
    json!({ "payload_version": 1, "run_id": run, "workspace_name": "web", "organization_name": "acme", "notifications": [
        { "message": "Run Applied", "trigger": "run:completed", "run_status": "applied", "run_updated_at": at, "run_updated_by": "x" }] })
}

fn sign(secret: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA512, secret.as_bytes());
    hmac::sign(&key, body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn post(replica: &Replica, body: &str, signature: Option<&str>) -> Response {
    let mut request = replica.client.post(format!("{}/v1/terraform", replica.webhooks));
    if let Some(signature) = signature {
        request = request.header("x-tfe-notification-signature", signature);
    }
    request.body(body.to_owned()).send().await.expect("it answers")
}

async fn notify(replica: &Replica, body: &Value) -> Response {
    let body = body.to_string();
    post(replica, &body, Some(&sign(SECRET, &body))).await
}

pub(crate) async fn hook(replica: &Replica, id: &str, at: u64, body: &str) -> Response {
    hook_of(replica, "deploy", id, at, body).await
}

pub(crate) async fn hook_of(replica: &Replica, name: &str, id: &str, at: u64, body: &str) -> Response {
    let key = STANDARD.decode(WEBHOOK.trim_start_matches("whsec_")).expect("base64");
    let signed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), format!("{id}.{at}.{body}").as_bytes());
    let request = replica.client.post(format!("{}/v1/webhooks/{name}", replica.webhooks)).header("webhook-id", id);
    let request = request.header("webhook-timestamp", at.to_string());
    let request = request.header("webhook-signature", format!("v1,{}", STANDARD.encode(signed.as_ref())));
    request.body(body.to_owned()).send().await.expect("it answers")
}

fn release(sandbox: &Sandbox) {
    sandbox.shared.with(|models| models.aws().0.change_group(ASG, |setup| setup.version += 1));
}

fn started(sandbox: &Sandbox) -> usize {
    sandbox.shared.look(|models| models.aws().0.refreshes(ASG).len())
}

async fn ends(sandbox: &Sandbox, replica: &Replica) -> Status {
    let began = Instant::now();
    loop {
        let status = sandbox.shared.look(|models| models.aws().0.refreshes(ASG)[0].status);
        if status.is_over() {
            return status;
        }
        assert!(began.elapsed() < Duration::from_secs(150), "it stays {status:?}\n{}", replica.printed());
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_applied_run_replaces_every_instance_without_a_failed_request() {
    let sandbox = serve(&swift()).await.expect("loopback is there");
    let (_folder, file) = settings();
    let mut replica = replica(&sandbox, &file, &[]).await;
    assert!(!replica.text("/").await.contains("Refreshes ("));
    let mut stream = replica.get("/v1/stream").await;
    release(&sandbox);
    let run = applied("run-one");
    let answer = notify(&replica, &run).await;
    assert_eq!(answer.status(), 200, "{}", replica.printed());
    assert_eq!(started(&sandbox), 1, "it was started before the answer");
    let told: Value = answer.json().await.expect("JSON");
    let id = sandbox.shared.look(|models| models.aws().0.refreshes(ASG)[0].id.to_string());
    assert_eq!(told, json!({ "refreshes": [{ "group": ASG, "id": id, "begun": "started" }] }));
    let again: Value = notify(&replica, &run).await.json().await.expect("JSON");
    assert_eq!(again, json!({ "refreshes": [], "repeated": true }));
    let other: Value = notify(&replica, &applied("run-two")).await.json().await.expect("JSON");
    assert_eq!(other["refreshes"][0]["begun"], "adopted");
    let by_hook: Value = hook(&replica, "msg-1", seconds(), "{}").await.json().await.expect("JSON");
    assert_eq!(by_hook["refreshes"][0]["id"], id);
    assert_eq!(started(&sandbox), 1);

    let began = Instant::now();
    let mut shares = Vec::new();
    loop {
        let all = replica.json("/v1/refreshes").await;
        let one = &all["refreshes"][0];
        assert_eq!((one["group"].as_str(), one["id"].as_str()), (Some(ASG), Some(&*id)), "{all:#}");
        assert_eq!(one["asked_by"], "terraform", "the first request is shown, not one that adopted the refresh: {one}");
        if let Some(share) = one["percentage"].as_u64().filter(|share| shares.last() != Some(share)) {
            shares.push(share);
        }
        if one["status"] == "Successful" {
            break;
        }
        if one["status"] == "InProgress" && 0 < *shares.last().unwrap_or(&0) {
            let page = replica.text("/").await;
            assert!(page.contains("Refreshes (1)") || page.contains("Successful"), "{page}");
        }
        assert!(began.elapsed() < Duration::from_secs(150), "{all:#}\n{}", replica.printed());
        sleep(Duration::from_millis(300)).await;
    }
    assert!(shares.is_sorted() && shares.first() == Some(&0) && shares.last() == Some(&100) && 2 < shares.len(), "{shares:?}");
    let versions =
        sandbox.shared.look(|models| models.aws().0.instances().filter(|i| i.runs).map(|i| i.version).collect::<Vec<_>>());
    assert_eq!(versions, [2, 2, 2], "every instance is new");
    let (sent, failures) = requests(&sandbox);
    assert_eq!(failures, Value::Array(vec![]), "{}", replica.printed());
    assert!(500 <= sent, "only {sent} requests were sent, so the test proved nothing");
    let past = replica.json("/v1/departures").await["past"].clone();
    // A sweep that began before an instance's action was completed finds it past its hook.
    let of = |word: &str| past.as_array().expect("a list").iter().filter(|one| one["outcome"]["word"] == word).count();
    assert_eq!(of("departed"), 3, "{past:#}");
    assert_eq!(past.as_array().map(Vec::len), Some(3 + of("already-past")), "{past:#}");
    let metrics = replica.text("/metrics").await;
    for row in [
        "decamp_refreshes_total{group=\"web\",result=\"started\"} 1",
        "decamp_refreshes_total{group=\"web\",result=\"adopted\"} 2",
        "decamp_refresh_complete_ratio{group=\"web\"} 1",
        "decamp_aws_calls_total{operation=\"StartInstanceRefresh\"} 3",
    ] {
        assert!(metrics.lines().any(|line| line == row), "{row} is not in\n{metrics}");
    }
    let mut streamed = String::new();
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout(Duration::from_millis(500), stream.chunk()).await {
        streamed.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(streamed.contains("\"refreshes\":[{") && streamed.contains(&id), "{streamed}");
    drop(stream);
    let page = replica.text("/").await;
    assert!(page.contains("No group is being refreshed") && page.contains("web: Successful"), "{page}");
    assert_eq!(replica.stop().await.code(), Some(0), "{}", replica.printed());
    for output in [replica.printed(), page, metrics, streamed] {
        assert!(!output.contains("canary") && !output.contains(WEBHOOK), "a secret is in {output}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsigned_forged_foreign_old_or_unapplied_run_starts_nothing() {
    let sandbox = serve(&swift()).await.expect("loopback is there");
    let (_folder, file) = settings();
    let replica = replica(&sandbox, &file, &[]).await;
    release(&sandbox);
    let run = applied("run-one").to_string();
    let right = sign(SECRET, &run);
    let mut ping = applied("run-one");
    ping["notifications"][0]["trigger"] = "verification".into();
    let unsigned: [(&str, Option<String>); 9] = [
        ("nothing", None),
        ("empty", Some(String::new())),
        ("no digits", Some("not hexadecimal".to_owned())),
        ("another secret", Some(sign("another-secret", &run))),
        ("no secret", Some(sign("", &run))),
        ("another body", Some(sign(SECRET, &applied("run-two").to_string()))),
        ("cut short", Some(right[..64].to_owned())),
        ("with more", Some(format!("{right}00"))),
        ("prefixed", Some(format!("sha512={right}"))),
    ];
    for (what, signature) in &unsigned {
        for body in [run.clone(), ping.to_string()] {
            assert_eq!(post(&replica, &body, signature.as_deref()).await.status(), 401, "{what}: {body}");
        }
    }
    let spaced = format!("{run} ");
    assert_eq!(post(&replica, &spaced, Some(&right)).await.status(), 401, "the signature covers every byte of the body");
    let answer = notify(&replica, &ping).await;
    assert_eq!((answer.status().as_u16(), answer.json::<Value>().await.ok()), (200, Some(json!({ "ignored": "verification" }))));

    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = applied("run-one");
        change(&mut body);
        body
    };
    let old = Time((seconds() - 3_700) * 1000).to_string();
    let drift = json!({"payload_version": 1, "run_id": null, "workspace_name": "web", "organization_name": "acme", "trigger_scope": "assessment",
        "notifications": [{"trigger": "assessment:drifted", "message": "Drift Detected"}]});
    let rows: [(&str, Value, u16); 10] = [
        ("an error", with(&|b| b["notifications"][0]["trigger"] = "run:errored".into()), 200),
        ("nothing to apply", with(&|b| b["notifications"][0]["run_status"] = "planned_and_finished".into()), 200),
        ("another workspace", with(&|b| b["workspace_name"] = "api".into()), 200),
        ("drift", drift, 200),
        ("another organization", with(&|b| b["organization_name"] = "evil".into()), 403),
        ("an old run", with(&|b| b["notifications"][0]["run_updated_at"] = old.as_str().into()), 400),
        ("no time", with(&|b| b["notifications"][0]["run_updated_at"] = Value::Null), 400),
        ("no run", with(&|b| b["run_id"] = Value::Null), 400),
        ("a path for a workspace", with(&|b| b["workspace_name"] = "../web".into()), 400),
        ("another version", with(&|b| b["payload_version"] = "2".into()), 200),
    ];
    for (what, body, status) in rows {
        let answer = notify(&replica, &body).await;
        assert_eq!(answer.status(), status, "{what}");
        let kind = answer.headers()["content-type"].to_str().expect("text").to_owned();
        assert_eq!(kind == "application/problem+json", status != 200, "{what}: {kind}");
    }
    for body in ["", "{", "null", "[]", "\u{0}"] {
        assert_eq!(post(&replica, body, Some(&sign(SECRET, body))).await.status(), 400, "{body:?}");
    }
    let get = replica.client.get(format!("{}/v1/terraform", replica.webhooks)).send().await.expect("it answers");
    assert_eq!(get.status(), 405);
    assert_eq!(replica.get("/v1/terraform").await.status(), 404, "the admin listener has no such route");

    let now = seconds();
    for (what, at) in [("old", now - 301), ("from the future", now + 330)] {
        assert_eq!(hook(&replica, "msg-1", at, "{}").await.status(), 401, "{what}");
    }
    let bare = replica.client.post(format!("{}/v1/webhooks/deploy", replica.webhooks)).body("{}").send().await;
    assert_eq!(bare.expect("it answers").status(), 401);
    assert_eq!(hook(&replica, "msg.1", now, "{}").await.status(), 401, "an id with a dot");
    assert_eq!(started(&sandbox), 0, "{}", replica.printed());
    assert!(!replica.printed().contains("canary") && !replica.printed().contains("panicked"), "{}", replica.printed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_that_was_not_started_is_answered_503_and_the_repetition_starts_it() {
    let sandbox = serve(&swift()).await.expect("loopback is there");
    let (_folder, file) = settings();
    let replica = replica(&sandbox, &file, &[]).await;
    let rules = serde_json::from_value(json!([{ "operation": "StartInstanceRefresh", "fault": "denied" }])).expect("rules");
    sandbox.shared.set_faults(FaultPlan::new(rules, 0));
    let run = applied("run-one");
    let refused = notify(&replica, &run).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(refused.json::<Value>().await.expect("JSON")["type"], "urn:decamp:problem:not-refreshed");
    assert_eq!(hook(&replica, "msg-1", seconds(), "{}").await.status(), 503);
    assert_eq!(started(&sandbox), 0);
    sandbox.shared.set_faults(FaultPlan::default());
    // The same run and the same webhook again: neither had started a refresh.
    let all = futures_util::future::join_all((0..5).map(|_| notify(&replica, &run))).await;
    assert!(all.iter().all(|answer| answer.status() == 200), "{}", replica.printed());
    assert_eq!(started(&sandbox), 1, "five requests at once start one");
    assert_eq!(ends(&sandbox, &replica).await, Status::Successful, "every instance already matched");
    let body = hook(&replica, "msg-1", seconds(), "{}").await.json::<Value>().await.expect("JSON");
    assert_eq!(body["refreshes"][0]["begun"], "started", "{body}");
    let again = hook(&replica, "msg-1", seconds(), "{}").await.json::<Value>().await.expect("JSON");
    assert_eq!(again, json!({ "refreshes": [], "repeated": true }), "an id is remembered for ten minutes");
    assert_eq!(started(&sandbox), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_observe_mode_no_refresh_is_started_and_others_are_shown() {
    let sandbox = serve(&swift()).await.expect("loopback is there");
    let (_folder, file) = settings();
    let replica = replica(&sandbox, &file, &[("DECAMP_MODE", "observe")]).await;
    release(&sandbox);
    let answer: Value = notify(&replica, &applied("run-one")).await.json().await.expect("JSON");
    assert_eq!((answer["observed"].as_bool(), started(&sandbox)), (Some(true), 0));
    let wanted = decamp_core::refresh::Preferences::default();
    let id = sandbox.shared.with(|models| models.aws().0.start_refresh(ASG, wanted, None)).expect("it starts");
    let began = Instant::now();
    loop {
        let one = replica.json("/v1/refreshes").await["refreshes"][0].clone();
        if one["status"] == "InProgress" {
            assert_eq!((one["id"].as_str(), one["asked_by"].as_str()), (Some(&*id), None), "{one}");
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{one}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_settings_the_route_is_closed_and_a_group_that_is_not_allowed_is_refused_at_the_start() {
    let sandbox = serve(&swift()).await.expect("loopback is there");
    let replica = Replica::start(&sandbox, &[]).await;
    assert_eq!(notify(&replica, &applied("run-one")).await.status(), 401);
    assert_eq!(started(&sandbox), 0);
    let (_folder, file) = settings();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_decamp"))
        .env_clear()
        .args(["serve", "--check", "--config"])
        .arg(&file)
        .env("DECAMP_GROUPS", "api")
        .output()
        .await
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3));
    assert!(said.contains("DECAMP_GROUPS does not allow web") && !said.contains("canary"), "{said}");
}
