//! The report at the end of a departure: outcome, timeline, evidence, seconds, calls.

use std::collections::BTreeMap;

use decamp_aws::Calls;
use decamp_core::decide::{
    Budget, Compared, Decision, Departure, Finding, Outcome, Policy, Snapshot, TaskStops, compare, stop_evidence, stop_findings,
    stops,
};
use decamp_core::describe::consul_unseen;
use decamp_core::run::RunResult;
use decamp_core::runbook;
use decamp_core::time::{Time, plain};
use serde::Serialize;

use super::reporter::{Moment, Reporter};
use crate::{describe, survey};

/// One observation that shows what is gone, with its time.
#[derive(Debug, Serialize)]
pub(super) struct Evidence {
    at: Option<Time>,
    what: String,
}

/// The whole report.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    kind: &'static str,
    #[serde(rename = "instance.id")]
    instance: String,
    #[serde(rename = "asg.name")]
    asg: &'a str,
    /// The outcome's word. `observed` if the next step was a write that `DECAMP_MODE=observe` prevented, or `handed-back`.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Outcome>,
    meaning: String,
    because: String,
    began: Time,
    ended: Time,
    /// Since the instance entered its hook. Since this run began if that time is unknown.
    seconds: f64,
    seconds_of_this_run: f64,
    heartbeats: u64,
    timeline: &'a [Moment],
    evidence: Vec<Evidence>,
    foreseen: &'a [Finding],
    /// How each task stopped.
    stops: Vec<TaskStops>,
    /// What the stops showed that may have cost requests.
    stopped: Vec<Finding>,
    /// What was foreseen, compared with what was seen.
    compared: Vec<Compared>,
    /// The address of the runbook section for an outcome other than `departed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    runbook: Option<String>,
    calls: BTreeMap<&'static str, u64>,
    #[serde(skip)]
    entry_is_known: bool,
    /// Whether the reason says more than the outcome's meaning does.
    #[serde(skip)]
    because_adds: bool,
}

impl<'a> Report<'a> {
    pub(super) fn of(
        departure: &'a Departure,
        seen: &Snapshot,
        how: &RunResult,
        reporter: &'a Reporter,
        policy: &Policy,
        calls: &Calls,
        now: Time,
    ) -> Self {
        let budget = Budget::of(departure, seen, policy);
        let (outcome, detail, meaning, because) = match how {
            RunResult::Ended(outcome, reason) => {
                let detail = if let Outcome::Refused { why } = outcome {
                    format!(": {why}")
                } else if let Outcome::Departed { waiting_for: Some(hook) } = outcome {
                    format!(" ({hook})")
                } else {
                    String::new()
                };
                let meaning = format!("{}{detail}{}", outcome.meaning(), by_hand(seen));
                (outcome.word(), Some(outcome.clone()), meaning, reason.to_string())
            }
            RunResult::Observed(Decision { action, reason }) => {
                let meaning = format!("nothing was written; next would be: {}", action.title(now));
                ("observed", None, meaning, reason.to_string())
            }
            RunResult::HandedBack => {
                ("handed-back", None, "nothing of ours is under way".to_owned(), "the time was up".to_owned())
            }
        };
        Self {
            kind: "end",
            instance: departure.instance.to_string(),
            asg: &departure.asg,
            outcome,
            detail,
            meaning,
            because,
            began: budget.began,
            ended: now,
            seconds: now.since(if budget.began_is_known { budget.began } else { reporter.began }).as_secs_f64(),
            seconds_of_this_run: now.since(reporter.began).as_secs_f64(),
            heartbeats: reporter.heartbeats,
            timeline: &reporter.timeline,
            evidence: evidence(departure, seen, policy),
            foreseen: &reporter.findings,
            stops: stops(departure, seen, policy),
            stopped: stop_findings(departure, seen, policy),
            compared: match how {
                RunResult::Ended(outcome, _) => compare(departure, seen, policy, &reporter.findings, outcome),
                RunResult::Observed(_) | RunResult::HandedBack => Vec::new(),
            },
            runbook: match how {
                RunResult::Ended(Outcome::Departed { .. }, _) | RunResult::Observed(_) | RunResult::HandedBack => None,
                RunResult::Ended(outcome, _) => Some(runbook::of_outcome(outcome)),
            },
            calls: calls.each().collect(),
            entry_is_known: budget.began_is_known,
            because_adds: match how {
                RunResult::Ended(outcome, reason) => outcome.is_explained_by(reason),
                RunResult::Observed(_) | RunResult::HandedBack => true,
            },
        }
    }

