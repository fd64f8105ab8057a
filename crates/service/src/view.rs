//! What is shown of a departure: how far it is, what it waits for and why, the time it has, what was written and what was seen.

mod stages;
mod steps;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

pub(super) use self::stages::{Stage, Stages};
pub(super) use self::steps::{Step, Steps};
use super::notify::Wait;
use decamp_core::decide::{
    Action, ActionKind, Budget, Cause, Decision, Departure, Effect, Outcome, Policy, ReasonClass, ReasonKind, Refusal, Snapshot,
};
use decamp_core::denials::denied_now;
use decamp_core::telling::{self, Floor, above_the_floor, can_tell_how_long};
use decamp_core::time::Time;

/// The most moments that are kept of one departure: heartbeats of 48 hours stay below it.
const MOST_MOMENTS: usize = 1_000;

/// The load balancers' part of the floor.
pub(super) const DELAY: &str = "deregistration-delay";
/// The allocations' part of the floor.
pub(super) const STOPPING: &str = "stopping";

/// One departure as it is shown.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct View {
    /// The instance's id.
    pub(super) instance: String,
    /// Its Auto Scaling group.
    #[schema(value_type = String)]
    pub(super) group: Arc<str>,
    /// Who told of it: `event`, `queue`, `sweep`.
    pub(super) told_by: &'static str,
    /// Whether this replica walks it; else a sweep saw that it waits, and that nothing was due.
    pub(super) walked_here: bool,
    /// What is known of whoever walks it, where that is not this replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) elsewhere: Option<Elsewhere>,
    /// When it was taken up here.
    #[schema(value_type = String, format = DateTime)]
    pub(super) taken_up: Time,
    /// Its Nomad node's name, once it was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(super) node: Option<Arc<str>>,
    /// How far it is.
    pub(super) phase: &'static str,
    /// The same step by step, for the page.
    #[serde(skip)]
    pub(super) stages: Stages,
    /// What was decided last: the word, and in words.
    #[schema(value_type = String)]
    pub(super) action: ActionKind,
    /// The same in words.
    pub(super) title: String,
    /// Why: the word.
    #[schema(value_type = String)]
    pub(super) reason: ReasonKind,
    /// The same in words.
    pub(super) because: String,
    /// Since when that has been the reason.
    #[schema(value_type = String, format = DateTime)]
    pub(super) since: Time,
    /// The time that it has.
    pub(super) budget: Option<Times>,
    /// What was written, in order.
    pub(super) timeline: Vec<Moment>,
    /// What was waited for and done, step after step.
    #[schema(value_type = Vec<Step>)]
    pub(super) steps: Steps,
    /// The waits that are not decamp's own, beside its steps.
    pub(super) floor: Vec<Stretch>,
    /// What the last looks showed.
    pub(super) evidence: Vec<Evidence>,
    /// Calls that it needs and that are denied, with the answers.
    pub(super) denied: Vec<String>,
    /// How it ended.
    pub(super) outcome: Option<Ended>,
    /// What of its time was above the floor, known once its last decision is made.
    #[serde(skip)]
    pub(super) own: Option<Duration>,
    /// Whether a sweep's pass made some of its writes: how long what these began takes is nobody's to tell then.
    #[serde(skip)]
    pub(super) goes_on: bool,
    /// The id of its trace; only where traces are sent to a collector.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub(super) trace_id: Option<String>,
    /// What it waits for, beside what is looked at and kept alive meanwhile.
    #[serde(skip)]
    pub(super) wait: Option<Wait>,
}

/// Whoever walks a departure somewhere else shows only by what it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Elsewhere {
    /// When somebody last wrote something for it, as far as Nomad shows it.
    #[schema(value_type = String, format = DateTime)]
    pub(super) last_written: Time,
    /// When this replica takes it up, unless somebody writes something before.
    #[schema(value_type = String, format = DateTime)]
    pub(super) taken_up_at: Time,
}

/// Points in time of a departure.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Times {
    /// When the instance entered its hook.
    #[schema(value_type = String, format = DateTime)]
    pub(super) began: Time,
    /// Whether that is known, or assumed.
    pub(super) began_is_known: bool,
    /// When a drain's deadline tells everything to stop.
    #[schema(value_type = String, format = DateTime)]
    pub(super) drain_until: Time,
    /// When a drain that did not tell them is forced.
    #[schema(value_type = String, format = DateTime)]
    pub(super) force_at: Time,
    /// When decamp ends it by itself.
    #[schema(value_type = String, format = DateTime)]
    pub(super) end: Time,
    /// When its hook ends.
    #[schema(value_type = String, format = DateTime)]
    pub(super) hook_ends: Time,
}

/// A wait that no departure can be without.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Stretch {
    /// Which: `deregistration-delay` of the load balancers, or `stopping` of the allocations.
    pub(super) what: &'static str,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub(super) from: Time,
    /// When it was over, or will be.
    #[schema(value_type = String, format = DateTime)]
    pub(super) to: Time,
}

/// One write.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Moment {
    /// When it was answered.
    #[schema(value_type = String, format = DateTime)]
    pub(super) at: Time,
    /// What it was.
    pub(super) what: String,
    /// Whether it only kept the hook alive.
    #[serde(skip)]
    pub(super) heartbeat: bool,
    /// Why it did not succeed.
    pub(super) refused: Option<String>,
}

