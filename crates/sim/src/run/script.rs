//! The script of one departure: when events come, what operators and faults do, and which workers die or freeze.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::fault_effects::apply_fault;
use super::passes::WorkMode;
use crate::auto_scaling::LifecycleEvent;
use crate::faults::{Fault, Faults};
use crate::nomad::GroupNumber;
use crate::rng::Rng;
use crate::scenario::BEGIN;
use crate::worker::CrashPoint;
use crate::world::{Intervention, SimWorld};
use decamp_core::decide::{Cause, LifecycleAction};
use decamp_core::time::Time;

pub(super) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A message or a sweep that starts a worker.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    /// The lifecycle action, as far as the message says.
    pub(super) action: LifecycleAction,
    /// Whether it starts a sweep's pass, which does what is due and does not wait.
    pub(super) sweep: bool,
}

impl From<LifecycleAction> for Delivery {
    fn from(action: LifecycleAction) -> Self {
        Self { action, sweep: false }
    }
}

/// The planned deliveries and crashes of one departure.
pub(super) struct Script {
    faults: Faults,
    /// Messages and sweeps, and when each starts a worker.
    pub(super) deliveries: VecDeque<(Time, Delivery)>,
    /// How the workers work.
    pub(super) work_mode: WorkMode,
    /// Where workers are killed.
    pub(super) crashes: Vec<CrashPoint>,
    /// Whether the lifecycle event has not come yet.
    pub(super) waits_for_event: bool,
    announced: Option<LifecycleAction>,
    dies_at: VecDeque<Time>,
    interruption: Option<Time>,
    heartbeat_timeout: Duration,
    sweeps: bool,
    /// Whether the event of the other tool's hook comes, if no hook is named.
    anothers: bool,
}

/// How one worker behaves.
pub(super) struct Plan {
    pub(super) skew_ms: i64,
    pub(super) warm: bool,
    pub(super) stale_reads: bool,
    pub(super) other_settings: bool,
    pub(super) dies_at: Time,
    pub(super) frozen: Option<(Time, Time)>,
}

/// A moment in a departure. Early moments are more likely than late ones.
pub(super) fn moment(rng: &mut Rng) -> Time {
    let within = [3_000, 10_000, 40_000, 120_000, 400_000][usize::try_from(rng.below(5)).unwrap_or(0)];
    BEGIN + secs(1) + Duration::from_millis(rng.below(within))
}

/// Draws the script, and begins the termination.
pub(super) fn write_script(
    world: &mut SimWorld,
    faults: Faults,
    service: Option<GroupNumber>,
    heartbeat_timeout: Duration,
    work_mode: WorkMode,
    rng: &mut Rng,
) -> Script {
    let mut interventions = Vec::new();
    for fault in faults.iter() {
        apply_fault(world, fault, service, heartbeat_timeout, rng, &mut interventions);
    }
    interventions.sort_by_key(|(at, _)| *at);
    world.interventions = interventions.into();
    let mut script = Script {
        faults,
        deliveries: VecDeque::new(),
        work_mode,
        crashes: Vec::new(),
        waits_for_event: true,
        announced: None,
        dies_at: VecDeque::new(),
        interruption: None,
        heartbeat_timeout,
        sweeps: true,
        anothers: rng.clone().one_in(2),
    };
    if faults.has(Fault::Crash) {
        for _ in 0..=rng.below(2) {
            script.crashes.push(CrashPoint { effect: u32::try_from(rng.below(9)).unwrap_or(0), after: rng.one_in(2) });
        }
        if rng.one_in(2) {
            script.dies_at.push_back(moment(rng));
        }
    }
    let begin = BEGIN + secs(1);
    world.advance(begin);
    if faults.has(Fault::SpotInterruption) {
        script.interruption = Some(begin + secs(120));
        script.waits_for_event = false;
        script.deliveries.push_back((begin + secs(1), swept().into()));
        world.interventions.push_back((begin + secs(120), Intervention::MachineDies));
        world.interventions.make_contiguous().sort_by_key(|(at, _)| *at);
        return script;
    }
    let instance = world.subject.instance;
    // This cannot fail: the instance was put in service.
    if faults.has(Fault::RootVolume) {
        drop(world.auto_scaling.replace_root_volume(instance, &mut world.balancers));
    } else {
        drop(world.auto_scaling.terminate(instance, &mut world.balancers));
    }
    if faults.has(Fault::LostEvent) {
        script.waits_for_event = true;
    }
    script
}

impl Script {
    /// Takes the events that Auto Scaling has sent, and draws when they come.
    pub(super) fn events(&mut self, world: &mut SimWorld, rng: &mut Rng) {
        for event in world.auto_scaling.take_events() {
            // If the settings name no hook, the event of the other tool's hook may come instead of that of decamp's.
            let hook = if self.faults.has(Fault::HooksNotNamed) && self.anothers { "another" } else { "decamp" };
            if event.instance != world.subject.instance || *event.hook != *hook || !self.waits_for_event {
                continue;
            }
            self.waits_for_event = false;
            self.send(&event, rng);
        }
    }

