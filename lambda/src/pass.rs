//! One invocation: it reads the event, does each task as far as the time allows, and answers which messages have to be delivered again.

use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::SqsBatchResponse;
use decamp_config::Settings;
use decamp_core::decide::{Cause, Departure, Lifecycle, LifecycleAction};
use decamp_core::ids::InstanceId;
use decamp_core::lambda_budget::KEPT_FOR_HANDING_BACK;
use decamp_core::metrics;
use decamp_core::proactive_replacement::{Asked, Due, Window, hidden_for, replace};
use decamp_core::sweep::Sweep;
use decamp_core::time::{Time, plain};
use decamp_events::{EventContent, Message, Record, Rejection, read};
use futures_util::future::join_all;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::departing::{BETWEEN_PASSES, PassResult, depart};
use crate::fleet::Fleet;
use crate::memory::Memory;

/// Everything stops this long before the function's time-out, because a function that times out fails its whole batch.
const RESERVED_FOR_ANSWER: Duration = Duration::from_secs(1);

/// A sweep begins with its last instance this long before its end, and a short sweep at half of its time. The requests of an instance wait
/// up to two seconds to be coalesced, and its heartbeat waits for the rate limit.
const RESERVED_FOR_LAST_INSTANCE: Duration = Duration::from_secs(3);

/// One invocation.
pub(crate) struct Invocation<'a, F> {
    pub(crate) fleet: &'a F,
    pub(crate) settings: &'a Settings,
    /// When to stop looking and acting.
    pub(crate) stop_at: Time,
    /// When to stop everything, by the monotonic clock, which no server's answer corrects.
    pub(crate) ends: Instant,
    /// The memory of this process between invocations.
    pub(crate) memory: &'a Memory,
    /// Prints a line of metrics.
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
        let ends = Instant::now() + left.saturating_sub(RESERVED_FOR_ANSWER);
        Self { fleet, settings, stop_at, ends, memory, metrics }
    }

    /// The answer of `call`, if it comes before everything has to stop.
    pub(crate) async fn in_time<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.ends, call).await.ok()
    }

    pub(crate) fn count(&self, metric: metrics::Metric, kind: &str) {
        self.report(&metrics::line(self.fleet.now(), &[(metrics::KIND, kind)], &[(metric, 1.0)]));
    }
}

/// A task, and the messages that asked for it.
struct Task {
    kind: TaskKind,
    messages: Vec<Arc<Message>>,
}

#[derive(PartialEq, Eq)]
enum TaskKind {
    Depart(Departure),
    Interruption {
        instance: InstanceId,
        at: Time,
    },
    Replace(Vec<InstanceId>),
    /// A scheduled change: its instances are replaced some time before it.
    ReplaceFor {
        instances: Vec<InstanceId>,
        window: Window,
    },
    Sweep,
}

/// Handles one invocation. It never fails: tasks that need another pass are handed back, and rejected records are logged and dropped.
pub(crate) async fn pass<F: Fleet>(at: &Invocation<'_, F>, event: &[u8]) -> SqsBatchResponse {
    let mut tasks: Vec<Task> = Vec::new();
    for record in read(event, &at.settings.allowed, &at.settings.policy.hooks) {
        if let Some(kind) = task(at, &record) {
            // A duplicate in the batch is done once, and the answer covers both messages.
            match tasks.iter_mut().find(|task| is_the_same(&task.kind, &kind)) {
                Some(task) => task.messages.extend(record.message),
                None => tasks.push(Task { kind, messages: record.message.into_iter().collect() }),
            }
        }
    }
    let results = join_all(tasks.iter().map(|task| perform(at, task))).await;
    let mut back: Vec<(&Arc<Message>, Duration)> = Vec::new();
    for (task, result) in tasks.iter().zip(results) {
        let PassResult::HandedBack(hide) = result else { continue };
        for message in &task.messages {
            match back.iter_mut().find(|(other, _)| other.id == message.id) {
                Some((_, earlier)) => *earlier = hide.min(*earlier),
                None => back.push((message, hide)),
            }
        }
        if task.messages.is_empty() {
            info!(action = "hand back", "no queue delivers this event again; the sweep continues it");
        }
    }
    join_all(back.iter().map(|(message, hide)| hide_message(at, message, *hide))).await;
    let mut answer = SqsBatchResponse::default();
    for (message, _) in back {
        answer.add_failure(message.id.to_string());
    }
    answer
}

