//! One worker: a simulated process that runs a departure, with its own clock, its own memory and its own crashes.

mod consul_outage;
mod looks;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{Either, join_all, select};

use super::api_faults::{CallOutcome, one_way_time};
use super::load_balancers::{Known, Named};
use super::nomad::{DrainSpec, Note};
use super::world::SimWorld;
use decamp_core::decide::{Departure, Effect, EffectKind, Observation, Part, Refusal, Snapshot, System};
use decamp_core::ids::TargetGroupArn;
use decamp_core::time::Time;
use decamp_core::world::World;

/// A worker gives up a call without an answer after this.
const TIME_OUT: Duration = Duration::from_secs(5);
/// Consul answers a blocking query after this long at the latest, which shows that Consul is there.
pub(crate) const CONSUL_ANSWERS_EVERY: Duration = Duration::from_millis(2_500);
/// The shortest time between two answers of a watch.
const WATCH_PAUSE: Duration = Duration::from_millis(250);

/// Where a worker is killed: right before or right after the effect with this number, counted over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashPoint {
    /// The effect's number, from 0.
    pub effect: u32,
    /// Whether the worker is killed after the effect took place and before its answer. Otherwise it is killed before it sends the call.
    pub after: bool,
}

/// A simulated worker.
pub struct Worker<'s> {
    number: u64,
    world: &'s RefCell<SimWorld>,
    wake: Cell<Time>,
    watched: Cell<Option<(u64, u64)>>,
    /// When it last asked Consul.
    consul_asked: Cell<Time>,
    /// The indices in the last answers of Nomad and Consul.
    looked: Cell<(u64, u64)>,
    skew_ms: Cell<i64>,
    synced: Cell<bool>,
    started: Time,
    warm: bool,
    known: RefCell<Vec<(TargetGroupArn, Known)>>,
    /// Whether it has read the zones of instances, which never change.
    knows_zones: Cell<bool>,
    /// The node's index after this worker's last write: older answers prove nothing (S7).
    written_index: Cell<u64>,
    pub(crate) stale_reads: bool,
    crashes: &'s RefCell<Vec<CrashPoint>>,
    effects: &'s Cell<u32>,
    dead: Cell<bool>,
    /// When it first looked at Nomad with full read access.
    first_full_look: Cell<Option<Time>>,
    /// How many calls are on their way to a server. They arrive even if the worker dies.
    sending: Cell<u32>,
}

/// Waits until a time.
struct Until<'w, 's> {
    worker: &'w Worker<'s>,
    at: Time,
}

impl Future for Until<'_, '_> {
    type Output = ();
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.worker.dead.get() || self.worker.true_now() < self.at {
            self.worker.wake.set(self.worker.wake.get().min(self.at));
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

/// Waits until a time, or until Nomad or Consul has changed since the given versions.
struct UntilNews<'w, 's> {
    worker: &'w Worker<'s>,
    at: Time,
    versions: (u64, u64),
}

impl Future for UntilNews<'_, '_> {
    type Output = bool;
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<bool> {
        if self.worker.dead.get() {
            return Poll::Pending;
        }
        if self.worker.versions() != self.versions {
            return Poll::Ready(true);
        }
        if self.worker.true_now() < self.at {
            self.worker.wake.set(self.worker.wake.get().min(self.at));
            self.worker.watched.set(Some(self.versions));
            return Poll::Pending;
        }
        Poll::Ready(false)
    }
}

impl<'s> Worker<'s> {
    /// A worker that starts now. Its clock is wrong by `skew_ms` until a server of AWS has answered.
    #[must_use]
    pub fn new(
        world: &'s RefCell<SimWorld>,
        skew_ms: i64,
        warm: bool,
        stale_reads: bool,
        crashes: &'s RefCell<Vec<CrashPoint>>,
        effects: &'s Cell<u32>,
    ) -> Self {
        let number = {
            let oracle = &mut world.borrow_mut().oracle;
            oracle.workers += 1;
            oracle.workers
        };
        Self {
            world,
            number,
            wake: Cell::new(Time::NEVER),
            watched: Cell::new(None),
            consul_asked: Cell::new(Time(0)),
            looked: Cell::new((0, 0)),
            skew_ms: Cell::new(skew_ms),
            synced: Cell::new(false),
            started: world.borrow().now,
            warm,
            known: RefCell::new(Vec::new()),
            knows_zones: Cell::new(false),
            written_index: Cell::new(0),
            stale_reads,
            crashes,
            effects,
            dead: Cell::new(false),
            first_full_look: Cell::new(None),
            sending: Cell::new(0),
        }
    }

    /// Its number, from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether the worker was killed at one of its effects.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead.get()
    }

    /// Whether a call of this worker is on its way to a server.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        0 < self.sending.get()
    }

