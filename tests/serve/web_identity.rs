//! The job's workload identity: Nomad's token for AWS is exchanged for a role's credentials, and read again before those expire.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use decamp_core::time::Time;
use decamp_sandbox::serve;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::replica::{Replica, quick};

const ROLE: &str = "arn:aws:iam::123456789012:role/decamp";
/// The SDK fetches new ones ten seconds before they expire.
const LASTS: Duration = Duration::from_secs(13);

/// A stand-in for the Security Token Service, with its requests in order.
async fn sts() -> (String, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let keeps = Arc::clone(&asked);
    let answer = move |body: Bytes| async move {
        keeps.lock().expect("nobody panicked").push(String::from_utf8_lossy(&body).into_owned());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
        format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleWithWebIdentityResult>\
             <Credentials><AccessKeyId>ASIAEXAMPLE</AccessKeyId><SecretAccessKey>canary-secret</SecretAccessKey>\
             <SessionToken>canary-session</SessionToken><Expiration>{}</Expiration></Credentials>\
             </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
            Time(0) + now + LASTS
        )
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    (url, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nomads_token_is_exchanged_for_the_role_and_a_new_token_is_read() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let (url, asked) = sts().await;
    let token = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(token.path(), "canary-token-one").expect("it is ours");
    let file = token.path().display().to_string();
    let settings = [
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_SESSION_TOKEN", ""),
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &*file),
        ("AWS_ENDPOINT_URL_STS", &*url),
        ("DECAMP_SWEEP", "1s"),
    ];
    // It is ready when Auto Scaling was read, which needs the credentials.
    let replica = Replica::start(&sandbox, &settings).await;
    let all = || asked.lock().expect("nobody panicked").clone();
    let first = all().first().cloned().expect("it was asked");
    for part in ["Action=AssumeRoleWithWebIdentity", "role%2Fdecamp", "WebIdentityToken=canary-token-one"] {
        assert!(first.contains(part), "{part} is not in {first}");
    }
    std::fs::write(token.path(), "canary-token-two").expect("it is ours");
    let began = Instant::now();
    while !all().iter().any(|asked| asked.contains("WebIdentityToken=canary-token-two")) {
        assert!(began.elapsed() < Duration::from_secs(20), "the new token was not read: {}", replica.printed());
        sleep(Duration::from_millis(100)).await;
    }
    assert!(!replica.printed().contains("canary"), "{}", replica.printed());
}
