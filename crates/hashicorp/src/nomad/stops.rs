//! Reads from task events how a task ended that was told to stop. Events in a form that is not known cost only this evidence.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::wire::{self, Tolerant};
use decamp_core::decide::{Stop, Task, TaskEnd, TaskGroup};
use decamp_core::time::Time;

/// A client tells a task to stop. It waits for the task's `shutdown_delay` before it sends the signal (Nomad's
/// `client/allocrunner/taskrunner`).
const KILLING: &str = "Killing";
/// The client waits for the task's `shutdown_delay` from here.
const DELAYED: &str = "Waiting for shutdown delay";
/// The client does not wait for it, because the request to stop says so.
const UNDELAYED: &str = "Skipping shutdown delay";
/// The task's process has ended.
const TERMINATED: &str = "Terminated";

/// How the tasks of an allocation ended that were told to stop. Tasks that ended by themselves are left out.
pub(super) fn ends<'a>(
    states: impl IntoIterator<Item = (&'a String, &'a wire::TaskState)>,
    group: Option<&TaskGroup>,
    no_shutdown_delay: bool,
) -> Vec<TaskEnd> {
    let mut ends: Vec<TaskEnd> = Vec::new();
    for (name, state) in states {
        let task = group.and_then(|group| group.tasks.iter().find(|task| *task.name == **name));
        match end(name, state, task, no_shutdown_delay) {
            Ok(stop) => ends.extend(stop.map(TaskEnd::Stopped)),
            Err(why) => ends.push(TaskEnd::Unreadable { task: name.as_str().into(), why }),
        }
    }
    ends.sort_by(|one, other| one.task().cmp(other.task()));
    ends
}

/// The events of a task in the order in which Nomad lists them. `None`: one of them is in a form that is not known.
pub(super) fn events(state: &wire::TaskState) -> Option<Vec<&wire::TaskEvent>> {
    state.events.known()?.iter().map(Tolerant::known).collect()
}

/// The time in milliseconds of the first event that says that a task is told to stop.
pub(super) fn told(state: &wire::TaskState) -> Option<Time> {
    state.events.known()?.iter().filter_map(Tolerant::known).find(|event| event.kind == KILLING).map(at)
}

fn at(event: &wire::TaskEvent) -> Time {
    Time(event.nanoseconds / 1_000_000)
}

/// How one task ended after it was last told to stop; `None` if it was not, or ended before its signal.
fn end(name: &str, state: &wire::TaskState, task: Option<&Task>, no_shutdown_delay: bool) -> Result<Option<Stop>, Arc<str>> {
    let Some(events) = events(state) else {
        return Err("Nomad lists a task event in a form that this version of decamp does not know".into());
    };
    let Some(place) = events.iter().rposition(|event| event.kind == KILLING) else { return Ok(None) };
    let after = &events[place + 1..];
    let Some(ended) = after.iter().find(|event| event.kind == TERMINATED) else {
        // A task that still runs has not ended, and one that never ran had nothing to end.
        return if state.state == "dead" && is_set(&state.started) && !ended_before(&events[..place]) {
            Err("Nomad lists no event with the end of the task".into())
        } else {
            Ok(None)
        };
    };
    let delay = task.map(|task| task.shutdown_delay).filter(|_| !no_shutdown_delay).unwrap_or_default();
    let signalled = match after.iter().find(|event| [DELAYED, UNDELAYED].contains(&&*event.kind)) {
        Some(event) if event.kind == UNDELAYED => event.nanoseconds,
        Some(event) => event.nanoseconds.saturating_add(nanoseconds(delay)),
        None => events[place].nanoseconds.saturating_add(nanoseconds(delay)),
    };
    let Some(took) = ended.nanoseconds.checked_sub(signalled) else { return Ok(None) };
    let kill_timeout = match events[place].details.get("kill_timeout") {
        Some(text) => go_duration(text).ok_or_else(|| unknown(events[place], "kill_timeout"))?,
        None => task.map(|task| task.kill_timeout).ok_or_else(|| unknown(events[place], "kill_timeout"))?,
    };
    Ok(Some(Stop {
        task: name.into(),
        signalled: Time(signalled / 1_000_000),
        took: Duration::from_nanos(took),
        kill_timeout,
        exit_code: integer(ended, "exit_code")?,
        signal: integer(ended, "signal")?,
        out_of_memory: match ended.details.get("oom_killed").map(String::as_str) {
            Some("true") => true,
            // Releases before 0.12 do not report it.
            Some("false") | None => false,
            Some(_) => return Err(unknown(ended, "oom_killed")),
        },
    }))
}

/// Whether the task had ended before it was told to stop, and did not start again.
fn ended_before(events: &[&wire::TaskEvent]) -> bool {
    let last = |kind: &str| events.iter().rposition(|event| event.kind == kind);
    last(TERMINATED).is_some_and(|ended| last("Started").is_none_or(|started| started < ended))
}

fn is_set(time: &str) -> bool {
    Time::read(time).is_some()
}

fn integer(event: &wire::TaskEvent, name: &str) -> Result<i64, Arc<str>> {
    event.details.get(name).and_then(|text| text.parse().ok()).ok_or_else(|| unknown(event, name))
}

/// The answer names no value, because it may be long or secret.
fn unknown(event: &wire::TaskEvent, name: &str) -> Arc<str> {
    let known = [KILLING, TERMINATED].into_iter().find(|kind| event.kind == **kind).unwrap_or("other");
    let form = if event.details.contains_key(name) { "with a value that cannot be read" } else { "not at all" };
    format!("Nomad's event {known} has {name} {form}").into()
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// A duration as Go prints it: `5s`, `1m30s`, `1.5s`, `250ms`, `0s`. A setting's grammar ([`decamp_config::duration`]) has no fractions.
fn go_duration(text: &str) -> Option<Duration> {
    text.parse::<SignedDuration>().ok()?.try_into().ok()
}

#[cfg(test)]
mod tests;
