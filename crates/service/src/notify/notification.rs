//! One notification: its content, its id, and its formats for the receivers.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::stalls::Wait;
use crate::view::View;
use decamp_core::decide::{Compared, Departure, Finding, Outcome};
use decamp_core::denials::Denial;
use decamp_core::ids::{hash, hex};
use decamp_core::runbook;
use decamp_core::time::{Time, plain};

/// The longest line of a text for people. Names come from the cluster and may have any length.
const LONGEST_LINE: usize = 300;
/// The most lines of such a text. The rest is in the log and in the signed webhook.
const MOST_LINES: usize = 12;

/// Kinds of notifications.
const STARTED: &str = "departure.started";
const STALLED: &str = "departure.stalled";
const DENIED: &str = "departure.denied";
const ENDED: &str = "departure.ended";
const COMPARED: &str = "departure.compared";
/// All of them.
pub const KINDS: [&str; 5] = [STARTED, STALLED, DENIED, ENDED, COMPARED];

/// A notification.
#[derive(Debug)]
pub(crate) struct Notification {
    /// A hash of the lifecycle action and the kind, by which receivers recognize repetitions.
    pub(crate) id: Arc<str>,
    /// The mark of the departure.
    pub(crate) mark: Arc<str>,
    kind: &'static str,
    at: Time,
    what: Value,
    /// The text for people. The first line is the summary.
    lines: Vec<String>,
}

/// The parts of the final report that are not in the view.
#[derive(Debug)]
pub(crate) struct Ending<'a> {
    pub(crate) outcome: &'a Outcome,
    pub(crate) took: Duration,
    pub(crate) above_the_floor: Option<Duration>,
    pub(crate) steps: u32,
    pub(crate) foreseen: &'a [Finding],
    /// What the stops of its tasks showed.
    pub(crate) stopped: &'a [Finding],
    /// The findings, compared with what was seen.
    pub(crate) compared: &'a [Compared],
}

impl Notification {
    /// A departure has started: its first write was accepted.
    pub(crate) fn started(departure: &Departure, view: &View, wrote: &str, at: Time) -> Self {
        let what = json!({
            "instance": view.instance, "group": view.group, "told_by": view.told_by, "wrote": wrote, "because": view.because,
            "budget": view.budget,
        });
        let mut lines = vec![format!("{} of {} is leaving: {wrote}", view.instance, view.group)];
        lines.extend(view.budget.as_ref().map(|times| format!("It has until {}", times.end)));
        Self::new(STARTED, "", departure, at, what, lines)
    }

    /// A departure waits for longer than it should.
    pub(crate) fn stalled(departure: &Departure, view: &View, wait: &Wait, at: Time) -> Self {
        let waited = at.since(wait.since);
        let runbook = runbook::section("reasons", wait.reason.word());
        let what = json!({
            "instance": view.instance, "group": view.group, "phase": view.phase, "reason": wait.reason, "because": wait.because,
            "since": wait.since, "waited_seconds": waited.as_secs(), "blocked_by": wait.blocker, "budget": view.budget,
            "runbook": runbook,
        });
        let id = wait.blocker.id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
        let mut lines = vec![
            format!(
                "{} of {} has waited {} for {} {}{id}",
                view.instance,
                view.group,
                plain(waited),
                wait.blocker.kind.word(),
                wait.blocker.name
            ),
            format!("Because {}", wait.because),
        ];
        lines.extend(view.budget.as_ref().map(|times| format!("It has until {}", times.end)));
        lines.push(format!("Runbook: {runbook}"));
        let of = format!(
            "{} {} {}",
            wait.reason.word(),
            wait.blocker.kind.word(),
            wait.blocker.id.as_ref().unwrap_or(&wait.blocker.name)
        );
        Self::new(STALLED, &of, departure, at, what, lines)
    }

