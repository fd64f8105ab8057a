//! Reads the target groups that a hook's `NotificationMetadata` names. It is free text, and may be meant for another program.

use std::sync::Arc;

use decamp_config::distance;
use decamp_core::ids::TargetGroupArn;
use serde_json::Value;

/// The key that decamp reads.
const KEY: &str = "target_groups";
/// A part of every target group's ARN. A text that contains it is meant to name target groups.
const IN_AN_ARN: &str = ":targetgroup/";
/// The most wrong letters in a key that still counts as a misspelling of [`KEY`].
const MISTAKES: usize = 2;

/// The target groups that a hook's metadata names, and the parts that seem to name target groups but cannot be read.
#[must_use]
pub fn target_groups(text: &str) -> (Vec<TargetGroupArn>, Vec<Arc<str>>) {
    let (mut named, mut faults) = (Vec::new(), Vec::new());
    let mut fault = |text: String| faults.push(Arc::from(text));
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else {
        if text.contains(IN_AN_ARN) || plain(text).contains("targetgroup") {
            fault(format!("it is not a JSON object such as {{\"{KEY}\":[\"arn:…\"]}}"));
        }
        return (named, faults);
    };
    for (key, value) in &fields {
        if key == KEY {
            let Value::Array(entries) = value else {
                fault(format!("{KEY} is not a list"));
                continue;
            };
            for (place, entry) in entries.iter().enumerate() {
                match entry.as_str().unwrap_or_default().trim().parse::<TargetGroupArn>() {
                    Ok(arn) if named.contains(&arn) => {}
                    Ok(arn) => named.push(arn),
                    Err(bad) => fault(format!("entry {} of {KEY} is not {}", place + 1, bad.expected)),
                }
            }
        } else if is_misspelling(key) {
            fault(format!("its key {} is not read; write {KEY}", shown(key)));
        } else if value.to_string().contains(IN_AN_ARN) {
            fault(format!("its key {} names target groups, but only {KEY} is read", shown(key)));
        }
    }
    (named, faults)
}

/// `targetGroups`, `target_group_arns`, `target_gruops`.
fn is_misspelling(key: &str) -> bool {
    let (key, correct) = (plain(key), plain(KEY));
    // A much longer key has more mistakes than that.
    key.contains("targetgroup") || key.len() <= correct.len() + 4 * MISTAKES && distance(&key, &correct) <= MISTAKES
}

/// A key's letters and digits in lower case, without separators.
fn plain(key: &str) -> String {
    key.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
}

/// A key that is safe to log.
fn shown(key: &str) -> String {
    let short: String = key.chars().take(40).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect();
    format!("`{short}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef";

    /// How many target groups it names, and its faults.
    fn read(text: &str) -> (usize, Vec<String>) {
        let (named, faults) = target_groups(&text.replace("ARN", ARN));
        (named.len(), faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn target_groups_are_read_once_each() {
        assert_eq!(read(r#"{"target_groups":["ARN"],"more":1}"#), (1, vec![]));
        assert_eq!(read(r#"{"target_groups":["ARN","ARN"," ARN "]}"#), (1, vec![]));
        assert_eq!(read(r#"{"target_groups":[]}"#), (0, vec![]));
    }

    #[test]
    fn metadata_for_another_program_is_no_fault() {
        for text in ["", "free text", "{}", "[]", "7", r#"{"queue":"x","groups":["a"]}"#, r#"{"cluster":"ecs-1"}"#] {
            assert_eq!(read(text), (0, vec![]), "{text}");
        }
    }

    #[test]
    fn metadata_that_seems_to_name_target_groups_and_cannot_be_read_is_a_fault() {
        let cases = [
            (r#"{"target_group":["ARN"]}"#, "key `target_group`"),
            (r#"{"targetGroups":["ARN"]}"#, "key `targetGroups`"),
            (r#"{"target-groups":["ARN"]}"#, "key `target-groups`"),
            (r#"{"target_gruops":["ARN"]}"#, "key `target_gruops`"),
            (r#"{"traget_groups":[]}"#, "key `traget_groups`"),
            (r#"{"target_group_arns":["ARN"]}"#, "key `target_group_arns`"),
            (r#"{"balancers":{"web":"ARN"}}"#, "key `balancers` names target groups"),
            (r#"{"target_groups":"ARN"}"#, "is not a list"),
            (r#"{"target_groups":["web"]}"#, "entry 1 of target_groups is not a target group ARN"),
            (r#"{"target_groups":[1]}"#, "entry 1"),
            (r#"{"target_groups":["arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/web/1"]}"#, "entry 1"),
            ("ARN", "not a JSON object"),
            (r#"{"target_groups":["ARN"]"#, "not a JSON object"),
            ("target_groups = [x]", "not a JSON object"),
        ];
        for (text, expected) in cases {
            let (named, faults) = read(text);
            assert!(named == 0 && faults.len() == 1 && faults[0].contains(expected), "{text}: {faults:?}");
        }
        let (named, faults) = read(r#"{"target_groups":["nonsense","ARN"]}"#);
        assert_eq!((named, faults.len()), (1, 1));
    }
}
