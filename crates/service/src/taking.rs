//! What was told becomes departures in hand, from whichever way it came in.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tracing::{error, info, warn};

use super::Service;
use super::departures::{Done, Entry, TakenUp};
use super::errands::{self, Errand};
use super::view::View;
use decamp_core::decide::Departure;
use decamp_core::ids::InstanceId;
use decamp_core::replacing::{Due, Window, hidden_for};
use decamp_core::time::plain;
use decamp_core::world::World;
use decamp_events::{Message, Record, Rejection, Told, read};

/// The shortest time that the message of a change to come stays hidden.
const SOON: Duration = Duration::from_secs(5);

/// What became of all that one message or request told.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// The departures that it told of, in hand.
    pub(super) entries: Vec<Arc<Entry>>,
    /// What Auto Scaling has to be asked about first, in hand.
    pub(super) errands: Vec<Arc<errands::InHand>>,
    /// How many things it told that were taken in.
    pub(super) accepted: u32,
    /// How many things there was nothing to do about.
    pub(super) ignored: u32,
    /// What can never be acted on.
    pub(super) rejected: Vec<Rejection>,
    /// Why some of it has to be told again.
    pub(super) again: Option<Again>,
    /// How long its message is to stay hidden after all that is in hand is over: it tells of something whose time has not come.
    pub(super) later: Option<Duration>,
}

/// Why something has to be told again, later or to another replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// As many departures are in hand as may be.
    Full,
    /// As many warnings wait for Auto Scaling's word as may.
    TooManyWarnings,
    /// This replica was told to stop.
    Stopping,
}

/// Takes in what `event` tells.
pub(super) fn take(service: &Service, event: &[u8], told_by: &'static str) -> Taken {
    let settings = &service.settings;
    let mut taken = Taken::default();
    for Record { message, told, names_no_region } in read(event, &settings.allowed, &settings.policy.hooks) {
        let message = message.as_deref();
        if names_no_region {
            info!(message.id = id(message), "the event names no Region; what Auto Scaling shows in ours decides");
        }
        match told {
            Ok(told) => {
                service.numbers.told(told_by, told.word());
                take_one(service, told, told_by, message, &mut taken);
            }
            Err(rejection) => {
                reject(service, id(message), &rejection);
                taken.rejected.push(rejection);
            }
        }
    }
    taken
}

fn id(message: Option<&Message>) -> Option<&str> {
    message.map(|message| &*message.id)
}

fn take_one(service: &Service, told: Told, told_by: &'static str, message: Option<&Message>, taken: &mut Taken) {
    match told {
        Told::Departure(departure) => match take_up(service, departure, told_by) {
            TakenUp::InHand(entry) => {
                taken.accepted += 1;
                taken.entries.push(entry);
            }
            TakenUp::Over => {
                taken.ignored += 1;
                info!(message.id = message.map(|message| &*message.id), event = "again", "nothing to do: it is over");
            }
            TakenUp::Full => taken.again = Some(Again::Full),
            TakenUp::Stopping => taken.again = Some(Again::Stopping),
        },
        Told::Interruption { instance, at } => send(service, Errand::Interrupted { instance, at }, taken),
        Told::Sweep => {
            service.sweep_now.notify_one();
            taken.accepted += 1;
        }
        Told::Rebalance { instance } => {
            warn!(message.id = id(message), instance.id = %instance, event = "rebalance", "EC2 may soon take the instance back");
            if service.settings.replace.on_rebalance() {
                send(service, Errand::Replace { instance, due: None }, taken);
            } else {
                taken.ignored += 1;
            }
        }
        Told::ScheduledChange { instances, window } => scheduled(service, &instances, window, message, taken),
        told @ (Told::Arrival { .. } | Told::Test | Told::Informational(_)) => {
            taken.ignored += 1;
            info!(message.id = id(message), event = told.word(), "nothing to do");
        }
    }
}

