//! Describes records, one line each.

use decamp_core::decide::{Cause, Departure};
use decamp_events::{EventContent, Record};

/// One record as a line of text.
pub(crate) fn line(record: &Record) -> String {
    let message = record.message.as_ref().map(|m| format!("[{} x{}] ", m.id, m.receives)).unwrap_or_default();
    let text = match &record.content {
        Ok(EventContent::Departure(departure)) => format!("departure: {}", departure_line(departure)),
        Ok(EventContent::Arrival { instance, asg }) => format!("arrival: {instance} of {asg}"),
        Ok(EventContent::Interruption { instance, at }) => format!("interruption: {instance} at {at}"),
        Ok(EventContent::Rebalance { instance }) => format!("rebalance: {instance}"),
        Ok(EventContent::ScheduledChange { instances, window }) => {
            let known = |time: Option<_>| time.map_or("unknown".to_owned(), |time: decamp_core::time::Time| time.to_string());
            format!("scheduled change: {instances:?} from {} to {}", known(window.begins), known(window.ends))
        }
        Ok(event @ (EventContent::Sweep | EventContent::Test | EventContent::Informational(_))) => event.word().to_owned(),
        Err(rejection) => format!("{}: {rejection}", rejection.word()),
    };
    message + &text
}

fn departure_line(departure: &Departure) -> String {
    let Cause::Lifecycle(action) = &departure.cause else { panic!("no event tells of a departure without a lifecycle action") };
    let hook = action.hook.as_deref().unwrap_or("any hook");
    let token = action.token.as_ref().map_or("no token", |token| &token.expose()[..8]);
    let began = action.began.map_or("unknown".to_owned(), |time| time.to_string());
    let to = if action.to_warm_pool { ", to the warm pool" } else { "" };
    format!("{} of {}, {hook}, {token}, since {began}{to}", departure.instance, departure.asg)
}
