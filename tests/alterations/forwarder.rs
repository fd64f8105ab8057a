//! A forwarder between decamp and the sandbox that rewrites answers. The systems behave as before, only their answers differ.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use decamp_sandbox::wire::{Side, aws};
use reqwest::Client;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The largest answer of the sandbox.
const LARGEST: usize = 64 << 20;

/// A change of an answer.
#[derive(Clone, Copy)]
pub(crate) enum Change {
    /// The request is not forwarded. This status and body are the answer.
    Refuse(u16, &'static str),
    /// The request is carried out, and this status and body are the answer.
    Replace(u16, &'static str),
    /// The JSON of the answer is edited.
    Json(fn(&mut Value)),
    /// Each occurrence of the first text becomes the second.
    Text(&'static str, &'static str),
    /// The request is not forwarded, and the connection ends without an answer.
    HangUp,
    /// The answer comes this much later.
    Late(Duration),
    /// The answer has this header, which replaces any other of its name.
    Header(&'static str, &'static str),
    /// The JSON of the answer, an object or a list of objects, has an additional field of this many bytes.
    Fatten(usize),
}

/// Which answers are rewritten, and how.
#[derive(Clone, Copy)]
pub(crate) struct Alteration {
    /// The system that answers.
    pub(crate) side: Side,
    /// Part of the operation: an action of AWS (`DescribeTargetHealth`), or a method and path (`GET /v1/node/`).
    pub(crate) operation: &'static str,
    /// How many such answers are left unchanged first.
    pub(crate) skip: u32,
    /// How many answers are rewritten after that.
    pub(crate) times: u32,
    pub(crate) change: Change,
}

/// The forwarder of one sandbox, with an address for each system.
pub(crate) struct Forwarder {
    pub(crate) aws: String,
    pub(crate) nomad: String,
    pub(crate) consul: String,
    shared: Arc<Mutex<AlterationState>>,
    servers: Vec<JoinHandle<()>>,
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

/// The state of an alteration.
struct AlterationState {
    alteration: Option<Alteration>,
    count: u32,
    /// When a target was first deregistered.
    deregistered: Option<Instant>,
}

#[derive(Clone)]
struct Hop {
    side: Side,
    to: String,
    client: Client,
    shared: Arc<Mutex<AlterationState>>,
}

impl Forwarder {
    /// Starts a forwarder in front of these addresses. Without an alteration it changes nothing.
    pub(crate) async fn start(aws: String, nomad: String, consul: String, alteration: Option<Alteration>) -> Self {
        // This fails if another test has installed it before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let shared = Arc::new(Mutex::new(AlterationState { alteration, count: 0, deregistered: None }));
        let client = Client::builder().no_proxy().build().expect("no certificates are involved");
        let mut addresses = Vec::new();
        let mut servers = Vec::new();
        for (side, to) in [(Side::Aws, aws), (Side::Nomad, nomad), (Side::Consul, consul)] {
            let hop = Hop { side, to, client: client.clone(), shared: Arc::clone(&shared) };
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
            addresses.push(format!("http://{}", listener.local_addr().expect("it is bound")));
            let router = Router::new().fallback(forward).with_state(hop);
            servers.push(tokio::spawn(async move {
                // It ends when the forwarder is dropped.
                let _ = axum::serve(listener, router).await;
            }));
        }
        let [aws, nomad, consul] = <[String; 3]>::try_from(addresses).expect("there are three");
        Self { aws, nomad, consul, shared, servers }
    }

    /// When a target was first deregistered.
    pub(crate) fn deregistered(&self) -> Option<Instant> {
        self.shared.lock().expect("nobody panics while holding it").deregistered
    }

    /// How many answers were rewritten.
    pub(crate) fn rewritten(&self) -> u32 {
        self.shared.lock().expect("nobody panics while holding it").count
    }
}

impl AlterationState {
    /// The change of the next answer, if any.
    fn next_change(&mut self, side: Side, operation: &str) -> Option<Change> {
        if operation.contains("DeregisterTargets") {
            self.deregistered.get_or_insert_with(Instant::now);
        }
        let alteration = self.alteration.as_mut().filter(|one| one.side == side && operation.contains(one.operation))?;
        if alteration.skip != 0 {
            alteration.skip -= 1;
            return None;
        }
        if alteration.times == 0 {
            return None;
        }
        alteration.times -= 1;
        self.count += 1;
        Some(alteration.change)
    }
}

async fn forward(State(hop): State<Hop>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, LARGEST).await.expect("decamp sends little");
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let operation = match hop.side {
        Side::Aws => aws::operation(&head.headers, &body),
        Side::Nomad | Side::Consul => format!("{} {path}", head.method),
    };
    let change = hop.shared.lock().expect("nobody panics while holding it").next_change(hop.side, &operation);
    if let Some(Change::Refuse(status, text)) = change {
        return refusal(hop.side, status, text);
    }
    if let Some(Change::HangUp) = change {
        // A body that fails ends the connection.
        let broken =
            futures_util::stream::once(async { Err::<Bytes, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset)) });
        return Response::builder().header(header::CONTENT_LENGTH, 4).body(Body::from_stream(broken)).expect("it is complete");
    }
    let url = format!("{}{path}", hop.to);
    let mut headers = head.headers.clone();
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    let sent = hop.client.request(head.method, url).headers(headers).body(body).send().await;
    // If the sandbox is gone, decamp gets a 502.
    let Ok(answer) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, headers) = (answer.status(), answer.headers().clone());
    let Ok(bytes) = answer.bytes().await else { return StatusCode::BAD_GATEWAY.into_response() };
    if let Some(Change::Late(by)) = change {
        tokio::time::sleep(by).await;
    }
    if let Some(Change::Replace(status, text)) = change {
        return refusal(hop.side, status, text);
    }
    let bytes = change.map_or(bytes.clone(), |change| rewritten(change, &bytes));
    let mut response = (status, bytes).into_response();
    for (name, value) in &headers {
        if ![header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION].contains(name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    if let Some(Change::Header(name, value)) = change {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

fn refusal(side: Side, status: u16, text: &'static str) -> Response {
    let status = StatusCode::from_u16(status).expect("the table has statuses");
    let kind = if matches!(side, Side::Aws) { "text/xml" } else { "application/json" };
    (status, [(header::CONTENT_TYPE, kind)], text).into_response()
}

fn rewritten(change: Change, bytes: &Bytes) -> Bytes {
    match change {
        Change::Json(edit) => edited(bytes, edit),
        Change::Fatten(size) => edited(bytes, |value| {
            let padding = Value::from("x".repeat(size));
            match value {
                Value::Object(fields) => {
                    fields.insert("DecampPadding".to_owned(), padding);
                }
                Value::Array(rows) => {
                    if let Some(Value::Object(fields)) = rows.first_mut() {
                        fields.insert("DecampPadding".to_owned(), padding);
                    }
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
            }
        }),
        Change::Text(from, to) => Bytes::from(String::from_utf8_lossy(bytes).replace(from, to)),
        Change::Refuse(..) | Change::Replace(..) | Change::HangUp | Change::Late(_) | Change::Header(..) => bytes.clone(),
    }
}

/// Edits the JSON of an answer. An answer that is not JSON, such as an error text, stays unchanged.
fn edited(bytes: &Bytes, edit: impl FnOnce(&mut Value)) -> Bytes {
    let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else { return bytes.clone() };
    edit(&mut value);
    Bytes::from(value.to_string())
}