    /// Called before each poll: forgets what the worker waited for.
    pub fn begin_poll(&self) {
        self.wake.set(Time::NEVER);
        self.watched.set(None);
    }

    /// When the worker wants to continue.
    #[must_use]
    pub fn wakes(&self) -> Time {
        self.wake.get()
    }

    /// Whether it watches Nomad or Consul.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.watched.get().is_some()
    }

    /// Whether it watches Nomad or Consul, and one of them has changed.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.watched.get().is_some_and(|versions| versions != self.versions())
    }

    fn true_now(&self) -> Time {
        self.world.borrow().now
    }

    fn sleep_until(&self, at: Time) -> Until<'_, 's> {
        Until { worker: self, at }
    }

    /// Makes one call: the way there, its effect, and the way back.
    async fn call<T>(
        &self,
        system: System,
        write: Option<EffectKind>,
        ask: impl FnOnce(&mut SimWorld) -> T,
    ) -> Result<T, CallOutcome> {
        let (there, back, outcome) = {
            let world = &mut *self.world.borrow_mut();
            match (system, write) {
                (_, Some(EffectKind::Heartbeat)) => world.calls.heartbeats += 1,
                (System::AutoScaling | System::LoadBalancers, _) => world.calls.aws += 1,
                (System::Nomad, _) => world.calls.nomad += 1,
                (System::Consul, _) => world.calls.consul += 1,
            }
            let there = world.now + one_way_time(system, &mut world.rng);
            let back = one_way_time(system, &mut world.rng) + world.api_faults.slowness(system);
            (there, back, world.api_faults.call_outcome(system, write, there, &mut world.rng))
        };
        self.sending.set(self.sending.get() + 1);
        self.sleep_until(there).await;
        self.sending.set(self.sending.get() - 1);
        match outcome {
            CallOutcome::Answered => {
                let answer = ask(&mut self.world.borrow_mut());
                self.stop_if_dead().await;
                self.sleep_until(there + back).await;
                if matches!(system, System::AutoScaling | System::LoadBalancers) {
                    self.synced.set(true);
                }
                Ok(answer)
            }
            CallOutcome::AnswerLost => {
                ask(&mut self.world.borrow_mut());
                self.stop_if_dead().await;
                self.sleep_until(there + TIME_OUT).await;
                Err(outcome)
            }
            CallOutcome::Lost => {
                self.sleep_until(there + TIME_OUT).await;
                Err(outcome)
            }
            CallOutcome::Throttled | CallOutcome::Denied => {
                self.sleep_until(there + back).await;
                Err(outcome)
            }
        }
    }

    /// Stops a dead worker for good.
    async fn stop_if_dead(&self) {
        if self.dead.get() {
            self.sleep_until(Time::NEVER).await;
        }
    }

    /// Kills the worker if a crash is planned at this side of the current effect.
    fn crash(&self, after: bool) {
        let point = CrashPoint { effect: self.effects.get(), after };
        let mut crashes = self.crashes.borrow_mut();
        if let Some(found) = crashes.iter().position(|p| *p == point) {
            crashes.remove(found);
            self.dead.set(true);
        }
    }

    fn take_effect(world: &mut SimWorld, departure: &Departure, effect: &Effect) -> Result<u64, Refusal> {
        match effect {
            Effect::Heartbeat(of) => {
                let instance = of.token.is_none().then_some(departure.instance);
                let answer = world.auto_scaling.heartbeat(&departure.asg, &of.hook, of.token.as_ref(), instance);
                answer.map(|()| 0).map_err(|error| error.refusal())
            }
            Effect::Complete { of, result, .. } => {
                let instance = of.token.is_none().then_some(departure.instance);
                let answer = world.auto_scaling.complete(&departure.asg, &of.hook, of.token.as_ref(), instance, *result);
                answer.map(|()| 0).map_err(|error| error.refusal())
            }
            Effect::Deregister { group, targets } => {
                let named: Vec<Named> =
                    targets.iter().map(|t| Named { id: t.id.clone(), port: Some(t.port), zone: t.zone.clone() }).collect();
                world.balancers.deregister(group, &named).map(|()| 0).map_err(|error| error.refusal())
            }
            Effect::MakeIneligible(node) => {
                let token = world.subject.nomad_token.clone();
                let answer = world.nomad.set_eligibility(&token, *node, false);
                answer.map(|w| w.index).map_err(|error| error.refusal())
            }
            Effect::Note { node, notes } => {
                let token = world.subject.nomad_token.clone();
                let keys: Vec<_> = notes.iter().map(|note| (note.what.key().into(), Some(note.text().into()))).collect();
                // Nomad shows the note later, and no read waits for it.
                world.nomad.apply_metadata(&token, *node, &keys).map(|_| 0).map_err(|error| error.refusal())
            }
            Effect::Drain { node, deadline, ignore_system_jobs, meta } => {
                let token = world.subject.nomad_token.clone();
                let deadline_ns = i64::try_from(deadline.nanoseconds()).unwrap_or(i64::MAX);
                let spec = DrainSpec { deadline_ns, ignore_system_jobs: *ignore_system_jobs };
                let answer = world.nomad.set_drain(&token, *node, spec, Note::Ours(meta.clone()));
                answer.map(|w| w.index).map_err(|error| error.refusal())
            }
        }
    }
}