/// The task of a record. A record without a task is logged here.
fn task<F: Fleet>(at: &Invocation<'_, F>, record: &Record) -> Option<TaskKind> {
    let message = record.message.as_ref().map(|message| &*message.id);
    if record.names_no_region {
        info!(message.id = message, "the event names no Region; Auto Scaling in the function's Region decides");
    }
    match &record.content {
        Ok(EventContent::Departure(departure)) => return Some(TaskKind::Depart(departure.clone())),
        Ok(EventContent::Interruption { instance, at: gone }) => {
            at.count(metrics::WARNINGS, "interruption");
            return Some(TaskKind::Interruption { instance: *instance, at: *gone });
        }
        Ok(EventContent::Sweep) => return Some(TaskKind::Sweep),
        Ok(content @ EventContent::Rebalance { instance }) => {
            at.count(metrics::WARNINGS, content.word());
            warn!(message.id = message, instance.id = %instance, event = content.word(), "EC2 may soon take the instance back");
            return at.settings.replace.on_rebalance().then(|| TaskKind::Replace(vec![*instance]));
        }
        Ok(content @ EventContent::ScheduledChange { instances, window }) => {
            // The queue delivers it again and again until its time. It is counted and logged only the first time.
            if record.message.as_ref().is_none_or(|message| message.receives <= 1) {
                at.count(metrics::WARNINGS, content.word());
                let begins = window.begins.map_or_else(|| "at an unknown time".to_owned(), |at| at.to_string());
                for instance in instances {
                    warn!(message.id = message, instance.id = %instance, event = content.word(), begins, "AWS has scheduled a change of the instance's host");
                }
            }
            let task = TaskKind::ReplaceFor { instances: instances.clone(), window: *window };
            return at.settings.replace.on_scheduled_change().then_some(task);
        }
        Ok(content @ EventContent::Arrival { instance, asg }) => {
            info!(message.id = message, instance.id = %instance, asg.name = &**asg, event = content.word(), "an instance is launching; its hook is not decamp's");
        }
        Ok(content @ (EventContent::Test | EventContent::Informational(_))) => {
            info!(message.id = message, event = content.word(), "nothing to do");
        }
        Err(rejection) => reject(at, message, rejection),
    }
    None
}

fn reject<F: Fleet>(at: &Invocation<'_, F>, message: Option<&str>, rejection: &Rejection) {
    if rejection.is_everyday() {
        info!(message.id = message, event = rejection.word(), "ignored: {rejection}");
        return;
    }
    at.count(metrics::EVENTS_REJECTED, rejection.word());
    error!(message.id = message, event = rejection.word(), "rejected: {rejection}");
}

/// Whether both are the same task. The time when an action began may differ by a second in two messages.
fn is_the_same(one: &TaskKind, other: &TaskKind) -> bool {
    match (one, other) {
        (TaskKind::Depart(one), TaskKind::Depart(other)) => {
            let named = |departure: &Departure| departure.action().map(|action| (action.hook.clone(), action.token.clone()));
            one.instance == other.instance && one.asg == other.asg && named(one) == named(other)
        }
        (TaskKind::Interruption { instance, .. }, TaskKind::Interruption { instance: other, .. }) => instance == other,
        (TaskKind::Replace(_) | TaskKind::ReplaceFor { .. }, _) => one == other,
        (TaskKind::Sweep, TaskKind::Sweep) => true,
        (TaskKind::Depart(_) | TaskKind::Interruption { .. } | TaskKind::Sweep, _) => false,
    }
}

async fn perform<F: Fleet>(at: &Invocation<'_, F>, task: &Task) -> PassResult {
    match &task.kind {
        TaskKind::Depart(departure) => depart(at, departure, None).await,
        TaskKind::Interruption { instance, at: gone } => interruption(at, *instance, *gone).await,
        TaskKind::Replace(instances) => replace_all(at, instances).await,
        TaskKind::ReplaceFor { instances, window } => match when(at, *window, instances, &task.messages) {
            Ok(()) => replace_all(at, instances).await,
            Err(result) => result,
        },
        TaskKind::Sweep => {
            sweep(at).await;
            // The schedule starts the next sweep.
            PassResult::Done
        }
    }
}

async fn replace_all<F: Fleet>(at: &Invocation<'_, F>, instances: &[InstanceId]) -> PassResult {
    let all = join_all(instances.iter().map(|instance| replaced(at, *instance))).await;
    all.into_iter().find(|result| matches!(result, PassResult::HandedBack(_))).unwrap_or(PassResult::Done)
}

