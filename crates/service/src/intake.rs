//! Turns the events of a message or request into departures and pending lookups, whichever way it came in.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tracing::{error, info, warn};

use super::Service;
use super::departures::{Admission, Done, Entry};
use super::pending_lookups::{Lookup, PendingLookup};
use super::view::View;
use decamp_core::decide::Departure;
use decamp_core::ids::InstanceId;
use decamp_core::proactive_replacement::{Due, Window, hidden_for};
use decamp_core::time::plain;
use decamp_core::world::World;
use decamp_events::{EventContent, Message, Record, Rejection, read};

/// The shortest time that the message of a scheduled change stays hidden.
const SOON: Duration = Duration::from_secs(5);

/// What became of the events of one message or request.
#[derive(Debug, Default)]
pub(super) struct Intake {
    /// The departures that it reported, now in progress.
    pub(super) entries: Vec<Arc<Entry>>,
    /// The lookups that Auto Scaling has to answer first, now pending.
    pub(super) lookups: Vec<Arc<PendingLookup>>,
    /// How many events were accepted.
    pub(super) accepted: u32,
    /// How many events needed nothing.
    pub(super) ignored: u32,
    /// Events that can never be acted on.
    pub(super) rejected: Vec<Rejection>,
    /// Why some of its events have to be sent again.
    pub(super) retry: Option<RetryReason>,
    /// How long its message stays hidden after everything else in it has ended, because it reports a change whose time has not
    /// come.
    pub(super) hidden_for: Option<Duration>,
}

/// Why an event has to be sent again, later or to another replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryReason {
    /// This replica is at its limit of departures.
    Full,
    /// This replica is at its limit of pending lookups.
    TooManyWarnings,
    /// This replica received a stop signal.
    Stopping,
}

/// Accepts the events in `event`.
pub(super) fn accept(service: &Service, event: &[u8], told_by: &'static str) -> Intake {
    let settings = &service.settings;
    let mut intake = Intake::default();
    for Record { message, content, names_no_region } in read(event, &settings.allowed, &settings.policy.hooks) {
        let message = message.as_deref();
        if names_no_region {
            info!(message.id = id(message), "the event names no Region; what Auto Scaling shows in ours decides");
        }
        match content {
            Ok(content) => {
                service.metrics.event_received(told_by, content.word());
                accept_one(service, content, told_by, message, &mut intake);
            }
            Err(rejection) => {
                reject(service, id(message), &rejection);
                intake.rejected.push(rejection);
            }
        }
    }
    intake
}

fn id(message: Option<&Message>) -> Option<&str> {
    message.map(|message| &*message.id)
}

fn accept_one(service: &Service, content: EventContent, told_by: &'static str, message: Option<&Message>, intake: &mut Intake) {
    match content {
        EventContent::Departure(departure) => match admit(service, departure, told_by) {
            Admission::InProgress(entry) => {
                intake.accepted += 1;
                intake.entries.push(entry);
            }
            Admission::Finished => {
                intake.ignored += 1;
                info!(message.id = message.map(|message| &*message.id), event = "again", "nothing to do: it is over");
            }
            Admission::Full => intake.retry = Some(RetryReason::Full),
            Admission::Stopping => intake.retry = Some(RetryReason::Stopping),
        },
        EventContent::Interruption { instance, at } => send(service, Lookup::Interrupted { instance, at }, intake),
        EventContent::Sweep => {
            service.sweep_now.notify_one();
            intake.accepted += 1;
        }
        EventContent::Rebalance { instance } => {
            warn!(message.id = id(message), instance.id = %instance, event = "rebalance", "EC2 may soon take the instance back");
            if service.settings.replace.on_rebalance() {
                send(service, Lookup::Replace { instance, due: None }, intake);
            } else {
                intake.ignored += 1;
            }
        }
        EventContent::ScheduledChange { instances, window } => scheduled(service, &instances, window, message, intake),
        content @ (EventContent::Arrival { .. } | EventContent::Test | EventContent::Informational(_)) => {
            intake.ignored += 1;
            info!(message.id = id(message), event = content.word(), "nothing to do");
        }
    }
}

