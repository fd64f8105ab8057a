//! The workers of one departure: started by messages and sweeps, polled when they can continue, and killed where the script says so.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::observer::{RunObserver, RunRecord};
use super::other_settings::other_settings;
use super::passes::{self, WorkMode};
use super::script::{self, Delivery};
use crate::drivers::Driver;
use crate::rng::Rng;
use crate::scenario::BEGIN;
use crate::worker::{CrashPoint, Worker};
use crate::world::SimWorld;
use decamp_core::decide::{Departure, Lifecycle, LifecycleAction, Noted, Outcome, Policy, Snapshot, System, remember};
use decamp_core::run::{Ending, RunOptions, RunResult, run_by};
use decamp_core::time::Time;

/// No departure lasts longer. A worker that still works then never ends.
const HORIZON: Duration = Duration::from_hours(6);

type Running<'s> = Pin<Box<dyn Future<Output = Ending> + 's>>;

/// A worker that is alive.
pub(super) struct LiveWorker<'s> {
    worker: Rc<Worker<'s>>,
    running: Running<'s>,
    dies_at: Time,
    frozen: Option<(Time, Time)>,
    woken: bool,
    delivery: Delivery,
    departure: Departure,
}

/// All workers of one departure, and the script that starts them.
pub(super) struct Workers<'s, 'p> {
    pub(super) world: &'s RefCell<SimWorld>,
    pub(super) crashes: &'s RefCell<Vec<CrashPoint>>,
    pub(super) effects: &'s Cell<u32>,
    pub(super) record: &'p Rc<RefCell<RunRecord>>,
    pub(super) driver: &'s Driver,
    pub(super) policy: &'p Policy,
    pub(super) script: script::Script,
    pub(super) rng: Rng,
    pub(super) alive: Vec<LiveWorker<'s>>,
    pub(super) started: usize,
    /// When the next sweep comes; never if there are no sweeps.
    pub(super) next_sweep: Time,
    /// What a warm process remembers: first the one that takes messages, then the one that sweeps.
    pub(super) remembered: [Vec<Noted>; 2],
    /// Until when the message is hidden that a pass has handed back. Meanwhile it is intended that no worker runs.
    pub(super) resting_until: Time,
    /// Whether all workers remember what they read for earlier departures.
    pub(super) warm: bool,
    pub(super) outcome: Option<Outcome>,
    pub(super) first_received: Option<Time>,
    pub(super) ended_at: Time,
}

