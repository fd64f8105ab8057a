//! Says what happens to a departure while it happens, and keeps what the report needs.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use decamp_core::decide::{Action, Budget, Decision, Departure, Effect, Finding, Policy, Refusal, Snapshot, foreseen_losses};
use decamp_core::denials::{Denial, Denials};
use decamp_core::run::Tell;
use decamp_core::time::Time;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use tracing::{error, info};

use super::board::Board;
use super::checklist::Checklist;
use crate::out::{say, say_json};
use crate::words;

/// A write that was answered, for the report.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Moment {
    /// When.
    pub(super) at: Time,
    /// Seconds since the run began.
    pub(super) seconds: f64,
    /// What.
    pub(super) what: String,
}

/// What was told of one departure.
pub(super) struct Telling {
    policy: Policy,
    pub(super) json: bool,
    /// What each line begins with, where several departures are told of together.
    prefix: String,
    /// Where a person watches: the checklist that fills.
    board: Option<Board>,
    /// When the run began; set anew by the first answer that tells the servers' time.
    pub(super) began: Time,
    told: HashSet<String>,
    denials: Denials,
    /// What was foreseen, each said before the write that it is about.
    pub(super) findings: Vec<Finding>,
    /// The writes that were accepted, but heartbeats.
    pub(super) timeline: Vec<Moment>,
    pub(super) heartbeats: u64,
    /// What was known when the last decision was made.
    pub(super) seen: Snapshot,
    /// The last decision.
    last: Option<Decision>,
    /// When the last line was said.
    said: Instant,
}

/// Where nothing moves on a terminal a line is said at least so often.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// Whether nothing is written next.
fn waits(decision: &Decision) -> bool {
    matches!(decision.action, Action::Look(_) | Action::Wait { .. })
}

impl Telling {
    pub(super) fn new(departure: &Departure, policy: &Policy, json: bool, watched: bool, several: bool, now: Time) -> Self {
        Self {
            policy: policy.clone(),
            json,
            prefix: if several { format!("{}  ", departure.instance) } else { String::new() },
            board: watched.then(Board::new),
            began: now,
            told: HashSet::new(),
            denials: Denials::default(),
            findings: Vec::new(),
            timeline: Vec::new(),
            heartbeats: 0,
            seen: Snapshot::begin(departure.instance, now),
            last: None,
            said: Instant::now(),
        }
    }

    /// A line above whatever moves.
    fn line(&mut self, line: &str) {
        self.said = Instant::now();
        if let Some(board) = &mut self.board {
            board.clear();
        }
        say(format!("{}{line}", self.prefix));
    }

    fn seconds(&self, now: Time) -> f64 {
        now.since(self.began).as_secs_f64()
    }

    /// Draws the checklist as it is now.
    fn draw(&mut self, departure: &Departure, decision: Option<&Decision>, now: Time) {
        let Some(board) = &mut self.board else { return };
        let (seen, policy, heartbeats, began, columns) = (&self.seen, &self.policy, self.heartbeats, self.began, board.columns());
        board.draw(&Checklist { departure, seen, policy, now_does: decision, heartbeats, columns, began, now }.lines());
    }

    /// Once a second: the checklist's times go on; without one, what is waited for is said once more if nothing was said for long.
    pub(super) fn say_if_silent(&mut self, departure: &Departure, now: Time) {
        if self.board.is_some() {
            let decision = self.last.clone();
            self.draw(departure, decision.as_ref(), now);
            return;
        }
        let silent = SIGN_OF_LIFE <= self.said.elapsed();
        let Some(decision) = self.last.clone().filter(|last| silent && waits(last)) else { return };
        let seconds = self.seconds(now);
        let text = format!("still {}, because {}", decision.action.title(now), words::because(&decision, &self.seen));
        if self.json {
            self.said = Instant::now();
            say_json(&json!({ "kind": "waiting", "time": now, "seconds": seconds, "instance.id": departure.instance,
                "asg.name": &*departure.asg, "reason": decision.reason.word(), "text": text }));
        } else {
            self.line(&format!("{seconds:>7.1}s  {text}"));
        }
    }

    /// Nothing moves any more: the checklist, if there is one, stays as it is. Whether there was one.
    pub(super) fn finish(&mut self, departure: &Departure, now: Time) -> bool {
        self.draw(departure, None, now);
        self.board.take().is_some()
    }

