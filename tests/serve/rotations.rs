//! Secrets that change while a replica runs: the new one is soon accepted, the old one soon refused, and nothing is restarted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use decamp_sandbox::{Sandbox, serve};
use reqwest::StatusCode;
use reqwest::redirect::Policy;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::replica::{Replica, quick};

const OLD: &str = "canary-old-secret-0123456789";
const NEW: &str = "canary-new-secret-0123456789";

/// Waits until a request is answered with this status.
async fn becomes(status: u16, what: &str, answer: impl AsyncFn() -> StatusCode) {
    let began = Instant::now();
    loop {
        let now = answer().await;
        if now == status {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(12), "{what} is still answered {now}");
        sleep(Duration::from_millis(200)).await;
    }
}

fn sign(secret: &str, body: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = ring::hmac::sign(&key, body.as_bytes());
    format!("sha256={}", tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Writes a file that is empty for a moment, as simple tools do.
fn write(file: &Path, secret: &str) {
    std::fs::write(file, format!("{secret}\n")).expect("it is ours");
}

/// A replica with its secrets in files, and the files: the events' key, the admin token, a webhook's secret.
async fn with_secrets_in_files(sandbox: &Sandbox) -> (Replica, [PathBuf; 3], TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let [events, admin, hook] = ["events", "admin", "hook"].map(|name| folder.path().join(name));
    [&events, &admin, &hook].into_iter().for_each(|file| write(file, OLD));
    let settings = folder.path().join("decamp.toml");
    let text = format!("[webhooks.deploy]\nscheme = \"github\"\naction = \"look\"\nsecret_file = \"{}\"\n", hook.display());
    std::fs::write(&settings, text).expect("it is ours");
    let (events_file, admin_file) = (events.display().to_string(), admin.display().to_string());
    let more = [("DECAMP_EVENTS_KEY", ""), ("DECAMP_EVENTS_KEY_FILE", &*events_file), ("DECAMP_ADMIN_TOKEN_FILE", &*admin_file)];
    let replica = Replica::start_with(sandbox, &["--config", &settings.display().to_string()], &more).await;
    (replica, [events, admin, hook], folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_secret_in_a_file_is_read_again_and_the_old_one_is_refused() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let (replica, [events, admin, hook], _folder) = with_secrets_in_files(&sandbox).await;
    let client = reqwest::Client::builder().redirect(Policy::none()).build().expect("it can be made");
    let event = async |key: &str| {
        let request = client.post(format!("{}/v1/events", replica.webhooks)).header("x-api-key", key);
        request.body("{\"decamp\":\"sweep\"}").send().await.expect("an answer").status()
    };
    let page = async |key: &str| {
        client.get(format!("{}/metrics", replica.admin)).bearer_auth(key).send().await.expect("an answer").status()
    };
    let webhook = async |key: &str| {
        let request = client.post(format!("{}/v1/webhooks/deploy", replica.webhooks));
        request.header("x-hub-signature-256", sign(key, "{}")).body("{}").send().await.expect("an answer").status()
    };
    assert_eq!((event(OLD).await.as_u16(), page(OLD).await.as_u16(), webhook(OLD).await.as_u16()), (202, 200, 202));
    assert_eq!((event(NEW).await.as_u16(), page(NEW).await.as_u16(), webhook(NEW).await.as_u16()), (401, 401, 401));

    [&events, &admin, &hook].into_iter().for_each(|file| write(file, NEW));
    becomes(202, "an event with the new key", async || event(NEW).await).await;
    becomes(200, "the new admin token", async || page(NEW).await).await;
    becomes(202, "a webhook with the new secret", async || webhook(NEW).await).await;
    assert_eq!((event(OLD).await.as_u16(), page(OLD).await.as_u16(), webhook(OLD).await.as_u16()), (401, 401, 401));

    // A login with the new token works: the page and the middleware share the token.
    let login = client.post(format!("{}/login", replica.admin)).header("content-type", "application/x-www-form-urlencoded");
    let login = login.body(format!("token={NEW}")).send().await.expect("an answer");
    assert_eq!(login.status(), 303);
    let cookie = login.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a cookie").to_owned();
    let page = client.get(format!("{}/", replica.admin)).header("cookie", cookie).send().await.expect("an answer");
    assert_eq!(page.status(), 200);
    assert!(!replica.printed().contains("canary"), "{}", replica.printed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_whose_file_is_deleted_or_emptied_is_reported_at_once_and_soon_refused() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let (replica, [events, admin, hook], _folder) = with_secrets_in_files(&sandbox).await;
    let event = async || {
        let request = replica.client.post(format!("{}/v1/events", replica.webhooks)).header("x-api-key", OLD);
        request.body("{\"decamp\":\"sweep\"}").send().await.expect("an answer").status().as_u16()
    };
    let page = async || {
        let request = replica.client.get(format!("{}/metrics", replica.admin)).bearer_auth(OLD);
        request.send().await.expect("an answer").status().as_u16()
    };
    let webhook = async || {
        let request = replica.client.post(format!("{}/v1/webhooks/deploy", replica.webhooks));
        request.header("x-hub-signature-256", sign(OLD, "{}")).body("{}").send().await.expect("an answer").status().as_u16()
    };
    assert_eq!((event().await, page().await, webhook().await), (202, 200, 202));

    std::fs::remove_file(&events).expect("it is ours");
    std::fs::remove_file(&hook).expect("it is ours");
    std::fs::write(&admin, "").expect("it is ours");
    let began = Instant::now();
    for name in ["the events' key is gone", "the secret of the webhook deploy is gone", "the admin token is gone"] {
        while !replica.printed().contains(name) {
            assert!(began.elapsed() < Duration::from_secs(9), "{name}: {}", replica.printed());
            sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!((event().await, page().await, webhook().await), (202, 200, 202), "its writer may not have finished");
    while (event().await, page().await, webhook().await) != (503, 503, 503) {
        assert!(began.elapsed() < Duration::from_secs(45), "{:?}", (event().await, page().await, webhook().await));
        sleep(Duration::from_millis(500)).await;
    }
    [&events, &admin, &hook].into_iter().for_each(|file| write(file, OLD));
    let began = Instant::now();
    while (event().await, page().await, webhook().await) != (202, 200, 202) {
        assert!(began.elapsed() < Duration::from_secs(9), "{:?}", (event().await, page().await, webhook().await));
        sleep(Duration::from_millis(500)).await;
    }
    replica.says("the admin token is back").await;
    assert_eq!(replica.get("/healthz").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_deleted_in_aws_is_reported_and_refused_until_it_is_back() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let keep = || {
        let mut stores = sandbox.shared.stores();
        stores.secrets.insert("events".to_owned(), OLD.to_owned());
        stores.marked_for_deletion.clear();
        stores.parameters.insert("/admin".to_owned(), OLD.to_owned());
    };
    keep();
    let settings = [
        ("DECAMP_EVENTS_KEY", ""),
        ("DECAMP_EVENTS_KEY_SECRET", "secretsmanager:events"),
        ("DECAMP_ADMIN_TOKEN_SECRET", "ssm:/admin"),
    ];
    let replica = Replica::start(&sandbox, &settings).await;
    let answers = async |key: &str| {
        let event = replica.client.post(format!("{}/v1/events", replica.webhooks)).header("x-api-key", key);
        let event = event.body("{\"decamp\":\"sweep\"}").send().await.expect("an answer").status().as_u16();
        let page = replica.client.get(format!("{}/metrics", replica.admin)).bearer_auth(key);
        (event, page.send().await.expect("an answer").status().as_u16())
    };
    let become_ = async |expected: (u16, u16), within: u64| {
        let began = Instant::now();
        while answers(OLD).await != expected {
            assert!(began.elapsed() < Duration::from_secs(within), "{:?}: {}", answers(OLD).await, replica.printed());
            sleep(Duration::from_millis(500)).await;
        }
    };
    assert_eq!(answers(OLD).await, (202, 200));
    {
        let mut stores = sandbox.shared.stores();
        stores.marked_for_deletion.insert("events".to_owned());
        stores.parameters.remove("/admin");
    }
    // Secrets are fetched every five minutes, and after a mismatch, but at most every half minute.
    sleep(Duration::from_secs(31)).await;
    assert_eq!(answers(NEW).await, (401, 401));
    for name in ["the events' key is gone", "the admin token is gone"] {
        replica.says(name).await;
    }
    assert_eq!(answers(OLD).await, (202, 200), "its writer may not have finished");
    become_((503, 503), 45).await;
    keep();
    become_((202, 200), 45).await;
    assert!(!replica.printed().contains("canary"), "{}", replica.printed());
}
