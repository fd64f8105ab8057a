//! Reads the recordings of real agents: one exchange on each line.

use std::path::PathBuf;

use serde_json::Value;

/// One request and its answer.
pub(crate) struct Exchange {
    /// Milliseconds since the first write; `None` if only the order counts.
    pub(crate) at: Option<i64>,
    /// `nomad` or `consul`.
    pub(crate) to: String,
    /// The HTTP method.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    /// The status; 0 if no server answered.
    pub(crate) status: u64,
    /// The index in the answer's header.
    pub(crate) index: u64,
    /// The name of the token, if it matters.
    pub(crate) token: String,
    /// Whether Consul said that it filtered the answer.
    pub(crate) filtered: bool,
    /// The request's body.
    pub(crate) request: Value,
    /// The answer's body.
    pub(crate) body: Value,
}

impl Exchange {
    fn read(line: &Value) -> Self {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        Self {
            at: line["t"].as_f64().map(|seconds| (seconds * 1000.0).round() as i64),
            to: text("to"),
            method: text("method"),
            path: text("path"),
            status: line["status"].as_u64().unwrap_or(0),
            index: line["index"].as_u64().unwrap_or(0),
            token: text("token"),
            filtered: line["headers"]["X-Consul-Results-Filtered-By-Acls"] == "true",
            request: line["request"].clone(),
            body: line["body"].clone(),
        }
    }

    /// Whether it changed something.
    pub(crate) fn is_write(&self) -> bool {
        self.method != "GET"
    }

    /// The part of the path after `start`, up to the next `/` or `?`.
    pub(crate) fn after(&self, start: &str) -> Option<&str> {
        self.path.strip_prefix(start)?.split(['/', '?']).next()
    }
}

/// The lines of one recording. If the file does not exist, prints so and returns `None`.
pub(crate) fn lines(version: &str, name: &str) -> Option<Vec<Value>> {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.extend(["..", "..", "tests", "recordings", version, &format!("{name}.jsonl")]);
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped, no recordings");
        return None;
    };
    Some(text.lines().map(|line| serde_json::from_str(line).expect("a recording is JSON, a line each")).collect())
}

/// The exchanges of one recording, in the order of their times.
pub(crate) fn exchanges(version: &str, name: &str) -> Option<Vec<Exchange>> {
    let mut read: Vec<Exchange> = lines(version, name)?.iter().map(Exchange::read).collect();
    read.sort_by_key(|exchange| exchange.at);
    Some(read)
}
