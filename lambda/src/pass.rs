//! One invocation: what it was invoked with is read, each thing is done as far as the time allows, and the answer says what to bring back.

use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::SqsBatchResponse;
use decamp_config::Settings;
use decamp_core::decide::{Cause, Departure, Lifecycle, LifecycleAction};
use decamp_core::ids::InstanceId;
use decamp_core::lambda_budget::KEPT_FOR_HANDING_BACK;
use decamp_core::metrics;
use decamp_core::replacing::{Asked, Due, Window, hidden_for, replace};
use decamp_core::sweep::Sweep;
use decamp_core::time::{Time, plain};
use decamp_events::{Message, Record, Rejection, Told, read};
use futures_util::future::join_all;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::departing::{BETWEEN_PASSES, Became, depart};
use crate::fleet::Fleet;
use crate::memory::Memory;

/// Stop everything this long before it: a function that runs out of time loses its whole batch.
const KEPT_FOR_THE_ANSWER: Duration = Duration::from_secs(1);

/// A sweep comes to the last instance this long before its end, in a short one half of it: its questions wait up to two seconds for others
/// like them, and its heartbeat for a place.
const KEPT_FOR_THE_LAST: Duration = Duration::from_secs(3);

/// One invocation.
pub(crate) struct Invocation<'a, F> {
    pub(crate) fleet: &'a F,
    pub(crate) settings: &'a Settings,
    /// When to stop looking and acting.
    pub(crate) stop_at: Time,
    /// When to stop everything, by a clock that no server's answer sets.
    pub(crate) ends: Instant,
    /// What this process remembers between invocations.
    pub(crate) memory: &'a Memory,
    /// Where lines of metrics go.
    pub(crate) metrics: &'a dyn Fn(&str),
}

impl<'a, F: Fleet> Invocation<'a, F> {
    pub(crate) fn observes(&self) -> bool {
        self.settings.only_observes()
    }

    pub(crate) fn report(&self, line: &str) {
        (self.metrics)(line);
    }

    /// An invocation that Lambda ends after `left`.
    pub(crate) fn begin(
        fleet: &'a F,
        settings: &'a Settings,
        memory: &'a Memory,
        left: Duration,
        metrics: &'a dyn Fn(&str),
    ) -> Self {
        let stop_at = fleet.now() + left.saturating_sub(KEPT_FOR_HANDING_BACK);
        let ends = Instant::now() + left.saturating_sub(KEPT_FOR_THE_ANSWER);
        Self { fleet, settings, stop_at, ends, memory, metrics }
    }

    /// What `call` answers, if it does before everything has to stop.
    pub(crate) async fn in_time<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.ends, call).await.ok()
    }

    pub(crate) fn count(&self, metric: metrics::Metric, kind: &str) {
        self.report(&metrics::line(self.fleet.now(), &[(metrics::KIND, kind)], &[(metric, 1.0)]));
    }
}

/// Something to do, and the messages that asked for it.
struct Task {
    what: What,
    messages: Vec<Arc<Message>>,
}

#[derive(PartialEq, Eq)]
enum What {
    Depart(Departure),
    Interruption {
        instance: InstanceId,
        at: Time,
    },
    Replace(Vec<InstanceId>),
    /// A change to come: its instances are replaced when its time comes near.
    ReplaceFor {
        instances: Vec<InstanceId>,
        window: Window,
    },
    Sweep,
}

/// Does one invocation. It never fails: what can be done again is handed back, what cannot is said and let go.
pub(crate) async fn pass<F: Fleet>(at: &Invocation<'_, F>, event: &[u8]) -> SqsBatchResponse {
    let mut tasks: Vec<Task> = Vec::new();
    for record in read(event, &at.settings.allowed, &at.settings.policy.hooks) {
        if let Some(what) = task(at, &record) {
            // Twice the same in one batch is done once and answered for both.
            match tasks.iter_mut().find(|task| is_the_same(&task.what, &what)) {
                Some(task) => task.messages.extend(record.message),
                None => tasks.push(Task { what, messages: record.message.into_iter().collect() }),
            }
        }
    }
    let became = join_all(tasks.iter().map(|task| take_up(at, task))).await;
    let mut back: Vec<(&Arc<Message>, Duration)> = Vec::new();
    for (task, became) in tasks.iter().zip(became) {
        let Became::HandedBack(hide) = became else { continue };
        for message in &task.messages {
            match back.iter_mut().find(|(other, _)| other.id == message.id) {
                Some((_, earlier)) => *earlier = hide.min(*earlier),
                None => back.push((message, hide)),
            }
        }
        if task.messages.is_empty() {
            info!(action = "hand back", "no queue brings this event back; the sweep goes on with it");
        }
    }
    join_all(back.iter().map(|(message, hide)| hand_over(at, message, *hide))).await;
    let mut answer = SqsBatchResponse::default();
    for (message, _) in back {
        answer.add_failure(message.id.to_string());
    }
    answer
}

