//! Encodes spans as OTLP in JSON (opentelemetry-proto 1): ids in hexadecimal digits, times in nanoseconds as text.

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Event, Span, SpanError};
use decamp_core::ids::hex;
use decamp_core::time::Time;

/// Texts from the cluster have any length and are cut to this.
const LONGEST_TEXT: usize = 1_000;
/// The status code of an error.
const ERROR: u8 = 2;
/// The kind of a span that is neither a server's nor a client's.
const INTERNAL: u8 = 1;
/// The nanoseconds that are added to each span. Our times have milliseconds, and viewers take a span without duration for a
/// mistake.
const SHORTEST: u128 = 1_000;

/// Identifies this process among the replicas: a random UUID, as OpenTelemetry requires.
pub(super) fn replica() -> String {
    let mut drawn = [0; 16];
    if SystemRandom::new().fill(&mut drawn).is_err() {
        // Without randomness: the process id and a memory address, which differ as much as possible.
        let here = format!("{} {:p}", std::process::id(), &raw const drawn);
        drawn.copy_from_slice(&Sha256::digest(here)[..16]);
    }
    uuid(drawn)
}

/// A UUID of version 4 with these bytes.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex(&bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// The body of one request of this replica.
pub(super) fn request(replica: &str, spans: &[Span]) -> String {
    let spans: Vec<Value> = spans.iter().map(span).collect();
    let version = env!("CARGO_PKG_VERSION");
    let service = [("service.name", "decamp"), ("service.version", version), ("service.instance.id", replica)];
    let resource: Vec<Value> = service.into_iter().map(|(name, value)| attribute(name, value)).collect();
    json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{ "scope": { "name": "decamp", "version": version }, "spans": spans }],
    }] })
    .to_string()
}

fn span(span: &Span) -> Value {
    let attributes = span.attributes.iter().map(|(name, value)| attribute(name, value));
    let attributes: Vec<Value> = attributes.chain(span.failed.as_ref().map(error_type)).collect();
    let events: Vec<Value> = span.events.iter().map(event).collect();
    let mut value = json!({
        "traceId": hex(&span.trace), "spanId": hex(&span.id), "name": span.name, "kind": INTERNAL,
        // All spans become longer by the same time, so that nested spans stay nested.
        "startTimeUnixNano": nanoseconds(span.from).to_string(), "endTimeUnixNano": (nanoseconds(span.to) + SHORTEST).to_string(),
        "attributes": attributes, "events": events,
    });
    if let Some(parent) = &span.parent {
        value["parentSpanId"] = hex(parent).into();
    }
    if 0 < span.dropped_events {
        value["droppedEventsCount"] = span.dropped_events.into();
    }
    if let Some(SpanError { why, .. }) = &span.failed {
        value["status"] = json!({ "code": ERROR, "message": cut(why) });
    }
    value
}

fn event(event: &Event) -> Value {
    let mut attributes = vec![attribute("decamp.detail", &event.detail)];
    attributes.extend(event.failed.iter().flat_map(|failed| [attribute("decamp.refused", &failed.why), error_type(failed)]));
    json!({ "timeUnixNano": nanoseconds(event.at).to_string(), "name": event.name, "attributes": attributes })
}

fn error_type(failed: &SpanError) -> Value {
    attribute("error.type", failed.word)
}

fn attribute(name: &str, value: &str) -> Value {
    json!({ "key": name, "value": { "stringValue": cut(value) } })
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}

fn nanoseconds(at: Time) -> u128 {
    u128::from(at.0) * 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Span {
        Span {
            trace: [1; 16],
            id: [2; 8],
            parent: None,
            name: "departure",
            from: Time(5),
            to: Time(5),
            attributes: vec![("decamp.reason", "not-known-yet".to_owned())],
            events: Vec::new(),
            dropped_events: 0,
            failed: None,
        }
    }

    #[test]
    fn every_span_has_a_duration_and_a_failed_one_says_why() {
        let failed = SpanError { word: "denied", why: "denied: x".to_owned() };
        let event = Event { at: Time(5), name: "drain", detail: "drain node n".to_owned(), failed: Some(failed.clone()) };
        let failing = Span { failed: Some(failed), dropped_events: 3, events: vec![event], ..one() };
        let body: Value = serde_json::from_str(&request("here", &[one(), failing])).expect("it is JSON");
        let scope = &body["resourceSpans"][0]["scopeSpans"][0];
        assert_eq!(scope["scope"]["version"], env!("CARGO_PKG_VERSION"));
        let [ok, failing] = &scope["spans"].as_array().expect("spans")[..] else { panic!("{body:#}") };
        assert_eq!((&ok["startTimeUnixNano"], &ok["endTimeUnixNano"]), (&json!("5000000"), &json!("5001000")));
        assert!(ok["status"].is_null() && ok["droppedEventsCount"].is_null(), "{ok:#}");
        assert_eq!(failing["status"], json!({ "code": 2, "message": "denied: x" }));
        assert_eq!((&failing["droppedEventsCount"], &failing["attributes"][1]), (&json!(3), &attribute("error.type", "denied")));
        let details = [("decamp.detail", "drain node n"), ("decamp.refused", "denied: x"), ("error.type", "denied")];
        assert_eq!(failing["events"][0]["name"], "drain");
        let details = details.map(|(name, value)| attribute(name, value));
        assert_eq!(failing["events"][0]["attributes"], Value::from(details.to_vec()));
    }

    #[test]
    fn a_replica_is_a_random_uuid_of_version_4() {
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
        assert_ne!(replica(), replica());
    }
}
