//! Other clients of the replica: readers of the page and the API, senders of invalid requests, and the receiver of notifications.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::http::StatusCode;
use reqwest::{Client, Method};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::replica::{KEY, Replica};

/// The time between two visits of each kind.
const VISIT_EVERY: Duration = Duration::from_millis(500);
/// The paths that people and programs read.
const PATHS: &[&str] = &[
    "/",
    "/v1/departures",
    "/metrics",
    "/v1/refreshes",
    "/readyz",
    "/healthz",
    "/v1/openapi.json",
    "/v1/departures/i-0123456789abcdef0",
    "/nothing",
];
/// Invalid requests to the webhooks listener: method, path, key, body.
const INVALID_REQUESTS: &[(&str, &str, &str, &str)] = &[
    ("POST", "/v1/webhooks/nobody", "", "{}"),
    ("POST", "/v1/sns", "", r#"{"Type":"Notification","TopicArn":"arn:aws:sns:eu-west-1:123456789012:foreign"}"#),
    ("POST", "/v1/terraform", "", r#"{"notifications":[{"trigger":"run:completed"}]}"#),
    ("POST", "/v1/events", "a-key-that-is-wrong", "{}"),
    ("POST", "/v1/events", KEY, "{ nonsense"),
    (
        "POST",
        "/v1/events",
        KEY,
        r#"{"source":"aws.autoscaling","detail-type":"EC2 Instance-terminate Lifecycle Action","detail":{}}"#,
    ),
    ("DELETE", "/v1/events", KEY, ""),
    ("GET", "/.env", "", ""),
];

/// Clients that make requests until they are ended.
pub(crate) struct Visitors {
    end: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    answers: Answers,
}

/// How often each path was answered with each status. Status 0 means no answer.
type Answers = Arc<Mutex<BTreeMap<(String, u16), u64>>>;

impl Visitors {
    pub(crate) fn begin(client: &Client, replica: &Arc<Replica>) -> Self {
        let (end, answers) = (watch::Sender::new(false), Answers::default());
        let visit = |kind: u8| {
            let (client, replica, answers, mut ended) =
                (client.clone(), Arc::clone(replica), Arc::clone(&answers), end.subscribe());
            tokio::spawn(async move {
                for turn in 0_usize.. {
                    tokio::select! {
                        _ = ended.wait_for(|end| *end) => return,
                        () = sleep(VISIT_EVERY) => {}
                    }
                    match kind {
                        0 => look(&client, &replica, PATHS[turn % PATHS.len()], &answers).await,
                        1 => send_invalid(&client, &replica, turn, &answers).await,
                        _ => listen(&client, &replica, &answers).await,
                    }
                }
            })
        };
        let tasks = (0..3).map(visit).collect();
        Self { end, tasks, answers }
    }

    /// Ends the visitors and returns the unexpected answers.
    pub(crate) async fn end(self) -> Vec<String> {
        self.end.send_replace(true);
        for task in self.tasks {
            task.await.ok();
        }
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let visits: u64 = answers.values().sum();
        println!("visits {visits}: {answers:?}");
        let wrong = answers.iter().filter(|((_, status), _)| *status == 0 || 500 <= *status);
        wrong.map(|((what, status), many)| format!("{what} was answered {status} {many} times")).collect()
    }
}

fn note(answers: &Answers, what: &str, answer: reqwest::Result<u16>) {
    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    *answers.entry((what.to_owned(), answer.unwrap_or(0))).or_default() += 1;
}

async fn look(client: &Client, replica: &Replica, path: &str, answers: &Answers) {
    let answer = async {
        let answer = client.get(format!("{}{path}", replica.admin)).send().await?;
        let status = answer.status().as_u16();
        answer.bytes().await.map(|_| status)
    };
    note(answers, path, answer.await);
}

async fn send_invalid(client: &Client, replica: &Replica, turn: usize, answers: &Answers) {
    let (method, path, key, body) = INVALID_REQUESTS[turn % INVALID_REQUESTS.len()];
    let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
    // A different key each time, so that each request is a new guess.
    let key = if key == KEY { key.to_owned() } else { format!("{key}{turn}") };
    let request = client.request(method, format!("{}{path}", replica.webhooks)).header("x-api-key", key).body(body);
    note(answers, &format!("invalid request to {path}"), request.send().await.map(|answer| answer.status().as_u16()));
}

/// Opens the stream, reads a part of it, and closes the connection.
async fn listen(client: &Client, replica: &Replica, answers: &Answers) {
    let status = async {
        let mut answer = client.get(format!("{}/v1/stream", replica.admin)).send().await?;
        let status = answer.status().as_u16();
        timeout(Duration::from_secs(1), answer.chunk()).await.ok();
        Ok(status)
    };
    note(answers, "/v1/stream", status.await);
}

/// Starts a receiver that accepts every notification, and returns its address.
pub(crate) async fn receiver() -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = axum::Router::new().fallback(|| async { StatusCode::NO_CONTENT });
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(format!("http://{address}/"))
}
