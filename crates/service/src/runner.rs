//! Runs one departure with the same loop as everywhere, and keeps its view, its log and the metrics up to date.

use tracing::{Instrument as _, error_span, info};

use super::Service;
use super::departures::{Done, Entry, lock};
use super::graceful::Graceful;
use super::look_back::PendingLookBack;
use super::notify::{self, Notification};
use super::traces::Trace;
use decamp_core::decide::{
    Action, Budget, Decision, Departure, Effect, Outcome, Policy, Reason, Refusal, Snapshot, System, last_written, look_back,
};
use decamp_core::describe::{ComparisonCounts, DecisionLog, because, can_tell_how_long, hard_stops, phase};
use decamp_core::run::{Ending, Observer, RunOptions, RunResult, run};
use decamp_core::sweep::Sweep;
use decamp_core::time::Time;
use decamp_core::world::World;
use decamp_live::Cluster;

/// How far a departure is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// To its end, or until the service stops.
    ToTheEnd,
    /// Until the first wait, as part of this sweep.
    OnePass(Sweep),
}

impl Extent {
    fn sweep(self) -> Option<Sweep> {
        match self {
            Self::ToTheEnd => None,
            Self::OnePass(sweep) => Some(sweep),
        }
    }
}

/// The result of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunSummary {
    pub(super) done: Done,
    /// Whether it wrote anything beside heartbeats. If so, no other worker had the departure.
    pub(super) wrote: bool,
    /// Whether a sweep only looked at the departure. The next sweep will find the same, so this one is neither counted nor
    /// remembered.
    pub(super) only_looked: bool,
    /// When any worker last wrote something for the departure, as far as Nomad shows it.
    pub(super) last_written: Option<Time>,
}

impl RunSummary {
    /// The result of a run that did nothing.
    pub(super) const NOTHING: Self = Self { done: Done::Released, wrote: false, only_looked: true, last_written: None };
}

/// Runs a departure. Its log lines name its trace if it has one.
pub(super) async fn run_departure(service: &Service, entry: &Entry, extent: Extent) -> RunSummary {
    let run = run_in_span(service, entry, extent);
    match service.traces.id_of(&entry.departure) {
        None => run.await,
        // At the highest level, so that the span is there whenever a line is logged.
        Some(trace_id) => run.instrument(error_span!("departure", trace_id)).await,
    }
}

async fn run_in_span(service: &Service, entry: &Entry, extent: Extent) -> RunSummary {
    let departure = &entry.departure;
    let policy = &*service.settings.policy_of(&departure.asg);
    service.metrics.create_group_rows(&departure.asg);
    // A sweep's look at a departure of another replica is no part of its trace.
    let trace = if extent == Extent::ToTheEnd { service.traces.begin(departure) } else { None };
    let mut reporter = Reporter {
        service,
        entry,
        policy,
        log: DecisionLog::new(policy, &service.denials),
        wrote: false,
        is_start: false,
        unreadable: None,
        trace,
    };
    let world = Graceful::new(&service.live);
    let observe = service.settings.only_observes();
    let manner =
        RunOptions { observe, never_wait: matches!(extent, Extent::OnePass(_)), sweep: extent.sweep(), ..RunOptions::default() };
    let ending = tokio::select! {
        // The run comes first, so that an answer that has just arrived is still reported.
        biased;
        ending = run(&world, departure, policy, manner, &mut reporter) => Some(ending),
        () = world.stopped(entry.stop.subscribe()) => None,
    };
    reporter.report_recovery(None);
    let (mut only_looked, mut last) = (false, None);
    let done = match ending {
        None => {
            info!(instance.id = %departure.instance, asg.name = &*departure.asg, action = "let go", "let go at a decision; another worker continues");
            Done::Released
        }
        Some(Ending { how: RunResult::HandedBack, seen }) => {
            last = last_written(departure, &seen);
            Done::Released
        }
        Some(Ending { how: RunResult::Observed(decision), .. }) => {
            only_looked = extent != Extent::ToTheEnd;
            reporter.log.observed(departure, &decision);
            if only_looked { Done::Released } else { Done::Finished }
        }
        Some(Ending { how: RunResult::Ended(outcome, reason), seen }) => {
            let looked = match Involvement::of(&outcome, reporter.wrote) {
                Involvement::Found(done) if extent != Extent::ToTheEnd && !reporter.wrote => Some(done),
                Involvement::Found(_) | Involvement::Completed | Involvement::Elsewhere => None,
            };
            only_looked = looked.is_some();
            if only_looked {
                let began = Budget::of(departure, &seen, policy).began;
                reporter.log.ended(departure, &outcome, &reason, service.live.now().since(began));
            } else {
                ended(&mut reporter, &outcome, &reason, &seen, extent == Extent::ToTheEnd);
            }
            looked.unwrap_or(Done::Finished)
        }
    };
    reporter.traced(|trace| trace.released(service.live.now()));
    if done == Done::Finished {
        service.notify.forget(&departure.mark());
    }
    RunSummary { done, wrote: reporter.wrote, only_looked, last_written: last }
}

