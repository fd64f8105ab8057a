//! One departure, played: events come or do not, workers live and die, and when it is over it is judged.

mod cast;
mod floor;
mod judge;
mod passes;
mod record;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use self::cast::Told;
pub use self::judge::Judged;
pub use self::passes::{Passes, Working};
use self::record::{Record, Teller};
use super::drivers::Driver;
use super::faults::{Fault, Faults};
use super::luck::Luck;
use super::oracle::Violation;
use super::setting::{self, BEGIN, Setting};
use super::stage::{Calls, Stage};
pub use super::worker::CrashPoint;
use super::worker::Worker;
use decamp_core::decide::{Departure, Finding, Lifecycle, LifecycleAction, Noted, Outcome, Policy, Snapshot, remember};
use decamp_core::run::{Ending, How, Manner, run_by};
use decamp_core::time::Time;

/// Nothing lasts longer: whoever still works then never ends.
const HORIZON: Duration = Duration::from_hours(6);
/// How long the world goes on after the last worker, so that what dies then is seen.
const AFTERWARDS: Duration = Duration::from_secs(20);

/// How one departure is to be played.
#[derive(Debug, Clone, Default)]
pub struct Play {
    /// The seed.
    pub seed: u64,
    /// What goes wrong.
    pub faults: Faults,
    /// Which run of the same cluster: 0 is the seed's own.
    pub again: u64,
    /// Where workers are killed, beside what the faults say.
    pub crashes: Vec<CrashPoint>,
    /// Whether to keep a line for each decision.
    pub trace: bool,
    /// How its workers work, if not as the seed draws it.
    pub working: Option<Working>,
}

/// How one departure went.
#[derive(Debug, Clone)]
pub struct Played {
    /// How it ended; `None` if nobody ended it.
    pub outcome: Option<Outcome>,
    /// What was broken.
    pub violations: Vec<Violation>,
    /// The requests, and whose fault the failed ones are.
    pub requests: Judged,
    /// Calls made.
    pub calls: Calls,
    /// Effects taken.
    pub effects: u32,
    /// Target groups.
    pub groups: usize,
    /// Time above the floor, if it departed in order.
    pub above_floor: Option<Duration>,
    /// Whether services were drained beside the delay.
    pub overlapped: bool,
    /// From the event to the end.
    pub took: Duration,
    /// The story.
    pub trace: Vec<String>,
    /// What was foreseen.
    pub findings: Vec<Finding>,
    /// A mark of everything that happened, for comparing two runs.
    pub mark: u64,
    /// How the world stood at the end, for comparing a run with a crash to one without.
    pub final_state: String,
    /// Where a worker was killed around one of its effects.
    pub crashed: Vec<CrashPoint>,
}

type Walk<'s> = Pin<Box<dyn Future<Output = Ending> + 's>>;

/// A worker that is alive.
struct Alive<'s> {
    worker: Rc<Worker<'s>>,
    walk: Walk<'s>,
    dies_at: Time,
    frozen: Option<(Time, Time)>,
    woken: bool,
    told: Told,
    departure: Departure,
}

