//! Prints a departure's steps as they happen, and records the facts that the report needs.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use decamp_core::decide::{
    Action, Budget, Decision, Departure, Effect, Finding, Policy, Refusal, Snapshot, foreseen_losses, reasons,
};
use decamp_core::denials::{Denial, Denials};
use decamp_core::run::Observer;
use decamp_core::time::Time;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use tracing::{error, info};

use super::checklist::Checklist;
use super::live_lines::LiveLines;
use crate::describe::{self, NamedReason};
use crate::out::{say, say_json};

/// A write that was accepted, for the report.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Moment {
    /// When it was accepted.
    pub(super) at: Time,
    /// Seconds since the run began.
    pub(super) seconds: f64,
    /// The write, as text.
    pub(super) what: String,
}

/// The output about one departure, and the facts for its report.
pub(super) struct Reporter {
    policy: Policy,
    pub(super) json: bool,
    /// The beginning of each line. It names the instance if several departures run together.
    prefix: String,
    /// The checklist, if a person watches on a terminal.
    live_lines: Option<LiveLines>,
    /// When the run began. The first answer with a server's time corrects it.
    pub(super) began: Time,
    /// Decisions that were printed already.
    reported: HashSet<String>,
    denials: Denials,
    /// The findings, each printed before the first write that it concerns.
    pub(super) findings: Vec<Finding>,
    /// The accepted writes, except heartbeats.
    pub(super) timeline: Vec<Moment>,
    pub(super) heartbeats: u64,
    /// The snapshot of the last decision.
    pub(super) seen: Snapshot,
    /// The last decision.
    last: Option<Decision>,
    /// When the last line was printed.
    last_line: Instant,
}

/// Without a terminal, a line is printed at least this often.
pub(super) const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// Whether the decision makes no write.
fn waits(decision: &Decision) -> bool {
    matches!(decision.action, Action::Look(_) | Action::Wait { .. })
}

impl Reporter {
    pub(super) fn new(departure: &Departure, policy: &Policy, json: bool, watched: bool, several: bool, now: Time) -> Self {
        Self {
            policy: policy.clone(),
            json,
            prefix: if several { format!("{}  ", departure.instance) } else { String::new() },
            live_lines: watched.then(LiveLines::new),
            began: now,
            reported: HashSet::new(),
            denials: Denials::default(),
            findings: Vec::new(),
            timeline: Vec::new(),
            heartbeats: 0,
            seen: Snapshot::begin(departure.instance, now),
            last: None,
            last_line: Instant::now(),
        }
    }

    /// Prints a line. On a terminal it stands above the checklist.
    fn line(&mut self, line: &str) {
        self.last_line = Instant::now();
        if let Some(live_lines) = &mut self.live_lines {
            live_lines.clear();
        }
        say(format!("{}{line}", self.prefix));
    }

    fn seconds(&self, now: Time) -> f64 {
        now.since(self.began).as_secs_f64()
    }

    /// Redraws the checklist, if there is one.
    fn draw(&mut self, departure: &Departure, decision: Option<&Decision>, now: Time) {
        let Some(live_lines) = &mut self.live_lines else { return };
        let (seen, policy, heartbeats, began, columns) =
            (&self.seen, &self.policy, self.heartbeats, self.began, live_lines.columns());
        live_lines.draw(&Checklist { departure, seen, policy, now_does: decision, heartbeats, columns, began, now }.lines());
    }

    /// Called once a second. Redraws the checklist; without one, repeats the reason of a long wait.
    pub(super) fn tick(&mut self, departure: &Departure, now: Time) {
        if self.live_lines.is_some() {
            let decision = self.last.clone();
            self.draw(departure, decision.as_ref(), now);
            return;
        }
        let silent = LONGEST_SILENCE <= self.last_line.elapsed();
        let Some(decision) = self.last.clone().filter(|last| silent && waits(last)) else { return };
        let seconds = self.seconds(now);
        let text = format!("still {}, because {}", decision.action.title(now), describe::because(&decision, &self.seen));
        if self.json {
            self.last_line = Instant::now();
            say_json(&json!({ "kind": "waiting", "time": now, "seconds": seconds, "instance.id": departure.instance,
                "asg.name": &*departure.asg, "reason": decision.reason.word(), "text": text }));
        } else {
            self.line(&format!("{seconds:>7.1}s  {text}"));
        }
    }

    /// Draws the checklist for the last time and leaves it on the screen. Returns whether there was one.
    pub(super) fn finish(&mut self, departure: &Departure, now: Time) -> bool {
        self.draw(departure, None, now);
        self.live_lines.take().is_some()
    }

    /// Prints, before a write, the settings that will lose requests.
    fn foresee(&mut self, departure: &Departure) {
        for finding in foreseen_losses(departure, &self.seen, &self.policy) {
            if self.findings.iter().any(|known| known.repeats(&finding)) {
                continue;
            }
            if self.json {
                say_json(&json!({ "kind": "foreseen", "instance.id": departure.instance, "finding": finding }));
            } else {
                for (place, line) in describe::finding(&finding).iter().enumerate() {
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
        let (kind, because) = (action.kind().word(), describe::because(decision, seen));
        let title = action.title(now);
        let time_left_s = Budget::of(departure, seen, &self.policy).end.since(now).as_secs();
        let (instance, asg) = (departure.instance, &*departure.asg);
        if let Action::Do(effects) = action
            && effects.iter().any(|effect| !matches!(effect, Effect::Heartbeat(_)))
        {
            self.foresee(departure);
        }
        let again = !self.reported.insert(format!("{kind} {because}"));
        if !again {
            info!(instance.id = %instance, asg.name = asg, action = kind, reason = reason.word(), time_left_s, "{title}, because {because}");
        }
        let waits = waits(decision);
        self.last = Some(decision.clone());
        if self.json {
            if !(again && waits) {
                self.last_line = Instant::now();
                let seconds = self.seconds(now);
                let reasons = NamedReason::each(&reasons(departure, seen, &self.policy, now), seen);
                say_json(&json!({ "kind": "decision", "time": now, "seconds": seconds, "instance.id": instance, "asg.name": asg,
                    "action": kind, "reason": reason.word(), "reasons": reasons, "text": format!("{title}, because {because}"),
                    "time_left_s": time_left_s }));
            }
            return;
        }
        let line = format!("{:>7.1}s  {title}, because {because}", self.seconds(now));
        if self.live_lines.is_some() {
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
                // Also printed below. The log line is for log collectors.
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

/// A reporter that the loop shares with the code that reports the state when a signal ends the loop.
pub(super) struct SharedReporter<'a>(pub(super) &'a RefCell<Reporter>);

impl Observer for SharedReporter<'_> {
    fn decided(&mut self, departure: &Departure, decision: &Decision, seen: &Snapshot, now: Time) {
        self.0.borrow_mut().decided(departure, decision, seen, now);
    }

    fn wrote(&mut self, departure: &Departure, effect: &Effect, answer: &Result<(), Refusal>, now: Time) {
        self.0.borrow_mut().wrote(departure, effect, answer, now);
    }
}
