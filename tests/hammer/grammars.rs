//! Fuzzes small grammars: durations in settings, and target groups in a hook's metadata.

use std::time::Duration;

use decamp_aws::target_groups;
use decamp_config::duration;

use super::{Target, count};

/// A duration.
pub(super) const SPAN: Target = Target { name: "span", good: spans, parse: parse_span, check: |_| () };
/// A hook's NotificationMetadata.
pub(super) const METADATA: Target = Target { name: "metadata", good: metadata, parse: parse_metadata, check: |_| () };

fn spans() -> Vec<Vec<u8>> {
    ["90s", "5m", "1h30m", "1h30m15s", "90", " 2h ", "250ms", "0", "1d", "7d", "604800"]
        .map(|text| text.as_bytes().to_vec())
        .into()
}

fn parse_span(input: &[u8]) -> &'static str {
    let text = String::from_utf8_lossy(input);
    let Ok(span) = duration::read(&text) else { return "refused" };
    assert!(span <= Duration::from_hours(7 * 24), "the longest duration is a week");
    assert!(text.trim().starts_with(|c: char| c.is_ascii_digit() || c == '+'), "a duration begins with a number");
    match span.as_secs() {
        0 if span.is_zero() => "zero",
        0..60 => "seconds",
        60..3600 => "minutes",
        _ => "hours",
    }
}

fn metadata() -> Vec<Vec<u8>> {
    let arn = |name: &str| format!("\"arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{name}/0123456789abcdef\"");
    let texts = [
        format!("{{\"target_groups\":[{}]}}", arn("web")),
        format!("{{\"target_groups\":[{},{}],\"more\":1}}", arn("web"), arn("api")),
        "{\"target_groups\":[]}".to_owned(),
        "decamp".to_owned(),
    ];
    texts.map(String::into_bytes).into()
}

fn parse_metadata(input: &[u8]) -> &'static str {
    let text = String::from_utf8_lossy(input);
    let (named, _) = target_groups(&text);
    assert!(named.len() <= count(input, "targetgroup"), "every target group is in the text");
    for arn in &named {
        assert_eq!((arn.account().len(), arn.as_str().contains(char::is_whitespace)), (12, false), "{arn}");
    }
    match named.len() {
        0 => "none",
        1 => "one",
        2 => "two",
        _ => "more",
    }
}
