//! The loop: look, decide, act, and look again, until the instance may go.

mod looks;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use self::looks::{Answer, Asked, Looks};
use crate::decide::{
    Action, AnswerTimes, BRIEF, Decision, Departure, Effect, Noted, Observation, Outcome, Policy, Reason, Snapshot, decide,
};
use crate::sweep::Sweep;
use crate::time::Time;
use crate::world::World;

/// The options of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions<'a> {
    /// When to stop and hand the departure back. `None`: run until the departure has ended.
    pub stop_at: Option<Time>,
    /// Look, decide and report, but write nothing (`DECAMP_MODE=observe`, `decamp plan`). The run ends at the first write.
    pub observe: bool,
    /// Hand the departure back instead of waiting. A sweep makes one pass over all waiting instances.
    pub never_wait: bool,
    /// What this process remembers of earlier runs of the same departure ([`remember`](crate::decide::remember)).
    pub remembered: &'a [Noted],
    /// The sweep that this run belongs to, which decides whose heartbeats are sent (ADR 0018). `None`: heartbeats are sent when they are
    /// due.
    pub sweep: Option<Sweep>,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Ending {
    /// The result.
    pub how: RunResult,
    /// The snapshot at the end.
    pub seen: Snapshot,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunResult {
    /// The departure has ended.
    Ended(Outcome, Reason),
    /// `stop_at` came first. No write is in progress.
    HandedBack,
    /// An observer's run ended before this write.
    Observed(Decision),
}

/// Receives every decision and every write as it happens.
pub trait Observer {
    /// A decision was made, and is about to be carried out.
    fn decided(&mut self, departure: &Departure, decision: &Decision, seen: &Snapshot, now: Time);
    /// A write was answered.
    fn wrote(&mut self, departure: &Departure, effect: &Effect, answer: &Result<(), crate::decide::Refusal>, now: Time);
}

/// A wait that lasts this much longer than intended means that the process itself was stopped.
const LATE: Duration = Duration::from_secs(2);

/// An observer that does nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn decided(&mut self, _: &Departure, _: &Decision, _: &Snapshot, _: Time) {}
    fn wrote(&mut self, _: &Departure, _: &Effect, _: &Result<(), crate::decide::Refusal>, _: Time) {}
}

/// Takes one departure through `world` by the rules.
///
/// The run may be cancelled at any await point and started again by any worker: it stores no progress.
pub async fn run<W: World>(
    world: &W,
    departure: &Departure,
    policy: &Policy,
    options: RunOptions<'_>,
    observer: &mut dyn Observer,
) -> Ending {
    run_by(decide, world, departure, policy, options, observer).await
}