    /// What was foreseen, compared with what was seen.
    pub(super) fn compared(&self) -> &[Compared] {
        &self.compared
    }

    /// The report as text.
    pub(super) fn lines(&self) -> Vec<String> {
        let because = if self.because_adds { format!(" (because {})", self.because) } else { String::new() };
        let mut lines = vec![String::new(), format!("{} {}: {}{because}", self.instance, self.outcome, self.meaning)];
        let whole =
            if self.entry_is_known { format!("{:.1} s since it entered its hook, ", self.seconds) } else { String::new() };
        let calls: u64 = self.calls.values().sum();
        lines.push(format!(
            "  {whole}{:.1} s of this run, {}, {}, {}",
            self.seconds_of_this_run,
            describe::counted(self.timeline.len() as u64, "write"),
            describe::counted(self.heartbeats, "heartbeat"),
            describe::counted(calls, "call of AWS"),
        ));
        if !self.timeline.is_empty() {
            lines.push("  written".to_owned());
            lines.extend(self.timeline.iter().map(|moment| format!("  {:>7.1}s  {}", moment.seconds, moment.what)));
        }
        if !self.evidence.is_empty() {
            lines.push("  seen".to_owned());
            lines.extend(self.evidence.iter().map(|evidence| {
                let at = evidence.at.map_or_else(|| "never".to_owned(), |at| at.to_string());
                format!("  {at:>22}  {}", evidence.what)
            }));
        }
        for finding in &self.stopped {
            let text = describe::finding(finding);
            lines.extend(
                text.iter().enumerate().map(
                    |(place, line)| {
                        if place == 0 { format!("  stopped  {line}") } else { format!("           {line}") }
                    },
                ),
            );
        }
        if !self.foreseen.is_empty() {
            lines.push(format!(
                "  {} may have cost requests; named above",
                describe::counted(self.foreseen.len() as u64, "setting")
            ));
        }
        lines.extend(compared_lines(&self.compared));
        lines.extend(self.runbook.as_ref().map(|address| format!("  what to do: {address}")));
        lines
    }
}

/// The comparisons as text.
pub(super) fn compared_lines(compared: &[Compared]) -> Vec<String> {
    let heading = (!compared.is_empty()).then(|| "  compared".to_owned());
    heading.into_iter().chain(Compared::unforeseen_first(compared).map(|one| format!("    {one}"))).collect()
}

/// Registrations that do not belong to Nomad and are still in Consul. They disappear with the machine.
fn by_hand(seen: &Snapshot) -> String {
    let said = seen.consul.last().map(decamp_core::decide::Registrations::said_of_hands).unwrap_or_default();
    if said.is_empty() { said } else { format!("; Consul still lists {said}") }
}

