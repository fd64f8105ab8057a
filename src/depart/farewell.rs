//! The end of a run by a signal: one heartbeat, what stands, and the command that goes on (D13).

use std::cell::RefCell;

use decamp_config::Mode;
use decamp_core::decide::{ActionRef, Departure, Effect, Lifecycle, our_hook};
use decamp_core::world::World;
use serde_json::json;

use super::report::what_stands;
use super::telling::Telling;
use crate::connect::Connected;
use crate::out::{say, say_json};

pub(super) async fn say_farewell(at: &Connected, departure: &Departure, telling: &RefCell<Telling>, json: bool) {
    telling.borrow_mut().finish();
    let seen = telling.borrow().seen.clone();
    let policy = &at.settings.policy;
    let mut seen = seen;
    let over = seen.history.completed.is_some() || seen.history.no_active_action.is_some();
    if let Some(of) = action(departure, &seen, policy).filter(|_| !over && at.settings.mode == Mode::Act) {
        let (effect, sent) = (Effect::Heartbeat(of), at.live.now());
        let answer = at.live.act(departure, &effect).await;
        seen.did(sent, at.live.now(), &effect, &answer);
    }
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
    say(format!("\n{} stopped by a signal", departure.instance));
    stands.iter().for_each(|line| say(format!("  {line}")));
    say(format!("go on with:\n  {go_on}"));
}

/// The lifecycle action, where a look or an event named it.
fn action(
    departure: &Departure,
    seen: &decamp_core::decide::Snapshot,
    policy: &decamp_core::decide::Policy,
) -> Option<ActionRef> {
    let told = departure.action()?;
    let shown = our_hook(departure, seen, policy).map(|hook| hook.name.clone());
    let token = told.token.clone().filter(|_| !seen.history.token_refused);
    // Without an event, only a look that showed the instance waiting says that there is an action.
    let waits = matches!(
        seen.lifecycle.last(),
        Some(Lifecycle::Waiting | Lifecycle::WaitingForWarmPool | Lifecycle::ReplacingRootVolume)
    );
    let waits = waits || told.token.is_some();
    Some(ActionRef { hook: shown.or_else(|| told.hook.clone())?, token }).filter(|_| waits)
}

/// A group's name as a shell takes it.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if !name.is_empty() && name.chars().all(plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', "'\\''")) }
}