impl<'s> Workers<'s, '_> {
    /// Runs the workers until the departure ends.
    pub(super) fn run_to_end(&mut self) {
        let end = BEGIN + HORIZON;
        self.script.events(&mut self.world.borrow_mut(), &mut self.rng);
        loop {
            self.deliver();
            let now = self.world.borrow().now;
            let nobody_comes = self.script.deliveries.is_empty() && !self.may_still_start() && self.next_sweep == Time::NEVER;
            if end <= now || self.alive.is_empty() && nobody_comes {
                return;
            }
            self.poll(now);
            let next = self.next();
            if next == Time::NEVER {
                return;
            }
            let next = next.min(end);
            let world = &mut *self.world.borrow_mut();
            let before = world.now;
            world.advance(next.max(world.now));
            self.script.events(world, &mut self.rng);
            let now = world.now;
            let frozen = |a: &LiveWorker<'_>| a.frozen.is_some_and(|(from, to)| from <= now && now <= to);
            if world.oracle.is_consul_away() {
                // A sweep's pass makes its looks and ends. While it hangs in a look it watches nothing.
                let in_passes = matches!(self.script.work_mode, WorkMode::Passes(_));
                // Without Auto Scaling, nobody knows whether the instance is leaving, and a new pass reads nothing else.
                let blind = in_passes && world.api_faults.is_away(System::AutoScaling, now);
                // A worker whose server lags may not see what another worker's drain stops.
                let several = 1 < world.oracle.workers;
                let lags = |a: &LiveWorker<'_>| several && a.worker.stale_reads;
                let watches = |a: &LiveWorker<'_>| !(frozen(a) || blind || lags(a) || in_passes && a.delivery.sweep);
                let there = self.alive.iter().filter(|a| watches(a)).map(|a| a.worker.number());
                world.oracle.was_watched(before, now, there, &world.nomad, &world.subject);
            }
            if self.alive.iter().all(frozen) && self.resting_until < now {
                world.oracle.unattended_until = world.now;
            }
        }
    }

    /// Whether the first worker has not started and an event may still start it.
    fn may_still_start(&self) -> bool {
        self.started == 0 && self.script.waits_for_event
    }

    fn next(&self) -> Time {
        let now = self.world.borrow().now;
        let workers = self.alive.iter().map(|a| match a.frozen {
            Some((from, to)) if from <= now && now < to && !a.worker.is_sending() => to.min(a.dies_at),
            _ if a.worker.has_news() => now,
            _ => a.worker.wakes().min(a.dies_at),
        });
        let deliveries = self.script.deliveries.front().map(|(at, _)| *at);
        let next = workers.chain(deliveries).chain([self.next_sweep]).min().unwrap_or(Time::NEVER);
        let watching = self.alive.iter().any(|a| a.worker.is_watching());
        if self.alive.is_empty() && self.script.deliveries.is_empty() || watching {
            return next.min(self.world.borrow().next_event()).max(now);
        }
        next.max(now)
    }

    /// Starts a worker for each delivery that is due.
    fn deliver(&mut self) {
        let now = self.world.borrow().now;
        while self.script.deliveries.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, delivery)) = self.script.deliveries.pop_front() {
                self.start_worker(delivery);
            }
        }
        if self.next_sweep <= now {
            self.next_sweep = now + passes::SWEEP_EVERY;
            let world = self.world.borrow();
            let waits = is_swept(&world);
            drop(world);
            if !waits || self.outcome.is_some() {
                // The instance is past its hook, or its departure has ended.
                self.next_sweep = Time::NEVER;
            } else {
                self.start_worker(Delivery { action: LifecycleAction::default(), sweep: true });
            }
        }
    }

    fn start_worker(&mut self, delivery: Delivery) {
        let world = self.world.borrow();
        let now = world.now;
        self.first_received.get_or_insert(now);
        let cause = self.script.cause(delivery.action.clone());
        let departure = Departure { instance: world.subject.instance, asg: Arc::clone(&world.subject.asg), cause };
        drop(world);
        let work_mode = self.script.work_mode;
        if work_mode != WorkMode::Continuous && self.started == 0 {
            self.next_sweep = now + Duration::from_millis(self.rng.below(60_000));
        }
        let (sweep, remembered) = (delivery.sweep, self.remembered[usize::from(delivery.sweep)].clone());
        let plan = self.script.plan(self.started, now, &mut self.rng);
        let worker = Rc::new(Worker::new(self.world, plan.skew_ms, plan.warm, plan.stale_reads, self.crashes, self.effects));
        let policy = if plan.other_settings { other_settings(self.policy) } else { self.policy.clone() };
        let mut observer = RunObserver { record: Rc::clone(self.record), policy: policy.clone(), worker: self.started };
        let (driver, world, leaving) = (self.driver, Rc::clone(&worker), departure.clone());
        let running: Running<'s> = Box::pin(async move {
            let rules = |d: &Departure, s: &Snapshot, p: &Policy, now: Time| driver.decide(d, s, p, now);
            let manner = match work_mode {
                WorkMode::Continuous => RunOptions::default(),
                WorkMode::Passes(passes) => passes.manner(sweep, now, &remembered),
            };
            let ending = run_by(rules, &*world, &departure, &policy, manner, &mut observer).await;
            if manner.stop_at.is_some() && !manner.never_wait {
                passes::hand_back(&world, &departure, &policy, &ending, &mut observer).await;
            }
            ending
        });
        self.started += 1;
        self.warm &= plan.warm;
        self.alive.push(LiveWorker {
            worker,
            running,
            dies_at: plan.dies_at,
            frozen: plan.frozen,
            woken: true,
            delivery,
            departure: leaving,
        });
    }

    /// Polls every worker that can continue.
    fn poll(&mut self, now: Time) {
        let mut place = 0;
        while place < self.alive.len() {
            let live = &mut self.alive[place];
            let frozen = !live.worker.is_sending() && live.frozen.is_some_and(|(from, to)| from <= now && now < to);
            let due = live.woken || live.worker.wakes() <= now || live.worker.has_news();
            if live.dies_at <= now {
                self.dies(place);
                continue;
            }
            if frozen || !due {
                place += 1;
                continue;
            }
            live.woken = false;
            live.worker.begin_poll();
            let ready = live.running.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if live.worker.is_dead() {
                self.dies(place);
            } else if let std::task::Poll::Ready(ending) = ready {
                self.ends(place, &ending, now);
            } else {
                place += 1;
            }
        }
    }

    /// Kills a worker. Its message comes again, or a sweep finds the instance.
    fn dies(&mut self, place: usize) {
        let delivery = self.alive.swap_remove(place).delivery;
        let now = self.world.borrow().now;
        if !delivery.sweep {
            self.script.redeliver(now, &mut self.rng);
        }
    }

    fn ends(&mut self, place: usize, ending: &Ending, now: Time) {
        let LiveWorker { delivery, departure, worker, .. } = self.alive.swap_remove(place);
        let number = Some(worker.number()).filter(|_| self.script.gets_every_answer());
        if ending.how == RunResult::HandedBack {
            self.remembered[usize::from(delivery.sweep)] = remember(&departure, &ending.seen, self.policy, now);
            self.script.hand_back(delivery, now, &mut self.rng);
            let message = self.script.deliveries.front().map_or(Time(0), |(at, _)| *at);
            let sweep = if self.next_sweep == Time::NEVER { Time(0) } else { self.next_sweep };
            self.resting_until = message.max(sweep);
            return;
        }
        // A pass after the end does not move the end.
        if self.outcome.is_none() || self.script.work_mode == WorkMode::Continuous {
            self.ended_at = now;
        }
        if let RunResult::Ended(outcome, _) = &ending.how {
            let world = &mut *self.world.borrow_mut();
            world.oracle.check_outcome(now, number, outcome, &world.auto_scaling, &world.subject);
            let completed = ending.seen.history.completed.is_some();
            let better =
                self.outcome.is_none() || completed || matches!(self.outcome, Some(Outcome::AlreadyPast | Outcome::NotLeaving));
            if better {
                self.ended_at = now;
                self.outcome = Some(outcome.clone());
            }
            self.script.after_end(now, &mut self.rng);
        }
    }
}

/// Whether a sweep visits the instance: only while it waits in a hook.
pub(super) fn is_swept(world: &SimWorld) -> bool {
    let waits = [Lifecycle::Waiting, Lifecycle::ReplacingRootVolume];
    waits.contains(&world.auto_scaling.lifecycle(world.subject.instance))
}
