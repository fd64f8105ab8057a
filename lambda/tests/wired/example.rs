//! The resources of an applied `infra/examples/complete`, as far as the test needs them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// The module's resources in the applied example, by address.
pub(super) struct Example(BTreeMap<String, Value>);

impl Example {
    /// The example that `just infra` applied last, or `None` if it never ran on this machine.
    pub(super) fn read() -> Option<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/infra/complete.json");
        let state: Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).expect("terraform writes JSON");
        let mut all = BTreeMap::new();
        gather(&state["values"]["root_module"], &mut all);
        Some(Self(all))
    }

    /// One resource's attributes.
    pub(super) fn one(&self, address: &str) -> &Value {
        self.0.get(address).unwrap_or_else(|| panic!("{address} is in the example: {:?}", self.0.keys()))
    }

    /// The function's environment.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let variables = &self.one("module.decamp.aws_lambda_function.this[0]")["environment"][0]["variables"];
        let each = variables.as_object().expect("it has an environment").iter();
        each.map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned())).collect()
    }

    /// The hook that the group declares itself.
    pub(super) fn hook(&self) -> &Value {
        &self.one("aws_autoscaling_group.this")["initial_lifecycle_hook"][0]
    }

    /// The function's time-out.
    pub(super) fn function_timeout(&self) -> Duration {
        seconds(&self.one("module.decamp.aws_lambda_function.this[0]")["timeout"])
    }

    /// Every action that the function's role allows.
    pub(super) fn allowed(&self) -> Vec<String> {
        let policy = json(&self.one("module.decamp.aws_iam_role_policy.this[0]")["policy"]);
        let statements = policy["Statement"].as_array().expect("statements").iter();
        let allowing = statements.filter(|statement| statement["Effect"] == "Allow");
        allowing.flat_map(|statement| texts(&statement["Action"])).collect()
    }

    /// Whether the rule of this name matches an event. Only patterns of plain values are supported.
    pub(super) fn rule_matches(&self, rule: &str, event: &Value) -> bool {
        let address = format!("module.decamp.aws_cloudwatch_event_rule.this[\"{rule}\"]");
        matches(&json(&self.one(&address)["event_pattern"]), event)
    }
}

fn gather(module: &Value, all: &mut BTreeMap<String, Value>) {
    for resource in module["resources"].as_array().into_iter().flatten() {
        all.insert(resource["address"].as_str().expect("an address").to_owned(), resource["values"].clone());
    }
    for child in module["child_modules"].as_array().into_iter().flatten() {
        gather(child, all);
    }
}

/// A number of seconds.
pub(super) fn seconds(value: &Value) -> Duration {
    Duration::from_secs(value.as_u64().expect("whole seconds"))
}

/// JSON in a text.
pub(super) fn json(value: &Value) -> Value {
    serde_json::from_str(value.as_str().expect("a text")).expect("JSON")
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

fn matches(pattern: &Value, event: &Value) -> bool {
    match (pattern, event) {
        (Value::Object(fields), Value::Object(_)) => fields.iter().all(|(name, inner)| matches(inner, &event[name])),
        (Value::Array(any), value) => any.contains(value),
        _ => false,
    }
}