/// Logs, counts and notifies how a departure ended. `ends_here`: it was run to its end, and not by a sweep's pass. Only then is there a task
/// that can look back at it.
fn ended(reporter: &mut Reporter<'_>, outcome: &Outcome, reason: &Reason, seen: &Snapshot, ends_here: bool) {
    let Reporter { service, entry, policy, log, wrote, .. } = reporter;
    let departure = &entry.departure;
    let now = service.live.now();
    let budget = Budget::of(departure, seen, policy);
    let took = now.since(budget.began);
    service.metrics.departed(&departure.asg, outcome.word(), log.steps);
    for (how, count) in hard_stops(departure, seen, policy) {
        service.metrics.stopped_hard(&departure.asg, how, count);
    }
    let asked = service.settings.look_back.and_then(|at_most| Some((at_most, look_back(departure, seen, policy, outcome, now)?)));
    match asked {
        // The counts of the load balancers come later, and everything is counted then.
        Some((at_most, asked)) if ends_here => {
            let pending = PendingLookBack { asked, at_most, seen: seen.clone(), compared: log.compared.clone() };
            *lock(&entry.look_back) = Some(pending);
        }
        _ => service.metrics.compared(&departure.asg, &ComparisonCounts::of(departure, seen, &log.compared)),
    }
    // The page, the API, the metric and the notification all use this one number, or none.
    let above = lock(&entry.view).own;
    if can_tell_how_long(departure, seen) {
        service.metrics.took(took, above);
        let deregistered = seen.balancers.iter().filter_map(|balancer| balancer.deregistered).min();
        if let Some(at) = deregistered.filter(|_| budget.began_is_known) {
            service.metrics.deregistered(at.since(budget.began));
        }
    }
    lock(&entry.view).ended(outcome, reason.to_string(), &log.compared, now);
    log.ended(departure, outcome, reason, took);
    let completed = Involvement::of(outcome, *wrote) == Involvement::Completed;
    if completed && service.notify.has_receivers() {
        let ending = notify::Ending {
            outcome,
            took,
            above_the_floor: above,
            steps: log.steps,
            foreseen: &log.foreseen,
            stopped: &log.stopped,
            compared: &log.compared,
        };
        service.notify.send(service, Notification::ended(departure, &entry.shown(), &ending, now));
    }
    if completed || matches!(outcome, Outcome::Refused { .. }) {
        let began = Some(budget.began).filter(|_| budget.began_is_known);
        reporter.traced(|trace| trace.ended(departure, outcome, began, now));
    }
}

/// Whose work an end was, as far as this replica knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Involvement {
    /// This replica's. It counts the end and notifies of it (ADR 0027).
    Completed,
    /// No worker's. A pass that wrote nothing has only found it: the departure has ended, or it keeps waiting for a worker that
    /// acts.
    Found(Done),
    /// Another party's, while this replica worked on it.
    Elsewhere,
}

impl Involvement {
    fn of(outcome: &Outcome, wrote: bool) -> Self {
        match outcome {
            // Each of these is an accepted completion.
            Outcome::Departed { .. }
            | Outcome::Forced
            | Outcome::Unconfirmed { .. }
            | Outcome::DataLeft { .. }
            | Outcome::TimedOut
            | Outcome::AgentDead
            | Outcome::NoNode => Self::Completed,
            // An interruption has no lifecycle action, and another party may have abandoned a retained one. The replica that wrote
            // something notifies.
            Outcome::Interrupted | Outcome::Retained if wrote => Self::Completed,
            Outcome::Interrupted | Outcome::Retained | Outcome::Expired | Outcome::Overtaken => Self::Elsewhere,
            Outcome::Gone | Outcome::AlreadyPast | Outcome::NotLeaving => Self::Found(Done::Finished),
            Outcome::NotOurs | Outcome::Refused { .. } => Self::Found(Done::Released),
        }
    }
}

