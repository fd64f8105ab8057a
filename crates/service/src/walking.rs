//! One departure walked by the same loop as everywhere, with what is shown of it and counted of it kept up to date.

use tracing::{Instrument as _, error_span, info};

use super::Service;
use super::departures::{Done, Entry, lock};
use super::gentle::Gentle;
use super::notify::{self, Note};
use super::traces::Trace;
use decamp_core::decide::{
    Action, Budget, Decision, Departure, Effect, Outcome, Policy, Reason, Refusal, Snapshot, System, last_written,
};
use decamp_core::run::{Ending, How, Manner, Tell, run};
use decamp_core::sweep::Sweep;
use decamp_core::telling::{Telling, because, can_tell_how_long, phase};
use decamp_core::time::Time;
use decamp_core::world::World;
use decamp_live::Cluster;

/// How far a departure is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// To its end, or to the word to stop.
    Whole,
    /// Until there is something to wait for, as part of this sweep.
    OnePass(Sweep),
}

impl Pace {
    fn sweep(self) -> Option<Sweep> {
        match self {
            Self::Whole => None,
            Self::OnePass(sweep) => Some(sweep),
        }
    }
}

/// What a walk came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Walked {
    pub(super) done: Done,
    /// Whether anything was written beside heartbeats: then nobody else was at it.
    pub(super) wrote: bool,
    /// Whether a sweep only looked at it: the next one will find the same, so that it is neither counted nor remembered.
    pub(super) only_looked: bool,
    /// When somebody last wrote something for it, as far as Nomad shows it.
    pub(super) written: Option<Time>,
}

impl Walked {
    /// A walk that came to nothing.
    pub(super) const NOT: Self = Self { done: Done::LetGo, wrote: false, only_looked: true, written: None };
}

/// Walks a departure. Whatever is logged on the way names its trace, if it has one.
pub(super) async fn walk(service: &Service, entry: &Entry, pace: Pace) -> Walked {
    let walked = walk_within(service, entry, pace);
    match service.traces.id_of(&entry.departure) {
        None => walked.await,
        // Of the highest level, so that it is there wherever a line is.
        Some(trace_id) => walked.instrument(error_span!("departure", trace_id)).await,
    }
}

async fn walk_within(service: &Service, entry: &Entry, pace: Pace) -> Walked {
    let departure = &entry.departure;
    let policy = &*service.settings.policy_of(&departure.asg);
    service.numbers.expect_group(&departure.asg);
    // A sweep's one look at what another has in hand is no part of that one's trace.
    let trace = if pace == Pace::Whole { service.traces.begin(departure) } else { None };
    let mut watching = Watching {
        service,
        entry,
        policy,
        log: Telling::new(policy, &service.denials),
        wrote: false,
        is_start: false,
        blind: None,
        trace,
    };
    let world = Gentle::new(&service.live);
    let observe = service.settings.only_observes();
    let manner = Manner { observe, never_wait: matches!(pace, Pace::OnePass(_)), sweep: pace.sweep(), ..Manner::default() };
    let ending = tokio::select! {
        // First, so that what was just answered is still told.
        biased;
        ending = run(&world, departure, policy, manner, &mut watching) => Some(ending),
        () = world.left(entry.stop.subscribe()) => None,
    };
    watching.sees_again(None);
    let (mut only_looked, mut written) = (false, None);
    let done = match ending {
        None => {
            info!(instance.id = %departure.instance, asg.name = &*departure.asg, action = "let go", "let go at a decision, for whoever goes on");
            Done::LetGo
        }
        Some(Ending { how: How::HandedBack, seen }) => {
            written = last_written(departure, &seen);
            Done::LetGo
        }
        Some(Ending { how: How::Observed(decision), .. }) => {
            only_looked = pace != Pace::Whole;
            watching.log.observed(departure, &decision);
            if only_looked { Done::LetGo } else { Done::Over }
        }
        Some(Ending { how: How::Ended(outcome, reason), seen }) => {
            let looked = match Share::of(&outcome, watching.wrote) {
                Share::Found(done) if pace != Pace::Whole && !watching.wrote => Some(done),
                Share::Found(_) | Share::Completed | Share::Beside => None,
            };
            only_looked = looked.is_some();
            if only_looked {
                let began = Budget::of(departure, &seen, policy).began;
                watching.log.ended(departure, &outcome, &reason, service.live.now().since(began));
            } else {
                ended(&mut watching, &outcome, &reason, &seen);
            }
            looked.unwrap_or(Done::Over)
        }
    };
    watching.traced(|trace| trace.left(service.live.now()));
    if done == Done::Over {
        service.notify.forget(&departure.mark());
    }
    Walked { done, wrote: watching.wrote, only_looked, written }
}

/// Says and counts how a departure ended.
fn ended(watching: &mut Watching<'_>, outcome: &Outcome, reason: &Reason, seen: &Snapshot) {
    let Watching { service, entry, policy, log, wrote, .. } = watching;
    let departure = &entry.departure;
    let now = service.live.now();
    let budget = Budget::of(departure, seen, policy);
    let took = now.since(budget.began);
    service.numbers.departed(&departure.asg, outcome.word(), log.steps);
    // What the page and the API show, the metric counts and the notification says: one number, or none.
    let above = lock(&entry.view).own;
    if can_tell_how_long(departure, seen) {
        service.numbers.took(took, above);
        let deregistered = seen.balancers.iter().filter_map(|balancer| balancer.deregistered).min();
        if let Some(at) = deregistered.filter(|_| budget.began_is_known) {
            service.numbers.deregistered(at.since(budget.began));
        }
    }
    lock(&entry.view).ended(outcome, reason.to_string(), now);
    log.ended(departure, outcome, reason, took);
    let completed = Share::of(outcome, *wrote) == Share::Completed;
    if completed && service.notify.is_anybody() {
        let ending = notify::Ending { outcome, took, above_the_floor: above, steps: log.steps, foreseen: &log.foreseen };
        service.notify.tell(service, Note::ended(departure, &entry.shown(), &ending, now));
    }
    if completed || matches!(outcome, Outcome::Refused { .. }) {
        let began = Some(budget.began).filter(|_| budget.began_is_known);
        watching.traced(|trace| trace.ended(departure, outcome, began, now));
    }
}

