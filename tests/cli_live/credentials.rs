//! Credentials of a role that a profile assumes with those of another profile, whose program gives them.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use decamp_sandbox::serve;
use tokio::net::TcpListener;

use super::{code, decamp, quick, text_of};

/// Security Token Service as far as it is asked here: what was asked, with its signature, in order.
async fn sts() -> (String, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let keeps = Arc::clone(&asked);
    let answer = move |headers: HeaderMap, body: Bytes| async move {
        let signed = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        keeps.lock().expect("nobody panicked").push(format!("{signed}\n{}", String::from_utf8_lossy(&body)));
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
         <AccessKeyId>ASIAEXAMPLE</AccessKeyId><SecretAccessKey>canary-secret</SecretAccessKey>\
         <SessionToken>canary-session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
         </AssumeRoleResult></AssumeRoleResponse>"
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    (url, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_may_be_assumed_on_top_of_a_programs_credentials() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let (url, asked) = sts().await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config");
    let keys = r#"{"Version":1,"AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"secret-canary"}"#;
    let profiles = format!(
        "[profile people]\ncredential_process = echo '{keys}'\nregion = eu-west-1\n\
         [profile operator]\nrole_arn = arn:aws:iam::123456789012:role/operator\nsource_profile = people\nregion = eu-west-1\n"
    );
    std::fs::write(&config, profiles).expect("it is ours");
    let mut command = decamp(&sandbox, &["status", "--json"]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").env_remove("AWS_SESSION_TOKEN");
    command.env("AWS_CONFIG_FILE", &config).env("AWS_PROFILE", "operator").env("PATH", "/usr/bin:/bin");
    command.env("AWS_ENDPOINT_URL_STS", &url);
    let output = command.output().await.expect("the binary starts");
    assert_eq!(code(&output), Some(0), "{}", text_of(&output));
    let asked = asked.lock().expect("nobody panicked").clone();
    let first = asked.first().expect("the role was assumed");
    for part in ["Credential=AKIDEXAMPLE/", "Action=AssumeRole&", "role%2Foperator"] {
        assert!(first.contains(part), "{part} is not in {first}");
    }
    assert!(!text_of(&output).contains("canary"), "{}", text_of(&output));
}