    /// A call that a departure needs is denied: once an hour, for as long as it is.
    pub(crate) fn denied(departure: &Departure, view: &View, denial: &Denial, at: Time) -> Self {
        let Denial { call, why } = denial;
        let runbook = runbook::section("alarms", "denied");
        let what = json!({
            "instance": view.instance, "group": view.group, "call": call, "why": why, "phase": view.phase, "budget": view.budget,
            "runbook": runbook,
        });
        let mut lines = vec![
            format!("{} of {}: {call} is denied", view.instance, view.group),
            format!("Answer: {why}"),
            "Waiting does not end this: a policy has to be changed".to_owned(),
        ];
        lines.extend(view.budget.as_ref().map(|times| format!("It has until {}", times.end)));
        lines.push(format!("Runbook: {runbook}"));
        let hour = at.0 / 3_600_000;
        Self::new(DENIED, &format!("{call} {hour}"), departure, at, what, lines)
    }

    /// A departure is over: the report.
    pub(crate) fn ended(departure: &Departure, view: &View, ending: &Ending<'_>, at: Time) -> Self {
        let Ending { outcome, took, above_the_floor, steps, foreseen, stopped, compared } = ending;
        let what = json!({
            "instance": view.instance, "group": view.group, "outcome": outcome.word(), "meaning": outcome.meaning(),
            "because": view.because, "budget": view.budget, "seconds": took.as_secs_f64(),
            "seconds_above_floor": above_the_floor.map(|above| above.as_secs_f64()), "steps": steps, "timeline": view.timeline,
            "evidence": view.evidence, "foreseen": foreseen, "stopped": stopped, "compared": compared,
            "runbook": runbook::of_outcome(outcome),
        });
        let mut lines = vec![format!("{} of {}: {} after {}", view.instance, view.group, outcome.word(), plain(*took))];
        lines.push(format!("That is: {}", outcome.meaning()));
        if !matches!(outcome, Outcome::Departed { .. }) {
            lines.push(format!("Runbook: {}", runbook::of_outcome(outcome)));
        }
        lines.extend(stopped.iter().map(|finding| format!("Stopped: {finding}")));
        lines.extend(compared_lines(compared));
        lines.extend(foreseen.iter().map(|finding| format!("Foreseen: {finding}")));
        lines.extend(view.evidence.iter().map(|evidence| format!("Seen: {}", evidence.what)));
        Self::new(ENDED, "", departure, at, what, lines)
    }

    /// The load balancers' counts of a departure that is over have changed what was compared (`DECAMP_LOOK_BACK`).
    pub(crate) fn compared(departure: &Departure, view: &View, compared: &[Compared], at: Time) -> Self {
        let runbook = runbook::section("outcomes", "what-was-foreseen-and-what-was-seen");
        let what = json!({ "instance": view.instance, "group": view.group, "compared": compared, "runbook": runbook });
        let mut lines = vec![format!("{} of {}: its load balancers' counts are in", view.instance, view.group)];
        lines.extend(compared_lines(compared));
        lines.push(format!("Runbook: {runbook}"));
        Self::new(COMPARED, "", departure, at, what, lines)
    }

    fn new(kind: &'static str, of: &str, departure: &Departure, at: Time, what: Value, lines: Vec<String>) -> Self {
        let mark = departure.mark();
        Self { id: id(&mark, kind, of), mark, kind, at, what, lines }
    }

    /// Its kind.
    pub(crate) fn kind(&self) -> &'static str {
        self.kind
    }

    /// The body by the Standard Webhooks specification.
    pub(super) fn for_webhook(&self) -> String {
        json!({ "type": self.kind, "timestamp": self.at, "data": self.what }).to_string()
    }

    /// The body for Slack's incoming webhooks. Slack has no ids, so the id is in the text.
    pub(super) fn for_slack(&self) -> String {
        let mut text = String::new();
        for line in self.lines.iter().take(MOST_LINES) {
            // Writing into memory does not fail.
            writeln!(text, "{}", slack_line(line)).ok();
        }
        text.push_str(&self.id);
        // Stars and underscores in a job's name are not Slack's markup.
        json!({ "text": text, "mrkdwn": false }).to_string()
    }
}

/// The comparisons as text.
fn compared_lines(compared: &[Compared]) -> Vec<String> {
    Compared::unforeseen_first(compared).map(|one| format!("Compared: {one}")).collect()
}

