//! Every form in which something is told, as AWS documents it and as people send it on, with what decamp reads in it.
//!
//! A form is one line of a table: its name, the event, and what is said of each of its records.

mod health;
mod lifecycle;
mod others;
#[path = "../said/mod.rs"]
mod said;
mod wrapped;

use decamp_config::Allowed;
use decamp_events::{Record, read};
use serde_json::{Value, json};

pub(crate) const INSTANCE: &str = "i-0123456789abcdef0";
pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const REGION: &str = "eu-west-1";
pub(crate) const TOKEN: &str = "11112222-3333-4444-5555-666677778888";
/// The termination that most forms tell of.
pub(crate) const WHOLE: &str = "departure: i-0123456789abcdef0 of workers, decamp, 11112222, since 2026-03-04T05:06:07Z";
/// As many forms as there are known to be, at least.
const FORMS: usize = 163;

/// A form: its name, the event, and what is expected of each record.
pub(crate) struct Form {
    name: &'static str,
    event: String,
    expected: Vec<String>,
}

/// A form of one record.
pub(crate) fn form(name: &'static str, event: &Value, expected: &str) -> Form {
    of_text(name, event.to_string(), &[expected])
}

/// A form in other letters than JSON's own, or of several records.
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

/// The same with some fields set otherwise; null takes one away.
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

/// What is said of a record, and whether nothing says of which Region it is.
fn line(record: &Record) -> String {
    said::line(record) + if record.names_no_region { " (no Region named)" } else { "" }
}

fn ours() -> Allowed {
    Allowed { accounts: vec![ACCOUNT.into()], regions: vec![REGION.into()], groups: vec!["workers".into()] }
}

#[test]
fn each_form_is_read_as_what_it_is() {
    let mut wrong = Vec::new();
    for Form { name, event, expected } in all() {
        let told: Vec<String> = read(event.as_bytes(), &ours(), &["decamp".into()]).iter().map(line).collect();
        if told != expected {
            wrong.push(format!("{name}\n  is       {told:?}\n  expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_two_forms_have_one_name() {
    let mut names: Vec<_> = all().iter().map(|form| form.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(FORMS <= count, "only {count}");
}