/// Plays one departure.
#[must_use]
pub fn play(driver: &Driver, play: &Play) -> Played {
    let Setting { mut stage, faults, policy, heartbeat_timeout, balancer_floor, longest_guard, service_group, luck } =
        setting::draw(play.seed, play.faults, play.again);
    stage.oracle.leaves_system_jobs = policy.ignore_system_jobs;
    stage.oracle.bounds = crate::oracle::Bounds {
        max_departure: policy.max_departure,
        heartbeat_timeout,
        entry_is_wrong: faults.has(Fault::StaleToken),
        orderly: play.crashes.is_empty() && faults.iter().all(hinders_nothing),
        longest_gap: Duration::ZERO,
        proof_is_lost: false,
    };
    let mut luck = luck;
    let needs = passes::Needs {
        notes: stage.nomad.version().has_dynamic_metadata() && !faults.iter().any(nobody_notes),
        guard: longest_guard,
    };
    let working = play.working.unwrap_or_else(|| Working::draw(play.seed, faults, heartbeat_timeout, needs));
    if let Working::Passes(passes) = working {
        stage.oracle.bounds.longest_gap = passes.longest_gap();
        stage.oracle.bounds.proof_is_lost = stage.consul.version() < crate::consul::Version::V1_19_2;
    }
    let mut script = cast::script(&mut stage, faults, service_group, heartbeat_timeout, working, &mut luck);
    script.crashes.extend(play.crashes.iter().copied());
    let stage = RefCell::new(stage);
    let planned = script.crashes.clone();
    let crashes = RefCell::new(std::mem::take(&mut script.crashes));
    let effects = Cell::new(0);
    let record = Rc::new(RefCell::new(Record::new(play.trace)));
    let mut company = Company {
        stage: &stage,
        crashes: &crashes,
        effects: &effects,
        record: &record,
        driver,
        policy: &policy,
        script,
        luck,
        alive: Vec::new(),
        hired: 0,
        next_sweep: Time::NEVER,
        remembered: [Vec::new(), Vec::new()],
        resting_until: Time(0),
        warm: true,
        outcome: None,
        first_told: None,
        ended_at: BEGIN,
    };
    company.perform();
    let (company_hired, warm) = (company.hired, company.warm && working == Working::Through);
    let told = 0 < company_hired;
    let (mut outcome, first_told, ended_at) = (company.outcome.clone(), company.first_told, company.ended_at);
    drop(company);
    let mut stage = stage.into_inner();
    if outcome.is_none() && working.is_swept_alone() && stage.oracle.action_ended.is_some() {
        // A sweep visits what waits: of what waits no more nobody says how it ended.
        outcome = Some(Outcome::Gone);
    }
    let end = stage.now + AFTERWARDS;
    stage.advance(end);
    let faultless = faults.is_empty() && play.crashes.is_empty();
    let spot = faults.has(Fault::SpotInterruption);
    let allocations = stage.nomad.allocations().len();
    if told {
        stage.oracle.steady(
            ended_at,
            stage.calls,
            ended_at.since(first_told.unwrap_or(BEGIN)),
            company_hired,
            working,
            allocations,
        );
        let above = floor::above_floor(&stage, first_told.unwrap_or(BEGIN), ended_at, balancer_floor, outcome.as_ref());
        stage.oracle.took(ended_at, ended_at.since(first_told.unwrap_or(BEGIN)), above, outcome.as_ref());
        if play.crashes.is_empty() && faults.iter().all(|fault| hinders_nothing(fault) || floor::is_waited_out(fault)) {
            let due = floor::waited_out(&stage, faults, &policy, first_told.unwrap_or(BEGIN), balancer_floor);
            stage.oracle.prompt(ended_at, due, outcome.as_ref());
        }
        if faultless && !spot && matches!(driver, Driver::Decamp) && working == Working::Through {
            let (calls, groups) = (stage.calls, stage.cast.fronts.len());
            stage.oracle.thrifty(ended_at, calls, groups, warm);
        }
        stage.oracle.over(ended_at, outcome.as_ref(), faultless && !spot, heartbeat_timeout, &stage.weather);
    }
    let mut record = record.borrow_mut();
    let findings = record.findings();
    if told {
        let crate::stage::Stage { oracle, nomad, .. } = &mut stage;
        oracle.disks(&findings, nomad);
    }
    let requests = judge::judge(&mut stage, faults, told, outcome.as_ref(), &findings);
    let started = first_told.unwrap_or(BEGIN);
    Played {
        above_floor: floor::above_floor(&stage, started, ended_at, balancer_floor, outcome.as_ref())
            .filter(|_| working == Working::Through && matches!(outcome, Some(Outcome::Departed { .. }))),
        final_state: cast::final_state(&stage),
        violations: std::mem::take(&mut stage.oracle.violations),
        outcome,
        requests,
        calls: stage.calls,
        effects: effects.get(),
        groups: stage.cast.fronts.len(),
        overlapped: record.overlapped,
        took: ended_at.since(started),
        trace: record.trace.take().unwrap_or_default(),
        findings,
        crashed: planned.into_iter().filter(|point| !crashes.borrow().contains(point)).collect(),
        mark: record.mark ^ stage.traffic.sent ^ u64::from(stage.calls.aws) << 32,
    }
}

/// Whether a fault leaves no agent that could keep a note.
fn nobody_notes(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::MetadataRefused | Fault::NoNode | Fault::AgentDead | Fault::AgentAway | Fault::NodeCollected | Fault::BlindToken
    )
}

