//! Reads the events of AWS in every form: EventBridge events, Auto Scaling's own notifications, either of them inside SNS or SQS
//! messages, and batches.
//!
//! An event is only a hint. Reading it decides whether it is about something of ours. The look at the live systems decides
//! everything else.

mod delivery;
mod envelope;
mod health;
mod json;
mod lifecycle;
mod notification;
mod rejection;

use std::sync::Arc;

use strum::{IntoStaticStr, VariantNames};

pub use self::delivery::{Message, ReceiptHandle};
use self::json::{Fields, MOST_DEPTH, Object, depth, elements, shape, string};
use self::rejection::Ours;
pub use self::rejection::{Foreign, Rejection};
use decamp_config::Allowed;
use decamp_core::decide::Departure;
use decamp_core::ids::InstanceId;
use decamp_core::proactive_replacement::Window;
use decamp_core::time::Time;

/// The largest single event. Auto Scaling's events in SQS, SNS and EventBridge are far smaller.
pub const MOST_BYTES: usize = 256 * 1024;

/// The largest batch: the limit of a Lambda invocation, with room for JSON escapes.
pub const MOST_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// The most records of a batch (SQS with a batching window).
const MOST_RECORDS: usize = 10_000;

/// The most events of an array.
const MOST_EVENTS: usize = 100;

/// How many wrappings are opened: a batch, an SNS message in it, an array in that, and one to spare.
const MOST_WRAPPINGS: u8 = 4;

/// One event, and the message that carried it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The SQS message that carried it. Several records may share one.
    pub message: Option<Arc<Message>>,
    /// The event, or why it was rejected.
    pub content: Result<EventContent, Rejection>,
    /// Whether neither the event nor its wrappings name a Region although the settings list Regions. Auto Scaling in our own Region
    /// then decides.
    pub names_no_region: bool,
}

/// The content of an event.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum EventContent {
    /// An instance waits in a terminating lifecycle hook.
    Departure(Departure),
    /// An instance waits in a launching lifecycle hook.
    Arrival {
        /// The instance.
        instance: InstanceId,
        /// Its group.
        asg: Arc<str>,
    },
    /// EC2 takes a spot instance back. The event does not name the group. Only a look says whether the instance is one of ours.
    Interruption {
        /// The instance.
        instance: InstanceId,
        /// When it is gone.
        at: Time,
    },
    /// EC2 may soon take a spot instance back.
    Rebalance {
        /// The instance.
        instance: InstanceId,
    },
    /// AWS has scheduled a retirement or restart of the machines under these instances.
    ScheduledChange {
        /// The instances.
        instances: Vec<InstanceId>,
        /// When, as far as that is known.
        window: Window,
    },
    /// A sweep is due.
    Sweep,
    /// Auto Scaling tests its notifications.
    Test,
    /// An event that needs nothing.
    Informational(Informational),
}

/// Events that need nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum Informational {
    /// A launch, termination or detachment has succeeded or failed.
    GroupActivity,
    /// An instance refresh made progress.
    InstanceRefresh,
    /// An instance changed its state.
    StateChange,
    /// A health event other than a scheduled change of an EC2 instance.
    Health,
    /// A lifecycle transition that this version does not know.
    OtherTransition,
    /// Another event of a service whose events decamp knows.
    Other,
}

impl EventContent {
    /// The word for logs and metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        if let Self::Informational(of) = self { of.into() } else { self.into() }
    }

    /// All words.
    pub fn words() -> impl Iterator<Item = &'static str> {
        Self::VARIANTS.iter().filter(|word| **word != "informational").chain(Informational::VARIANTS).copied()
    }
}

/// Reads the payload of an invocation or request. It returns at least one record. A bad record is rejected without affecting its
/// neighbours.
///
/// `hooks` are the terminating lifecycle hooks that are ours. An empty list means all of them, like every list of `allowed`.
#[must_use]
pub fn read(event: &[u8], allowed: &Allowed, hooks: &[Arc<str>]) -> Vec<Record> {
    let mut reader = Reader { ours: Ours { allowed, hooks }, records: Vec::new(), message: None, region_is_named: false };
    let result = match str::from_utf8(event) {
        Ok(_) if MOST_BATCH_BYTES < event.len() => Err(Rejection::TooLarge { bytes: event.len(), most: MOST_BATCH_BYTES }),
        Ok(text) => reader.whole(text),
        Err(_) => Err(Rejection::NotText),
    };
    reader.keep(result);
    reader.records
}

/// The largest event that is searched for a request to check.
const LARGEST_CHECK: usize = 4 * 1024;

/// Whether a person asks the Lambda to check what it reaches, with `{"decamp":"check"}`. It is ignored in a message or a batch,
/// because nobody would read the answer.
#[must_use]
pub fn asks_for_a_check(event: &[u8]) -> bool {
    let text = Some(event).filter(|event| event.len() <= LARGEST_CHECK).and_then(|event| str::from_utf8(event).ok());
    let object = text.and_then(|text| Object::read(unmarked(text)).ok());
    object.is_some_and(|object| object.text("decamp").is_ok_and(|word| word.as_deref() == Some("check")))
}

/// Opens the wrappings and collects the records.
struct Reader<'a> {
    ours: Ours<'a>,
    records: Vec<Record>,
    /// The message that is being read.
    message: Option<Arc<Message>>,
    /// Whether a queue or topic around it named a Region of ours. Auto Scaling notifies only within its own Region.
    region_is_named: bool,
}

