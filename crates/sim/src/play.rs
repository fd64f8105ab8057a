//! One departure, played: events come or do not, workers live and die, and when it is over it is judged.

mod cast;
mod company;
mod floor;
mod judge;
mod passes;
mod record;
mod settings;
mod troubles;
mod words;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use self::company::Company;
pub use self::judge::Judged;
pub use self::passes::{Passes, Working};
use self::record::Record;
use super::drivers::Driver;
use super::faults::{Fault, Faults};
use super::oracle::Violation;
use super::setting::{self, BEGIN, Setting};
use super::stage::Calls;
pub use super::worker::CrashPoint;
use decamp_core::decide::{ByHand, Finding, Outcome};
use decamp_core::time::Time;

/// A held instance may leave this long before the end of its hook, or earlier if its load balancers need more time (ADR 0015).
const END_OF_A_HOLD: Duration = Duration::from_mins(30);
/// What the stops and the confirmations of a departure may take beside what its load balancers may.
const STOPS: Duration = Duration::from_mins(5);

/// What somebody raises a deregistration delay to, at most.
const RAISED_DELAY: Duration = Duration::from_mins(15);

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

/// Plays one departure.
#[must_use]
pub fn play(driver: &Driver, play: &Play) -> Played {
    let Setting { mut stage, faults, policy, heartbeat_timeout, balancer_floor, longest_guard, service_group, luck } =
        setting::draw(play.seed, play.faults, play.again);
    stage.oracle.leaves_system_jobs = policy.ignore_system_jobs;
    stage.oracle.waits_for_by_hand = matches!(policy.by_hand, ByHand::Wait(_));
    let raised = if faults.has(Fault::DrainingSticks) { RAISED_DELAY } else { Duration::ZERO };
    let longest_delay = balancer_floor.max(longest_guard).max(raised);
    stage.oracle.bounds = crate::oracle::Bounds {
        max_departure: policy.max_departure,
        shortest: if faults.has(Fault::OtherSettingsNextTime) { policy.max_departure / 2 } else { policy.max_departure },
        reserve: policy.reserve,
        never_force: policy.never_force,
        hold: if faults.has(Fault::HeldForHours) { heartbeat_timeout * 100 } else { Duration::ZERO },
        held_to_the_last: END_OF_A_HOLD.max((longest_delay + STOPS) * 2),
        heartbeat_timeout,
        entry_is_wrong: faults.has(Fault::StaleToken),
        entry_is_untold: faults.has(Fault::ActivitiesDenied),
        hooks_not_named: faults.has(Fault::HooksNotNamed),
        orderly: play.crashes.is_empty() && faults.iter().all(hinders_nothing),
        longest_gap: Duration::ZERO,
        proof_is_lost: false,
        notes_are_kept: stage.nomad.version().has_dynamic_metadata()
            && !faults.iter().any(|fault| nobody_notes(fault) || hinders_notes(fault)),
    };
    let mut luck = luck;
    let needs = passes::Needs {
        notes: stage.nomad.version().has_dynamic_metadata() && !faults.iter().any(nobody_notes),
        guard: longest_guard,
    };
    let working = play.working.unwrap_or_else(|| Working::draw(play.seed, faults, heartbeat_timeout, needs));
    if let Working::Passes(passes) = working {
        stage.oracle.bounds.longest_gap = passes.longest_gap(needs.notes);
        stage.oracle.bounds.proof_is_lost = stage.consul.version() < crate::consul::Version::V1_19_2;
    }
    let mut script = cast::script(&mut stage, faults, service_group, heartbeat_timeout, working, &mut luck);
    script.crashes.extend(play.crashes.iter().copied());
    let too_short = matches!(working, Working::Passes(passes) if passes.is_too_short(stage.oracle.slowness));
    stage.oracle.bounds.orderly &= !too_short;
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
    let last_at = stage.now;
    stage.advance(last_at + AFTERWARDS);
    let faultless = faults.is_empty() && play.crashes.is_empty();
    let spot = faults.has(Fault::SpotInterruption);
    let allocations = stage.nomad.allocations().len();
    if told {
        // Others may work on after the one that ended it.
        stage.oracle.steady(
            ended_at,
            stage.calls,
            last_at.since(first_told.unwrap_or(BEGIN)),
            company_hired,
            working,
            allocations,
        );
        let above = floor::above_floor(&stage, first_told.unwrap_or(BEGIN), ended_at, balancer_floor, outcome.as_ref());
        if faults == Faults::NONE.with(Fault::NomadHangs) {
            stage.oracle.waits_for_nothing_else(first_told.unwrap_or(BEGIN));
        }
        stage.oracle.took(ended_at, ended_at.since(first_told.unwrap_or(BEGIN)), above, outcome.as_ref());
        if play.crashes.is_empty()
            && !too_short
            && faults.iter().all(|fault| hinders_nothing(fault) || floor::is_waited_out(fault))
        {
            let due = floor::waited_out(&stage, faults, &policy, first_told.unwrap_or(BEGIN), balancer_floor);
            stage.oracle.prompt(ended_at, due + working.waits_anew(needs), outcome.as_ref());
        }
        if faultless && !spot && matches!(driver, Driver::Decamp) && working == Working::Through {
            let (calls, groups) = (stage.calls, stage.cast.fronts.len());
            stage.oracle.thrifty(ended_at, calls, groups, warm);
        }
        stage.oracle.over(ended_at, outcome.as_ref(), faultless && !spot, heartbeat_timeout, &stage.weather);
    }
    // That there are no ACLs proves what a later worker sees as well: it has no reason to doubt it (ADR 0011).
    let doubtless = faults.without(Fault::Crash).without(Fault::ConsulWithoutAcls).is_empty();
    if faults.has(Fault::ConsulWithoutAcls) && doubtless && matches!(outcome, Some(Outcome::Unconfirmed { .. })) {
        stage.oracle.doubts_needlessly(ended_at);
    }
    let has_lattice = stage.auto_scaling.group(&stage.cast.asg).is_some_and(|group| !group.lattice.is_empty());
    if has_lattice && matches!(outcome, Some(Outcome::Departed { .. })) {
        stage.oracle.hides_a_source(ended_at);
    }
    let mut record = record.borrow_mut();
    let findings = driver.names(record.findings());
    if told {
        let crate::stage::Stage { oracle, nomad, .. } = &mut stage;
        oracle.disks(&findings, nomad);
    }
    let requests = judge::judge(&mut stage, faults, told, outcome.as_ref(), &findings);
    let started = first_told.unwrap_or(BEGIN);
    Played {
        above_floor: floor::above_floor(&stage, started, ended_at, balancer_floor, outcome.as_ref())
            .filter(|_| working == Working::Through && matches!(outcome, Some(Outcome::Departed { .. }))),
        final_state: words::final_state(&stage),
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
        Fault::MachineDies
            | Fault::RootVolume
            | Fault::MetadataRefused
            | Fault::NoNode
            | Fault::FingerprintMissing
            | Fault::AgentDead
            | Fault::AgentAway
            | Fault::NodeCollected
            | Fault::BlindToken
            // From some time on Nomad may deny everything.
            | Fault::DeniedForGood
    )
}

/// Whether a fault may keep a note from being written for as long as a worker tries.
fn hinders_notes(fault: Fault) -> bool {
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

/// Whether a fault leaves a departure every way to finish in order, and in time.
fn hinders_nothing(fault: Fault) -> bool {
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
