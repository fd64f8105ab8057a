//! How a refresh stands, for a terminal, a log or a program: the whole, and what leaves by phase.

use std::collections::BTreeMap;

use anyhow::Result;
use decamp_core::refresh::Refresh;
use decamp_core::time::{Time, plain};
use serde_json::json;

use crate::out::{complain, is_watched, say, say_json};
use crate::screen::{Screen, bar};
use crate::status::Row;

/// What one look showed.
pub(super) struct Look {
    pub(super) now: Time,
    pub(super) refresh: Refresh,
    pub(super) leaving: Result<Vec<Row>>,
}

/// Shows looks: lines that move on a terminal, else a line for every change.
pub(super) enum Showing {
    Moving { screen: Screen },
    Lines { whole: String, steps: BTreeMap<String, String>, blind: String },
    Json,
}

impl Showing {
    pub(super) fn new(json: bool) -> Self {
        if json {
            Self::Json
        } else if is_watched() {
            Self::Moving { screen: Screen::new() }
        } else {
            Self::Lines { whole: String::new(), steps: BTreeMap::new(), blind: String::new() }
        }
    }

    pub(super) fn show(&mut self, look: &Look) {
        let Look { now, refresh, leaving } = look;
        match self {
            Self::Json => {
                let rows = leaving.as_ref().map_err(|why| format!("{why:#}"));
                say_json(
                    &json!({ "kind": "look", "time": now, "refresh": refresh, "leaving": rows.as_ref().ok(), "unseen": rows.as_ref().err() }),
                );
            }
            Self::Moving { screen } => {
                let percentage = refresh.percentage.unwrap_or(0);
                let mut lines = vec![format!("{} {percentage} %  {}", bar(percentage), whole(refresh, *now))];
                match leaving {
                    Ok(rows) => lines.extend(rows.iter().map(|row| format!("  {}  {}", row.instance, step(row)))),
                    Err(why) => lines.push(format!("  what leaves cannot be seen: {why:#}")),
                }
                screen.put(lines);
            }
            Self::Lines { whole: said, steps, blind } => {
                blind.clear();
                let stands = format!("{} %, {}", refresh.percentage.unwrap_or(0), standing(refresh));
                if *said != stands {
                    say(format!("{}: {} % {}", refresh.group, refresh.percentage.unwrap_or(0), whole(refresh, *now)));
                    *said = stands;
                }
                let Ok(rows) = leaving else { return };
                let mut leaves = BTreeMap::new();
                for row in rows {
                    let now = kind(&step(row));
                    if steps.get(&row.instance) != Some(&now) {
                        say(format!("  {}  {}", row.instance, step(row)));
                    }
                    leaves.insert(row.instance.clone(), now);
                }
                *steps = leaves;
            }
        }
    }

    /// The refresh could not be seen; the next look comes.
    pub(super) fn is_blind(&mut self, why: &str) {
        let line = format!("Auto Scaling cannot be seen: {why}; looking again");
        match self {
            Self::Json => say_json(&json!({ "kind": "unseen", "why": why })),
            Self::Moving { screen, .. } => screen.put(vec![line]),
            Self::Lines { blind, .. } => {
                if *blind != line {
                    complain(&line);
                    *blind = line;
                }
            }
        }
    }
}

fn whole(refresh: &Refresh, now: Time) -> String {
    let after = refresh.began.map_or_else(String::new, |began| format!("after {}: ", plain(now.since(began))));
    format!("{after}{}", standing(refresh))
}

fn standing(refresh: &Refresh) -> String {
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

/// A step without what counts up or down in it: a log needs no line for that.
fn kind(step: &str) -> String {
    step.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use decamp_core::refresh::Status;

    use super::*;

    #[test]
    fn a_refresh_is_told_in_a_line() {
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
        assert_eq!(standing(&last), "InProgress, 1 instance to update");
        assert_eq!(whole(&Refresh { to_update: None, began: None, ..last }, Time(63_000)), "InProgress");
        assert_eq!(kind("draining: 3 allocations are not over"), kind("draining: 12 allocations are not over"));
    }
}
