//! What a departure would do, played on a snapshot by the rules themselves in virtual time (`decamp plan`).
//!
//! The rules are those of a real departure ([`decamp_core::run::run`]); only the world is simulated. A part that the snapshot does not
//! show stays unseen: the forecast ends where the departure would wait for it.

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
use decamp_core::run::{How, Manner, run};
use decamp_core::time::Time;
use futures_util::FutureExt;

use self::observer::ForecastObserver;
use self::systems::Systems;
use self::world::VirtualWorld;

/// How long tasks take to end after their kill signal, and replacements to be healthy: no API tells either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stops {
    /// At once.
    AtTheSignal,
    /// Their whole `kill_timeout`, and poststop tasks what is allowed for them.
    AtTheTimeout,
}

/// A departure that has not happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// The entry into the hook, or now for an instance that waits already. All other times are later.
    pub begins: Time,
    /// Writes, in their order.
    pub steps: Vec<Step>,
    /// What is waited for, in the order in which the waits begin.
    pub waits: Vec<Wait>,
    /// How long each part of it lasts.
    pub spans: Vec<Span>,
    /// How it ends, and when; or what cannot be seen, and from when on nothing is known therefore.
    pub end: End,
}

/// Writes that are made at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: Time,
    /// What.
    pub effects: Vec<Effect>,
    /// The reason's word.
    pub reason: &'static str,
    /// The reason for people.
    pub because: String,
}

/// A reason to wait, and when it was first the one that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// When.
    pub at: Time,
    /// The reason's word.
    pub reason: &'static str,
    /// The reason for people.
    pub because: String,
}

/// One part of a departure, from when to when. `None` where the forecast ends before that does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What.
    pub what: What,
    /// From.
    pub from: Time,
    /// To.
    pub to: Option<Time>,
}

/// What lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The wait in the hook, to its completion.
    Hook(Arc<str>),
    /// From the deregistration until the load balancer sends nothing more.
    Balancer(TargetGroupArn),
    /// A drain, from when it is sent until Nomad calls it complete.
    Drain(Arc<str>, Phase),
    /// From the word to stop until it is over.
    Allocation(AllocationId, Arc<str>),
    /// From the first word to stop until discovery lists nothing of the instance.
    Discovery(System),
}

/// How a forecast ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// So, then.
    Ended(Outcome, Time),
    /// From then on it depends on a system that cannot be seen.
    Unknown(Time, System, Unseen),
    /// It waits for longer than a departure may take.
    Waits(Time),
}

/// The departure that a survey of an instance foresees, beginning now. `None`: an instance in this state does not leave by a hook
/// (any more), or its state was not seen.
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
    let manner = Manner { stop_at: Some(now + longest(policy)), ..Manner::default() };
    // Each answer of the played world is there when it is asked for.
    let ending = run(&world, &departure, policy, manner, &mut record).now_or_never()?;
    let ended = world.time();
    let hook = our_hook(&departure, surveyed, policy).map(|hook| Arc::clone(&hook.name));
    let spans = world.into_spans();
    let end = match (record.unknown.take(), ending.how) {
        (Some((at, system, why)), _) => End::Unknown(at, system, why),
        (None, How::Ended(outcome, _)) => End::Ended(outcome, ended),
        (None, How::HandedBack | How::Observed(_)) => End::Waits(ended),
    };
    Some(record.forecast(spans, hook, end))
}

/// A departure that is held or cannot be seen may wait until its own end; that is `max_departure` away at most.
fn longest(policy: &Policy) -> Duration {
    policy.max_departure + policy.reserve
}
