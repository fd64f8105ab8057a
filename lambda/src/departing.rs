//! One departure in one pass. It runs until it ends or the time is up. Then its hook gets a heartbeat and its message is handed back.

use std::sync::LazyLock;
use std::time::Duration;

use decamp_core::decide::{Budget, Departure, Lifecycle, Refusal, Snapshot, last_heartbeat, remember};
use decamp_core::denials::Denials;
use decamp_core::describe::{ComparisonCounts, DecisionLog, above_the_floor, can_tell_how_long, found_nothing_to_do, hard_stops};
use decamp_core::metrics;
use decamp_core::run::{Ending, Observer, RunOptions, RunResult, run};
use decamp_core::sweep::Sweep;
use decamp_core::time::plain;
use tracing::{info, warn};

use crate::fleet::Fleet;
use crate::pass::Invocation;

/// The result of a task in this pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PassResult {
    /// The task needs no further pass.
    Done,
    /// Another pass has to continue it, this long from now.
    HandedBack(Duration),
}

/// The longest that a message stays hidden between two passes (ADR 0017).
pub(crate) const BETWEEN_PASSES: Duration = Duration::from_secs(5);

/// The time of a pass that is reserved for the heartbeat and the message if a call hangs.
const RESERVED_FOR_HEARTBEAT: Duration = Duration::from_secs(3);
/// The part of it that is reserved for the message if the heartbeat hangs too. The next pass and the sweep send the heartbeat again.
const RESERVED_FOR_MESSAGE: Duration = Duration::from_millis(1500);

/// The denials that this process has reported. They are kept between passes, because each is reported only once an hour.
static DENIALS: LazyLock<Denials> = LazyLock::new(Denials::default);

/// Runs a departure until it ends or the pass has to stop.
pub(crate) async fn depart<F: Fleet>(at: &Invocation<'_, F>, departure: &Departure, sweep: Option<Sweep>) -> PassResult {
    let never_wait = sweep.is_some();
    let remembered = at.memory.of(departure);
    let policy = &*at.settings.policy_of(&departure.asg);
    let mut telling = DecisionLog::new(policy, &DENIALS);
    let manner = RunOptions { stop_at: Some(at.stop_at), observe: at.observes(), never_wait, remembered: &remembered, sweep };
    // The loop stops by the servers' clock. If that clock is set back meanwhile, or a call hangs, the monotonic clock stops the loop a
    // little later.
    let at_latest = at.ends - RESERVED_FOR_HEARTBEAT;
    let ending = tokio::time::timeout_at(at_latest, run(at.fleet, departure, policy, manner, &mut telling)).await;
    let Ending { how, seen } = ending.unwrap_or_else(|_| {
        warn!(instance.id = %departure.instance, asg.name = &*departure.asg, action = "hand back", "the time was up in the middle of a call");
        Ending { how: RunResult::HandedBack, seen: Snapshot::begin_again(departure.instance, at.fleet.now(), &remembered) }
    });
    if seen.lifecycle.last() == Some(&Lifecycle::ReplacingRootVolume) {
        at.count(metrics::WARNINGS, "root-volume");
    }
    match how {
        RunResult::HandedBack => at.memory.keep(departure, remember(departure, &seen, policy, at.fleet.now())),
        RunResult::Ended(..) | RunResult::Observed(_) => at.memory.forget(departure),
    }
    let result = match how {
        RunResult::Ended(outcome, reason) => {
            let now = at.fleet.now();
            let counts = !(never_wait && found_nothing_to_do(&outcome, telling.steps));
            let began = Budget::of(departure, &seen, policy).began;
            let seconds = now.since(began).as_secs_f64();
            let mut values = vec![(metrics::DEPARTURES, 1.0), (metrics::STEPS, f64::from(telling.steps))];
            if can_tell_how_long(departure, &seen) {
                values.push((metrics::DEPARTURE_SECONDS, seconds));
                let above = above_the_floor(departure, &seen, policy, now);
                values.extend(above.map(|above| (metrics::SECONDS_ABOVE_FLOOR, above.as_secs_f64())));
            }
            if counts {
                at.report(&metrics::line(now, &[(metrics::ASG, &departure.asg), (metrics::OUTCOME, outcome.word())], &values));
            }
            for (kind, count) in hard_stops(departure, &seen, policy) {
                let dimensions = [(metrics::ASG, &*departure.asg), (metrics::KIND, kind.word())];
                at.report(&metrics::line(now, &dimensions, &[(metrics::HARD_STOPS, f64::from(count))]));
            }
            let compared = ComparisonCounts::of(departure, &seen, &telling.compared);
            let results = compared.results.iter().map(|(result, count)| (metrics::COMPARED, result.word(), count));
            let missing = compared.not_foreseen.iter().map(|(finding, count)| (metrics::NOT_FORESEEN, *finding, count));
            for (metric, word, count) in results.chain(missing) {
                let dimensions = [(metrics::ASG, &*departure.asg), (metrics::KIND, word)];
                at.report(&metrics::line(now, &dimensions, &[(metric, f64::from(*count))]));
            }
            telling.ended(departure, &outcome, &reason, now.since(began));
            PassResult::Done
        }
        RunResult::Observed(decision) => {
            telling.observed(departure, &decision);
            PassResult::Done
        }
        // The next sweep continues it, also if decamp only observes.
        RunResult::HandedBack if never_wait || at.observes() => PassResult::Done,
        RunResult::HandedBack => hand_back(at, departure, &seen, &mut telling).await,
    };
    count(at, departure, &telling);
    result
}

/// Sends a heartbeat, so that the hook lasts until the next pass.
async fn hand_back<F: Fleet>(
    at: &Invocation<'_, F>,
    departure: &Departure,
    seen: &Snapshot,
    telling: &mut DecisionLog<'_>,
) -> PassResult {
    let policy = &*at.settings.policy_of(&departure.asg);
    let budget = Budget::of(departure, seen, policy);
    let hide = BETWEEN_PASSES.min(budget.heartbeat_timeout / 6);
    let now = at.fleet.now();
    if let Some(heartbeat) = last_heartbeat(departure, seen, policy, now) {
        let sent = tokio::time::timeout_at(at.ends - RESERVED_FOR_MESSAGE, at.fleet.act(departure, &heartbeat)).await;
        let answer = sent.unwrap_or_else(|_| Err(Refusal::Away("no answer in time".into())));
        telling.wrote(departure, &heartbeat, &answer, now);
    }
    info!(
        instance.id = %departure.instance,
        asg.name = &*departure.asg,
        action = "hand back",
        time_left_s = budget.end.since(now).as_secs(),
        "handed back for {}",
        plain(hide)
    );
    at.report(&metrics::line(now, &[(metrics::ASG, &departure.asg)], &[(metrics::HANDED_BACK, 1.0)]));
    PassResult::HandedBack(hide)
}

fn count<F: Fleet>(at: &Invocation<'_, F>, departure: &Departure, telling: &DecisionLog<'_>) {
    telling.denied.iter().for_each(|denial| at.count(metrics::DENIED, denial.call));
    if telling.heartbeats_rejected > 0 {
        let values = [(metrics::HEARTBEATS_REJECTED, f64::from(telling.heartbeats_rejected))];
        at.report(&metrics::line(at.fleet.now(), &[(metrics::ASG, &departure.asg)], &values));
    }
}