    /// Says what this write, or a later one, will cost: before it is made.
    fn foresee(&mut self, departure: &Departure) {
        for finding in foreseen_losses(departure, &self.seen, &self.policy) {
            if self.findings.iter().any(|known| known.repeats(&finding)) {
                continue;
            }
            if self.json {
                say_json(&json!({ "kind": "foreseen", "instance.id": departure.instance, "finding": finding }));
            } else {
                for (place, line) in words::finding(&finding).iter().enumerate() {
                    self.line(&if place == 0 { format!("  foreseen  {line}") } else { format!("           {line}") });
                }
            }
            self.findings.push(finding);
        }
    }

    fn decided(&mut self, departure: &Departure, decision: &Decision, seen: &Snapshot, now: Time) {
        if seen.history.first_nomad.is_none() && seen.lifecycle.at().is_none() && self.timeline.is_empty() {
            self.began = now;
        }
        self.seen = seen.clone();
        let Decision { action, reason } = decision;
        for Denial { call, why } in self.denials.news(&departure.asg, seen, now) {
            error!(instance.id = %departure.instance, asg.name = &*departure.asg, action = "denied", call, why = &*why, "{call} is denied: {why}");
            if self.json {
                say_json(&json!({ "kind": "denied", "time": now, "instance.id": departure.instance, "call": call, "why": why }));
            } else {
                self.line(&format!("  denied    {call}: {why}; waiting does not end this, a policy has to be changed"));
            }
        }
        let (kind, because) = (action.kind().word(), words::because(decision, seen));
        let title = action.title(now);
        let time_left_s = Budget::of(departure, seen, &self.policy).end.since(now).as_secs();
        let (instance, asg) = (departure.instance, &*departure.asg);
        if let Action::Do(effects) = action
            && effects.iter().any(|effect| !matches!(effect, Effect::Heartbeat(_)))
        {
            self.foresee(departure);
        }
        let again = !self.told.insert(format!("{kind} {because}"));
        if !again {
            info!(instance.id = %instance, asg.name = asg, action = kind, reason = reason.word(), time_left_s, "{title}, because {because}");
        }
        let waits = waits(decision);
        self.last = Some(decision.clone());
        if self.json {
            if !(again && waits) {
                self.said = Instant::now();
                let seconds = self.seconds(now);
                say_json(&json!({ "kind": "decision", "time": now, "seconds": seconds, "instance.id": instance, "asg.name": asg,
                    "action": kind, "reason": reason.word(), "text": format!("{title}, because {because}"),
                    "time_left_s": time_left_s }));
            }
            return;
        }
        let line = format!("{:>7.1}s  {title}, because {because}", self.seconds(now));
        if self.board.is_some() {
            self.draw(departure, Some(decision), now);
        } else if !(waits && again) {
            self.line(&line);
        }
    }

    fn wrote(&mut self, departure: &Departure, effect: &Effect, answer: &Result<(), Refusal>, now: Time) {
        let (kind, seconds) = (effect.kind().word(), self.seconds(now));
        match answer {
            Ok(()) => {
                if matches!(effect, Effect::Heartbeat(_)) {
                    self.heartbeats += 1;
                } else {
                    self.timeline.push(Moment { at: now, seconds, what: effect.title() });
                }
                if self.json {
                    say_json(&json!({ "kind": "write", "time": now, "seconds": seconds, "instance.id": departure.instance,
                        "effect": kind, "accepted": true }));
                }
            }
            Err(refusal) => {
                // It is said below as well; a log line beside it is for whoever collects logs.
                info!(instance.id = %departure.instance, asg.name = &*departure.asg, action = kind, why = %refusal, "{kind} did not succeed: {refusal}");
                if self.json {
                    say_json(&json!({ "kind": "write", "time": now, "seconds": seconds, "instance.id": departure.instance,
                        "effect": kind, "accepted": false, "why": refusal }));
                } else {
                    self.line(&format!("{seconds:>7.1}s    {}: {refusal}", effect.title()));
                }
            }
        }
    }
}

/// What the loop tells. It is shared with whoever must say what stands when a signal ends the loop.
pub(super) struct Line<'a>(pub(super) &'a RefCell<Telling>);

impl Tell for Line<'_> {
    fn decided(&mut self, departure: &Departure, decision: &Decision, seen: &Snapshot, now: Time) {
        self.0.borrow_mut().decided(departure, decision, seen, now);
    }

    fn wrote(&mut self, departure: &Departure, effect: &Effect, answer: &Result<(), Refusal>, now: Time) {
        self.0.borrow_mut().wrote(departure, effect, answer, now);
    }
}