/// Whether a fault leaves a departure every way to finish in order, and in time.
fn hinders_nothing(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::DrainHangs
            | Fault::SystemAndCsi
            | Fault::SeveralPorts
            | Fault::IngressPolls
            | Fault::SecondHook
            | Fault::LostEvent
            | Fault::SweepsAlone
            | Fault::MessageLate
            | Fault::ActivitiesDenied
            | Fault::MetadataRefused
            | Fault::SlowAnswers
    )
}

/// All workers of one departure, and whoever sends them.
struct Company<'s, 'p> {
    stage: &'s RefCell<Stage>,
    crashes: &'s RefCell<Vec<CrashPoint>>,
    effects: &'s Cell<u32>,
    record: &'p Rc<RefCell<Record>>,
    driver: &'s Driver,
    policy: &'p Policy,
    script: cast::Script,
    luck: Luck,
    alive: Vec<Alive<'s>>,
    hired: usize,
    /// When the next sweep comes, where there are any.
    next_sweep: Time,
    /// What the process that takes messages remembers, and the one that sweeps, where they stay warm.
    remembered: [Vec<Noted>; 2],
    /// Until when a message is hidden that a pass has handed back: nobody attends to it, as is meant.
    resting_until: Time,
    /// Whether all of them remember what they saw for others before.
    warm: bool,
    outcome: Option<Outcome>,
    first_told: Option<Time>,
    ended_at: Time,
}

