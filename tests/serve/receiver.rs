//! A receiver of notifications: it keeps them, verifies their signatures, and answers as the test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use decamp_config::Secret;
use decamp_core::time::Time;
use decamp_service::verify::hmac_signatures::standard;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

/// The secret of receivers that verify.
pub(crate) const SECRET: &str = "whsec_Y2FuYXJ5LW5vdGlmaWNhdGlvbi1zZWNyZXQtMDEyMzQ1";

/// How a receiver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// 204, at once.
    Well,
    /// This status for a number of requests, then 204.
    FailsFirst(usize, u16),
    /// 204, after a while.
    Slow(Duration),
    /// Nothing, ever.
    Hangs,
}

/// One received notification.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedNotification {
    pub(crate) at: Instant,
    pub(crate) id: String,
    pub(crate) body: Value,
    /// The id that its signature covers.
    pub(crate) signed: Result<String, String>,
    pub(crate) accepted: bool,
    /// The headers and the body, unchanged.
    pub(crate) whole: String,
}

/// A running receiver.
pub(crate) struct Receiver {
    /// Its URL, with a secret in the path.
    pub(crate) url: String,
    received: Arc<Mutex<Vec<ReceivedNotification>>>,
    manners: Arc<Mutex<Manners>>,
}

impl Receiver {
    pub(crate) async fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
        let url = format!("http://{}/canary-path-of-a-receiver", listener.local_addr().expect("it is bound"));
        let (received, manners) = (Arc::<Mutex<Vec<ReceivedNotification>>>::default(), Arc::new(Mutex::new(manners)));
        let (keeps, behaves) = (Arc::clone(&received), Arc::clone(&manners));
        let take = move |headers: HeaderMap, body: Bytes| async move {
            let manners = *behaves.lock().expect("nobody panicked");
            let before = keeps.lock().expect("nobody panicked").len();
            let status = match manners {
                Manners::FailsFirst(times, status) if before < times => StatusCode::from_u16(status).expect("a status"),
                Manners::FailsFirst(..) | Manners::Well | Manners::Slow(_) | Manners::Hangs => StatusCode::NO_CONTENT,
            };
            keeps.lock().expect("nobody panicked").push(read(&headers, &body, status.is_success()));
            match manners {
                Manners::Slow(span) => sleep(span).await,
                Manners::Hangs => std::future::pending().await,
                Manners::Well | Manners::FailsFirst(..) => {}
            }
            status
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(take)).await });
        Self { url, received, manners }
    }

    /// Everything received, also the refused tries.
    pub(crate) fn all(&self) -> Vec<ReceivedNotification> {
        self.received.lock().expect("nobody panicked").clone()
    }

    /// The received notifications of one kind.
    pub(crate) fn of(&self, kind: &str) -> Vec<ReceivedNotification> {
        self.all().into_iter().filter(|one| one.body["type"] == kind).collect()
    }

    pub(crate) fn behave(&self, manners: Manners) {
        *self.manners.lock().expect("nobody panicked") = manners;
    }

    /// Waits until one of this kind was accepted.
    pub(crate) async fn accepted(&self, kind: &str) -> Option<ReceivedNotification> {
        self.accepted_if(kind, |_| true).await
    }

    /// The same for one with this content.
    pub(crate) async fn accepted_if(&self, kind: &str, is_wanted: impl Fn(&Value) -> bool) -> Option<ReceivedNotification> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            if let Some(one) = self.of(kind).into_iter().find(|one| one.accepted && is_wanted(&one.body["data"])) {
                return Some(one);
            }
            sleep(Duration::from_millis(50)).await;
        }
        None
    }
}

fn read(headers: &HeaderMap, body: &Bytes, accepted: bool) -> ReceivedNotification {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later than 1970");
    let signed = standard(&header, body, &[Secret::new(SECRET)], Time(0) + now).map_err(|doubt| doubt.to_string());
    let whole = format!("{headers:?}\n{}", String::from_utf8_lossy(body));
    let body = serde_json::from_slice(body).expect("it is JSON");
    ReceivedNotification { at: Instant::now(), id: header("webhook-id").unwrap_or_default(), body, signed, accepted, whole }
}

/// A settings' file with these receivers: name, kind and URL.
pub(crate) fn settings(receivers: &[(&str, &str, &str)]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let tables = receivers.iter().map(|(name, kind, url)| {
        let secret = if *kind == "webhook" { format!("secret = \"{SECRET}\"\n") } else { String::new() };
        format!("[notify.{name}]\nkind = \"{kind}\"\nurl = \"{url}\"\n{secret}")
    });
    std::fs::write(file.path(), tables.collect::<String>()).expect("it is ours");
    file
}