/// What a record asks for. Whatever asks for nothing is said here, once.
fn task<F: Fleet>(at: &Invocation<'_, F>, record: &Record) -> Option<What> {
    let message = record.message.as_ref().map(|message| &*message.id);
    if record.names_no_region {
        info!(message.id = message, "the event names no Region; what Auto Scaling shows in ours decides");
    }
    match &record.told {
        Ok(Told::Departure(departure)) => return Some(What::Depart(departure.clone())),
        Ok(Told::Interruption { instance, at: gone }) => {
            at.count(metrics::WARNINGS, "interruption");
            return Some(What::Interruption { instance: *instance, at: *gone });
        }
        Ok(Told::Sweep) => return Some(What::Sweep),
        Ok(told @ Told::Rebalance { instance }) => {
            at.count(metrics::WARNINGS, told.word());
            warn!(message.id = message, instance.id = %instance, event = told.word(), "EC2 may soon take the instance back");
            return at.settings.replace.on_rebalance().then(|| What::Replace(vec![*instance]));
        }
        Ok(told @ Told::ScheduledChange { instances, window }) => {
            // It is told again by every pass that waits for its time: counted and said once.
            if record.message.as_ref().is_none_or(|message| message.receives <= 1) {
                at.count(metrics::WARNINGS, told.word());
                let begins = window.begins.map_or_else(|| "at a time not told".to_owned(), |at| at.to_string());
                for instance in instances {
                    warn!(message.id = message, instance.id = %instance, event = told.word(), begins, "AWS means to change what the instance runs on");
                }
            }
            let wish = What::ReplaceFor { instances: instances.clone(), window: *window };
            return at.settings.replace.on_scheduled_change().then_some(wish);
        }
        Ok(told @ Told::Arrival { instance, asg }) => {
            info!(message.id = message, instance.id = %instance, asg.name = &**asg, event = told.word(), "a launch; its hook is not decamp's");
        }
        Ok(told @ (Told::Test | Told::Informational(_))) => {
            info!(message.id = message, event = told.word(), "nothing to do");
        }
        Err(rejection) => reject(at, message, rejection),
    }
    None
}

fn reject<F: Fleet>(at: &Invocation<'_, F>, message: Option<&str>, rejection: &Rejection) {
    if rejection.is_everyday() {
        info!(message.id = message, event = rejection.word(), "left alone: {rejection}");
        return;
    }
    at.count(metrics::EVENTS_REJECTED, rejection.word());
    error!(message.id = message, event = rejection.word(), "rejected: {rejection}");
}

/// Whether both ask for the same. When something began may be told in two ways, a second apart.
fn is_the_same(one: &What, other: &What) -> bool {
    match (one, other) {
        (What::Depart(one), What::Depart(other)) => {
            let named = |departure: &Departure| departure.action().map(|action| (action.hook.clone(), action.token.clone()));
            one.instance == other.instance && one.asg == other.asg && named(one) == named(other)
        }
        (What::Interruption { instance, .. }, What::Interruption { instance: other, .. }) => instance == other,
        (What::Replace(_) | What::ReplaceFor { .. }, _) => one == other,
        (What::Sweep, What::Sweep) => true,
        (What::Depart(_) | What::Interruption { .. } | What::Sweep, _) => false,
    }
}

async fn take_up<F: Fleet>(at: &Invocation<'_, F>, task: &Task) -> Became {
    match &task.what {
        What::Depart(departure) => depart(at, departure, None).await,
        What::Interruption { instance, at: gone } => interruption(at, *instance, *gone).await,
        What::Replace(instances) => replace_all(at, instances).await,
        What::ReplaceFor { instances, window } => match when(at, *window, instances, &task.messages) {
            Ok(()) => replace_all(at, instances).await,
            Err(became) => became,
        },
        What::Sweep => {
            sweep(at).await;
            // The next one comes by itself.
            Became::Over
        }
    }
}

async fn replace_all<F: Fleet>(at: &Invocation<'_, F>, instances: &[InstanceId]) -> Became {
    let all = join_all(instances.iter().map(|instance| replaced(at, *instance))).await;
    all.into_iter().find(|became| matches!(became, Became::HandedBack(_))).unwrap_or(Became::Over)
}

/// Whether the time of a change has come near; else what becomes of its event, which waits on its queue.
fn when<F: Fleet>(
    at: &Invocation<'_, F>,
    window: Window,
    instances: &[InstanceId],
    messages: &[Arc<Message>],
) -> Result<(), Became> {
    let (settings, now) = (at.settings, at.fleet.now());
    let example = instances.first().map(InstanceId::to_string);
    let due = match window.due(settings.replace_ahead, now) {
        Due::Now => return Ok(()),
        Due::Over => {
            info!(instance.id = example, event = "scheduled-change", "the change is over; nothing is replaced for it");
            return Err(Became::Over);
        }
        Due::Later(due) => due,
    };
    let Some(message) = messages.first() else {
        warn!(instance.id = example, event = "scheduled-change", due = %due, "nothing is replaced yet, and no queue brings this event back: send it by a queue");
        return Err(Became::Over);
    };
    match hidden_for(due, message.sent, settings.queue_keeps, message.receives, BETWEEN_PASSES, now) {
        None => Ok(()),
        Some(hide) => {
            info!(message.id = &*message.id, instance.id = example, event = "scheduled-change", due = %due, "replaced not before {due}; its event comes back in {}", plain(hide));
            Err(Became::HandedBack(hide))
        }
    }
}