impl<'s> Company<'s, '_> {
    fn perform(&mut self) {
        let end = BEGIN + HORIZON;
        self.script.events(&mut self.stage.borrow_mut(), &mut self.luck);
        loop {
            self.deliver();
            let now = self.stage.borrow().now;
            let nobody_comes = self.script.deliveries.is_empty() && !self.may_still_be_told() && self.next_sweep == Time::NEVER;
            if end <= now || self.alive.is_empty() && nobody_comes {
                return;
            }
            self.poll(now);
            let next = self.next();
            if next == Time::NEVER {
                return;
            }
            let next = next.min(end);
            let stage = &mut *self.stage.borrow_mut();
            stage.advance(next.max(stage.now));
            self.script.events(stage, &mut self.luck);
            let now = stage.now;
            let frozen = |a: &Alive<'_>| a.frozen.is_some_and(|(from, to)| from <= now && now <= to);
            if self.alive.iter().all(frozen) && self.resting_until < now {
                stage.oracle.unattended_until = stage.now;
            }
        }
    }

    /// Whether the hook has not begun yet.
    fn may_still_be_told(&self) -> bool {
        self.hired == 0 && self.script.waits_for_event
    }

    fn next(&self) -> Time {
        let now = self.stage.borrow().now;
        let workers = self.alive.iter().map(|a| match a.frozen {
            Some((from, to)) if from <= now && now < to && !a.worker.is_sending() => to.min(a.dies_at),
            _ if a.worker.has_news() => now,
            _ => a.worker.wakes().min(a.dies_at),
        });
        let deliveries = self.script.deliveries.front().map(|(at, _)| *at);
        let told = workers.chain(deliveries).chain([self.next_sweep]).min().unwrap_or(Time::NEVER);
        let watching = self.alive.iter().any(|a| a.worker.is_watching());
        if self.alive.is_empty() && self.script.deliveries.is_empty() || watching {
            return told.min(self.stage.borrow().next_event()).max(now);
        }
        told.max(now)
    }

    /// Starts a worker for each event that has come.
    fn deliver(&mut self) {
        let now = self.stage.borrow().now;
        while self.script.deliveries.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, told)) = self.script.deliveries.pop_front() {
                self.hire(told);
            }
        }
        if self.next_sweep <= now {
            self.next_sweep = now + passes::SWEEP_EVERY;
            let stage = self.stage.borrow();
            let waits = stage.auto_scaling.lifecycle(stage.cast.instance) == Lifecycle::Waiting;
            drop(stage);
            if !waits || self.outcome.is_some() {
                // The instance is past its hook, or its departure was brought to its end.
                self.next_sweep = Time::NEVER;
            } else {
                self.hire(Told { action: LifecycleAction::default(), sweep: true });
            }
        }
    }

    fn hire(&mut self, told: Told) {
        let stage = self.stage.borrow();
        let now = stage.now;
        self.first_told.get_or_insert(now);
        let cause = self.script.cause(told.action.clone());
        let departure = Departure { instance: stage.cast.instance, asg: Arc::clone(&stage.cast.asg), cause };
        drop(stage);
        let working = self.script.working;
        if working != Working::Through && self.hired == 0 {
            self.next_sweep = now + Duration::from_millis(self.luck.below(60_000));
        }
        let (sweep, remembered) = (told.sweep, self.remembered[usize::from(told.sweep)].clone());
        let plan = self.script.plan(self.hired, now, &mut self.luck);
        let worker = Rc::new(Worker::new(self.stage, plan.skew_ms, plan.warm, plan.stale_reads, self.crashes, self.effects));
        let policy = if plan.other_settings { cast::other_settings(self.policy) } else { self.policy.clone() };
        let mut teller = Teller { record: Rc::clone(self.record), policy: policy.clone(), worker: self.hired };
        let (driver, world, leaving) = (self.driver, Rc::clone(&worker), departure.clone());
        let walk: Walk<'s> = Box::pin(async move {
            let rules = |d: &Departure, s: &Snapshot, p: &Policy, now: Time| driver.decide(d, s, p, now);
            let manner = match working {
                Working::Through => Manner::default(),
                Working::Passes(passes) => passes.manner(sweep, now, &remembered),
            };
            let ending = run_by(rules, &*world, &departure, &policy, manner, &mut teller).await;
            if manner.stop_at.is_some() && !manner.never_wait {
                passes::hand_back(&world, &departure, &policy, &ending, &mut teller).await;
            }
            ending
        });
        self.hired += 1;
        self.warm &= plan.warm;
        self.alive.push(Alive {
            worker,
            walk,
            dies_at: plan.dies_at,
            frozen: plan.frozen,
            woken: true,
            told,
            departure: leaving,
        });
    }

    /// Lets every worker go on that has a reason to.
    fn poll(&mut self, now: Time) {
        let mut place = 0;
        while place < self.alive.len() {
            let one = &mut self.alive[place];
            let frozen = !one.worker.is_sending() && one.frozen.is_some_and(|(from, to)| from <= now && now < to);
            let due = one.woken || one.worker.wakes() <= now || one.worker.has_news();
            if one.dies_at <= now {
                self.dies(place);
                continue;
            }
            if frozen || !due {
                place += 1;
                continue;
            }
            one.woken = false;
            one.worker.begin_poll();
            let ready = one.walk.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if one.worker.is_dead() {
                self.dies(place);
            } else if let std::task::Poll::Ready(ending) = ready {
                self.ends(place, &ending, now);
            } else {
                place += 1;
            }
        }
    }

    /// A worker is killed; somebody goes on with its message, or a sweep finds the instance.
    fn dies(&mut self, place: usize) {
        let told = self.alive.swap_remove(place).told;
        let now = self.stage.borrow().now;
        if !told.sweep {
            self.script.redeliver(now, &mut self.luck);
        }
    }

    fn ends(&mut self, place: usize, ending: &Ending, now: Time) {
        let Alive { told, departure, .. } = self.alive.swap_remove(place);
        if ending.how == How::HandedBack {
            self.remembered[usize::from(told.sweep)] = remember(&departure, &ending.seen, self.policy, now);
            self.script.hand_back(told, now, &mut self.luck);
            let message = self.script.deliveries.front().map_or(Time(0), |(at, _)| *at);
            let sweep = if self.next_sweep == Time::NEVER { Time(0) } else { self.next_sweep };
            self.resting_until = message.max(sweep);
            return;
        }
        // Another pass comes after the end, and finds it.
        if self.outcome.is_none() || self.script.working == Working::Through {
            self.ended_at = now;
        }
        if let How::Ended(outcome, _) = &ending.how {
            let stage = &mut *self.stage.borrow_mut();
            stage.oracle.said(now, outcome, &stage.auto_scaling, &stage.cast);
            let completed = ending.seen.history.completed.is_some();
            let better =
                self.outcome.is_none() || completed || matches!(self.outcome, Some(Outcome::AlreadyPast | Outcome::NotLeaving));
            if better {
                self.outcome = Some(outcome.clone());
            }
            self.script.after_end(now, &mut self.luck);
        }
    }
}
