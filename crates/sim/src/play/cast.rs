//! The script of one departure: which events come when, what operators and faults do, which workers die or freeze.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::passes::Working;
use super::troubles::lend_a_hand;
use crate::auto_scaling::LifecycleEvent;
use crate::faults::{Fault, Faults};
use crate::luck::Luck;
use crate::nomad::GroupNumber;
use crate::setting::BEGIN;
use crate::stage::{Hand, Stage};
use crate::worker::CrashPoint;
use decamp_core::decide::{Cause, LifecycleAction};
use decamp_core::time::Time;

pub(super) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a worker is told when it begins.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// The lifecycle action, as far as it is known.
    pub(super) action: LifecycleAction,
    /// Whether it is a sweep's pass: it does what is due, and waits for nothing.
    pub(super) sweep: bool,
}

impl From<LifecycleAction> for Told {
    fn from(action: LifecycleAction) -> Self {
        Self { action, sweep: false }
    }
}

/// What is to happen beside the world's own course.
pub(super) struct Script {
    faults: Faults,
    /// Events and sweeps on their way to a worker.
    pub(super) deliveries: VecDeque<(Time, Told)>,
    /// How its workers work.
    pub(super) working: Working,
    /// Where workers are killed.
    pub(super) crashes: Vec<CrashPoint>,
    /// Whether the lifecycle event is still to come.
    pub(super) waits_for_event: bool,
    told: Option<LifecycleAction>,
    dies_at: VecDeque<Time>,
    interruption: Option<Time>,
    heartbeat_timeout: Duration,
    sweeps: bool,
    /// Whether it is the other tool's event that comes.
    anothers: bool,
}

/// How one worker is.
pub(super) struct Plan {
    pub(super) skew_ms: i64,
    pub(super) warm: bool,
    pub(super) stale_reads: bool,
    pub(super) other_settings: bool,
    pub(super) dies_at: Time,
    pub(super) frozen: Option<(Time, Time)>,
}

/// A moment in the course of a departure: sooner more often than later.
pub(super) fn moment(luck: &mut Luck) -> Time {
    let within = [3_000, 10_000, 40_000, 120_000, 400_000][usize::try_from(luck.below(5)).unwrap_or(0)];
    BEGIN + secs(1) + Duration::from_millis(luck.below(within))
}

/// Writes the script, and begins the termination.
pub(super) fn script(
    stage: &mut Stage,
    faults: Faults,
    service: Option<GroupNumber>,
    heartbeat_timeout: Duration,
    working: Working,
    luck: &mut Luck,
) -> Script {
    let mut hands = Vec::new();
    for fault in faults.iter() {
        lend_a_hand(stage, fault, service, heartbeat_timeout, luck, &mut hands);
    }
    hands.sort_by_key(|(at, _)| *at);
    stage.hands = hands.into();
    let mut script = Script {
        faults,
        deliveries: VecDeque::new(),
        working,
        crashes: Vec::new(),
        waits_for_event: true,
        told: None,
        dies_at: VecDeque::new(),
        interruption: None,
        heartbeat_timeout,
        sweeps: true,
        anothers: luck.clone().one_in(2),
    };
    if faults.has(Fault::Crash) {
        for _ in 0..=luck.below(2) {
            script.crashes.push(CrashPoint { effect: u32::try_from(luck.below(9)).unwrap_or(0), after: luck.one_in(2) });
        }
        if luck.one_in(2) {
            script.dies_at.push_back(moment(luck));
        }
    }
    let begin = BEGIN + secs(1);
    stage.advance(begin);
    if faults.has(Fault::SpotInterruption) {
        script.interruption = Some(begin + secs(120));
        script.waits_for_event = false;
        script.deliveries.push_back((begin + secs(1), swept().into()));
        stage.hands.push_back((begin + secs(120), Hand::MachineDies));
        stage.hands.make_contiguous().sort_by_key(|(at, _)| *at);
        return script;
    }
    let instance = stage.cast.instance;
    // It cannot fail: the instance was put in service.
    if faults.has(Fault::RootVolume) {
        drop(stage.auto_scaling.replace_root_volume(instance, &mut stage.balancers));
    } else {
        drop(stage.auto_scaling.terminate(instance, &mut stage.balancers));
    }
    if faults.has(Fault::LostEvent) {
        script.waits_for_event = true;
    }
    script
}

impl Script {
    /// Takes the events that Auto Scaling has sent, and decides when they come.
    pub(super) fn events(&mut self, stage: &mut Stage, luck: &mut Luck) {
        for event in stage.auto_scaling.take_events() {
            // Where nobody has said which hook is meant, the other tool's event comes as well as ours.
            let hook = if self.faults.has(Fault::HooksNotNamed) && self.anothers { "another" } else { "decamp" };
            if event.instance != stage.cast.instance || *event.hook != *hook || !self.waits_for_event {
                continue;
            }
            self.waits_for_event = false;
            self.send(&event, luck);
        }
    }

