//! Spans as OTLP has them in JSON (opentelemetry-proto 1): ids in hexadecimal digits, times in nanoseconds as text.

use serde_json::{Value, json};

use super::{Event, Span};
use crate::ids::hex;
use crate::time::Time;

/// Text of any length comes from the cluster.
const LONGEST_TEXT: usize = 1_000;
/// Of a status.
const ERROR: u8 = 2;
/// Of a span: none of a server or a client.
const INTERNAL: u8 = 1;

/// The body of one request.
pub(super) fn request(spans: &[Span]) -> String {
    let spans: Vec<Value> = spans.iter().map(span).collect();
    let service = [("service.name", "decamp"), ("service.version", env!("CARGO_PKG_VERSION"))];
    let resource: Vec<Value> = service.into_iter().map(|(name, value)| attribute(name, value)).collect();
    json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{ "scope": { "name": "decamp" }, "spans": spans }],
    }] })
    .to_string()
}

fn span(span: &Span) -> Value {
    let attributes: Vec<Value> = span.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    let events: Vec<Value> = span.events.iter().map(event).collect();
    let mut value = json!({
        "traceId": hex(&span.trace), "spanId": hex(&span.id), "name": span.name, "kind": INTERNAL,
        "startTimeUnixNano": nanoseconds(span.from), "endTimeUnixNano": nanoseconds(span.to.max(span.from)),
        "attributes": attributes, "events": events,
    });
    if let Some(parent) = &span.parent {
        value["parentSpanId"] = hex(parent).into();
    }
    if let Some(why) = &span.failed {
        value["status"] = json!({ "code": ERROR, "message": cut(why) });
    }
    value
}

fn event(event: &Event) -> Value {
    let attributes: Vec<Value> = event.failed.iter().map(|why| attribute("refused", why)).collect();
    json!({ "timeUnixNano": nanoseconds(event.at), "name": cut(&event.name), "attributes": attributes })
}

fn attribute(name: &str, value: &str) -> Value {
    json!({ "key": name, "value": { "stringValue": cut(value) } })
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}

fn nanoseconds(at: Time) -> String {
    (u128::from(at.0) * 1_000_000).to_string()
}
