//! The end of a run by a signal: one heartbeat, the state, and the command that continues (ADR 0015).

use std::cell::RefCell;

use decamp_config::Mode;
use decamp_core::decide::{Departure, last_heartbeat};
use decamp_core::world::World;
use serde_json::json;

use super::report::state_at_interruption;
use super::reporter::Reporter;
use crate::connect::Connected;
use crate::out::{say, say_json};

pub(super) async fn report_interruption(at: &Connected, departure: &Departure, reporter: &RefCell<Reporter>, json: bool) {
    reporter.borrow_mut().finish(departure, at.live.now());
    let seen = reporter.borrow().seen.clone();
    let policy = &*at.settings.policy_of(&departure.asg);
    let mut seen = seen;
    let heartbeat = last_heartbeat(departure, &seen, policy, at.live.now());
    if let Some(effect) = heartbeat.filter(|_| at.settings.mode == Mode::Act) {
        let sent = at.live.now();
        let answer = at.live.act(departure, &effect).await;
        seen.did(sent, at.live.now(), &effect, &answer);
    }
    let over = seen.history.completed.is_some() || seen.history.no_active_action.is_some();
    let state = if over {
        vec!["its lifecycle action is completed".to_owned()]
    } else {
        state_at_interruption(departure, &seen, policy, at.live.now())
    };
    let command = format!("decamp run --instance {} --asg {}", departure.instance, quoted(&departure.asg));
    if json {
        say_json(&json!({ "kind": "stopped", "instance.id": departure.instance, "stands": state, "go_on": command }));
        return;
    }
    say("");
    say(format!("{} stopped by a signal", departure.instance));
    state.iter().for_each(|line| say(format!("  {line}")));
    say("continue with:");
    say(format!("  {command}"));
}

/// A group's name, quoted for a shell where necessary.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if !name.is_empty() && name.chars().all(plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', "'\\''")) }
}