impl World for Worker<'_> {
    fn now(&self) -> Time {
        let now = self.true_now();
        if self.synced.get() {
            return now;
        }
        Time(now.0.saturating_add_signed(self.skew_ms.get()))
    }

    fn steady(&self) -> Duration {
        self.true_now().since(self.started)
    }

    async fn look(&self, departure: &Departure, seen: &Snapshot, parts: &[Part]) -> Vec<Observation> {
        join_all(parts.iter().map(|part| self.look_at(departure, seen, part))).await.into_iter().flatten().collect()
    }

    async fn pause(&self, departure: &Departure, seen: &Snapshot, until: Time, watch: &[Part]) -> Vec<Observation> {
        let until = self.true_now() + until.since(self.now()); // by its own clock
        let (nomad, consul) = (watch.contains(&Part::Nomad), watch.contains(&Part::Consul));
        if !nomad && !consul {
            self.sleep_until(until).await;
            return Vec::new();
        }
        let earliest = self.true_now() + WATCH_PAUSE;
        let (current, looked) = (self.versions(), self.looked.get());
        // A system that is not watched never wakes the worker.
        let versions = (if nomad { looked.0 } else { current.0 }, if consul { looked.1 } else { current.1 });
        let changed = UntilNews { worker: self, at: until, versions };
        let changed = if consul && seen.stops_in_consul().next().is_some() {
            match select(changed, pin!(self.await_consul(seen, seen.consul.blind().is_some(), until))).await {
                Either::Left((changed, _)) => changed,
                Either::Right((news, _)) => return vec![Observation::Consul(news)],
            }
        } else {
            changed.await
        };
        if !changed {
            return Vec::new();
        }
        self.sleep_until(earliest.min(until)).await;
        let now = self.versions();
        let mut news = Vec::new();
        if nomad && now.0 != versions.0 {
            news.push(Observation::Nomad(self.look_at_nomad(departure, seen).await));
        }
        if consul && now.1 != versions.1 {
            news.extend(self.news_from_consul(seen, now.1).await);
        }
        news
    }

    async fn act(&self, departure: &Departure, effect: &Effect) -> Result<(), Refusal> {
        let kind = effect.kind();
        let system = match kind {
            EffectKind::Heartbeat | EffectKind::Complete => System::AutoScaling,
            EffectKind::Deregister => System::LoadBalancers,
            EffectKind::MakeIneligible | EffectKind::Drain | EffectKind::Note => System::Nomad,
        };
        self.crash(false);
        self.stop_if_dead().await;
        let answer = self
            .call(system, Some(kind), |world| {
                world.oracle.actor_looked_at = self.first_full_look.get();
                world.oracle.actor = self.number;
                world.before_effect(departure, effect);
                consul_outage::after(world, effect);
                let answer = Self::take_effect(world, departure, effect);
                world.pass_events();
                self.crash(true);
                self.effects.set(self.effects.get() + 1);
                answer
            })
            .await;
        match answer {
            Ok(Ok(index)) => {
                self.written_index.set(self.written_index.get().max(index));
                Ok(())
            }
            Ok(Err(refusal)) => Err(refusal),
            Err(CallOutcome::Throttled) => Err(Refusal::Throttled),
            Err(CallOutcome::Denied) => Err(Refusal::Denied("denied".into())),
            Err(CallOutcome::Answered | CallOutcome::Lost | CallOutcome::AnswerLost) => Err(Refusal::Away("no answer".into())),
        }
    }
}
