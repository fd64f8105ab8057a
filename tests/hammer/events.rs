//! Fuzzes the event parser. A second, slower reader checks it: no instance departs unless a text in the event says that it terminates.

use decamp_config::Allowed;
use decamp_core::decide::{Cause, Departure};
use decamp_events::{EventContent, Record, read};

use super::{Target, samples};

/// The event parser.
pub(super) const TARGET: Target = Target { name: "events", good: || samples("crates/events/tests/events"), parse, check };

fn records(input: &[u8]) -> Vec<Record> {
    let allowed =
        Allowed { accounts: vec!["123456789012".into()], regions: vec!["eu-west-1".into()], groups: vec!["workers".into()] };
    read(input, &allowed, &["decamp".into()])
}

fn parse(input: &[u8]) -> &'static str {
    match records(input).first().map(|record| &record.content) {
        Some(Ok(content)) => content.word(),
        Some(Err(rejection)) => rejection.word(),
        None => panic!("every event has a record"),
    }
}

fn check(input: &[u8]) {
    for record in records(input) {
        match record.content {
            Ok(EventContent::Departure(departure)) => check_departure(&departure, input),
            Ok(_) => {}
            Err(rejection) => assert!(rejection.to_string().len() < 600, "a rejection is one line"),
        }
    }
}

/// Checks what must hold for a departure, however the event was mutated.
fn check_departure(departure: &Departure, input: &[u8]) {
    let Cause::Lifecycle(action) = &departure.cause else { panic!("only EC2 sends interruptions") };
    assert_eq!(&*departure.asg, "workers");
    assert!(action.hook.as_deref().is_none_or(|hook| hook == "decamp"));
    let texts = texts(input);
    let says = |wanted: &str| texts.iter().any(|text| text == wanted);
    assert!(says(&departure.instance.to_string()), "its instance is in the event");
    let terminates = says("autoscaling:EC2_INSTANCE_TERMINATING") || says("EC2 Instance-terminate Lifecycle Action");
    assert!(terminates, "the event says that it terminates");
}

/// Every text in the event, including texts inside texts. It finds them by their quotes, independently of a JSON parser.
fn texts(input: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    gather(&String::from_utf8_lossy(input), &mut all);
    all
}

fn gather(event: &str, all: &mut Vec<String>) {
    let mut rest = event.chars();
    while rest.any(|character| character == '"') {
        let text = until_quote(&mut rest);
        if text.contains('"') {
            gather(&text, all);
        }
        // A notification for people has one line for each field.
        all.extend(text.lines().filter_map(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()));
        all.push(text);
    }
}

/// The text up to the closing quote, with its escapes decoded.
fn until_quote(rest: &mut std::str::Chars<'_>) -> String {
    let mut text = String::new();
    while let Some(character) = rest.next() {
        match character {
            '"' => break,
            '\\' => match rest.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some('u') => {
                    let digits: String = rest.by_ref().take(4).collect();
                    let code = u32::from_str_radix(&digits, 16).unwrap_or_default();
                    text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                Some(other) => text.push(other),
                None => break,
            },
            other => text.push(other),
        }
    }
    text
}
