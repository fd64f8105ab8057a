//! The view of a departure for the page and the API: its phase, what it waits for and why, its deadlines, its writes and its
//! evidence.

mod comparison;
mod stages;
mod steps;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

pub(super) use self::comparison::Comparison;
pub(super) use self::stages::{Stage, Stages};
pub(super) use self::steps::{Step, Steps};
use super::notify::Wait;
use decamp_core::decide::{
    Action, ActionKind, Budget, Cause, Compared, Decision, Departure, Effect, Outcome, Policy, Reason, ReasonClass, ReasonKind,
    Refusal, Snapshot, reasons, stop_evidence, stop_findings,
};
use decamp_core::denials::denied_now;
use decamp_core::describe::{self, Floor, above_the_floor, can_tell_how_long};
use decamp_core::time::Time;

/// The most writes that are kept of one departure. The heartbeats of 48 hours are fewer.
const MOST_MOMENTS: usize = 1_000;

/// The part of the floor that is the deregistration delay.
pub(super) const DELAY: &str = "deregistration-delay";
/// The part of the floor that is the stopping of allocations.
pub(super) const STOPPING: &str = "stopping";

/// One departure.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct View {
    /// The instance's id.
    pub(super) instance: String,
    /// Its Auto Scaling group.
    #[schema(value_type = String)]
    pub(super) group: Arc<str>,
    /// How it was reported: `event`, `queue`, `topic`, `sweep`.
    pub(super) told_by: &'static str,
    /// Whether this replica runs it. Otherwise a sweep saw that it waits and that nothing was due.
    pub(super) walked_here: bool,
    /// What is known of the replica that runs it, if it is not this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) elsewhere: Option<Elsewhere>,
    /// When this replica began to work on it.
    #[schema(value_type = String, format = DateTime)]
    pub(super) taken_up: Time,
    /// The name of its Nomad node, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(super) node: Option<Arc<str>>,
    /// Its phase.
    pub(super) phase: &'static str,
    /// Its stages, for the page.
    #[serde(skip)]
    pub(super) stages: Stages,
    /// The action of the last decision, as a word.
    #[schema(value_type = String)]
    pub(super) action: ActionKind,
    /// The same as a sentence.
    pub(super) title: String,
    /// The reason of the last decision, as a word.
    #[schema(value_type = String)]
    pub(super) reason: ReasonKind,
    /// The same as a sentence.
    pub(super) because: String,
    /// Every reason that holds the last decision. The first is `reason`.
    pub(super) reasons: Vec<NamedReason>,
    /// Since when this has been the reason.
    #[schema(value_type = String, format = DateTime)]
    pub(super) since: Time,
    /// Its deadlines.
    pub(super) budget: Option<Times>,
    /// Its writes, in order.
    pub(super) timeline: Vec<Moment>,
    /// Its waits and actions, in order.
    #[schema(value_type = Vec<Step>)]
    pub(super) steps: Steps,
    /// The waits that no tool could avoid, to draw beside its steps.
    pub(super) floor: Vec<Stretch>,
    /// What the last looks found.
    pub(super) evidence: Vec<Evidence>,
    /// Tasks that had to be killed so far, or that died of their signal while requests could reach them: what was lost, and the line to set.
    pub(super) stopped: Vec<String>,
    /// The findings, compared with what was seen. Known at the end, and empty if nothing was foreseen and nothing was seen.
    pub(super) compared: Vec<Comparison>,
    /// Calls that it needs and that are denied, with their answers.
    pub(super) denied: Vec<String>,
    /// How it ended.
    pub(super) outcome: Option<Ended>,
    /// Its time above the floor, known after its last decision.
    #[serde(skip)]
    pub(super) own: Option<Duration>,
    /// Whether a sweep's pass made some of its writes. Its own time is then unknown.
    #[serde(skip)]
    pub(super) includes_a_pass: bool,
    /// The id of its trace, if traces are sent to a collector.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub(super) trace_id: Option<String>,
    /// Its current wait. Looks and heartbeats do not end it.
    #[serde(skip)]
    pub(super) wait: Option<Wait>,
}

/// A reason's word and its sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct NamedReason {
    #[schema(value_type = String)]
    pub(super) reason: ReasonKind,
    pub(super) because: String,
}

/// What is known of a replica that runs a departure elsewhere: only its writes are visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Elsewhere {
    /// When any worker last wrote something for it, as far as Nomad shows it.
    #[schema(value_type = String, format = DateTime)]
    pub(super) last_written: Time,
    /// When this replica takes it up, unless another worker writes something before.
    #[schema(value_type = String, format = DateTime)]
    pub(super) taken_up_at: Time,
}

/// The deadlines of a departure.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Times {
    /// When the instance entered its hook.
    #[schema(value_type = String, format = DateTime)]
    pub(super) began: Time,
    /// Whether that time is known or assumed.
    pub(super) began_is_known: bool,
    /// The drain's deadline, at which Nomad tells everything to stop.
    #[schema(value_type = String, format = DateTime)]
    pub(super) drain_until: Time,
    /// When decamp forces a drain that has not stopped everything.
    #[schema(value_type = String, format = DateTime)]
    pub(super) force_at: Time,
    /// When decamp completes the lifecycle action in any case.
    #[schema(value_type = String, format = DateTime)]
    pub(super) end: Time,
    /// When its hook times out.
    #[schema(value_type = String, format = DateTime)]
    pub(super) hook_ends: Time,
}