impl Reader<'_> {
    fn whole(&mut self, text: &str) -> Result<(), Rejection> {
        let text = unmarked(text);
        serde_json::from_str::<&serde_json::value::RawValue>(text).map_err(|_| Rejection::NotJson)?;
        self.event(text, MOST_WRAPPINGS)
    }

    /// Reads one event or wrapping.
    fn event(&mut self, text: &str, wrappings: u8) -> Result<(), Rejection> {
        let Some(inner) = wrappings.checked_sub(1) else {
            return Err(Rejection::TooMany { what: "wrappings around an event", most: MOST_WRAPPINGS.into() });
        };
        if text.trim_start().starts_with('[') {
            return self.array(text, inner);
        }
        if let Some(body) = string(text) {
            // A pipe or a person forwarded only the body of a message, as a JSON string.
            return self.body(&body, inner);
        }
        let object = Object::read(text)?;
        if object.has("Records") {
            only(&object, "Records", "a batch and another event at once")?;
            return self.batch(&object, inner);
        }
        if object.has("Messages") {
            only(&object, "Messages", "a batch and another event at once")?;
            return self.received(&object, inner);
        }
        if is_record(&object) {
            return self.lone_record(text, inner);
        }
        let too_large = MOST_BYTES < text.len();
        if too_large {
            return Err(Rejection::TooLarge { bytes: text.len(), most: MOST_BYTES });
        }
        if MOST_DEPTH < depth(text) {
            return Err(Rejection::TooDeep { most: MOST_DEPTH });
        }
        if object.has("TopicArn") {
            return self.topic(&object, inner);
        }
        for content in self.parse(&object)? {
            self.push(content, object.has("region"));
        }
        Ok(())
    }

    /// An array of events, or of records as EventBridge Pipes forward them, without a wrapping.
    fn array(&mut self, text: &str, wrappings: u8) -> Result<(), Rejection> {
        let all = elements(text, MOST_RECORDS)?;
        let first = all.first().ok_or_else(|| Rejection::Unknown { shape: "an empty array".to_owned() })?;
        let most = if Object::read(first).is_ok_and(|first| is_record(&first)) { MOST_RECORDS } else { MOST_EVENTS };
        if most < all.len() {
            return Err(Rejection::TooMany { what: "elements in an array", most });
        }
        for one in all {
            let result = self.event(one, wrappings);
            self.keep(result);
        }
        Ok(())
    }

    /// Reads one event without wrappings.
    fn parse(&self, object: &Object<'_>) -> Result<Vec<Result<EventContent, Rejection>>, Rejection> {
        if object.has("detail-type") {
            if object.has("LifecycleTransition") || object.has("Event") {
                return Err(Rejection::Contradiction("an EventBridge event and a notification at once"));
            }
            return envelope::read(object, self.ours);
        }
        if object.has("LifecycleTransition") || object.has("Event") {
            return Ok(vec![notification::read(object, self.ours)]);
        }
        match object.text("decamp")?.as_deref() {
            Some("sweep") => Ok(vec![Ok(EventContent::Sweep)]),
            Some(_) => Err(Rejection::Bad { field: "decamp", expected: "\"sweep\"" }),
            None => Err(Rejection::Unknown { shape: object.shape() }),
        }
    }

    /// Reads the body of a queue's or topic's message: JSON, or lines as in an e-mail.
    fn body(&mut self, body: &str, wrappings: u8) -> Result<(), Rejection> {
        let body = unmarked(body);
        if MOST_BYTES < body.len() {
            return Err(Rejection::TooLarge { bytes: body.len(), most: MOST_BYTES });
        }
        if body.trim_start().starts_with(['{', '[']) {
            serde_json::from_str::<&serde_json::value::RawValue>(body).map_err(|_| Rejection::NotJson)?;
            return self.event(body, wrappings);
        }
        match notification::Lines::read(body) {
            Some(lines) => {
                let content = notification::read(&lines, self.ours)?;
                self.push(Ok(content), false);
                Ok(())
            }
            None => Err(Rejection::Unknown { shape: shape(body) }),
        }
    }

    /// Keeps the rejection of the part that was just read.
    fn keep(&mut self, result: Result<(), Rejection>) {
        if let Err(rejection) = result {
            self.push(Err(rejection), true);
        }
    }

    fn push(&mut self, content: Result<EventContent, Rejection>, names_region: bool) {
        let matters = matches!(content, Ok(EventContent::Departure(_) | EventContent::Arrival { .. }));
        let names_no_region = matters && !self.ours.allowed.regions.is_empty() && !names_region && !self.region_is_named;
        self.records.push(Record { message: self.message.clone(), content, names_no_region });
    }
}

/// A text without the byte order mark that some editors put before UTF-8.
fn unmarked(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Whether it is a record of a batch, without the batch.
fn is_record(object: &Object<'_>) -> bool {
    object.has("eventSource") && object.has("body") || object.has("EventSource") && object.has("Sns")
}

/// Refuses an object that is two kinds of event.
fn only(object: &Object<'_>, kind: &str, why: &'static str) -> Result<(), Rejection> {
    let kinds = ["Records", "Messages", "TopicArn", "detail-type", "LifecycleTransition", "Event"];
    if kinds.iter().any(|other| *other != kind && object.has(other)) {
        return Err(Rejection::Contradiction(why));
    }
    Ok(())
}
