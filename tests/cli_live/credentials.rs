//! A profile that assumes a role with the credentials of another profile's program.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use decamp_sandbox::serve;
use tokio::net::TcpListener;

use super::{code, decamp, quick, text_of};

/// A stand-in for STS that assumes any role. Returns its address and the requests it received, each with its signature.
async fn sts() -> (String, Arc<Mutex<Vec<String>>>) {
    let received = Arc::<Mutex<Vec<String>>>::default();
    let log = Arc::clone(&received);
    let answer = move |headers: HeaderMap, body: Bytes| async move {
        let signed = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        log.lock().expect("no thread panicked").push(format!("{signed}\n{}", String::from_utf8_lossy(&body)));
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
         <AccessKeyId>ASIAEXAMPLE</AccessKeyId><SecretAccessKey>canary-secret</SecretAccessKey>\
         <SessionToken>canary-session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
         </AssumeRoleResult></AssumeRoleResponse>"
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    (url, received)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_assumes_a_role_with_the_credentials_of_a_program() {
    let sandbox = serve(&quick()).await.expect("loopback has free ports");
    let (url, received) = sts().await;
    let folder = tempfile::tempdir().expect("there is room");
    let config = folder.path().join("config");
    let keys = r#"{"Version":1,"AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"secret-canary"}"#;
    let profiles = format!(
        "[profile people]\ncredential_process = echo '{keys}'\nregion = eu-west-1\n\
         [profile operator]\nrole_arn = arn:aws:iam::123456789012:role/operator\nsource_profile = people\nregion = eu-west-1\n"
    );
    std::fs::write(&config, profiles).expect("the folder can be written");
    let mut command = decamp(&sandbox, &["status", "--json"]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").env_remove("AWS_SESSION_TOKEN");
    command.env("AWS_CONFIG_FILE", &config).env("AWS_PROFILE", "operator").env("PATH", "/usr/bin:/bin");
    command.env("AWS_ENDPOINT_URL_STS", &url);
    let output = command.output().await.expect("the binary starts");
    assert_eq!(code(&output), Some(0), "{}", text_of(&output));
    let received = received.lock().expect("no thread panicked").clone();
    let first = received.first().expect("the role was assumed");
    for part in ["Credential=AKIDEXAMPLE/", "Action=AssumeRole&", "role%2Foperator"] {
        assert!(first.contains(part), "{part} is not in {first}");
    }
    assert!(!text_of(&output).contains("canary"), "{}", text_of(&output));
}
