//! Shows the progress of a refresh on a terminal, in a log or as JSON: the whole, and each leaving instance.

use std::collections::BTreeMap;

use anyhow::Result;
use decamp_core::refresh::Refresh;
use decamp_core::time::{Time, plain};
use serde_json::json;

use crate::out::{complain, is_interactive, say, say_json};
use crate::screen::{Screen, bar};
use crate::status::Row;

/// The result of one look.
pub(super) struct Progress {
    pub(super) now: Time,
    pub(super) refresh: Refresh,
    pub(super) leaving: Result<Vec<Row>>,
}

/// Where progress is shown: redrawn lines on a terminal, otherwise a line for every change.
pub(super) enum Display {
    Terminal {
        screen: Screen,
    },
    /// With the lines that were printed last.
    Lines {
        whole: String,
        steps: BTreeMap<String, String>,
        unseen: String,
    },
    Json,
}

impl Display {
    pub(super) fn new(json: bool) -> Self {
        if json {
            Self::Json
        } else if is_interactive() {
            Self::Terminal { screen: Screen::new() }
        } else {
            Self::Lines { whole: String::new(), steps: BTreeMap::new(), unseen: String::new() }
        }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        let Progress { now, refresh, leaving } = progress;
        match self {
            Self::Json => {
                let rows = leaving.as_ref().map_err(|why| format!("{why:#}"));
                say_json(
                    &json!({ "kind": "look", "time": now, "refresh": refresh, "leaving": rows.as_ref().ok(), "unseen": rows.as_ref().err() }),
                );
            }
            Self::Terminal { screen } => {
                let percentage = refresh.percentage.unwrap_or(0);
                let mut lines = vec![format!("{} {percentage} %  {}", bar(percentage), whole(refresh, *now))];
                match leaving {
                    Ok(rows) => lines.extend(rows.iter().map(|row| format!("  {}  {}", row.instance, step(row)))),
                    Err(why) => lines.push(format!("  leaving instances cannot be seen: {why:#}")),
                }
                screen.put(lines);
            }
            Self::Lines { whole: last, steps, unseen } => {
                unseen.clear();
                let current = format!("{} %, {}", refresh.percentage.unwrap_or(0), status(refresh));
                if *last != current {
                    say(format!("{}: {} % {}", refresh.group, refresh.percentage.unwrap_or(0), whole(refresh, *now)));
                    *last = current;
                }
                let Ok(rows) = leaving else { return };
                let mut current = BTreeMap::new();
                for row in rows {
                    let now = without_numbers(&step(row));
                    if steps.get(&row.instance) != Some(&now) {
                        say(format!("  {}  {}", row.instance, step(row)));
                    }
                    current.insert(row.instance.clone(), now);
                }
                *steps = current;
            }
        }
    }

    /// Shows that a look failed. The next look follows.
    pub(super) fn show_unseen(&mut self, why: &str) {
        let line = format!("Auto Scaling cannot be seen: {why}; looking again");
        match self {
            Self::Json => say_json(&json!({ "kind": "unseen", "why": why })),
            Self::Terminal { screen, .. } => screen.put(vec![line]),
            Self::Lines { unseen, .. } => {
                if *unseen != line {
                    complain(&line);
                    *unseen = line;
                }
            }
        }
    }
}

fn whole(refresh: &Refresh, now: Time) -> String {
    let after = refresh.began.map_or_else(String::new, |began| format!("after {}: ", plain(now.since(began))));
    format!("{after}{}", status(refresh))
}

fn status(refresh: &Refresh) -> String {
    let left = match refresh.to_update {
        Some(1) => ", 1 instance to update".to_owned(),
        Some(left) => format!(", {left} instances to update"),
        None => String::new(),
    };
    let why = refresh.why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
    format!("{}{left}{why}", refresh.status.name())
}

fn step(row: &Row) -> String {
    if row.step == "-" { format!("{}: {}", row.state, row.reason) } else { format!("{}: {}", row.step, row.reason) }
}

/// A step without its numbers: a log needs no line when only a count changes.
fn without_numbers(step: &str) -> String {
    step.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use decamp_core::refresh::Status;

    use super::*;

    #[test]
    fn the_progress_of_a_refresh_is_one_line() {
        let refresh = Refresh {
            id: "r-1".into(),
            group: "web".into(),
            status: Status::InProgress,
            why: Some("Waiting for instances to warm up".into()),
            began: Some(Time(1_000)),
            ended: None,
            percentage: Some(33),
            to_update: Some(2),
        };
        assert_eq!(
            whole(&refresh, Time(63_000)),
            "after 62s: InProgress, 2 instances to update (Waiting for instances to warm up)"
        );
        let last = Refresh { to_update: Some(1), why: None, ..refresh.clone() };
        assert_eq!(status(&last), "InProgress, 1 instance to update");
        assert_eq!(whole(&Refresh { to_update: None, began: None, ..last }, Time(63_000)), "InProgress");
        let [three, twelve] = ["draining: 3 allocations are not over", "draining: 12 allocations are not over"];
        assert_eq!(without_numbers(three), without_numbers(twelve));
    }
}
