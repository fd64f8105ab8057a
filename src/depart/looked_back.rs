//! What the load balancers counted around a departure. CloudWatch publishes it minutes later, so this is a second report.

use std::time::Duration;

use decamp_core::decide::{Compared, Departure, LookBack, Snapshot, with_counts};
use decamp_core::time::plain;
use serde_json::json;

use super::report::compared_lines;
use crate::connect::Connected;
use crate::out::{say, say_json};

/// Waits for the counts, and returns the lines to print. The departure is over, and nothing waits for this.
pub(super) async fn report(
    at: &Connected,
    departure: &Departure,
    seen: &Snapshot,
    asked: &LookBack,
    at_most: Duration,
    before: &[Compared],
    json: bool,
) -> Vec<String> {
    let until = asked.to + at_most;
    if !json {
        say(format!("  the load balancers' counts are read from CloudWatch, by {until} at the latest; the departure is over"));
    }
    let counted = at.live.look_back(asked, at_most).await;
    let compared = with_counts(seen, before, asked, &counted);
    let unread: Vec<String> = counted.iter().filter_map(|one| one.minutes.as_ref().err()).map(ToString::to_string).collect();
    let published = asked.is_published(&counted);
    if json {
        say_json(&json!({ "kind": "compared", "instance.id": departure.instance, "asg.name": &*departure.asg,
            "from": asked.from, "to": asked.to, "compared": compared, "unread": unread, "published": published }));
        return Vec::new();
    }
    let mut lines =
        vec![String::new(), format!("{} from {} to {}, by its load balancers", departure.instance, asked.from, asked.to)];
    lines.extend(unread.iter().map(|why| format!("  not read: {why}")));
    if !published && unread.is_empty() {
        lines.push(format!("  CloudWatch has not published the last minute within {}", plain(at_most)));
    }
    if compared.is_empty() {
        lines.push("  no errors, and none was foreseen".to_owned());
    }
    lines.extend(compared_lines(&compared));
    lines
}
