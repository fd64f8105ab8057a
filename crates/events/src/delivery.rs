//! Opens the wrappings: an SQS batch, SNS records, an SNS message in a queue.

use std::fmt;
use std::sync::Arc;

use super::json::{Fields, MOST_DEPTH, Object, depth, shape};
use super::rejection::{Ours, Rejection};
use super::{MOST_RECORDS, Reader};
use decamp_core::time::Time;

/// An SQS message as Lambda delivers it: the fields that are needed to hand it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id, which identifies it in the answer.
    pub id: Arc<str>,
    /// The handle that changes its visibility.
    pub receipt: ReceiptHandle,
    /// The ARN of its queue, in one of our Regions. Signed calls go to this queue.
    pub queue: Arc<str>,
    /// How often it was received, including this time. 1 if SQS did not say.
    pub receives: u32,
    /// When it was sent to the queue, if SQS said so.
    pub sent: Option<Time>,
}

/// A receipt handle. It allows to delete the message, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceiptHandle(Arc<str>);

impl ReceiptHandle {
    /// The handle itself, for the API call and nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ReceiptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Reader<'_> {
    /// Reads a batch of records. A bad record does not affect the others.
    pub(super) fn batch(&mut self, object: &Object<'_>, wrappings: u8) -> Result<(), Rejection> {
        let records = object.array("Records", MOST_RECORDS)?.ok_or(Rejection::Missing { field: "Records" })?;
        if records.is_empty() {
            return Err(Rejection::Unknown { shape: "an empty batch".to_owned() });
        }
        for record in records {
            self.lone_record(record, wrappings)?;
        }
        Ok(())
    }

    /// Reads a record. Its message and Region apply to it alone.
    pub(super) fn lone_record(&mut self, text: &str, wrappings: u8) -> Result<(), Rejection> {
        let (message, region_is_named) = (self.message.clone(), self.region_is_named);
        let result = self.record(text, wrappings);
        self.keep(result);
        (self.message, self.region_is_named) = (message, region_is_named);
        Ok(())
    }

    /// Reads the output of `aws sqs receive-message`. It names no queue, so its messages cannot be handed back.
    pub(super) fn received(&mut self, object: &Object<'_>, wrappings: u8) -> Result<(), Rejection> {
        let messages = object.array("Messages", MOST_RECORDS)?.ok_or(Rejection::Missing { field: "Messages" })?;
        if messages.is_empty() {
            return Err(Rejection::Unknown { shape: "no messages".to_owned() });
        }
        for message in messages {
            let result = Object::read(message).and_then(|message| {
                let body = message.required("Body")?;
                self.body(&body, wrappings)
            });
            self.keep(result);
        }
        Ok(())
    }

    fn record(&mut self, text: &str, wrappings: u8) -> Result<(), Rejection> {
        let record = Object::read(text)?;
        if MOST_DEPTH < depth(text) {
            return Err(Rejection::TooDeep { most: MOST_DEPTH });
        }
        let source = record.text("eventSource")?;
        match source {
            Some(source) if source == "aws:sqs" => {
                // A message inside a message was forwarded. The outer one is handed back.
                if self.message.is_none() {
                    self.message = Some(Arc::new(Message::read(&record, self.ours)?));
                }
                self.region_is_named = true;
                let body = record.required("body")?;
                self.body(&body, wrappings)
            }
            Some(_) => Err(Rejection::Unknown { shape: "a batch of a service other than SQS and SNS".to_owned() }),
            None if record.text("EventSource")?.as_deref() == Some("aws:sns") => {
                let message = record.object("Sns")?.ok_or(Rejection::Missing { field: "Sns" })?;
                self.topic(&message, wrappings)
            }
            None => Err(Rejection::Unknown { shape: shape(text) }),
        }
    }

    /// Reads a message of SNS. Auto Scaling and EventBridge only write to topics in their own Region.
    pub(super) fn topic(&mut self, message: &Object<'_>, wrappings: u8) -> Result<(), Rejection> {
        super::only(message, "TopicArn", "a message of SNS and another event at once")?;
        let kind = message.text("Type")?;
        if kind.is_some_and(|kind| kind != "Notification") {
            return Err(Rejection::Unknown { shape: "a message of SNS that is not a notification".to_owned() });
        }
        let topic = message.required("TopicArn")?;
        let region = topic.split(':').nth(3).ok_or(Rejection::Bad { field: "TopicArn", expected: "the ARN of a topic" })?;
        self.ours.region(region)?;
        let before = std::mem::replace(&mut self.region_is_named, true);
        let body = message.required("Message")?;
        let result = self.body(&body, wrappings);
        self.region_is_named = before;
        result
    }
}

impl Message {
    fn read(record: &Object<'_>, ours: Ours<'_>) -> Result<Self, Rejection> {
        let id = record.required("messageId")?;
        let fits = id.len() <= 100 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if !fits {
            return Err(Rejection::Bad { field: "messageId", expected: "the id of an SQS message" });
        }
        let attributes = record.object("attributes").ok().flatten();
        let number = |field| attributes.as_ref().and_then(|all| all.text(field).ok().flatten()?.parse::<u64>().ok());
        let receives = number("ApproximateReceiveCount").and_then(|n| u32::try_from(n).ok());
        Ok(Self {
            id: id.as_ref().into(),
            receipt: ReceiptHandle(record.text("receiptHandle")?.as_deref().unwrap_or_default().into()),
            queue: queue(record, ours)?,
            receives: receives.unwrap_or(1),
            sent: number("SentTimestamp").map(Time),
        })
    }
}

fn queue(record: &Object<'_>, ours: Ours<'_>) -> Result<Arc<str>, Rejection> {
    let field = "eventSourceARN";
    let arn = record.required(field)?;
    let parts: Vec<&str> = arn.split(':').collect();
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    match parts[..] {
        ["arn", _, "sqs", region, account, name] if parts[1..5].iter().all(|part| plain(part)) && plain(account) => {
            if !plain(name.strip_suffix(".fifo").unwrap_or(name)) {
                return Err(Rejection::Bad { field, expected: "the ARN of a queue" });
            }
            ours.region(region)?;
            Ok(arn.as_ref().into())
        }
        _ => Err(Rejection::Bad { field, expected: "the ARN of a queue" }),
    }
}
