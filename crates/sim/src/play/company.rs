//! The workers of one departure: hired when something tells of it, polled when they may go on, and killed where the script says so.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::cast::{self, Told};
use super::passes::{self, Working};
use super::record::{Record, Teller};
use super::settings;
use crate::drivers::Driver;
use crate::luck::Luck;
use crate::setting::BEGIN;
use crate::stage::Stage;
use crate::worker::{CrashPoint, Worker};
use decamp_core::decide::{Departure, Lifecycle, LifecycleAction, Noted, Outcome, Policy, Snapshot, remember};
use decamp_core::run::{Ending, How, Manner, run_by};
use decamp_core::time::Time;

/// Nothing lasts longer: whoever still works then never ends.
const HORIZON: Duration = Duration::from_hours(6);

type Walk<'s> = Pin<Box<dyn Future<Output = Ending> + 's>>;

/// A worker that is alive.
pub(super) struct Alive<'s> {
    worker: Rc<Worker<'s>>,
    walk: Walk<'s>,
    dies_at: Time,
    frozen: Option<(Time, Time)>,
    woken: bool,
    told: Told,
    departure: Departure,
}

/// All workers of one departure, and whoever sends them.
pub(super) struct Company<'s, 'p> {
    pub(super) stage: &'s RefCell<Stage>,
    pub(super) crashes: &'s RefCell<Vec<CrashPoint>>,
    pub(super) effects: &'s Cell<u32>,
    pub(super) record: &'p Rc<RefCell<Record>>,
    pub(super) driver: &'s Driver,
    pub(super) policy: &'p Policy,
    pub(super) script: cast::Script,
    pub(super) luck: Luck,
    pub(super) alive: Vec<Alive<'s>>,
    pub(super) hired: usize,
    /// When the next sweep comes, where there are any.
    pub(super) next_sweep: Time,
    /// What the process that takes messages remembers, and the one that sweeps, where they stay warm.
    pub(super) remembered: [Vec<Noted>; 2],
    /// Until when a message is hidden that a pass has handed back: nobody attends to it, as is meant.
    pub(super) resting_until: Time,
    /// Whether all of them remember what they saw for others before.
    pub(super) warm: bool,
    pub(super) outcome: Option<Outcome>,
    pub(super) first_told: Option<Time>,
    pub(super) ended_at: Time,
}

impl<'s> Company<'s, '_> {
    /// Plays it to its end.
    pub(super) fn perform(&mut self) {
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
            let before = stage.now;
            stage.advance(next.max(stage.now));
            self.script.events(stage, &mut self.luck);
            let now = stage.now;
            let frozen = |a: &Alive<'_>| a.frozen.is_some_and(|(from, to)| from <= now && now <= to);
            if stage.oracle.is_deaf() {
                // A sweep's pass makes its looks and goes: one that hangs in a look watches nothing meanwhile.
                let in_passes = matches!(self.script.working, Working::Passes(_));
                let watches = |a: &Alive<'_>| !(frozen(a) || in_passes && a.told.sweep);
                let there = self.alive.iter().filter(|a| watches(a)).map(|a| a.worker.number());
                stage.oracle.attended(before, now, there, &stage.nomad, &stage.cast);
            }
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
            let waits = [Lifecycle::Waiting, Lifecycle::ReplacingRootVolume];
            let waits = waits.contains(&stage.auto_scaling.lifecycle(stage.cast.instance));
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
        let policy = if plan.other_settings { settings::other_settings(self.policy) } else { self.policy.clone() };
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
        let Alive { told, departure, worker, .. } = self.alive.swap_remove(place);
        let number = Some(worker.number()).filter(|_| self.script.hears_every_answer());
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
            stage.oracle.said(now, number, outcome, &stage.auto_scaling, &stage.cast);
            let completed = ending.seen.history.completed.is_some();
            let better =
                self.outcome.is_none() || completed || matches!(self.outcome, Some(Outcome::AlreadyPast | Outcome::NotLeaving));
            if better {
                self.ended_at = now;
                self.outcome = Some(outcome.clone());
            }
            self.script.after_end(now, &mut self.luck);
        }
    }
}
