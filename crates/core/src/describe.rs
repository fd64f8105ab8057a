//! Describes a departure: one log line for each decision, and the counts that become metrics. For the Lambda and the service.

mod at_the_end;

use std::collections::HashSet;
use std::time::Duration;

pub use self::at_the_end::{ComparisonCounts, hard_stops, log_compared};
use crate::decide::{
    Action, Budget, Cause, Compared, Decision, Departure, Effect, Finding, Outcome, Policy, Reason, ReasonClass, Refusal,
    Snapshot, System, Unseen, foreseen_losses, reasons,
};
use crate::denials::{Denial, Denials};
use crate::run::Observer;
use crate::time::Time;
use tracing::{Level, debug, enabled, error, info, warn};

/// Logs the decisions and writes of a run, and counts them.
#[derive(Debug)]
pub struct DecisionLog<'a> {
    policy: &'a Policy,
    denials: &'a Denials,
    /// Denials that the caller has not counted and reported yet.
    pub denied: Vec<Denial>,
    /// Writes that were accepted.
    pub steps: u32,
    /// Heartbeats that Auto Scaling rejected.
    pub heartbeats_rejected: u32,
    /// Findings: the requests that this pass or a later one will lose because of the cluster's own settings.
    pub foreseen: Vec<Finding>,
    /// What the stops of this departure's tasks showed, known at its end.
    pub stopped: Vec<Finding>,
    /// The findings, compared with what was seen; known at its end.
    pub compared: Vec<Compared>,
    /// Whether a heartbeat only tests which hook holds the instance.
    probing: bool,
    /// Lines that this pass has logged. A decision that is made again is logged once.
    logged: HashSet<String>,
}

impl<'a> DecisionLog<'a> {
    /// A log for decisions under this policy. `denials` is the process's memory, by which a denial is logged once an hour.
    #[must_use]
    pub fn new(policy: &'a Policy, denials: &'a Denials) -> Self {
        Self {
            policy,
            denials,
            denied: Vec::new(),
            steps: 0,
            heartbeats_rejected: 0,
            foreseen: Vec::new(),
            stopped: Vec::new(),
            compared: Vec::new(),
            probing: false,
            logged: HashSet::new(),
        }
    }
}

impl DecisionLog<'_> {
    /// Logs how a departure ended, and how long after its entry into the hook.
    pub fn ended(&self, departure: &Departure, outcome: &Outcome, reason: &Reason, after: Duration) {
        let because = if outcome.is_explained_by(reason) { format!(", because {reason}") } else { String::new() };
        info!(
            instance.id = %departure.instance,
            asg.name = &*departure.asg,
            outcome = outcome.word(),
            reason = reason.word(),
            steps = self.steps,
            after_s = after.as_secs(),
            "{}: {}{because}",
            outcome.word(),
            outcome.meaning()
        );
    }

    /// Logs the write that an observer did not make.
    pub fn observed(&self, departure: &Departure, decision: &Decision) {
        info!(
            instance.id = %departure.instance,
            asg.name = &*departure.asg,
            reason = decision.reason.word(),
            "observed: this write was next and was not made"
        );
    }

    /// Logs every reason of a decision that has several. The decision's own line gives only the first.
    fn log_reasons(&self, departure: &Departure, action: &'static str, seen: &Snapshot, now: Time) {
        if !enabled!(Level::DEBUG) {
            return;
        }
        let all = reasons(departure, seen, self.policy, now);
        if let [_, _, ..] = &*all {
            let (instance, asg) = (departure.instance, &*departure.asg);
            let words = all.iter().map(Reason::word).collect::<Vec<_>>().join(",");
            let sentences = all.iter().map(|reason| sentence(reason, seen)).collect::<Vec<_>>().join("; ");
            debug!(instance.id = %instance, asg.name = asg, action, reasons = words, "every reason of this decision: {sentences}");
        }
    }

    /// Logs the findings before the first write, once in a pass.
    fn log_findings(&mut self, departure: &Departure, seen: &Snapshot) {
        let (instance, asg) = (departure.instance, &*departure.asg);
        for finding in foreseen_losses(departure, seen, self.policy) {
            let Finding { layer, loss, object, value, needed, why, line } = &finding;
            if self.logged.insert(format!("{} {object}", loss.word())) {
                warn!(
                    instance.id = %instance, asg.name = asg, action = "foresee", layer = layer.word(), loss = loss.word(),
                    object = &**object, value, needed, why, line, "foreseen: {finding}"
                );
                self.foreseen.push(finding);
            }
        }
    }
}