/// The id of a notification: independent of the replica, the time and the try.
fn id(mark: &str, kind: &str, of: &str) -> Arc<str> {
    format!("msg_{}", hex(&hash(&[mark, kind, of])[..16])).into()
}

/// One line of a text. No name in it can begin another line or become a link, a mention or markup.
fn slack_line(line: &str) -> String {
    let mut text = String::new();
    for letter in line.chars().take(LONGEST_LINE) {
        match letter {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            // Line and paragraph separators and the characters that change the direction of text are not control characters.
            '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => text.push(' '),
            other if other.is_control() => text.push(' '),
            other => text.push(other),
        }
    }
    if line.chars().nth(LONGEST_LINE).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use decamp_core::decide::{Blocker, BlockerKind, Cause, LifecycleAction, ReasonKind};
    use decamp_core::ids::InstanceId;

    const EVIL: &str = "<script>alert(1)</script>\n<!channel> & *bold*\r\u{2028}\u{202e}";

    fn departure(group: &str, token: Option<&str>) -> Departure {
        let token = token.map(|token| token.parse().expect("a token"));
        let action = LifecycleAction { token, ..LifecycleAction::default() };
        Departure { instance: InstanceId::from_number(1), asg: group.into(), cause: Cause::Lifecycle(action) }
    }

    fn stalled(departure: &Departure, name: &str, id: &str, at: u64) -> Notification {
        let blocker = Blocker { kind: BlockerKind::Allocation, name: name.to_owned(), id: Some(id.to_owned()) };
        let wait = Wait {
            reason: ReasonKind::AllocationsLeft,
            blocker,
            because: name.to_owned(),
            since: Time(0),
            due: Time(0),
            reported: false,
        };
        Notification::stalled(departure, &View::begin(departure, "event", Time(at)), &wait, Time(at))
    }

    fn started(departure: &Departure, told_by: &'static str, at: u64) -> Notification {
        Notification::started(departure, &View::begin(departure, told_by, Time(at)), "make node ineligible", Time(at))
    }

    #[test]
    fn an_id_depends_on_the_action_and_the_kind_only() {
        let known = departure("web", Some("87654321-4321-4321-4321-210987654321"));
        let swept = departure("web", None);
        assert_eq!(started(&known, "event", 1).id, started(&swept, "sweep", 2).id, "another replica, another time");
        assert_ne!(started(&known, "event", 1).id, started(&departure("batch", None), "event", 1).id);
        assert_ne!(started(&known, "event", 1).id, stalled(&known, "web/web", "a", 1).id);
        assert_ne!(stalled(&known, "web/web", "a", 1).id, stalled(&known, "web/web", "b", 1).id, "another allocation blocks");
        assert_eq!(stalled(&known, "web/web", "a", 1).id, stalled(&swept, "web/web", "a", 9).id);
        assert!(!started(&known, "event", 1).id.contains('.'), "the specification joins by dots");
    }

    #[test]
    fn no_name_from_the_cluster_is_markup_or_another_line_for_slack() {
        let note = stalled(&departure(EVIL, None), EVIL, "an-id", 60_000);
        let sent: Value = serde_json::from_str(&note.for_slack()).expect("it is JSON");
        let text = sent["text"].as_str().expect("a text");
        assert!(!text.contains('<') && !text.contains('>'), "{text}");
        assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt; &lt;!channel&gt; &amp; *bold*"), "{text}");
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.chars().all(|letter| letter == '\n' || !letter.is_control()), "{text:?}");
        assert_eq!(sent["mrkdwn"], false);
        let signed: Value = serde_json::from_str(&note.for_webhook()).expect("it is JSON");
        assert_eq!(signed["data"]["blocked_by"]["name"], EVIL, "JSON has names as they are");
    }

    #[test]
    fn a_long_name_is_cut() {
        let note = stalled(&departure("web", None), &"x".repeat(100_000), "an-id", 1);
        assert!(note.for_slack().len() < 2 * LONGEST_LINE + 300);
    }
}