/// A wait that no tool could avoid.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Stretch {
    /// Which: `deregistration-delay` of the load balancers, or `stopping` of the allocations.
    pub(super) what: &'static str,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub(super) from: Time,
    /// When it ended, or will end.
    #[schema(value_type = String, format = DateTime)]
    pub(super) to: Time,
}

/// One write.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Moment {
    /// When it was answered.
    #[schema(value_type = String, format = DateTime)]
    pub(super) at: Time,
    /// The write, as a sentence.
    pub(super) what: String,
    /// Whether it was a heartbeat.
    #[serde(skip)]
    pub(super) heartbeat: bool,
    /// Why it failed.
    pub(super) refused: Option<String>,
}

/// What one look found.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Evidence {
    /// When; `None`: it could not be read.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) at: Option<Time>,
    /// What.
    pub(super) what: String,
}

/// How a departure ended.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Ended {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub(super) at: Time,
    /// The outcome, as a word.
    pub(super) word: &'static str,
    /// What the outcome means.
    pub(super) meaning: String,
    /// The seconds above the deregistration delay and the stopping of allocations. `null` if this replica did not see all of the
    /// departure.
    pub(super) seconds_above_floor: Option<f64>,
}

impl View {
    /// The view of a departure about which nothing is known yet.
    pub(super) fn begin(departure: &Departure, told_by: &'static str, now: Time) -> Self {
        Self {
            instance: departure.instance.to_string(),
            group: Arc::clone(&departure.asg),
            told_by,
            walked_here: true,
            elsewhere: None,
            taken_up: now,
            node: None,
            phase: "not begun",
            stages: Stages::default(),
            action: ActionKind::Look,
            title: "look".to_owned(),
            reason: ReasonKind::NotKnownYet,
            because: "it is not known yet".to_owned(),
            reasons: Vec::new(),
            since: now,
            budget: None,
            timeline: Vec::new(),
            steps: Steps::default(),
            floor: Vec::new(),
            evidence: Vec::new(),
            stopped: Vec::new(),
            compared: Vec::new(),
            denied: Vec::new(),
            outcome: None,
            own: None,
            includes_a_pass: false,
            trace_id: None,
            wait: None,
        }
    }

    /// Updates the view with a decision.
    pub(super) fn decided(&mut self, departure: &Departure, decision: &Decision, seen: &Snapshot, policy: &Policy, now: Time) {
        let budget = Budget::of(departure, seen, policy);
        self.action = decision.action.kind();
        // The text is shown until the next decision, so a countdown would stand still.
        self.title = match &decision.action {
            Action::Wait { until, .. } if *until != Time::NEVER => format!("wait until {until}"),
            action @ (Action::Wait { .. } | Action::Look(_) | Action::Do(_) | Action::End(_)) => action.title(now),
        };
        let waits = matches!(decision.action, Action::Wait { .. });
        if waits {
            self.wait = Some(Wait::next(self.wait.as_ref(), departure, decision, seen, &budget, now));
        }
        let reason = decision.reason.kind();
        if self.reason != reason {
            // A look or a heartbeat does not begin a wait anew.
            self.since = self.wait.as_ref().filter(|_| waits).map_or(now, |wait| wait.since);
        }
        self.reason = reason;
        self.because = describe::because(decision, seen);
        let name = |reason: &Reason| NamedReason { reason: reason.kind(), because: describe::sentence(reason, seen) };
        self.reasons = reasons(departure, seen, policy, now).iter().map(name).collect();
        self.denied = denied_now(seen).iter().map(|denial| format!("{}: {}", denial.call, denial.why)).collect();
        self.phase = describe::phase(seen);
        self.node =
            seen.nomad.last().and_then(|nomad| nomad.nodes.first()).map(|node| Arc::clone(&node.name)).or(self.node.take());
        self.stages = Stages::of(departure, seen, policy, &decision.reason, now);
        self.budget = Some(Times {
            began: budget.began,
            began_is_known: budget.began_is_known,
            drain_until: budget.until,
            force_at: budget.force_at,
            end: budget.end,
            hook_ends: match departure.cause {
                Cause::Lifecycle(_) => budget.hook_ends,
                Cause::Interruption { at } => at,
            },
        });
        self.floor = floor(Floor::of(&budget, seen));
        self.evidence = evidence(departure, seen, policy);
        self.stopped = stop_findings(departure, seen, policy).iter().map(ToString::to_string).collect();
        if matches!(decision.action, Action::End(_)) {
            let is_known = can_tell_how_long(departure, seen) && !self.includes_a_pass && self.saw_the_floor_begin();
            self.own = if is_known { above_the_floor(departure, seen, policy, now) } else { None };
        } else {
            self.steps.next(self.action, self.reason, now);
        }
    }

