//! The simulated SQS: standard queues with visibility time-outs and receive counts, in the JSON protocol.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::json::{refuse, send};
use crate::wire::Shared;

/// The longest visibility time-out of SQS, in seconds: twelve hours.
const LONGEST_VISIBILITY: u64 = 43_200;
/// The default visibility time-out of a queue, in seconds.
const USUAL_VISIBILITY: u64 = 30;
/// How often a long poll looks for messages.
const PACE: Duration = Duration::from_millis(20);

/// One queue.
#[derive(Debug, Default)]
pub struct SqsQueue {
    messages: Vec<Message>,
    numbered: u64,
}

#[derive(Debug)]
struct Message {
    id: String,
    body: String,
    /// The handle of the last receive.
    receipt: Option<String>,
    receives: u32,
    visible: Instant,
    /// Milliseconds since 1970, as in SQS.
    sent: u128,
}

impl SqsQueue {
    /// Adds a message and returns its id.
    pub fn send(&mut self, body: &str) -> String {
        self.numbered += 1;
        let id = format!("00000000-0000-4000-8000-{:012x}", self.numbered);
        let (body, visible) = (body.to_owned(), Instant::now());
        let sent = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        self.messages.push(Message { id: id.clone(), body, receipt: None, receives: 0, visible, sent });
        id
    }

    /// The number of messages, including hidden ones.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there is no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// How often each message was received.
    pub fn receives(&self) -> impl Iterator<Item = u32> + '_ {
        self.messages.iter().map(|message| message.receives)
    }

    fn receive(&mut self, most: usize, hidden: Duration, mut receipt: impl FnMut() -> String) -> Vec<Value> {
        let now = Instant::now();
        let visible = self.messages.iter_mut().filter(|message| message.visible <= now).take(most);
        visible
            .map(|message| {
                let receipt = receipt();
                message.receives += 1;
                message.visible = now + hidden;
                message.receipt = Some(receipt.clone());
                let attributes = json!({
                    "ApproximateReceiveCount": message.receives.to_string(), "SentTimestamp": message.sent.to_string(),
                });
                json!({ "MessageId": message.id, "ReceiptHandle": receipt, "Body": message.body, "Attributes": attributes })
            })
            .collect()
    }

    fn message_of(&mut self, receipt: &str) -> Option<&mut Message> {
        self.messages.iter_mut().find(|message| message.receipt.as_deref() == Some(receipt))
    }
}

/// All queues, by name.
pub type Queues = BTreeMap<String, SqsQueue>;

/// Answers one call.
pub(super) async fn answer(shared: &Shared, operation: &str, input: &Value) -> Response {
    let name = input["QueueUrl"].as_str().and_then(|url| url.rsplit('/').next()).unwrap_or_default().to_owned();
    if name.is_empty() {
        return missing_queue();
    }
    match operation {
        "SendMessage" => {
            let Some(body) = input["MessageBody"].as_str().filter(|body| !body.is_empty()) else {
                return missing("a message body is needed");
            };
            let id = shared.stores().queues.entry(name).or_default().send(body);
            send(StatusCode::OK, &json!({ "MessageId": id }))
        }
        "ReceiveMessage" => receive(shared, &name, input).await,
        "DeleteMessage" => {
            let Some(receipt) = input["ReceiptHandle"].as_str() else { return missing("a receipt handle is needed") };
            let mut stores = shared.stores();
            let Some(queue) = stores.queues.get_mut(&name) else { return missing_queue() };
            // SQS accepts an old receipt and deletes nothing.
            queue.messages.retain(|message| message.receipt.as_deref() != Some(receipt));
            send(StatusCode::OK, &json!({}))
        }
        "ChangeMessageVisibility" => visibility(shared, &name, input),
        _ => refuse(400, "UnknownOperationException", "no such operation"),
    }
}

async fn receive(shared: &Shared, name: &str, input: &Value) -> Response {
    let most = input["MaxNumberOfMessages"].as_u64().unwrap_or(1);
    let wait = input["WaitTimeSeconds"].as_u64().unwrap_or(0);
    let hidden = input["VisibilityTimeout"].as_u64().unwrap_or(USUAL_VISIBILITY);
    if !(1..=10).contains(&most) || 20 < wait || LONGEST_VISIBILITY < hidden {
        return refuse(400, "com.amazonaws.sqs#InvalidParameterValue", "a number is out of its range");
    }
    let end = Instant::now() + Duration::from_secs(wait);
    loop {
        let messages = {
            let mut stores = shared.stores();
            let super::Stores { queues, rng, .. } = &mut *stores;
            let Some(queue) = queues.get_mut(name) else { return missing_queue() };
            queue.receive(usize::try_from(most).unwrap_or(1), Duration::from_secs(hidden), || rng.uuid())
        };
        if !messages.is_empty() {
            return send(StatusCode::OK, &json!({ "Messages": messages }));
        }
        if end <= Instant::now() {
            return send(StatusCode::OK, &json!({}));
        }
        tokio::time::sleep(PACE).await;
    }
}

fn visibility(shared: &Shared, name: &str, input: &Value) -> Response {
    let (Some(receipt), Some(seconds)) = (input["ReceiptHandle"].as_str(), input["VisibilityTimeout"].as_u64()) else {
        return missing("a receipt handle and a visibility time-out are needed");
    };
    if LONGEST_VISIBILITY < seconds {
        return refuse(400, "com.amazonaws.sqs#InvalidParameterValue", "the visibility time-out is longer than twelve hours");
    }
    let mut stores = shared.stores();
    if let Some(message) = stores.queues.get_mut(name).and_then(|queue| queue.message_of(receipt)) {
        message.visible = Instant::now() + Duration::from_secs(seconds);
    }
    stores.visibilities.push((receipt.to_owned(), seconds));
    send(StatusCode::OK, &json!({}))
}

fn missing(what: &str) -> Response {
    refuse(400, "com.amazonaws.sqs#MissingParameter", what)
}

fn missing_queue() -> Response {
    refuse(400, "com.amazonaws.sqs#QueueDoesNotExist", "The specified queue does not exist.")
}
