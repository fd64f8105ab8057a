//! Every form of event, as AWS documents it and as people forward it, with the records that decamp reads in it.
//!
//! A form is one row of a table: its name, the event, and the expected line for each record.

mod health;
mod lifecycle;
mod others;
#[path = "../record_lines/mod.rs"]
mod record_lines;
mod wrapped;

use decamp_config::Allowed;
use decamp_events::{Record, read};
use serde_json::{Value, json};

pub(crate) const INSTANCE: &str = "i-0123456789abcdef0";
pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const REGION: &str = "eu-west-1";
pub(crate) const TOKEN: &str = "11112222-3333-4444-5555-666677778888";
/// The termination in most forms.
pub(crate) const WHOLE: &str = "departure: i-0123456789abcdef0 of workers, decamp, 11112222, since 2026-03-04T05:06:07Z";
/// The least number of forms.
const FORMS: usize = 163;

/// A form: its name, the event, and the expected line for each record.
pub(crate) struct Form {
    name: &'static str,
    event: String,
    expected: Vec<String>,
}

/// A form of one record.
pub(crate) fn form(name: &'static str, event: &Value, expected: &str) -> Form {
    of_text(name, event.to_string(), &[expected])
}

/// A form that is not plain JSON, or that has several records.
pub(crate) fn of_text(name: &'static str, event: String, expected: &[&str]) -> Form {
    Form { name, event, expected: expected.iter().map(|line| (*line).to_owned()).collect() }
}

/// An event as EventBridge wraps it.
pub(crate) fn envelope(source: &str, kind: &str, detail: &Value) -> Value {
    json!({
        "version": "0", "id": "aaaabbbb-cccc-dddd-eeee-ffff00001111", "detail-type": kind, "source": source, "account": ACCOUNT,
        "time": "2026-03-04T05:06:07Z", "region": REGION, "resources": [], "detail": detail,
    })
}

/// The same event with some fields changed; null removes a field.
pub(crate) fn with(mut event: Value, changes: Value) -> Value {
    let (Value::Object(fields), Value::Object(changes)) = (&mut event, changes) else { panic!("objects") };
    for (name, value) in changes {
        if value.is_null() {
            fields.remove(&name);
        } else {
            fields.insert(name, value);
        }
    }
    event
}

fn all() -> Vec<Form> {
    [health::forms(), lifecycle::forms(), others::forms(), wrapped::forms()].into_iter().flatten().collect()
}

/// The line for a record, with a note if nothing names its Region.
fn line(record: &Record) -> String {
    record_lines::line(record) + if record.names_no_region { " (no Region named)" } else { "" }
}

fn ours() -> Allowed {
    Allowed { accounts: vec![ACCOUNT.into()], regions: vec![REGION.into()], groups: vec!["workers".into()] }
}

#[test]
fn each_form_is_read_as_expected() {
    let mut wrong = Vec::new();
    for Form { name, event, expected } in all() {
        let lines: Vec<String> = read(event.as_bytes(), &ours(), &["decamp".into()]).iter().map(line).collect();
        if lines != expected {
            wrong.push(format!("{name}\n  is       {lines:?}\n  expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_two_forms_have_the_same_name() {
    let mut names: Vec<_> = all().iter().map(|form| form.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(FORMS <= count, "only {count}");
}