/// A scheduled change: its instances are replaced shortly before it. Until then, the event waits on its queue. An event that came
/// without a queue waits in this replica's memory only.
fn scheduled(service: &Service, instances: &[InstanceId], window: Window, message: Option<&Message>, intake: &mut Intake) {
    let settings = &service.settings;
    let begins = window.begins.map_or_else(|| "at an unknown time".to_owned(), |at| at.to_string());
    // A message that waits for its time is received again and again. It is logged once.
    if message.is_none_or(|message| message.receives <= 1) {
        for instance in instances {
            warn!(message.id = id(message), instance.id = %instance, event = "scheduled-change", begins, "AWS means to change what the instance runs on");
        }
    }
    let ignored = u32::try_from(instances.len()).unwrap_or(u32::MAX);
    if !settings.replace.on_scheduled_change() {
        intake.ignored += ignored;
        return;
    }
    let now = service.live.now();
    let mut due = match window.due(settings.replace_ahead, now) {
        Due::Now => None,
        Due::Later(due) => Some(due),
        Due::Over => {
            info!(message.id = id(message), event = "scheduled-change", "the change is over; nothing is replaced for it");
            intake.ignored += ignored;
            return;
        }
    };
    if let (Some(message), Some(at)) = (message, due) {
        if let Some(hide) = hidden_for(at, message.sent, settings.queue_keeps, message.receives, SOON, now) {
            info!(message.id = &*message.id, event = "scheduled-change", due = %at, "replaced not before {at}; its event comes back in {}", plain(hide));
            intake.hidden_for = Some(intake.hidden_for.map_or(hide, |earlier| earlier.min(hide)));
            intake.accepted += ignored;
            return;
        }
        due = None;
    }
    for &instance in instances {
        if let Some(due) = due {
            warn!(instance.id = %instance, event = "scheduled-change", due = %due, "replaced at {due} at the earliest, if this replica still runs then; send such events by a queue");
        }
        send(service, Lookup::Replace { instance, due }, intake);
    }
}

fn send(service: &Service, lookup: Lookup, intake: &mut Intake) {
    if *service.stopping.borrow() {
        intake.retry = Some(RetryReason::Stopping);
        return;
    }
    match service.lookups.add(lookup) {
        Some(lookup) => {
            intake.accepted += 1;
            intake.lookups.push(lookup);
        }
        None => intake.retry = Some(RetryReason::TooManyWarnings),
    }
}

impl Intake {
    /// Waits until this replica is done with all of it. `Released` if another replica has to continue any part.
    pub(super) async fn done(&self) -> Done {
        let entries = join_all(self.entries.iter().map(|entry| entry.done()));
        let lookups = join_all(self.lookups.iter().map(|lookup| lookup.done()));
        let (entries, lookups) = tokio::join!(entries, lookups);
        let released = entries.into_iter().chain(lookups).any(|done| done == Done::Released);
        if released { Done::Released } else { Done::Finished }
    }
}

/// Admits one departure.
pub(super) fn admit(service: &Service, departure: Departure, told_by: &'static str) -> Admission {
    let trace_id = service.traces.id_of(&departure);
    let view = View { trace_id, ..View::begin(&departure, told_by, service.live.now()) };
    service.departures.admit(departure, || view)
}

/// Admits a departure after a sweep's pass over it, and continues what the pass did.
pub(super) fn admit_after_pass(service: &Service, pass: &Entry) -> Admission {
    let now = service.live.now();
    let view = View { trace_id: service.traces.id_of(&pass.departure), ..View::begin(&pass.departure, "sweep", now) };
    service.departures.admit(pass.departure.clone(), || view.continue_from(pass.shown(), now))
}

fn reject(service: &Service, message: Option<&str>, rejection: &Rejection) {
    if rejection.is_everyday() {
        info!(message.id = message, event = rejection.word(), "left alone: {rejection}");
        return;
    }
    service.metrics.rejected(rejection.word());
    error!(message.id = message, event = rejection.word(), "rejected: {rejection}");
}
