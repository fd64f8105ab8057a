//! Runs one departure: delivers events or loses them, starts and kills workers, and judges the result.

mod attribution;
mod describe;
mod fault_effects;
mod floor;
mod observer;
mod other_settings;
mod passes;
mod script;
mod workers;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

pub use self::attribution::Judged;
use self::observer::RunRecord;
pub use self::passes::{Passes, WorkMode};
use self::workers::{Workers, is_swept};
use super::drivers::Driver;
use super::faults::{Fault, Faults};
use super::oracle::Violation;
use super::scenario::{self, BEGIN, Scenario};
pub use super::worker::CrashPoint;
use super::world::{Calls, Intervention};
use decamp_core::decide::{ByHand, Compared, Finding, LocalData, Outcome, stop_findings};
use decamp_core::time::Time;

/// A held instance may leave this long before its hook ends, or earlier if its load balancers need more time (ADR 0015).
const END_OF_A_HOLD: Duration = Duration::from_mins(30);
/// The time that the stops and confirmations of a departure may take, in addition to that of its load balancers.
const STOPS: Duration = Duration::from_mins(5);

/// The most that an operator raises a deregistration delay to.
const RAISED_DELAY: Duration = Duration::from_mins(15);

/// How long the world runs on after the last worker, so that the judge sees processes that die then.
const AFTERWARDS: Duration = Duration::from_secs(20);

/// How to run one departure.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// The faults that it meets.
    pub faults: Faults,
    /// The number of the run of the same cluster. 0 is the first.
    pub again: u64,
    /// Where workers are killed, in addition to the crashes of the faults.
    pub crashes: Vec<CrashPoint>,
    /// Whether to keep a trace with a line for each decision.
    pub trace: bool,
    /// How its workers work; `None` to draw it from the seed.
    pub work_mode: Option<WorkMode>,
}

/// The result of one departure.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// How the departure ended; `None` if no worker ended it.
    pub outcome: Option<Outcome>,
    /// The invariants that were broken.
    pub violations: Vec<Violation>,
    /// The requests, and who is to blame for the failed ones.
    pub requests: Judged,
    /// The calls that workers made.
    pub calls: Calls,
    /// How many effects took place.
    pub effects: u32,
    /// How many target groups there were.
    pub groups: usize,
    /// The time above the floor, if the instance departed in order.
    pub above_floor: Option<Duration>,
    /// Whether services were drained while the deregistration delay ran.
    pub overlapped: bool,
    /// The time from the event to the end.
    pub took: Duration,
    /// The trace: a line for each decision.
    pub trace: Vec<String>,
    /// The findings that were reported before the first write.
    pub findings: Vec<Finding>,
    /// The findings, compared with what the last worker saw.
    pub compared: Vec<Compared>,
    /// A hash of everything that happened, to compare two runs.
    pub mark: u64,
    /// The state of the world at the end, to compare a run with a crash to one without.
    pub final_state: String,
    /// The crash points at which a worker was killed.
    pub crashed: Vec<CrashPoint>,
}