/// `Ok` if it is time to replace the instances. Otherwise the result for the event, which waits on its queue.
fn when<F: Fleet>(
    at: &Invocation<'_, F>,
    window: Window,
    instances: &[InstanceId],
    messages: &[Arc<Message>],
) -> Result<(), PassResult> {
    let (settings, now) = (at.settings, at.fleet.now());
    let example = instances.first().map(InstanceId::to_string);
    let due = match window.due(settings.replace_ahead, now) {
        Due::Now => return Ok(()),
        Due::Over => {
            info!(instance.id = example, event = "scheduled-change", "the change has ended, so nothing is replaced");
            return Err(PassResult::Done);
        }
        Due::Later(due) => due,
    };
    let Some(message) = messages.first() else {
        warn!(instance.id = example, event = "scheduled-change", due = %due, "nothing is replaced yet, and no queue delivers this event again: send such events by a queue");
        return Err(PassResult::Done);
    };
    match hidden_for(due, message.sent, settings.queue_keeps, message.receives, BETWEEN_PASSES, now) {
        None => Ok(()),
        Some(hide) => {
            info!(message.id = &*message.id, instance.id = example, event = "scheduled-change", due = %due, "it is replaced from {due} on; the queue delivers the event again in {}", plain(hide));
            Err(PassResult::HandedBack(hide))
        }
    }
}

/// Asks Auto Scaling to replace an instance about which AWS has warned.
async fn replaced<F: Fleet>(at: &Invocation<'_, F>, instance: InstanceId) -> PassResult {
    let asked = replace(at.fleet, |asg| at.settings.allowed.group(asg), at.settings.only_observes(), instance);
    match at.in_time(asked).await {
        Some(Asked::Replaced) => {
            at.count(metrics::WARNINGS, "replaced");
            PassResult::Done
        }
        Some(Asked::Refused) => {
            at.count(metrics::EVENTS_REJECTED, "replacement");
            PassResult::Done
        }
        Some(Asked::LeftAlone) => PassResult::Done,
        Some(Asked::Again) => PassResult::HandedBack(BETWEEN_PASSES),
        None => {
            warn!(instance.id = %instance, "the time was up before Auto Scaling answered");
            PassResult::HandedBack(BETWEEN_PASSES)
        }
    }
}

/// Drains a spot instance if its group is allowed. The event does not name the group, so Auto Scaling is queried.
async fn interruption<F: Fleet>(at: &Invocation<'_, F>, instance: InstanceId, gone: Time) -> PassResult {
    if gone <= at.fleet.now() {
        info!(instance.id = %instance, event = "interruption", "EC2 has taken the instance back already");
        return PassResult::Done;
    }
    let group = at.in_time(at.fleet.group_of(instance)).await;
    match group {
        Some(Ok(Some(asg))) if at.settings.allowed.group(&asg) => {
            depart(at, &Departure { instance, asg, cause: Cause::Interruption { at: gone } }, None).await
        }
        Some(Ok(_)) => {
            info!(instance.id = %instance, event = "interruption", "EC2 takes back an instance that is in no allowed group");
            PassResult::Done
        }
        Some(Err(unseen)) => {
            warn!(instance.id = %instance, event = "interruption", why = %unseen, "Auto Scaling cannot be seen: {unseen}");
            PassResult::HandedBack(BETWEEN_PASSES)
        }
        None => {
            warn!(instance.id = %instance, event = "interruption", "the time was up before Auto Scaling answered");
            PassResult::HandedBack(BETWEEN_PASSES)
        }
    }
}

/// One look, heartbeat and step for every waiting instance, whether or not its event has arrived.
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
    let pass = left - (left / 10).max(RESERVED_FOR_LAST_INSTANCE).min(left / 2);
    let passes = departures.iter().enumerate().map(|(place, departure)| async move {
        tokio::time::sleep(sweep.starts_after(place, pass)).await;
        depart(at, departure, Some(sweep)).await
    });
    join_all(passes).await;
    let values = [(metrics::SWEEPS, 1.0), (metrics::WAITING, waiting.into()), (metrics::RETAINED, retained.into())];
    at.report(&metrics::line(at.fleet.now(), &[], &values));
    info!(event = "sweep", waiting, retained, "swept: {waiting} waiting, {retained} retained");
}

/// Hides a message for a short time, so that the queue delivers it again soon. If that fails it is delivered later, and the sweep sends
/// heartbeats until then.
async fn hide_message<F: Fleet>(at: &Invocation<'_, F>, message: &Message, hide: Duration) {
    if at.observes() {
        return;
    }
    match at.in_time(at.fleet.hide(message, hide)).await {
        Some(Ok(())) => {}
        Some(Err(refusal)) => warn!(message.id = &*message.id, why = %refusal, "the queue delivers the message late: {refusal}"),
        None => warn!(message.id = &*message.id, "the queue delivers the message late: no answer from SQS in time"),
    }
}

#[cfg(test)]
mod tests;
