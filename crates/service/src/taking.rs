//! What was told becomes departures in hand, from whichever way it came in.

use std::sync::Arc;

use futures_util::future::join_all;
use tracing::{error, info, warn};

use super::Service;
use super::departures::{Done, Entry, TakenUp};
use super::errands::{self, Errand};
use super::view::View;
use decamp_core::decide::Departure;
use decamp_core::world::World;
use decamp_events::{Record, Rejection, Told, read};

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
    for Record { message, told } in read(event, &settings.allowed, &settings.policy.hooks) {
        let message = message.as_ref().map(|message| &*message.id);
        match told {
            Ok(told) => {
                service.numbers.told(told_by, told.word());
                take_one(service, told, told_by, message, &mut taken);
            }
            Err(rejection) => {
                reject(service, message, &rejection);
                taken.rejected.push(rejection);
            }
        }
    }
    taken
}

fn take_one(service: &Service, told: Told, told_by: &'static str, message: Option<&str>, taken: &mut Taken) {
    match told {
        Told::Departure(departure) => match take_up(service, departure, told_by) {
            TakenUp::InHand(entry) => {
                taken.accepted += 1;
                taken.entries.push(entry);
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
            warn!(message.id = message, instance.id = %instance, event = "rebalance", "EC2 may soon take the instance back");
            if service.settings.replace.on_rebalance() {
                send(service, Errand::Replace(instance), taken);
            } else {
                taken.ignored += 1;
            }
        }
        Told::ScheduledChange { instances } => {
            for instance in instances {
                warn!(message.id = message, instance.id = %instance, event = "scheduled-change", "AWS means to change what the instance runs on");
                if service.settings.replace.on_scheduled_change() {
                    send(service, Errand::Replace(instance), taken);
                } else {
                    taken.ignored += 1;
                }
            }
        }
        told @ (Told::Arrival { .. } | Told::Test | Told::Informational(_)) => {
            taken.ignored += 1;
            info!(message.id = message, event = told.word(), "nothing to do");
        }
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

fn reject(service: &Service, message: Option<&str>, rejection: &Rejection) {
    if rejection.is_everyday() {
        info!(message.id = message, event = rejection.word(), "left alone: {rejection}");
        return;
    }
    service.numbers.rejected(rejection.word());
    error!(message.id = message, event = rejection.word(), "rejected: {rejection}");
}