    fn send(&mut self, event: &LifecycleEvent, luck: &mut Luck) {
        let now = event.time;
        let told = LifecycleAction {
            hook: Some(Arc::clone(&event.hook)),
            token: Some(event.token.clone()),
            began: Some(event.time),
            to_warm_pool: event.destination == crate::auto_scaling::Destination::WarmPool,
        };
        self.told = Some(told.clone());
        let soon = now + luck.span(Duration::from_millis(100), secs(1));
        if self.faults.has(Fault::LostEvent) || self.faults.has(Fault::SweepsAlone) {
            // Only a sweep finds it, within a minute.
            self.told = None;
            let found = Told { action: swept(), sweep: matches!(self.working, Working::Passes(_)) };
            self.deliveries.push_back((now + Duration::from_millis(luck.below(60_000)), found));
        } else if self.faults.has(Fault::LateEvent) {
            self.sweeps = false;
            self.deliveries.push_back((now + self.heartbeat_timeout + secs(luck.below(600)), told.into()));
        } else {
            if self.faults.has(Fault::StaleToken) {
                let mut stale = told.clone();
                stale.token = luck.uuid().parse().ok();
                stale.began = Some(now - secs(3600));
                self.deliveries.push_back((soon, stale.into()));
            }
            self.deliveries.push_back((soon, told.clone().into()));
            if self.faults.has(Fault::TwoWorkers) {
                let second = if luck.one_in(2) { told } else { swept() };
                self.deliveries.push_back((moment(luck).max(soon), second.into()));
            }
        }
        self.deliveries.make_contiguous().sort_by_key(|(at, _)| *at);
    }

    /// Whether whoever completes the action is told so.
    pub(super) fn hears_every_answer(&self) -> bool {
        let lose = [Fault::CompletionAnswerLost, Fault::NonsenseAnswers, Fault::RegionOutage, Fault::HeartbeatTimesOut];
        !lose.into_iter().any(|fault| self.faults.has(fault))
    }

    /// Why the instance leaves, as a worker is told.
    pub(super) fn cause(&self, action: LifecycleAction) -> Cause {
        match self.interruption {
            Some(at) => Cause::Interruption { at },
            None => Cause::Lifecycle(action),
        }
    }

    /// How the next worker is.
    pub(super) fn plan(&mut self, hired: usize, now: Time, luck: &mut Luck) -> Plan {
        // AWS keeps the clock of a function right; a pass that is shorter than its error would never begin.
        let skew =
            if self.faults.has(Fault::ClockSkew) && self.working == Working::Through { luck.below(1_200_000) } else { 600_000 };
        // A pass that is frozen for longer than it may take is ended by Lambda; the others are other processes.
        let may_freeze = self.working == Working::Through || hired == 0;
        let frozen = (self.faults.has(Fault::FrozenWorker) && may_freeze).then(|| {
            let from = moment(luck).max(now);
            (from, from + secs(30 + luck.below(570)))
        });
        Plan {
            skew_ms: i64::try_from(skew).unwrap_or(0) - 600_000,
            warm: luck.one_in(4),
            stale_reads: self.faults.has(Fault::StaleReads) && luck.one_in(2),
            other_settings: self.faults.has(Fault::OtherSettingsNextTime) && (0 < hired || luck.one_in(2)),
            dies_at: self.dies_at.pop_front().map_or(Time::NEVER, |at| at.max(now)),
            frozen,
        }
    }

    /// A worker died: its message comes again, or a sweep finds the instance.
    pub(super) fn redeliver(&mut self, now: Time, luck: &mut Luck) {
        if !self.sweeps && self.told.is_none() {
            return;
        }
        let again = match &self.told {
            Some(told) if !luck.one_in(3) => told.clone(),
            _ => swept(),
        };
        let at = now + secs(1 + luck.below(60));
        match (self.working, &self.told) {
            (Working::Through, _) => self.deliveries.push_back((at, again.into())),
            (Working::Passes(passes), Some(told)) => {
                self.deliveries.push_back((passes.redelivered(now, luck), told.clone().into()));
            }
            // The next sweep comes by itself.
            (Working::Passes(_), None) => {}
        }
        self.deliveries.make_contiguous().sort_by_key(|(at, _)| *at);
    }

    /// A pass was over before its departure: its message comes back.
    pub(super) fn hand_back(&mut self, told: Told, now: Time, luck: &mut Luck) {
        if let Working::Passes(passes) = self.working
            && !told.sweep
        {
            self.deliveries.push_back((passes.next(now, luck), told));
            self.deliveries.make_contiguous().sort_by_key(|(at, _)| *at);
        }
    }

    /// A departure ended: a duplicate may still come.
    pub(super) fn after_end(&mut self, now: Time, luck: &mut Luck) {
        if self.faults.has(Fault::DuplicateEvent)
            && let Some(told) = self.told.clone()
        {
            self.faults = self.faults.without(Fault::DuplicateEvent);
            self.deliveries.push_back((now + secs(luck.below(30)), told.into()));
        }
    }
}

/// What a sweep knows of an instance that waits: nothing but that.
fn swept() -> LifecycleAction {
    LifecycleAction::default()
}
