//! The line to change for a task that does not stop in order, by its driver. A deaf task and an abrupt one need different lines.

use std::time::Duration;

use super::{Cost, Reach, StopKind};
use crate::decide::snapshot::{Process, Stop};

/// What is needed instead.
pub(super) const NEEDED: &str = "a stop in order: finish what is in progress, then exit";

/// The line to set.
pub(super) fn line(kind: StopKind, process: &Process, stop: &Stop, cost: Cost, reach: Reach<'_>) -> String {
    if stop.kill_timeout.is_zero() {
        let needed = reach.policy.longest_request.max(Duration::from_secs(5));
        return format!("kill_timeout = \"{}s\"", needed.as_secs_f64().ceil());
    }
    let line = match kind {
        StopKind::Abrupt => abrupt(process),
        StopKind::Deaf | StopKind::OutOfMemory | StopKind::KilledEarly | StopKind::Slow | StopKind::InOrder => {
            of_a_deaf_one(process)
        }
    };
    if kind == StopKind::Abrupt && matches!(cost, Cost::Requests(_)) {
        // A task that no request reaches any more loses none when it dies.
        let delay = (reach.forgets + reach.policy.longest_request).as_secs_f64().ceil();
        return format!("{line}; or, without a handler: shutdown_delay = \"{delay}s\"");
    }
    line
}

/// It did not react. As PID 1 a program without a handler never does, and a shell passes no signal on (recorded: containers-stop).
pub(super) fn of_a_deaf_one(process: &Process) -> String {
    let signal = process.signal();
    match (&*process.driver, &process.kill_signal) {
        (_, Some(_)) => format!("kill_signal = \"…\" # one that the server handles; it does not handle {signal}; a shell in front runs it with exec"),
        ("docker", None) if process.init => {
            "# handle SIGTERM in the server; a shell in front runs it with exec, or has a trap; or kill_signal = \"…\", one that it handles".to_owned()
        }
        ("docker", None) => {
            "config { init = true } # and a handler for SIGTERM in the server; a shell in front runs it with exec; or kill_signal = \
             \"…\", one that it handles"
                .to_owned()
        }
        ("exec" | "exec2" | "raw_exec" | "java", None) => {
            "kill_signal = \"SIGTERM\" # the driver's default is SIGINT; a shell in front runs the server with exec, and the server handles it".to_owned()
        }
        (_, None) => "kill_signal = \"…\" # one that the server handles; a shell in front runs it with exec".to_owned(),
    }
}

/// The signal arrived, and nothing handled it.
fn abrupt(process: &Process) -> String {
    let signal = process.signal();
    match (&*process.driver, &process.kill_signal) {
        ("exec" | "exec2" | "raw_exec" | "java", None) => {
            "kill_signal = \"SIGTERM\" # if the server handles that; the driver's default is SIGINT; a shell in front runs the server with exec, or has a trap".to_owned()
        }
        _ => format!("# handle {signal} in the server: finish requests, then exit; a shell in front runs the server with exec, or has a trap"),
    }
}
