//! The end of a run by a signal: one heartbeat, what stands, and the command that goes on (ADR 0015).

use std::cell::RefCell;

use decamp_config::Mode;
use decamp_core::decide::{Departure, last_heartbeat};
use decamp_core::world::World;
use serde_json::json;

use super::report::what_stands;
use super::reporter::Reporter as Telling;
use crate::connect::Connected;
use crate::out::{say, say_json};

pub(super) async fn say_farewell(at: &Connected, departure: &Departure, telling: &RefCell<Telling>, json: bool) {
    telling.borrow_mut().finish(departure, at.live.now());
    let seen = telling.borrow().seen.clone();
    let policy = &*at.settings.policy_of(&departure.asg);
    let mut seen = seen;
    let heartbeat = last_heartbeat(departure, &seen, policy, at.live.now());
    if let Some(effect) = heartbeat.filter(|_| at.settings.mode == Mode::Act) {
        let sent = at.live.now();
        let answer = at.live.act(departure, &effect).await;
        seen.did(sent, at.live.now(), &effect, &answer);
    }
    let over = seen.history.completed.is_some() || seen.history.no_active_action.is_some();
    let stands = if over {
        vec!["its lifecycle action is completed".to_owned()]
    } else {
        what_stands(departure, &seen, policy, at.live.now())
    };
    let go_on = format!("decamp run --instance {} --asg {}", departure.instance, quoted(&departure.asg));
    if json {
        say_json(&json!({ "kind": "stopped", "instance.id": departure.instance, "stands": stands, "go_on": go_on }));
        return;
    }
    say("");
    say(format!("{} stopped by a signal", departure.instance));
    stands.iter().for_each(|line| say(format!("  {line}")));
    say("go on with:");
    say(format!("  {go_on}"));
}

/// A group's name as a shell takes it.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if !name.is_empty() && name.chars().all(plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', "'\\''")) }
}