/// Runs one departure.
#[must_use]
pub fn run_departure(driver: &Driver, run: &Run) -> RunReport {
    let Scenario { mut world, faults, policy, heartbeat_timeout, balancer_floor, longest_guard, service_group, rng } =
        scenario::draw(run.seed, run.faults, run.again);
    world.oracle.leaves_system_jobs = policy.ignore_system_jobs;
    world.oracle.waits_for_by_hand = matches!(policy.by_hand, ByHand::Wait(_));
    let raised = if faults.has(Fault::DrainingSticks) { RAISED_DELAY } else { Duration::ZERO };
    let longest_delay = balancer_floor.max(longest_guard).max(raised);
    world.oracle.bounds = crate::oracle::Bounds {
        max_departure: policy.max_departure,
        shortest: if faults.has(Fault::OtherSettingsNextTime) { policy.max_departure / 2 } else { policy.max_departure },
        reserve: policy.reserve,
        holds_local_data: policy.local_data == LocalData::Hold,
        never_force: policy.never_force,
        hold: if faults.has(Fault::HeldForHours) || faults.has(Fault::HostVolumes) {
            heartbeat_timeout * 100
        } else {
            Duration::ZERO
        },
        leaves_hold_before: END_OF_A_HOLD.max((longest_delay + STOPS) * 2),
        heartbeat_timeout,
        entry_is_wrong: faults.has(Fault::StaleToken),
        entry_is_unreported: faults.has(Fault::ActivitiesDenied),
        denied_for_good: faults.has(Fault::DeniedForGood),
        hooks_not_named: faults.has(Fault::HooksNotNamed),
        runs_no_nomad: world.subject.node.is_none() && !policy.without_nomad.is_empty(),
        orderly: run.crashes.is_empty() && faults.iter().all(can_end_in_order),
        longest_gap: Duration::ZERO,
        proof_is_lost: false,
        notes_are_kept: world.nomad.version().has_dynamic_metadata()
            && !faults.iter().any(|fault| prevents_notes(fault) || delays_notes(fault)),
        answers_get_lost: faults.has(Fault::NonsenseAnswers),
    };
    let mut rng = rng;
    let needs = passes::Needs {
        notes: world.nomad.version().has_dynamic_metadata() && !faults.iter().any(prevents_notes),
        guard: longest_guard,
    };
    let work_mode = run.work_mode.unwrap_or_else(|| WorkMode::draw(run.seed, faults, heartbeat_timeout, needs));
    if let WorkMode::Passes(passes) = work_mode {
        world.oracle.bounds.longest_gap = passes.longest_gap(needs.notes);
        world.oracle.bounds.proof_is_lost = world.consul.version() < crate::consul::Version::V1_19_2;
    }
    let mut script = script::write_script(&mut world, faults, service_group, heartbeat_timeout, work_mode, &mut rng);
    script.crashes.extend(run.crashes.iter().copied());
    let goes = |(at, one): &(Time, Intervention)| (*one == Intervention::LetLocalDataGo).then_some(*at);
    let let_go = world.interventions.iter().find_map(goes);
    let too_short = matches!(work_mode, WorkMode::Passes(passes) if passes.is_too_short(world.oracle.slowness));
    world.oracle.bounds.orderly &= !too_short;
    let world = RefCell::new(world);
    let planned = script.crashes.clone();
    let crashes = RefCell::new(std::mem::take(&mut script.crashes));
    let effects = Cell::new(0);
    let record = Rc::new(RefCell::new(RunRecord::new(run.trace)));
    let mut workers = Workers {
        world: &world,
        crashes: &crashes,
        effects: &effects,
        record: &record,
        driver,
        policy: &policy,
        script,
        rng,
        alive: Vec::new(),
        started: 0,
        next_sweep: Time::NEVER,
        remembered: [Vec::new(), Vec::new()],
        resting_until: Time(0),
        warm: true,
        outcome: None,
        first_received: None,
        ended_at: BEGIN,
    };
    workers.run_to_end();
    let (workers_started, warm) = (workers.started, workers.warm && work_mode == WorkMode::Continuous);
    let any_worker = 0 < workers_started;
    let (mut outcome, first_received, ended_at) = (workers.outcome.clone(), workers.first_received, workers.ended_at);
    drop(workers);
    let mut world = world.into_inner();
    let is_past = world.oracle.action_ended.is_some() || !is_swept(&world);
    if outcome.is_none() && work_mode.is_swept_alone() && is_past {
        // When the instance no longer waits, no worker reports how its departure ended.
        outcome = Some(Outcome::Gone);
    }
    let last_at = world.now;
    world.advance(last_at + AFTERWARDS);
    let reported = outcome;
    let outcome = reported.as_ref().map(|outcome| world.oracle.bounds.as_judged(outcome).clone());
    let faultless = faults.is_empty() && run.crashes.is_empty();
    let spot = faults.has(Fault::SpotInterruption);
    let allocations = world.nomad.allocations().len();
    if any_worker {
        // Other workers may go on working after the one that ended the departure.
        world.oracle.check_call_rate(
            ended_at,
            world.calls,
            last_at.since(first_received.unwrap_or(BEGIN)),
            workers_started,
            work_mode,
            allocations,
        );
        let above = floor::above_floor(&world, first_received.unwrap_or(BEGIN), ended_at, balancer_floor, outcome.as_ref());
        if faults == Faults::NONE.with(Fault::NomadHangs) {
            world.oracle.check_first_deregistration(first_received.unwrap_or(BEGIN));
        }
        world.oracle.check_duration(ended_at, ended_at.since(first_received.unwrap_or(BEGIN)), above, outcome.as_ref());
        if run.crashes.is_empty()
            && !too_short
            && faults.iter().all(|fault| can_end_in_order(fault) || floor::is_waited_out(fault))
        {
            let due = floor::waited_out(&world, faults, &policy, first_received.unwrap_or(BEGIN), balancer_floor);
            world.oracle.check_promptness(ended_at, due + work_mode.repeated_wait(needs), outcome.as_ref());
        }
        if faultless && !spot && matches!(driver, Driver::Decamp) && work_mode == WorkMode::Continuous {
            let (calls, groups) = (world.calls, world.subject.fronts.len());
            world.oracle.check_call_budget(ended_at, calls, groups, warm);
        }
        world.oracle.check_end(ended_at, outcome.as_ref(), faultless && !spot, heartbeat_timeout, &world.api_faults);
    }
    // Without ACLs every worker sees everything, so that a later worker has no reason for doubt (ADR 0011).
    let doubtless = faults.without(Fault::Crash).without(Fault::ConsulWithoutAcls).is_empty();
    if faults.has(Fault::ConsulWithoutAcls) && doubtless && matches!(outcome, Some(Outcome::Unconfirmed { .. })) {
        world.oracle.report_needless_doubt(ended_at);
    }
    let has_lattice = world.auto_scaling.group(&world.subject.asg).is_some_and(|group| !group.lattice.is_empty());
    if has_lattice && matches!(outcome, Some(Outcome::Departed { .. })) {
        world.oracle.report_hidden_source(ended_at);
    }
    let mut record = record.borrow_mut();
    let mut compared = Vec::new();
    let findings = driver.reported(record.findings());
    if any_worker {
        let crate::world::SimWorld { oracle, nomad, subject, .. } = &mut world;
        oracle.check_disk_findings(&findings, nomad);
        oracle.check_local_data_findings(&findings, nomad, subject);
        if faults == Faults::NONE.with(Fault::HostVolumes) && run.crashes.is_empty() && !too_short {
            let started = first_received.unwrap_or(BEGIN);
            oracle.check_hold(started, BEGIN + heartbeat_timeout * 100, let_go, nomad, subject);
        }
        // A process that survives SIGKILL hides nothing. A crash loses what the worker had seen, and Nomad still shows it.
        let whole = run.crashes.is_empty() && faults.without(Fault::StuckStop).is_empty() && !spot;
        if let Some(last) = record.last.take() {
            let said = driver.stops(&last.departure, &last.seen, &last.policy);
            oracle.check_stops(ended_at, outcome.as_ref(), &said, nomad, subject, whole);
            let reported = driver.reported(last.reported);
            compared = driver.compared(&last.departure, &last.seen, &last.policy, &reported, &last.outcome);
            let stopped = stop_findings(&last.departure, &last.seen, &last.policy);
            let said = driver.reported(record.reported_by_any());
            // Nomad keeps the time at which an operator's drain began that decamp replaces.
            let changes =
                [Fault::NodeCollected, Fault::AgentAway, Fault::AgentBackLate, Fault::DrainedByOperator, Fault::NeedsForce];
            let lists_change = changes.iter().any(|fault| faults.has(*fault));
            oracle.check_compared(ended_at, &compared, &said, &stopped, &last.outcome, nomad, subject, lists_change);
        }
    }
    let requests = attribution::attribute(&mut world, faults, any_worker, outcome.as_ref(), &findings);
    if any_worker {
        let crate::world::SimWorld { oracle, nomad, subject, .. } = &mut world;
        oracle.check_not_seen(ended_at, &compared, &requests.cost_by(&findings), nomad, subject);
    }
    let started = first_received.unwrap_or(BEGIN);
    RunReport {
        above_floor: floor::above_floor(&world, started, ended_at, balancer_floor, outcome.as_ref())
            .filter(|_| work_mode == WorkMode::Continuous && matches!(outcome, Some(Outcome::Departed { .. }))),
        final_state: describe::final_state(&world),
        violations: std::mem::take(&mut world.oracle.violations),
        outcome: reported,
        requests,
        calls: world.calls,
        effects: effects.get(),
        groups: world.subject.fronts.len(),
        overlapped: record.overlapped,
        took: ended_at.since(started),
        trace: record.trace.take().unwrap_or_default(),
        findings,
        compared,
        crashed: planned.into_iter().filter(|point| !crashes.borrow().contains(point)).collect(),
        mark: record.mark ^ world.traffic.sent ^ u64::from(world.calls.aws) << 32,
    }
}

