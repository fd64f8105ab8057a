//! The `Meta` of a drain: a map of texts. This reader is independent of decamp's own reader, so that each checks the other.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use decamp_core::decide::{DrainMeta, Phase};
use decamp_core::time::Time;
use decamp_sim::nomad::Note;

/// Reads the `Meta` of a drain request.
pub(super) fn read(meta: Option<&Value>) -> Note {
    let Some(map) = meta.and_then(Value::as_object).filter(|map| !map.is_empty()) else { return Note::None };
    if let Some(ours) = ours(map) {
        return Note::Ours(ours);
    }
    let pairs = map.iter().map(|(key, value)| (Arc::from(key.as_str()), Arc::from(value.as_str().unwrap_or_default())));
    Note::Raw(pairs.collect())
}

fn ours(map: &Map<String, Value>) -> Option<DrainMeta> {
    let text = |key: &str| map.get(key)?.as_str();
    if text("tool")? != "decamp" {
        return None;
    }
    Some(DrainMeta {
        action: text("action")?.into(),
        phase: Phase::read(text("phase")?)?,
        until: Time::read(text("until")?)?,
        longest_stop: Duration::from_secs(text("longest_stop")?.parse().ok()?),
        allocations: text("allocations")?.parse().ok()?,
        warm: text("warm")? == "true",
        unproved: text("unproved") == Some("true"),
    })
}

/// The JSON of `LastDrain.Meta`.
pub(super) fn write(note: &Note) -> Value {
    match note {
        Note::None => Value::Null,
        Note::Ours(meta) => json!({
            "tool": "decamp",
            "action": &*meta.action,
            "phase": meta.phase.word(),
            "until": super::shapes::stamp(meta.until),
            "longest_stop": meta.longest_stop.as_secs().to_string(),
            "allocations": meta.allocations.to_string(),
            "warm": meta.warm.to_string(),
            "unproved": meta.unproved.to_string(),
        }),
        Note::Raw(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| (key.to_string(), Value::from(&**value)));
            Value::Object(pairs.collect())
        }
    }
}