/// Observes the run and updates the log, the view and the metrics.
struct Reporter<'a> {
    service: &'a Service,
    entry: &'a Entry,
    policy: &'a Policy,
    log: DecisionLog<'a>,
    wrote: bool,
    /// Whether the next write seems to be the first one of the departure.
    is_start: bool,
    /// The system that could not be read at the last decision, so that consecutive failures count once.
    unreadable: Option<System>,
    trace: Option<Trace>,
}

impl Reporter<'_> {
    /// Continues the trace if there is one.
    fn traced(&mut self, update: impl FnOnce(&mut Trace)) {
        if let Some(trace) = &mut self.trace {
            update(trace);
            self.service.traces.send(self.service, trace.take());
        }
    }

    /// Reports that a system which could not be read before answers now, or that this run no longer reads it.
    fn report_recovery(&self, unreadable: Option<System>) {
        if let Some(before) = self.unreadable.filter(|before| unreadable != Some(*before)) {
            self.saw(before, Ok(()));
        }
    }

    /// Records how a system that sweeps do not read answered.
    fn saw(&self, system: System, how: Result<(), String>) {
        let cluster = self.service.live.cluster(&self.entry.departure.asg);
        self.service.health.saw_for_a_departure(system, cluster.and_then(Cluster::name), how);
    }

    fn notify_start(&self, effect: &Effect, now: Time) {
        if self.service.notify.has_receivers() {
            let note = Notification::started(&self.entry.departure, &self.entry.shown(), &effect.title(), now);
            self.service.notify.send(self.service, note);
        }
    }
}

impl Observer for Reporter<'_> {
    fn decided(&mut self, departure: &Departure, decision: &Decision, seen: &Snapshot, now: Time) {
        self.log.decided(departure, decision, seen, now);
        for denial in std::mem::take(&mut self.log.denied) {
            self.service.metrics.denied(denial.call);
            if self.service.notify.has_receivers() {
                self.service.notify.send(self.service, Notification::denied(departure, &self.entry.shown(), &denial, now));
            }
        }
        self.traced(|trace| trace.decided(departure, decision, seen, now));
        let unreadable = decision.reason.unseen_system();
        if let Some(system) = unreadable.filter(|system| self.unreadable != Some(*system)) {
            self.service.metrics.failed(system);
        }
        self.report_recovery(unreadable);
        if seen.consul.now().is_some() {
            self.service.health.saw_once(System::Consul);
        }
        if seen.balancers.iter().any(|balancer| balancer.sight.now().is_some()) {
            self.service.health.saw_once(System::LoadBalancers);
        }
        if let Some(system) = unreadable {
            self.saw(system, Err(because(decision, seen)));
        }
        self.unreadable = unreadable;
        if matches!(decision.action, Action::Do(_)) {
            self.is_start = phase(seen) == "not begun";
        }
        lock(&self.entry.view).decided(departure, decision, seen, self.policy, now);
        self.service.departures.notify_watchers();
    }

    fn wrote(&mut self, departure: &Departure, effect: &Effect, answer: &Result<(), Refusal>, now: Time) {
        self.log.wrote(departure, effect, answer, now);
        self.traced(|trace| trace.wrote(effect, answer, now));
        let system = match effect {
            Effect::Heartbeat(_) | Effect::Complete { .. } => System::AutoScaling,
            Effect::Deregister { .. } => System::LoadBalancers,
            Effect::MakeIneligible(_) | Effect::Drain { .. } | Effect::Note { .. } => System::Nomad,
        };
        // A note becomes visible to other workers up to ten seconds late. Having written one does not prove that no other worker
        // has the departure.
        self.wrote |= !matches!(effect, Effect::Heartbeat(_) | Effect::Note { .. });
        if answer.is_err() {
            self.service.metrics.failed(system);
        }
        lock(&self.entry.view).wrote(effect, answer, now);
        if self.is_start && answer.is_ok() && !matches!(effect, Effect::Heartbeat(_)) {
            self.notify_start(effect, now);
        }
        self.service.departures.notify_watchers();
    }
}
