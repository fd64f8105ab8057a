//! Forecasts a departure: runs the rules on a snapshot in virtual time (`decamp plan`).
//!
//! The rules are those of a real departure ([`decamp_core::run::run`]); only the world is simulated. A part that the snapshot does not
//! show stays unseen, and the forecast ends where the departure would wait for it.

mod begin;
mod observer;
mod systems;
mod world;

use std::sync::Arc;
use std::time::Duration;

use decamp_core::decide::{
    Cause, Departure, Effect, Lifecycle, LifecycleAction, Outcome, Phase, Policy, Snapshot, System, Unseen, our_hook,
};
use decamp_core::ids::{AllocationId, TargetGroupArn};
use decamp_core::run::{RunOptions, RunResult, run};
use decamp_core::time::Time;
use futures_util::FutureExt;

use self::observer::ForecastObserver;
use self::systems::Systems;
use self::world::VirtualWorld;

/// How long tasks take to end after their kill signal, and replacements to become healthy. No API reports either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stops {
    /// They end at once.
    AtTheSignal,
    /// They take their whole `kill_timeout`, and poststop tasks the time that the policy allows.
    AtTheTimeout,
}

/// The forecast of a departure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// The entry into the hook, or now if the instance waits already. All other times are later.
    pub begins: Time,
    /// The writes in order.
    pub steps: Vec<ForecastWrites>,
    /// The waits, in the order in which they begin.
    pub waits: Vec<ForecastWait>,
    /// How long each part lasts.
    pub spans: Vec<PartSpan>,
    /// How and when it ends, or from when on it depends on a system that cannot be seen.
    pub end: ForecastEnd,
}

/// Writes that are made at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForecastWrites {
    /// When they are made.
    pub at: Time,
    /// The writes.
    pub effects: Vec<Effect>,
    /// The reason's word.
    pub reason: &'static str,
    /// The reason as a sentence.
    pub because: String,
}

/// A wait: its reason, and when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForecastWait {
    /// When it begins.
    pub at: Time,
    /// The reason's word.
    pub reason: &'static str,
    /// The reason as a sentence.
    pub because: String,
}

/// One part of a departure with its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartSpan {
    /// The part.
    pub part: DeparturePart,
    /// When it begins.
    pub from: Time,
    /// When it ends; `None` if the forecast ends before.
    pub to: Option<Time>,
}

/// The parts of a departure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeparturePart {
    /// The wait in the hook, until the completion.
    Hook(Arc<str>),
    /// From the deregistration until the load balancer sends nothing more.
    Balancer(TargetGroupArn),
    /// A drain, from its write until Nomad calls it complete.
    Drain(Arc<str>, Phase),
    /// The stop of an allocation, from the request until it is over.
    Allocation(AllocationId, Arc<str>),
    /// From the first request to stop until discovery lists nothing of the instance.
    Discovery(System),
}

/// How a forecast ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForecastEnd {
    /// With this outcome, at this time.
    Ended(Outcome, Time),
    /// From this time on it depends on a system that cannot be seen.
    Unknown(Time, System, Unseen),
    /// It waits for longer than a departure may take, at this time.
    Waits(Time),
}

/// Forecasts the departure of a surveyed instance, beginning now. `None`: in its state the instance does not leave by a hook, or no
/// longer, or its state was not seen.
#[must_use]
pub fn forecast(departure: &Departure, surveyed: &Snapshot, policy: &Policy, stops: Stops, now: Time) -> Option<Forecast> {
    let enters = match surveyed.lifecycle.last()? {
        Lifecycle::Staying(_) | Lifecycle::Terminating => true,
        Lifecycle::Waiting => false,
        Lifecycle::WaitingForWarmPool
        | Lifecycle::ReplacingRootVolume
        | Lifecycle::Past
        | Lifecycle::Retained
        | Lifecycle::Gone
        | Lifecycle::Unknown(_) => return None,
    };
    let mut departure = departure.clone();
    if enters {
        let hook = our_hook(&departure, surveyed, policy).map(|hook| Arc::clone(&hook.name));
        departure.cause = Cause::Lifecycle(LifecycleAction { hook, began: Some(now), ..LifecycleAction::default() });
    }
    let systems = Systems::of(&departure, surveyed, policy, stops, now, enters);
    let world = VirtualWorld::new(systems, now);
    let mut record = ForecastObserver::new(now);
    let manner = RunOptions { stop_at: Some(now + longest(policy)), ..RunOptions::default() };
    // The virtual world answers at once, so that the future never waits.
    let ending = run(&world, &departure, policy, manner, &mut record).now_or_never()?;
    let ended = world.time();
    let hook = our_hook(&departure, surveyed, policy).map(|hook| Arc::clone(&hook.name));
    let spans = world.into_spans();
    let end = match (record.unknown.take(), ending.how) {
        (Some((at, system, why)), _) => ForecastEnd::Unknown(at, system, why),
        (None, RunResult::Ended(outcome, _)) => ForecastEnd::Ended(outcome, ended),
        (None, RunResult::HandedBack | RunResult::Observed(_)) => ForecastEnd::Waits(ended),
    };
    Some(record.forecast(spans, hook, end))
}

/// The longest forecast. A departure that is held or cannot be seen may wait until its end, which is at most `max_departure` away.
fn longest(policy: &Policy) -> Duration {
    policy.max_departure + policy.reserve
}
