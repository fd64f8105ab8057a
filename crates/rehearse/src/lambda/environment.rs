//! One execution environment of Lambda: a runtime API on loopback, and the function's process that calls it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as InPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex as Turn, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::plan::REGION;
use decamp_sandbox::wire::listen;

/// The function's answer to one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// `POST …/response`.
    Response(String),
    /// `POST …/error`.
    Error(String),
    /// It did not answer by its deadline, or its process ended.
    Gone,
}

struct Event {
    id: String,
    payload: String,
    deadline: SystemTime,
}

struct RuntimeApi {
    events: Turn<mpsc::UnboundedReceiver<Event>>,
    answer: Mutex<Option<(String, oneshot::Sender<Answer>)>>,
}

/// A process and its runtime API. Both end when this is dropped.
pub(super) struct Environment {
    api: Arc<RuntimeApi>,
    send: mpsc::UnboundedSender<Event>,
    child: Child,
    printed: Arc<Mutex<Vec<(Instant, String)>>>,
    tasks: Vec<JoinHandle<()>>,
    count: u32,
}

impl Drop for Environment {
    fn drop(&mut self) {
        // The process is killed when its handle is dropped.
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Environment {
    /// Starts the binary. Its environment has only what Lambda sets, and `variables`.
    ///
    /// # Errors
    /// The binary cannot be started.
    pub(super) async fn start(binary: &Path, variables: &[(&'static str, String)]) -> Result<Self> {
        let (send, events) = mpsc::unbounded_channel();
        let api = Arc::new(RuntimeApi { events: Turn::new(events), answer: Mutex::default() });
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .with_state(Arc::clone(&api));
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).context("serve a runtime API")?;
        let address = listener.local_addr().context("serve a runtime API")?;
        let serving = tokio::spawn(async move {
            // It ends when its task is aborted.
            axum::serve(listener, routes).await.ok();
        });
        let mut child = Command::new(binary)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "decamp")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", "rehearsal")
            .env("AWS_SECRET_ACCESS_KEY", "rehearsal")
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        let printed: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
        let mut tasks = vec![serving];
        if let Some(stdout) = child.stdout.take() {
            let printed = Arc::clone(&printed);
            tasks.push(tokio::spawn(async move {
                let mut lines = BufReader::new(stdout).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    printed.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), line));
                }
            }));
        }
        Ok(Self { api, send, child, printed, tasks, count: 0 })
    }

    /// Invokes the function with one event, which it must answer within `time`.
    pub(super) async fn invoke(&mut self, payload: &str, time: Duration) -> Answer {
        self.count += 1;
        let id = format!("00000000-0000-0000-0000-{:012}", self.count);
        let (answer, answered) = oneshot::channel();
        *self.api.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some((id.clone(), answer));
        let event = Event { id, payload: payload.to_owned(), deadline: SystemTime::now() + time };
        if self.send.send(event).is_err() {
            return Answer::Gone;
        }
        tokio::select! {
            answer = answered => answer.unwrap_or(Answer::Gone),
            _ = self.child.wait() => Answer::Gone,
            () = tokio::time::sleep(time) => Answer::Gone,
        }
    }

    /// The lines that it printed since the last call, with their times.
    pub(super) fn printed(&self) -> Vec<(Instant, String)> {
        std::mem::take(&mut *self.printed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn next(State(api): State<Arc<RuntimeApi>>) -> Response {
    let Some(event) = api.events.lock().await.recv().await else { return StatusCode::GONE.into_response() };
    let deadline = event.deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let headers = [
        ("lambda-runtime-aws-request-id", event.id),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        ("lambda-runtime-invoked-function-arn", format!("arn:aws:lambda:{REGION}:{}:function:decamp", crate::plan::ACCOUNT)),
        ("lambda-runtime-trace-id", "Root=1-00000000-000000000000000000000000".to_owned()),
    ];
    (headers, event.payload).into_response()
}

async fn response(State(api): State<Arc<RuntimeApi>>, InPath(id): InPath<String>, body: Bytes) -> StatusCode {
    answered(&api, &id, Answer::Response(String::from_utf8_lossy(&body).into_owned()))
}

async fn error(State(api): State<Arc<RuntimeApi>>, InPath(id): InPath<String>, body: Bytes) -> StatusCode {
    answered(&api, &id, Answer::Error(String::from_utf8_lossy(&body).into_owned()))
}

fn answered(api: &RuntimeApi, id: &str, answer: Answer) -> StatusCode {
    let waiting = api.answer.lock().unwrap_or_else(PoisonError::into_inner).take_if(|(open, _)| open == id);
    match waiting {
        // The caller may have stopped waiting.
        Some((_, waiting)) => waiting.send(answer).map_or(StatusCode::ACCEPTED, |()| StatusCode::ACCEPTED),
        None => StatusCode::BAD_REQUEST,
    }
}
