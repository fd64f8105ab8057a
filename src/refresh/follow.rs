//! Follows a refresh: looks at it and at the leaving instances until it ends or a signal arrives.

use std::cell::RefCell;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use decamp_core::decide::Unseen;
use decamp_core::refresh::Refresh;
use decamp_core::world::World;
use serde_json::json;
use tokio::select;
use tokio::time::sleep;

use super::display::{Display, Progress};
use crate::connect::Connected;
use crate::depart::signals::Signals;
use crate::exit::{self, Goal};
use crate::out::{complain, say, say_json};
use crate::status;

/// The refresh to follow, and how to show it.
pub(super) struct Followed {
    pub(super) asg: Arc<str>,
    pub(super) id: Arc<str>,
    pub(super) every: Duration,
    pub(super) json: bool,
    pub(super) goal: Goal,
}

/// Follows the refresh until it ends. A signal ends only the command, not the refresh.
pub(super) async fn follow(at: &Connected, followed: &Followed) -> Result<u8> {
    let mut signals = Signals::new()?;
    // The redrawn lines are removed at the end of this block, before anything else is printed.
    let ended = {
        let looks = pin!(looks(at, followed));
        select! {
            ended = looks => Ok(ended?),
            signal = signals.next() => Err(signal),
        }
    };
    let ended = match ended {
        Ok(ended) => ended,
        Err(signal) => {
            let go_on = format!("decamp refresh watch --asg {}", followed.asg);
            if followed.json {
                say_json(&json!({ "kind": "stopped", "refresh.id": followed.id, "go_on": go_on }));
            } else {
                say("");
                say("the refresh continues; follow it again with");
                say(format!("  {go_on}"));
                say("or cancel it with");
                say(format!("  decamp refresh cancel --asg {}", followed.asg));
            }
            return Ok(signal.exit_code());
        }
    };
    let Some(refresh) = ended else {
        complain(format!("Auto Scaling no longer lists refresh {} of {}; the group was deleted", followed.id, followed.asg));
        return Ok(exit::NO_REFRESH);
    };
    if followed.json {
        say_json(&json!({ "kind": "end", "refresh": refresh }));
    } else {
        let why = refresh.why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        say(format!("refresh {} of {}: {}, {}{why}", refresh.id, refresh.group, refresh.status.name(), refresh.status.meaning()));
    }
    Ok(exit::of_refresh(refresh.status, followed.goal))
}

/// Looks until the refresh ends. `None`: Auto Scaling no longer lists it.
async fn looks(at: &Connected, followed: &Followed) -> Result<Option<Refresh>> {
    let mut display = Display::new(followed.json);
    loop {
        match at.live.auto_scaling().refreshes(&followed.asg).await {
            Ok(listed) => {
                let Some(refresh) = listed.into_iter().find(|refresh| refresh.id == followed.id) else { return Ok(None) };
                if refresh.status.is_over() {
                    return Ok(Some(refresh));
                }
                // A failed look at the leaving instances does not end the command.
                let leaving = status::look(at, Some(&followed.asg), &RefCell::default()).await;
                display.show(&Progress { now: at.live.now(), refresh, leaving });
            }
            // A person has to change a policy first, so looking again would not help.
            Err(why @ Unseen::Denied(_)) => return Err(at.cannot_ask(&why)),
            Err(why) => display.show_unseen(&why.to_string()),
        }
        sleep(followed.every).await;
    }
}
