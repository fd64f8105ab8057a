//! A refresh is followed to its end: looks at it and at what leaves, until it is over or a signal comes.

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

use super::showing::{Look, Showing};
use crate::connect::Connected;
use crate::depart::signals::Signals;
use crate::exit::{self, Wish};
use crate::out::{complain, say, say_json};
use crate::status;

/// What is followed, and how.
pub(super) struct Followed {
    pub(super) asg: Arc<str>,
    pub(super) id: Arc<str>,
    pub(super) every: Duration,
    pub(super) json: bool,
    pub(super) wish: Wish,
}

/// Follows it until it is over; a signal leaves it going.
pub(super) async fn follow(at: &Connected, followed: &Followed) -> Result<u8> {
    let mut signals = Signals::new()?;
    // What is drawn on a terminal is taken away at the end of this, and nothing that is said after it.
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
                say("the refresh goes on; watch it again with");
                say(format!("  {go_on}"));
                say("or stop it with");
                say(format!("  decamp refresh cancel --asg {}", followed.asg));
            }
            return Ok(signal.exit_code());
        }
    };
    let Some(refresh) = ended else {
        complain(format!("Auto Scaling lists no refresh {} of {}; somebody deleted the group", followed.id, followed.asg));
        return Ok(exit::NO_REFRESH);
    };
    if followed.json {
        say_json(&json!({ "kind": "end", "refresh": refresh }));
    } else {
        let why = refresh.why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        say(format!("refresh {} of {}: {}, {}{why}", refresh.id, refresh.group, refresh.status.name(), refresh.status.meaning()));
    }
    Ok(exit::of_refresh(refresh.status, followed.wish))
}

/// Looks until it is over. `None`: it is listed no more.
async fn looks(at: &Connected, followed: &Followed) -> Result<Option<Refresh>> {
    let mut showing = Showing::new(followed.json);
    loop {
        match at.live.auto_scaling().refreshes(&followed.asg).await {
            Ok(listed) => {
                let Some(refresh) = listed.into_iter().find(|refresh| refresh.id == followed.id) else { return Ok(None) };
                if refresh.status.is_over() {
                    return Ok(Some(refresh));
                }
                // What leaves is worth a look, and no reason to lose sight of the refresh.
                let leaving = status::look(at, Some(&followed.asg), &RefCell::default()).await;
                showing.show(&Look { now: at.live.now(), refresh, leaving });
            }
            // Somebody has to change a policy first.
            Err(why @ Unseen::Denied(_)) => return Err(at.cannot_ask(&why)),
            Err(why) => showing.is_blind(&why.to_string()),
        }
        sleep(followed.every).await;
    }
}