fn evidence(departure: &Departure, seen: &Snapshot, policy: &Policy) -> Vec<Evidence> {
    let mut all = Vec::new();
    for balancer in &seen.balancers {
        let name = balancer.arn.name();
        let what = match balancer.sight.last() {
            None => format!("target group {name} could not be seen"),
            Some(group) if group.targets.is_none() => format!("target group {name} does not exist"),
            Some(group) => {
                let ours = survey::ours(departure, seen, group);
                let registered = ours.iter().filter(|target| target.health.is_registered()).count();
                let released = balancer.deregistered.map(|at| format!(", deregistered by this run at {at}")).unwrap_or_default();
                match (registered, ours.len()) {
                    (0, 0) => format!("target group {name} does not list it{released}"),
                    (0, _) => format!("target group {name} lists it as draining{released}"),
                    (left, _) => format!("target group {name} has {left} of its targets registered{released}"),
                }
            }
        };
        all.push(Evidence { at: balancer.sight.at(), what });
    }
    if let Some(nomad) = seen.nomad.last() {
        let known = &seen.history.known;
        let over = known.iter().filter(|k| k.over).count();
        let what = match (nomad.nodes.is_empty(), known.len()) {
            (true, _) => "no Nomad node is the instance".to_owned(),
            (false, 0) => "nothing ran on its node".to_owned(),
            (false, all) => format!("{over} of {all} allocations over"),
        };
        all.push(Evidence { at: seen.nomad.at(), what });
    }
    all.extend(stop_evidence(departure, seen, policy).into_iter().map(|what| Evidence { at: seen.nomad.at(), what }));
    let left = |registered: &decamp_core::decide::Registrations| match (registered.services.len(), registered.whole) {
        (0, true) => "lists none of its services".to_owned(),
        (0, false) if survey::is_controlled(seen) => {
            "lists none of its services; before, it listed each that was declared".to_owned()
        }
        (0, false) => "lists none of its services, but may not show all".to_owned(),
        (_, _) => registered.said(),
    };
    if let Some(registered) = seen.consul.last() {
        all.push(Evidence { at: seen.consul.at(), what: format!("Consul {}", left(registered)) });
        let said = registered.said_of_hands();
        if !said.is_empty() {
            all.push(Evidence { at: seen.consul.at(), what: format!("Consul lists {said}") });
        }
    }
    if let Some(what) = consul_unseen(seen) {
        all.push(Evidence { at: seen.consul.at(), what });
    }
    if let Some(registered) = seen.nomad_services.last() {
        all.push(Evidence { at: seen.nomad_services.at(), what: format!("Nomad's own discovery {}", left(registered)) });
    }
    if let Some(at) = seen.history.completed {
        all.push(Evidence { at: Some(at), what: "the completion of the lifecycle action was accepted".to_owned() });
    }
    if let Some(lifecycle) = seen.lifecycle.last() {
        all.push(Evidence { at: seen.lifecycle.at(), what: format!("Auto Scaling: {}", describe::lifecycle(lifecycle)) });
    }
    all
}

/// The state in which a signal left this departure, for the run that continues it.
pub(super) fn state_at_interruption(departure: &Departure, seen: &Snapshot, policy: &Policy, now: Time) -> Vec<String> {
    let mut lines = Vec::new();
    for balancer in seen.balancers.iter().filter(|balancer| balancer.deregistered.is_some()) {
        lines.push(format!("it was deregistered from {}; the load balancer finishes its delay by itself", balancer.arn.name()));
    }
    let nodes = seen.nomad.last().map_or(&[][..], |nomad| &nomad.nodes);
    for node in nodes.iter().filter(|node| !node.eligible || !seen.history.drains.is_empty()) {
        let left = node.allocations.iter().filter(|a| !a.client.is_over()).count();
        if seen.history.drains.iter().any(|drain| drain.node == node.id) || node.drain.is_some() {
            lines.push(format!("the drain of node {} continues by itself; {left} allocations were not over", node.name));
        } else {
            lines.push(format!("node {} is ineligible; {left} allocations run on it", node.name));
        }
    }
    if lines.is_empty() {
        lines.push("nothing was changed yet".to_owned());
    }
    let budget = Budget::of(departure, seen, policy);
    if let Some(at) = seen.history.heartbeat {
        let ends = (at + budget.heartbeat_timeout).min(budget.hook_ends);
        lines.push(format!("its hook waits for another {} without a heartbeat, then AWS continues", plain(ends.since(now))));
    }
    lines
}