/// What this replica had to do with an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    /// It brought it about: it counts it, and tells of it (ADR 0027).
    Completed,
    /// It came about without anybody who walked it. A pass that wrote nothing only looked at it: it is over, or waits on for whoever
    /// acts.
    Found(Done),
    /// It came about beside this replica's work.
    Beside,
}

impl Share {
    fn of(outcome: &Outcome, wrote: bool) -> Self {
        match outcome {
            // Each of them is a completion that was accepted.
            Outcome::Departed { .. }
            | Outcome::Forced
            | Outcome::Unconfirmed { .. }
            | Outcome::TimedOut
            | Outcome::AgentDead
            | Outcome::NoNode => Self::Completed,
            // An interruption has no action, and what is retained may have been abandoned by somebody: whoever wrote anything tells.
            Outcome::Interrupted | Outcome::Retained if wrote => Self::Completed,
            Outcome::Interrupted | Outcome::Retained | Outcome::Expired | Outcome::Overtaken => Self::Beside,
            Outcome::Gone | Outcome::AlreadyPast | Outcome::NotLeaving => Self::Found(Done::Over),
            Outcome::NotOurs | Outcome::Refused { .. } => Self::Found(Done::LetGo),
        }
    }
}

/// Who is told by the loop: the log, the view and the counters.
struct Watching<'a> {
    service: &'a Service,
    entry: &'a Entry,
    policy: &'a Policy,
    log: Telling<'a>,
    wrote: bool,
    /// Whether nobody seems to have written anything before what is written now.
    is_start: bool,
    /// What could not be seen at the last decision, so that a row of failures counts once.
    blind: Option<System>,
    trace: Option<Trace>,
}

impl Watching<'_> {
    /// Goes on with the trace, if anybody wants one.
    fn traced(&mut self, goes_on: impl FnOnce(&mut Trace)) {
        if let Some(trace) = &mut self.trace {
            goes_on(trace);
            self.service.traces.send(self.service, trace.take());
        }
    }

    /// What it could not see a moment ago is seen, or nobody looks any more.
    fn sees_again(&self, blind: Option<System>) {
        if let Some(before) = self.blind.filter(|before| blind != Some(*before)) {
            self.saw(before, Ok(()));
        }
    }

    /// Notes how a system was seen that no sweep looks at.
    fn saw(&self, system: System, how: Result<(), String>) {
        let cluster = self.service.live.cluster(&self.entry.departure.asg);
        self.service.health.saw_for_a_departure(system, cluster.and_then(Cluster::name), how);
    }

    fn tell_start(&self, effect: &Effect, now: Time) {
        if self.service.notify.is_anybody() {
            let note = Note::started(&self.entry.departure, &self.entry.shown(), &effect.title(), now);
            self.service.notify.tell(self.service, note);
        }
    }
}

impl Tell for Watching<'_> {
    fn decided(&mut self, departure: &Departure, decision: &Decision, seen: &Snapshot, now: Time) {
        self.log.decided(departure, decision, seen, now);
        for denial in std::mem::take(&mut self.log.denied) {
            self.service.numbers.denied(denial.call);
            if self.service.notify.is_anybody() {
                self.service.notify.tell(self.service, Note::denied(departure, &self.entry.shown(), &denial, now));
            }
        }
        self.traced(|trace| trace.decided(departure, decision, seen, now));
        let blind = decision.reason.unseen_system();
        if let Some(system) = blind.filter(|system| self.blind != Some(*system)) {
            self.service.numbers.failed(system);
        }
        self.sees_again(blind);
        if seen.consul.now().is_some() {
            self.service.health.saw_once(System::Consul);
        }
        if seen.balancers.iter().any(|balancer| balancer.sight.now().is_some()) {
            self.service.health.saw_once(System::LoadBalancers);
        }
        if let Some(system) = blind {
            self.saw(system, Err(because(decision, seen)));
        }
        self.blind = blind;
        if matches!(decision.action, Action::Do(_)) {
            self.is_start = phase(seen) == "not begun";
        }
        lock(&self.entry.view).decided(departure, decision, seen, self.policy, now);
        self.service.departures.tell();
    }

    fn wrote(&mut self, departure: &Departure, effect: &Effect, answer: &Result<(), Refusal>, now: Time) {
        self.log.wrote(departure, effect, answer, now);
        self.traced(|trace| trace.wrote(effect, answer, now));
        let system = match effect {
            Effect::Heartbeat(_) | Effect::Complete { .. } => System::AutoScaling,
            Effect::Deregister { .. } => System::LoadBalancers,
            Effect::MakeIneligible(_) | Effect::Drain { .. } | Effect::Note { .. } => System::Nomad,
        };
        // A note of another worker shows up to ten seconds late: to have written one proves nothing about who is at it.
        self.wrote |= !matches!(effect, Effect::Heartbeat(_) | Effect::Note { .. });
        if answer.is_err() {
            self.service.numbers.failed(system);
        }
        lock(&self.entry.view).wrote(effect, answer, now);
        if self.is_start && answer.is_ok() && !matches!(effect, Effect::Heartbeat(_)) {
            self.tell_start(effect, now);
        }
        self.service.departures.tell();
    }
}