/// A change to come: its instances are replaced when its time comes near. Until then its event waits on its queue; one that came
/// without a queue waits in this replica alone.
fn scheduled(service: &Service, instances: &[InstanceId], window: Window, message: Option<&Message>, taken: &mut Taken) {
    let settings = &service.settings;
    let begins = window.begins.map_or_else(|| "at a time not told".to_owned(), |at| at.to_string());
    // A message that waits for its time comes again and again: it is said once.
    if message.is_none_or(|message| message.receives <= 1) {
        for instance in instances {
            warn!(message.id = id(message), instance.id = %instance, event = "scheduled-change", begins, "AWS means to change what the instance runs on");
        }
    }
    let ignored = u32::try_from(instances.len()).unwrap_or(u32::MAX);
    if !settings.replace.on_scheduled_change() {
        taken.ignored += ignored;
        return;
    }
    let now = service.live.now();
    let mut due = match window.due(settings.replace_ahead, now) {
        Due::Now => None,
        Due::Later(due) => Some(due),
        Due::Over => {
            info!(message.id = id(message), event = "scheduled-change", "the change is over; nothing is replaced for it");
            taken.ignored += ignored;
            return;
        }
    };
    if let (Some(message), Some(at)) = (message, due) {
        if let Some(hide) = hidden_for(at, message.sent, settings.queue_keeps, message.receives, SOON, now) {
            info!(message.id = &*message.id, event = "scheduled-change", due = %at, "replaced not before {at}; its event comes back in {}", plain(hide));
            taken.later = Some(taken.later.map_or(hide, |earlier| earlier.min(hide)));
            taken.accepted += ignored;
            return;
        }
        due = None;
    }
    for &instance in instances {
        if let Some(due) = due {
            warn!(instance.id = %instance, event = "scheduled-change", due = %due, "replaced not before {due}, if this replica lives so long; send such events by a queue");
        }
        send(service, Errand::Replace { instance, due }, taken);
    }
}

fn send(service: &Service, errand: Errand, taken: &mut Taken) {
    if *service.stopping.borrow() {
        taken.again = Some(Again::Stopping);
        return;
    }
    match service.errands.take_up(errand) {
        Some(errand) => {
            taken.accepted += 1;
            taken.errands.push(errand);
        }
        None => taken.again = Some(Again::TooManyWarnings),
    }
}

impl Taken {
    /// Waits until this replica is done with all of it. Whether any of it is to be done by somebody else.
    pub(super) async fn done(&self) -> Done {
        let entries = join_all(self.entries.iter().map(|entry| entry.done()));
        let errands = join_all(self.errands.iter().map(|errand| errand.done()));
        let (entries, errands) = tokio::join!(entries, errands);
        let let_go = entries.into_iter().chain(errands).any(|done| done == Done::LetGo);
        if let_go { Done::LetGo } else { Done::Over }
    }
}

/// Takes up one departure.
pub(super) fn take_up(service: &Service, departure: Departure, told_by: &'static str) -> TakenUp {
    let trace_id = service.traces.id_of(&departure);
    let view = View { trace_id, ..View::begin(&departure, told_by, service.live.now()) };
    service.departures.take_up(departure, || view)
}

/// Takes up one that a sweep made its pass over, and goes on from what that did.
pub(super) fn take_up_after(service: &Service, pass: &Entry) -> TakenUp {
    let now = service.live.now();
    let view = View { trace_id: service.traces.id_of(&pass.departure), ..View::begin(&pass.departure, "sweep", now) };
    service.departures.take_up(pass.departure.clone(), || view.go_on_from(pass.shown(), now))
}

fn reject(service: &Service, message: Option<&str>, rejection: &Rejection) {
    if rejection.is_everyday() {
        info!(message.id = message, event = rejection.word(), "left alone: {rejection}");
        return;
    }
    service.numbers.rejected(rejection.word());
    error!(message.id = message, event = rejection.word(), "rejected: {rejection}");
}
