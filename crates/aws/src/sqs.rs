//! The part of SQS that a consumer needs: receive, hide, delete. Three calls with JSON do not justify an SDK crate.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::signed::{CALL, Operation, Signed, read};
use decamp_core::decide::Refusal;

const fn sqs(name: &'static str) -> Operation {
    Operation { name, service: "sqs", target: "AmazonSQS", kind: "application/x-amz-json-1.0" }
}

const RECEIVE_MESSAGE: Operation = sqs("ReceiveMessage");
const DELETE_MESSAGE: Operation = sqs("DeleteMessage");
const CHANGE_MESSAGE_VISIBILITY: Operation = sqs("ChangeMessageVisibility");

/// SQS hides a message for at most twelve hours.
const LONGEST_VISIBILITY: u64 = 43_200;

/// A received message. Its receipt handle allows deleting it, so `Debug` does not show it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Received {
    /// The message's id.
    pub message_id: String,
    /// The handle of this receipt of the message.
    pub receipt_handle: String,
    /// The message's body.
    pub body: String,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Attributes {
    approximate_receive_count: Option<String>,
    sent_timestamp: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReceiveAnswer {
    #[serde(default)]
    messages: Vec<Received>,
}

impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Received").field("message_id", &self.message_id).finish_non_exhaustive()
    }
}

impl Received {
    /// The message in the form in which the Lambda service passes it to a function, so that the same parser reads both.
    #[must_use]
    pub fn as_record(&self, queue: &str) -> serde_json::Value {
        json!({
            "messageId": self.message_id, "receiptHandle": self.receipt_handle, "body": self.body,
            "attributes": {
                "ApproximateReceiveCount": self.attributes.approximate_receive_count, "SentTimestamp": self.attributes.sent_timestamp,
            },
            "eventSource": "aws:sqs", "eventSourceARN": queue,
        })
    }
}

impl Signed {
    /// Waits at most `wait` for messages of a queue, named by its ARN. They are hidden from other consumers for `hidden`.
    ///
    /// # Errors
    ///
    /// SQS refused the call, or did not answer. Messages in a lost answer become visible again by themselves.
    pub async fn receive_messages(&self, queue: &str, wait: Duration, hidden: Duration) -> Result<Vec<Received>, Refusal> {
        let body = json!({
            "MaxNumberOfMessages": 10,
            "WaitTimeSeconds": wait.as_secs().min(20),
            "VisibilityTimeout": hidden.as_secs().min(LONGEST_VISIBILITY),
            "MessageSystemAttributeNames": ["ApproximateReceiveCount", "SentTimestamp"],
        });
        let answer = self.call_queue(&RECEIVE_MESSAGE, queue, body, "", wait + CALL).await?;
        if answer.trim_ascii().is_empty() {
            return Ok(Vec::new());
        }
        read::<ReceiveAnswer>(&answer).map(|answer| answer.messages)
    }

    /// Hides a message of a queue, named by its ARN, for this long from now.
    ///
    /// # Errors
    ///
    /// SQS refused the call, or did not answer; then the call may have succeeded.
    pub async fn hide_message(&self, queue: &str, receipt: &str, span: Duration) -> Result<(), Refusal> {
        let body = json!({ "ReceiptHandle": receipt, "VisibilityTimeout": span.as_secs().min(LONGEST_VISIBILITY) });
        self.call_queue(&CHANGE_MESSAGE_VISIBILITY, queue, body, receipt, CALL).await.map(drop)
    }

    /// Deletes a message of a queue, named by its ARN.
    ///
    /// # Errors
    ///
    /// SQS refused the call, or did not answer; then the call may have succeeded.
    pub async fn delete_message(&self, queue: &str, receipt: &str) -> Result<(), Refusal> {
        self.call_queue(&DELETE_MESSAGE, queue, json!({ "ReceiptHandle": receipt }), receipt, CALL).await.map(drop)
    }

    async fn call_queue(
        &self,
        operation: &Operation,
        queue: &str,
        mut body: serde_json::Value,
        secret: &str,
        time: Duration,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, Refusal> {
        let parts: Vec<&str> = queue.split(':').collect();
        let &["arn", _, "sqs", region, account, name] = parts.as_slice() else {
            return Err(Refusal::Rejected("not the ARN of a queue".into()));
        };
        body["QueueUrl"] = format!("{}{account}/{name}", self.address(operation, region)?).into();
        self.call(operation, Some(region), body.to_string(), secret, time).await
    }
}