/// What one part showed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Evidence {
    /// When; `None`: it could not be seen.
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
    /// The outcome's word.
    pub(super) word: &'static str,
    /// What it means.
    pub(super) meaning: String,
    /// The seconds that were decamp's own, above the load balancers' delay and the stopping of allocations; nothing where this
    /// replica did not see all of it.
    pub(super) seconds_above_floor: Option<f64>,
}

impl View {
    /// A departure of which nothing is known yet.
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
            reason: ReasonKind::MustLook,
            because: "it is not known yet".to_owned(),
            since: now,
            budget: None,
            timeline: Vec::new(),
            steps: Steps::default(),
            floor: Vec::new(),
            evidence: Vec::new(),
            denied: Vec::new(),
            outcome: None,
            own: None,
            goes_on: false,
            trace_id: None,
            wait: None,
        }
    }

    /// A decision was made.
    pub(super) fn decided(&mut self, departure: &Departure, decision: &Decision, seen: &Snapshot, policy: &Policy, now: Time) {
        let budget = Budget::of(departure, seen, policy);
        self.action = decision.action.kind();
        // It is shown until the next decision: what counts down would stand still.
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
            // A wait that goes on after a look or a heartbeat began when it began.
            self.since = self.wait.as_ref().filter(|_| waits).map_or(now, |wait| wait.since);
        }
        self.reason = reason;
        self.because = telling::because(decision, seen);
        self.denied = denied_now(seen).iter().map(|denial| format!("{}: {}", denial.call, denial.why)).collect();
        self.phase = telling::phase(seen);
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
        self.evidence = evidence(seen);
        if matches!(decision.action, Action::End(_)) {
            let told = can_tell_how_long(departure, seen) && !self.goes_on && self.saw_the_floor_begin();
            self.own = if told { above_the_floor(departure, seen, policy, now) } else { None };
        } else {
            self.steps.next(self.action, self.reason, now);
        }
    }

    /// Whether each wait of the floor began before our eyes. What another had deregistered or drained before began earlier than we can
    /// tell, and would count as decamp's own.
    fn saw_the_floor_begin(&self) -> bool {
        let began = |what: &str, step: &Step| self.floor.iter().any(|wait| wait.what == what && wait.from <= step.from);
        self.steps.all().iter().filter(|step| step.action == ActionKind::Wait).all(|step| match step.reason.class() {
            ReasonClass::Delay => began(DELAY, step),
            ReasonClass::Stopping => began(STOPPING, step),
            ReasonClass::Own | ReasonClass::Discovery | ReasonClass::Blocked | ReasonClass::NeedsAPerson => true,
        })
    }

    /// Goes on from what a sweep's pass over it did, before it was taken up here: its writes and steps are shown as well.
    pub(super) fn go_on_from(mut self, pass: Self, now: Time) -> Self {
        self.add_writes(pass.timeline);
        self.taken_up = self.taken_up.min(pass.taken_up);
        let mut steps = pass.steps;
        steps.end(now);
        self.steps = steps;
        self
    }

    /// Shows writes that a sweep's pass made meanwhile as well.
    pub(super) fn add_writes(&mut self, writes: Vec<Moment>) {
        self.goes_on |= writes.iter().any(|moment| !moment.heartbeat);
        self.timeline.extend(writes);
        self.timeline.sort_by_key(|moment| moment.at);
        let more = self.timeline.len().saturating_sub(MOST_MOMENTS);
        self.timeline.drain(..more);
    }

    /// When it began: as the hook has it where that is known, else when it was taken up here.
    pub(super) fn began(&self) -> Time {
        self.budget.as_ref().map_or(self.taken_up, |times| times.began)
    }

    /// A write was answered.
    pub(super) fn wrote(&mut self, effect: &Effect, answer: &Result<(), Refusal>, now: Time) {
        if self.timeline.len() == MOST_MOMENTS {
            self.timeline.remove(0);
        }
        let refused = answer.as_ref().err().map(ToString::to_string);
        let heartbeat = matches!(effect, Effect::Heartbeat(_));
        self.timeline.push(Moment { at: now, what: effect.title(), heartbeat, refused });
    }

    /// It is over.
    pub(super) fn ended(&mut self, outcome: &Outcome, because: String, now: Time) {
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

/// The waits of the floor, as they are shown.
fn floor(floor: Floor) -> Vec<Stretch> {
    let stretch = |what, wait: Option<(Time, Time)>| wait.map(|(from, to)| Stretch { what, from, to });
    [stretch(DELAY, floor.delay), stretch(STOPPING, floor.stops)].into_iter().flatten().collect()
}

/// What the looks of this run showed last, a line a part.
fn evidence(seen: &Snapshot) -> Vec<Evidence> {
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
    for (name, sight) in [("Consul", &seen.consul), ("Nomad's own discovery", &seen.nomad_services)] {
        if let Some(registered) = sight.last() {
            all.push(Evidence { at: sight.at(), what: format!("{name} {}", registered.said()) });
        }
    }
    if let Some(what) = telling::consul_unseen(seen) {
        all.push(Evidence { at: seen.consul.at(), what });
    }
    if let Some(at) = seen.history.completed {
        all.push(Evidence { at: Some(at), what: "the completion of the lifecycle action was accepted".to_owned() });
    }
    all
}
