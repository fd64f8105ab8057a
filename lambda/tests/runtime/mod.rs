//! A Lambda runtime API on loopback that runs the real function. A test sends events and gets the answers and the printed lines.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as InPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// The function's answer to one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// `POST …/response`.
    Response(String),
    /// `POST …/error`.
    Error(String),
    /// The process ended without an answer.
    Gone,
}

struct Event {
    id: String,
    payload: String,
    deadline: SystemTime,
}

/// The state that the API's handlers share.
struct Shared {
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Event>>,
    answers: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
    /// When the function first requested an event.
    first_request: Mutex<Option<Instant>>,
}

/// A function that runs under its own runtime API.
pub(crate) struct Function {
    shared: Arc<Shared>,
    send: mpsc::UnboundedSender<Event>,
    child: Child,
    printed: Vec<JoinHandle<String>>,
    /// When the process was started.
    started: Instant,
    count: u32,
}

impl Function {
    /// Starts the binary with only Lambda's own variables and `settings` in its environment.
    pub(crate) async fn start(binary: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start_by(Command::new(binary), settings).await
    }

    /// The same with a command, for a binary that needs an emulator.
    pub(crate) async fn start_by(mut command: Command, settings: &[(&str, &str)]) -> Self {
        let (send, events) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            events: tokio::sync::Mutex::new(events),
            answers: Mutex::default(),
            first_request: Mutex::default(),
        });
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let started = Instant::now();
        let mut child = command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "decamp")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_REGION", "eu-west-1")
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the function can be started");
        let printed = vec![
            tokio::spawn(all_of(child.stdout.take().expect("it is piped"))),
            tokio::spawn(all_of(child.stderr.take().expect("it is piped"))),
        ];
        Self { shared, send, child, printed, started, count: 0 }
    }

    /// Invokes it with one event, which it must answer within `time`.
    pub(crate) async fn invoke(&mut self, payload: &str, time: Duration) -> Answer {
        self.count += 1;
        let id = format!("00000000-0000-0000-0000-{:012}", self.count);
        let (answer, answered) = oneshot::channel();
        lock(&self.shared.answers).insert(id.clone(), answer);
        let event = Event { id, payload: payload.to_owned(), deadline: SystemTime::now() + time };
        self.send.send(event).unwrap_or_else(|_| panic!("the runtime API runs as long as the function"));
        tokio::select! {
            answer = answered => answer.unwrap_or(Answer::Gone),
            _ = self.child.wait() => Answer::Gone,
            () = tokio::time::sleep(time + Duration::from_secs(20)) => panic!("no answer 20 s after the deadline"),
        }
    }

    /// The time from the process's start to its first request for an event, if there was one.
    pub(crate) fn first_request_after(&self) -> Option<Duration> {
        lock(&self.shared.first_request).map(|at| at.duration_since(self.started))
    }

    /// The process's peak resident memory in KiB (Linux only).
    pub(crate) fn peak_resident(&self) -> Option<u64> {
        let status = self.proc_file("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse().ok()
    }

    /// The content of a file of the process in `/proc` (Linux only).
    pub(crate) fn proc_file(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id()?)).ok()
    }

    /// Kills the process and returns everything that it printed.
    pub(crate) async fn end(mut self) -> String {
        // The process may already have ended.
        let _ = self.child.kill().await;
        let mut all = String::new();
        for printed in self.printed {
            all.push_str(&printed.await.expect("reading cannot panic"));
        }
        all
    }
}

async fn all_of(mut pipe: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    // A broken pipe ends the output.
    let _ = pipe.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    lock(&shared.first_request).get_or_insert_with(Instant::now);
    let Some(event) = shared.events.lock().await.recv().await else { return StatusCode::GONE.into_response() };
    let deadline = event.deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let headers = [
        ("lambda-runtime-aws-request-id", event.id),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-west-1:123456789012:function:decamp".to_owned()),
        ("lambda-runtime-trace-id", "Root=1-00000000-000000000000000000000000".to_owned()),
    ];
    (headers, event.payload).into_response()
}

async fn response(State(shared): State<Arc<Shared>>, InPath(id): InPath<String>, body: Bytes) -> StatusCode {
    answered(&shared, &id, Answer::Response(text(&body)))
}

async fn error(State(shared): State<Arc<Shared>>, InPath(id): InPath<String>, body: Bytes) -> StatusCode {
    answered(&shared, &id, Answer::Error(text(&body)))
}

fn text(body: &Bytes) -> String {
    String::from_utf8_lossy(body).into_owned()
}

fn answered(shared: &Shared, id: &str, answer: Answer) -> StatusCode {
    match lock(&shared.answers).remove(id) {
        // The test may have stopped waiting.
        Some(waiting) => waiting.send(answer).map_or(StatusCode::ACCEPTED, |()| StatusCode::ACCEPTED),
        None => StatusCode::BAD_REQUEST,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no test panics while it holds this")
}

/// A server in place of AWS, Nomad and Consul that answers each request with 500 and keeps a list of the requests.
pub(crate) struct FailingServer {
    /// Where it listens.
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FailingServer {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let routes = Router::new().fallback(any(fail)).with_state(Arc::clone(&requests));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, requests }
    }

    /// Every request so far: its path, its target header and its body.
    pub(crate) fn requests(&self) -> Vec<String> {
        lock(&self.requests).clone()
    }
}

async fn fail(
    State(requests): State<Arc<Mutex<Vec<String>>>>,
    uri: axum::http::Uri,
    headers: axum::http::HeaderMap,
    body: Bytes,
) -> StatusCode {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    lock(&requests).push(format!("{} {target} {}", uri.path(), text(&body)));
    StatusCode::INTERNAL_SERVER_ERROR
}