impl Observer for DecisionLog<'_> {
    fn decided(&mut self, departure: &Departure, decision: &Decision, seen: &Snapshot, now: Time) {
        let Decision { action, reason } = decision;
        self.probing = is_probe(departure, seen);
        for denial in self.denials.news(&departure.asg, seen, now) {
            let Denial { call, why } = &denial;
            error!(
                instance.id = %departure.instance, asg.name = &*departure.asg, action = "denied", call, why = &**why,
                "{call} is denied: {why}; waiting does not end this, a policy has to be changed"
            );
            self.denied.push(denial);
        }
        if let Action::Do(effects) = action
            && effects.iter().any(|effect| !matches!(effect, Effect::Heartbeat(_)))
        {
            self.log_findings(departure, seen);
        }
        let (kind, title) = (action.kind().word(), action.title(now));
        if let Action::End(outcome) = action {
            for left in still_listed(seen) {
                info!(instance.id = %departure.instance, asg.name = &*departure.asg, action = kind, "{left}");
            }
            self.log_stops(departure, seen);
            self.compare(departure, seen, outcome);
        }
        self.log_reasons(departure, kind, seen, now);
        let why = reason.unseen_system().and_then(|system| blindness(system, seen));
        let (word, because) = (reason.word(), reason.to_string());
        let time_left_s = Budget::of(departure, seen, self.policy).end.since(now).as_secs();
        let (instance, asg) = (departure.instance, &*departure.asg);
        if !self.logged.insert(format!("{kind} {because}")) {
            debug!(instance.id = %instance, asg.name = asg, action = kind, reason = word, time_left_s, "{title}, because {because}");
            return;
        }
        match why {
            Some(Unseen::Denied(why)) => {
                error!(
                    instance.id = %instance, asg.name = asg, action = kind, reason = word, time_left_s, why = %why,
                    "{title}, because {because}"
                );
            }
            Some(why) => {
                warn!(
                    instance.id = %instance, asg.name = asg, action = kind, reason = word, time_left_s, why = %why,
                    "{title}, because {because}"
                );
            }
            None if reason.kind().class() == ReasonClass::NeedsAPerson => {
                error!(instance.id = %instance, asg.name = asg, action = kind, reason = word, time_left_s, "{title}, because {because}");
            }
            None => {
                info!(instance.id = %instance, asg.name = asg, action = kind, reason = word, time_left_s, "{title}, because {because}");
            }
        }
    }

    fn wrote(&mut self, departure: &Departure, effect: &Effect, answer: &Result<(), Refusal>, _: Time) {
        let Err(refusal) = answer else {
            self.steps += 1;
            return;
        };
        if let (Effect::Heartbeat(_), Refusal::NoActiveAction, true) = (effect, refusal, self.probing) {
            debug!(
                instance.id = %departure.instance, asg.name = &*departure.asg, action = effect.kind().word(),
                "it waits in another hook"
            );
            return;
        }
        if let (Effect::Heartbeat(_), Refusal::NoActiveAction | Refusal::Denied(_) | Refusal::Rejected(_)) = (effect, refusal) {
            self.heartbeats_rejected += 1;
        }
        let (instance, asg, step) = (departure.instance, &*departure.asg, effect.kind().word());
        match refusal {
            Refusal::Denied(_) => {
                error!(instance.id = %instance, asg.name = asg, action = step, why = %refusal, "{step} was refused: {refusal}");
            }
            Refusal::NoActiveAction | Refusal::Missing | Refusal::Throttled | Refusal::Away(_) | Refusal::Rejected(_) => {
                warn!(instance.id = %instance, asg.name = asg, action = step, why = %refusal, "{step} did not succeed: {refusal}");
            }
        }
    }
}

/// Describes the registrations that remain at the end, and why those that are not routable count as gone.
fn still_listed(seen: &Snapshot) -> impl Iterator<Item = String> {
    let sights = [("Consul", &seen.consul), ("Nomad's own discovery", &seen.nomad_services)];
    let listed = sights.into_iter().filter_map(|(name, sight)| Some((name, sight.last()?)));
    listed
        .filter(|(_, registered)| !registered.services.is_empty())
        .map(|(name, registered)| format!("{name} {}", registered.said()))
}

/// Whether the first heartbeat is a test (ADR 0013): no event named this action, and the group has another terminating hook in which the
/// instance may wait after ours.
fn is_probe(departure: &Departure, seen: &Snapshot) -> bool {
    let unnamed = departure.action().is_some_and(|action| action.token.is_none() && action.began.is_none());
    unnamed && seen.history.heartbeat.is_none() && seen.group.last().is_some_and(|group| 1 < group.hooks.len())
}

/// Whether a sweep's pass found nothing to do. The next sweep would find the same a minute later, so such a pass is not counted.
#[must_use]
pub fn found_nothing_to_do(outcome: &Outcome, steps: u32) -> bool {
    let idle = match outcome {
        Outcome::Gone | Outcome::AlreadyPast | Outcome::NotLeaving | Outcome::NotOurs | Outcome::Refused { .. } => true,
        Outcome::Departed { .. }
        | Outcome::Forced
        | Outcome::Unconfirmed { .. }
        | Outcome::DataLeft { .. }
        | Outcome::TimedOut
        | Outcome::Retained
        | Outcome::AgentDead
        | Outcome::NoNode
        | Outcome::Expired
        | Outcome::Overtaken
        | Outcome::Interrupted => false,
    };
    idle && steps == 0
}