/// Has Auto Scaling replace an instance that AWS warned of.
async fn replaced<F: Fleet>(at: &Invocation<'_, F>, instance: InstanceId) -> Became {
    let asked = replace(at.fleet, |asg| at.settings.allowed.group(asg), at.settings.only_observes(), instance);
    match at.in_time(asked).await {
        Some(Asked::Replaced) => {
            at.count(metrics::WARNINGS, "replaced");
            Became::Over
        }
        Some(Asked::Refused) => {
            at.count(metrics::EVENTS_REJECTED, "replacement");
            Became::Over
        }
        Some(Asked::LeftAlone) => Became::Over,
        Some(Asked::Again) => Became::HandedBack(BETWEEN_PASSES),
        None => {
            warn!(instance.id = %instance, "the time was up before Auto Scaling answered");
            Became::HandedBack(BETWEEN_PASSES)
        }
    }
}

/// Takes a spot instance out if it is one of ours: the event does not say, Auto Scaling does.
async fn interruption<F: Fleet>(at: &Invocation<'_, F>, instance: InstanceId, gone: Time) -> Became {
    if gone <= at.fleet.now() {
        info!(instance.id = %instance, event = "interruption", "EC2 has taken the instance back already");
        return Became::Over;
    }
    let group = at.in_time(at.fleet.group_of(instance)).await;
    match group {
        Some(Ok(Some(asg))) if at.settings.allowed.group(&asg) => {
            depart(at, &Departure { instance, asg, cause: Cause::Interruption { at: gone } }, None).await
        }
        Some(Ok(_)) => {
            info!(instance.id = %instance, event = "interruption", "EC2 takes back an instance that is in no group of ours");
            Became::Over
        }
        Some(Err(unseen)) => {
            warn!(instance.id = %instance, event = "interruption", why = %unseen, "Auto Scaling cannot be seen: {unseen}");
            Became::HandedBack(BETWEEN_PASSES)
        }
        None => {
            warn!(instance.id = %instance, event = "interruption", "the time was up before Auto Scaling answered");
            Became::HandedBack(BETWEEN_PASSES)
        }
    }
}

/// One look, heartbeat and step for everything that waits, whether or not its event ever came.
async fn sweep<F: Fleet>(at: &Invocation<'_, F>) {
    let leaving = match at.in_time(at.fleet.leaving(&at.settings.allowed)).await {
        Some(Ok(leaving)) => leaving,
        Some(Err(unseen)) => {
            warn!(event = "sweep", why = %unseen, "Auto Scaling cannot be seen: {unseen}");
            return;
        }
        None => {
            warn!(event = "sweep", "the time was up before Auto Scaling answered");
            return;
        }
    };
    let of =
        |wanted: &Lifecycle| u32::try_from(leaving.iter().filter(|one| one.lifecycle == *wanted).count()).unwrap_or(u32::MAX);
    let (waiting, retained) = (of(&Lifecycle::Waiting), of(&Lifecycle::Retained));
    let mut departures: Vec<Departure> = leaving
        .iter()
        .filter(|one| [Lifecycle::Waiting, Lifecycle::ReplacingRootVolume].contains(&one.lifecycle))
        .map(|one| Departure {
            instance: one.instance,
            asg: Arc::clone(&one.asg),
            cause: Cause::Lifecycle(LifecycleAction::default()),
        })
        .collect();
    let now = at.fleet.now();
    let sweep = Sweep::begin(now, at.settings.serve.sweep_every, departures.len(), at.settings.aws.auto_scaling_rate);
    departures.sort_by_cached_key(|departure| sweep.place(departure.instance));
    let left = at.stop_at.since(now);
    let pass = left - (left / 10).max(KEPT_FOR_THE_LAST).min(left / 2);
    let passes = departures.iter().enumerate().map(|(place, departure)| async move {
        tokio::time::sleep(sweep.starts_after(place, pass)).await;
        depart(at, departure, Some(sweep)).await
    });
    join_all(passes).await;
    let values = [(metrics::SWEEPS, 1.0), (metrics::WAITING, waiting.into()), (metrics::RETAINED, retained.into())];
    at.report(&metrics::line(at.fleet.now(), &[], &values));
    info!(event = "sweep", waiting, retained, "swept: {waiting} waiting, {retained} retained");
}

/// Lets a message come back soon. If that fails it comes back later, and the sweep keeps its hook alive until then.
async fn hand_over<F: Fleet>(at: &Invocation<'_, F>, message: &Message, hide: Duration) {
    if at.observes() {
        return;
    }
    match at.in_time(at.fleet.hide(message, hide)).await {
        Some(Ok(())) => {}
        Some(Err(refusal)) => warn!(message.id = &*message.id, why = %refusal, "the message comes back late: {refusal}"),
        None => warn!(message.id = &*message.id, "the message comes back late: no answer from SQS in time"),
    }
}

#[cfg(test)]
mod tests;