/// The same loop with other rules, for baselines and for the wrong drivers that the simulator must catch.
pub async fn run_by<W: World>(
    rules: impl Fn(&Departure, &Snapshot, &Policy, Time) -> Decision,
    world: &W,
    departure: &Departure,
    policy: &Policy,
    options: RunOptions<'_>,
    observer: &mut dyn Observer,
) -> Ending {
    let begin = |at: Time| {
        let mut seen = Snapshot::begin_again(departure.instance, at, options.remembered);
        seen.history.sweep = options.sweep;
        Arc::new(seen)
    };
    let mut seen = begin(world.now());
    let mut looks = Looks::new(world, departure);
    let handed_back = |seen| Ending { how: RunResult::HandedBack, seen: Arc::unwrap_or_clone(seen) };
    loop {
        let now = world.now();
        if looks.are_under_way() || !seen.late.is_empty() {
            Arc::make_mut(&mut seen).late = looks.late();
        }
        let decision = rules(departure, &seen, policy, now);
        // If the departure has ended, the result counts even if the time has run out.
        let ends = matches!(decision.action, Action::End(_));
        if !ends && options.stop_at.is_some_and(|stop| stop <= now) {
            drop(looks);
            return handed_back(seen);
        }
        observer.decided(departure, &decision, &seen, now);
        match decision.action {
            Action::Look(parts) => {
                let anew = looks.ask(&seen, parts);
                let answers = looks.answers(&seen, anew, options.stop_at).await;
                take_in(&mut seen, &mut looks, answers, begin);
            }
            // Looks in progress are no wait. A sweep takes in their answers too.
            Action::Wait { .. } if options.never_wait && looks.are_under_way() => {
                let answers = looks.answers(&seen, false, options.stop_at).await;
                take_in(&mut seen, &mut looks, answers, begin);
            }
            Action::Wait { .. } if options.never_wait => return handed_back(seen),
            Action::Wait { until, watch } => {
                let until = options.stop_at.map_or(until, |stop| stop.min(until));
                let (answers, news) = looks.meanwhile(&seen, until, &watch).await;
                // The answer to a watch is as of now.
                let woken = world.now();
                if until + LATE < woken {
                    Arc::make_mut(&mut seen).history.woke_late = Some(woken);
                }
                for observation in news {
                    // A failed watch means that the outage has lasted for this long already.
                    let since = if matches!(observation, Observation::Consul(Err(_))) { woken.before(BRIEF) } else { woken };
                    Arc::make_mut(&mut seen).take(since, observation);
                }
                take_in(&mut seen, &mut looks, answers, begin);
            }
            // Heartbeats come before the first look. An observer goes on as if Auto Scaling had accepted them.
            Action::Do(effects) if options.observe && effects.iter().all(|effect| matches!(effect, Effect::Heartbeat(_))) => {
                for effect in &effects {
                    Arc::make_mut(&mut seen).did(now, now, effect, &Ok(()));
                }
            }
            Action::Do(_) if options.observe => {
                drop(looks);
                return Ending { how: RunResult::Observed(decision), seen: Arc::unwrap_or_clone(seen) };
            }
            Action::Do(effects) => {
                looks.outdated_by(&effects);
                let steady = world.steady();
                let answers = join_all(effects.iter().map(|effect| world.act(departure, effect))).await;
                let answered = world.now();
                // The answer may have set the clock, as with looks.
                let sent = answered.before(world.steady().saturating_sub(steady));
                if jumped(now, steady, world) {
                    seen = begin(sent);
                    looks.forget();
                }
                for (effect, answer) in effects.iter().zip(answers) {
                    observer.wrote(departure, effect, &answer, answered);
                    Arc::make_mut(&mut seen).did(sent, answered, effect, &answer);
                }
            }
            Action::End(outcome) => {
                drop(looks);
                return Ending { how: RunResult::Ended(outcome, decision.reason), seen: Arc::unwrap_or_clone(seen) };
            }
        }
    }
}

/// Takes in the answers to looks, each as of the time at which it was asked for.
fn take_in<W: World>(
    seen: &mut Arc<Snapshot>,
    looks: &mut Looks<'_, W>,
    answers: Vec<Answer>,
    begin: impl Fn(Time) -> Arc<Snapshot>,
) {
    let world = looks.world;
    for Answer { asked: Asked { at, steady }, observations } in answers {
        // The first answer may have set the clock. The steady clock tells when the look was asked for.
        let asked = world.now().before(world.steady().saturating_sub(steady));
        // What the first of several systems answered may have been learned by the old clock.
        if !seen.is_blank() && jumped(at, steady, world) {
            *seen = begin(asked);
            looks.forget();
        }
        let seen = Arc::make_mut(seen);
        seen.history.began_by(asked);
        let when = AnswerTimes { asked, last_asked: looks.last_asked().max(asked), answered: world.now() };
        for observation in observations {
            seen.take_late(when, observation);
        }
        seen.history.looked(asked, world.now());
    }
}

/// Whether the first answer of a server has set the clock. What was learned by the old clock is then forgotten, as in a crash.
fn jumped<W: World>(before: Time, steady_before: Duration, world: &W) -> bool {
    let expected = before + world.steady().saturating_sub(steady_before);
    let now = world.now();
    Duration::from_secs(2) < now.since(expected).max(expected.since(now))
}