    fn send(&mut self, event: &LifecycleEvent, rng: &mut Rng) {
        let now = event.time;
        let action = LifecycleAction {
            hook: Some(Arc::clone(&event.hook)),
            token: Some(event.token.clone()),
            began: Some(event.time),
            to_warm_pool: event.destination == crate::auto_scaling::Destination::WarmPool,
        };
        self.announced = Some(action.clone());
        let soon = now + rng.span(Duration::from_millis(100), secs(1));
        if self.faults.has(Fault::LostEvent) || self.faults.has(Fault::SweepsAlone) {
            // A sweep finds the instance within a minute.
            self.announced = None;
            let found = Delivery { action: swept(), sweep: matches!(self.work_mode, WorkMode::Passes(_)) };
            self.deliveries.push_back((now + Duration::from_millis(rng.below(60_000)), found));
        } else if self.faults.has(Fault::LateEvent) {
            self.sweeps = false;
            self.deliveries.push_back((now + self.heartbeat_timeout + secs(rng.below(600)), action.into()));
        } else {
            if self.faults.has(Fault::StaleToken) {
                let mut stale = action.clone();
                stale.token = rng.uuid().parse().ok();
                stale.began = Some(now - secs(3600));
                self.deliveries.push_back((soon, stale.into()));
            }
            self.deliveries.push_back((soon, action.clone().into()));
            if self.faults.has(Fault::TwoWorkers) {
                let second = if rng.one_in(2) { action } else { swept() };
                self.deliveries.push_back((moment(rng).max(soon), second.into()));
            }
        }
        self.deliveries.make_contiguous().sort_by_key(|(at, _)| *at);
    }

    /// Whether the worker that completes the action always gets the answer.
    pub(super) fn gets_every_answer(&self) -> bool {
        let lose = [Fault::CompletionAnswerLost, Fault::NonsenseAnswers, Fault::RegionOutage, Fault::HeartbeatTimesOut];
        !lose.into_iter().any(|fault| self.faults.has(fault))
    }

    /// Why the instance leaves, as a worker is informed.
    pub(super) fn cause(&self, action: LifecycleAction) -> Cause {
        match self.interruption {
            Some(at) => Cause::Interruption { at },
            None => Cause::Lifecycle(action),
        }
    }

    /// Draws how the next worker behaves.
    pub(super) fn plan(&mut self, started: usize, now: Time, rng: &mut Rng) -> Plan {
        // AWS keeps a function's clock right. With a wrong clock, a pass shorter than the error would never begin.
        let skew = if self.faults.has(Fault::ClockSkew) && self.work_mode == WorkMode::Continuous {
            rng.below(1_200_000)
        } else {
            600_000
        };
        // Lambda ends a pass that is frozen for longer than it may take, and later passes are other processes.
        let may_freeze = self.work_mode == WorkMode::Continuous || started == 0;
        let frozen = (self.faults.has(Fault::FrozenWorker) && may_freeze).then(|| {
            let from = moment(rng).max(now);
            (from, from + secs(30 + rng.below(570)))
        });
        Plan {
            skew_ms: i64::try_from(skew).unwrap_or(0) - 600_000,
            warm: rng.one_in(4),
            stale_reads: self.faults.has(Fault::StaleReads) && rng.one_in(2),
            other_settings: self.faults.has(Fault::OtherSettingsNextTime) && (0 < started || rng.one_in(2)),
            dies_at: self.dies_at.pop_front().map_or(Time::NEVER, |at| at.max(now)),
            frozen,
        }
    }

    /// After a worker's death, its message comes again, or a sweep finds the instance.
    pub(super) fn redeliver(&mut self, now: Time, rng: &mut Rng) {
        if !self.sweeps && self.announced.is_none() {
            return;
        }
        let again = match &self.announced {
            Some(action) if !rng.one_in(3) => action.clone(),
            _ => swept(),
        };
        let at = now + secs(1 + rng.below(60));
        match (self.work_mode, &self.announced) {
            (WorkMode::Continuous, _) => self.deliveries.push_back((at, again.into())),
            (WorkMode::Passes(passes), Some(action)) => {
                self.deliveries.push_back((passes.redelivered(now, rng), action.clone().into()));
            }
            // The next sweep comes in any case.
            (WorkMode::Passes(_), None) => {}
        }
        self.deliveries.make_contiguous().sort_by_key(|(at, _)| *at);
    }

    /// After a pass that ended before its departure, its message comes back.
    pub(super) fn hand_back(&mut self, delivery: Delivery, now: Time, rng: &mut Rng) {
        if let WorkMode::Passes(passes) = self.work_mode
            && !delivery.sweep
        {
            self.deliveries.push_back((passes.next(now, rng), delivery));
            self.deliveries.make_contiguous().sort_by_key(|(at, _)| *at);
        }
    }

    /// After the end of a departure, a duplicate of its message may come.
    pub(super) fn after_end(&mut self, now: Time, rng: &mut Rng) {
        if self.faults.has(Fault::DuplicateEvent)
            && let Some(action) = self.announced.clone()
        {
            self.faults = self.faults.without(Fault::DuplicateEvent);
            self.deliveries.push_back((now + secs(rng.below(30)), action.into()));
        }
    }
}

/// The action as a sweep knows it: the instance waits, and nothing else is known.
fn swept() -> LifecycleAction {
    LifecycleAction::default()
}