/// Whether a fault leaves no agent that could store a note.
fn prevents_notes(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::MachineDies
            | Fault::RootVolume
            | Fault::MetadataRefused
            | Fault::NoNode
            | Fault::FingerprintMissing
            | Fault::AgentDead
            | Fault::AgentAway
            | Fault::NodeCollected
            | Fault::BlindToken
            // Nomad may deny everything from some time on.
            | Fault::DeniedForGood
    )
}

/// Whether a fault may prevent a note for as long as a worker tries to write it.
fn delays_notes(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::NomadThrottled
            | Fault::NomadDenied
            | Fault::NomadHangs
            | Fault::DeniedForGood
            | Fault::LeaderLost
            | Fault::NonsenseAnswers
            | Fault::AgentBackLate
    )
}

/// Whether a departure can still finish in order and in time with this fault.
fn can_end_in_order(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::DrainHangs
            | Fault::SystemAndCsi
            | Fault::SeveralPorts
            | Fault::IngressPolls
            | Fault::IngressUnderLoad
            | Fault::KeptConnections
            | Fault::ClassicBalancer
            | Fault::SecondHook
            | Fault::LostEvent
            | Fault::SweepsAlone
            | Fault::MessageLate
            | Fault::ActivitiesDenied
            | Fault::MetadataRefused
            | Fault::SlowAnswers
    )
}