/// Why a system cannot be read.
#[must_use]
pub fn blindness(system: System, seen: &Snapshot) -> Option<Unseen> {
    let blind = match system {
        System::AutoScaling => seen.lifecycle.blind().or(seen.group.blind()),
        System::LoadBalancers => seen.balancers.iter().find_map(|balancer| balancer.sight.blind()).or(seen.scan.blind()),
        System::Nomad => {
            seen.nomad.blind().or(seen.nomad_token.blind()).or(seen.nomad_services.blind()).or(seen.elsewhere.blind())
        }
        System::Consul => seen.consul.blind(),
    };
    blind.map(|blind| blind.why.clone())
}

/// The evidence about a Consul that cannot be seen now, or that could not be seen while something stopped that an ingress finds there.
#[must_use]
pub fn consul_unseen(seen: &Snapshot) -> Option<String> {
    if let Some(blind) = seen.consul.blind() {
        return Some(format!("Consul could not be seen from {} on: {}", blind.since, blind.why));
    }
    let interval = seen.history.unseen_stops?;
    Some(match interval.before {
        Some(before) => format!("Consul could not be seen for a time between {} and {before}", interval.after),
        None => format!("Consul could not be seen from some time after {} on", interval.after),
    })
}

/// Whether this run knows how long the departure took: it leaves by a hook, and this run completed the action or sent a heartbeat. Another
/// worker may have done the rest.
#[must_use]
pub fn can_tell_how_long(departure: &Departure, seen: &Snapshot) -> bool {
    let was_ours = seen.history.completed.is_some() || seen.history.heartbeat.is_some();
    matches!(departure.cause, Cause::Lifecycle(_)) && was_ours
}

/// The two waits that every departure has, whichever tool drains it. Each has a beginning and an end, as far as they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Floor {
    /// The load balancers' delay, from the last deregistration.
    pub delay: Option<(Time, Time)>,
    /// The time in which allocations stop, from the first drain to the last change that Nomad showed.
    pub stops: Option<(Time, Time)>,
}

impl Floor {
    /// The waits that this snapshot shows.
    #[must_use]
    pub fn of(budget: &Budget, seen: &Snapshot) -> Self {
        let released = seen.balancers.iter().filter_map(|balancer| balancer.deregistered).max();
        let delay = released.map(|at| (at, at + budget.balancers));
        let stops = seen.history.drains.first().and_then(|drain| Some((drain.at, seen.history.nomad_changed?)));
        // The last change may have been seen before the drain. Then nothing is known to have stopped yet.
        let stops = stops.filter(|(from, to)| from <= to);
        Self { delay, stops }
    }

    /// How long the two waits took together, up to this time.
    fn span(&self, ended: Time) -> Duration {
        let span = |(from, to): (Time, Time)| to.min(ended).since(from);
        match (self.delay, self.stops) {
            (Some(delay), Some(stops)) if stops.0 < delay.1 && delay.0 < stops.1 => {
                span((delay.0.min(stops.0), delay.1.max(stops.1)))
            }
            (delay, stops) => delay.map(span).unwrap_or_default() + stops.map(span).unwrap_or_default(),
        }
    }
}

/// The part of a departure that was neither the load balancers' delay nor the time in which allocations stopped. `None` unless this run saw
/// the whole departure.
#[must_use]
pub fn above_the_floor(departure: &Departure, seen: &Snapshot, policy: &Policy, ended: Time) -> Option<Duration> {
    let budget = Budget::of(departure, seen, policy);
    let saw_it_whole = budget.began_is_known && seen.history.began.since(budget.began) <= WHOLE;
    let floor = Floor::of(&budget, seen);
    saw_it_whole.then(|| ended.since(budget.began).saturating_sub(floor.span(ended)))
}

/// A run that began this soon after the departure saw all of it: an event may take this long to arrive.
const WHOLE: Duration = Duration::from_secs(10);

/// A decision's reason as a sentence. If a system cannot be read, the sentence says why.
#[must_use]
pub fn because(decision: &Decision, seen: &Snapshot) -> String {
    sentence(&decision.reason, seen)
}

/// A reason as a sentence. If a system cannot be read, the sentence says why.
#[must_use]
pub fn sentence(reason: &Reason, seen: &Snapshot) -> String {
    match reason.unseen_system().and_then(|system| blindness(system, seen)) {
        Some(why) => format!("{reason} ({why})"),
        None => reason.to_string(),
    }
}

/// How far a departure is, as the live systems show it.
#[must_use]
pub fn phase(seen: &Snapshot) -> &'static str {
    let nodes = seen.nomad.last().map_or(&[][..], |nomad| &nomad.nodes);
    let left = seen.allocations().any(|a| !a.client.is_over() && !a.group.csi_plugin);
    let draining = nodes.iter().any(|node| node.drain.is_some() || node.last_drain.as_ref().is_some_and(|d| d.meta.is_some()));
    match (draining, left) {
        (true, true) => "draining",
        (true, false) => "drained",
        (false, _) if nodes.iter().any(|node| !node.eligible) => "leaving its load balancers",
        (false, _) => "not begun",
    }
}