    /// Whether this replica saw each wait of the floor begin. If another worker deregistered or drained before, the wait began at
    /// an unknown time, and its first part would count as decamp's own.
    fn saw_the_floor_begin(&self) -> bool {
        let began = |what: &str, step: &Step| self.floor.iter().any(|wait| wait.what == what && wait.from <= step.from);
        self.steps.all().iter().filter(|step| step.action == ActionKind::Wait).all(|step| match step.reason.class() {
            ReasonClass::Delay => began(DELAY, step),
            ReasonClass::Stopping => began(STOPPING, step),
            ReasonClass::Own | ReasonClass::Discovery | ReasonClass::Blocked | ReasonClass::NeedsAPerson => true,
        })
    }

    /// Continues from the sweep's pass that came before, whose writes and steps are shown too.
    pub(super) fn continue_from(mut self, pass: Self, now: Time) -> Self {
        self.add_writes(pass.timeline);
        self.taken_up = self.taken_up.min(pass.taken_up);
        let mut steps = pass.steps;
        steps.end(now);
        self.steps = steps;
        self
    }

    /// Adds writes that a sweep's pass made meanwhile.
    pub(super) fn add_writes(&mut self, writes: Vec<Moment>) {
        self.includes_a_pass |= writes.iter().any(|moment| !moment.heartbeat);
        self.timeline.extend(writes);
        self.timeline.sort_by_key(|moment| moment.at);
        let more = self.timeline.len().saturating_sub(MOST_MOMENTS);
        self.timeline.drain(..more);
    }

    /// When it began: when the instance entered the hook if that is known, else when this replica began to work on it.
    pub(super) fn began(&self) -> Time {
        self.budget.as_ref().map_or(self.taken_up, |times| times.began)
    }

    /// Adds a write that was answered.
    pub(super) fn wrote(&mut self, effect: &Effect, answer: &Result<(), Refusal>, now: Time) {
        if self.timeline.len() == MOST_MOMENTS {
            self.timeline.remove(0);
        }
        let refused = answer.as_ref().err().map(ToString::to_string);
        let heartbeat = matches!(effect, Effect::Heartbeat(_));
        self.timeline.push(Moment { at: now, what: effect.title(), heartbeat, refused });
    }

    /// Sets what was foreseen, compared with what was seen.
    pub(super) fn compare(&mut self, compared: &[Compared]) {
        self.compared = compared.iter().map(Comparison::from).collect();
    }

    /// Records the end.
    pub(super) fn ended(&mut self, outcome: &Outcome, because: String, compared: &[Compared], now: Time) {
        self.compare(compared);
        self.phase = "over";
        self.stages = Stages::over();
        self.wait = None;
        self.steps.end(now);
        self.because = because;
        let why = if let Outcome::Refused { why } = outcome { format!(": {why}") } else { String::new() };
        let meaning = format!("{}{why}", outcome.meaning());
        let seconds_above_floor = self.own.map(|own| own.as_secs_f64());
        self.outcome = Some(Ended { at: now, word: outcome.word(), meaning, seconds_above_floor });
    }
}

/// The waits of the floor, for the view.
fn floor(floor: Floor) -> Vec<Stretch> {
    let stretch = |what, wait: Option<(Time, Time)>| wait.map(|(from, to)| Stretch { what, from, to });
    [stretch(DELAY, floor.delay), stretch(STOPPING, floor.stops)].into_iter().flatten().collect()
}

/// What the looks of this run found last, one line for each part.
fn evidence(departure: &Departure, seen: &Snapshot, policy: &Policy) -> Vec<Evidence> {
    let mut all = Vec::new();
    for balancer in &seen.balancers {
        let name = balancer.arn.name();
        let what = match (balancer.sight.last(), balancer.deregistered) {
            (None, _) => format!("target group {name} could not be seen"),
            (Some(group), _) if group.targets.is_none() => format!("target group {name} does not exist"),
            (Some(_), Some(at)) => format!("target group {name}: deregistered at {at}"),
            (Some(_), None) => format!("target group {name} was seen"),
        };
        all.push(Evidence { at: balancer.sight.at(), what });
    }
    if let Some(nomad) = seen.nomad.last() {
        let known = &seen.history.known;
        let over = known.iter().filter(|known| known.over).count();
        let what = match nomad.nodes.first() {
            None => "no Nomad node is the instance".to_owned(),
            Some(node) => format!("node {}: {over} of {} allocations over", node.name, known.len()),
        };
        all.push(Evidence { at: seen.nomad.at(), what });
    }
    all.extend(stop_evidence(departure, seen, policy).into_iter().map(|what| Evidence { at: seen.nomad.at(), what }));
    for (name, sight) in [("Consul", &seen.consul), ("Nomad's own discovery", &seen.nomad_services)] {
        if let Some(registered) = sight.last() {
            all.push(Evidence { at: sight.at(), what: format!("{name} {}", registered.said()) });
        }
    }
    if let Some(what) = describe::consul_unseen(seen) {
        all.push(Evidence { at: seen.consul.at(), what });
    }
    if let Some(at) = seen.history.completed {
        all.push(Evidence { at: Some(at), what: "the completion of the lifecycle action was accepted".to_owned() });
    }
    all
}
