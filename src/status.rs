//! `decamp status`: lists every instance that waits in a terminating hook, with its step, its reason, the time left and the next step
//! (ADR 0015). Writes nothing.

mod stable_times;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use decamp_aws::Leaving;
use decamp_core::decide::{Action, Budget, Departure, Lifecycle, Outcome, last_written};
use decamp_core::describe::phase;
use decamp_core::time::{Time, plain};
use decamp_core::world::World;
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::json;

use self::stable_times::StableTimes;
use super::connect::{Connected, connect, named_by_a_person};
use super::describe::{self, NamedReason};
use super::out::{is_interactive, say, say_json, say_raw};
use super::plan::{NextStep, next_step};

/// How often `--watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(5);

/// List every instance that waits in a hook: step, reason, since when, time left, next step.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// One Auto Scaling group; else those of DECAMP_GROUPS, else all
    #[arg(long, value_name = "NAME")]
    asg: Option<String>,
    /// Look again every 5 s, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Print one JSON object per look
    #[arg(long)]
    json: bool,
}

/// One leaving instance.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    #[serde(rename = "instance.id")]
    pub(super) instance: String,
    #[serde(rename = "asg.name")]
    asg: Arc<str>,
    pub(super) state: String,
    /// Whether it waits in its hook. Scripts use this, because the texts may change.
    waits: bool,
    pub(super) step: String,
    pub(super) reason: String,
    /// Every reason of the next step. `reason` is the first.
    reasons: Vec<NamedReason>,
    since: Option<Time>,
    since_is_known: bool,
    time_left_s: Option<u64>,
    /// When a worker last wrote something for it, as far as Nomad shows it.
    last_written: Option<Time>,
    /// When the next sweep continues it, if no worker writes anything before.
    taken_up_by: Option<Time>,
    next: String,
}

pub(crate) async fn status(arguments: Arguments) -> Result<u8> {
    let mut at = connect().await?;
    // As in plan and run, a token that cannot see enough is reported and not waited for.
    at.settings.policy.refuse_without_sight = true;
    if let Some(asg) = &arguments.asg {
        at.may_touch(asg)?;
        let roster = at.live.auto_scaling().roster(asg).await.map_err(|why| at.cannot_ask(&why))?;
        if roster.is_none() {
            return Err(at.no_such_group(asg).await);
        }
    }
    let times = RefCell::new(StableTimes::default());
    loop {
        let rows = look(&at, arguments.asg.as_deref(), &times).await?;
        let now = at.live.now();
        if arguments.json {
            say_json(&json!({ "time": now, "leaving": rows }));
        } else {
            if arguments.watch && is_interactive() {
                // Moves the cursor to the top left and clears the screen.
                say_raw("\u{1b}[H\u{1b}[2J");
            }
            print(&rows, now);
        }
        if !arguments.watch {
            return Ok(0);
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

pub(super) async fn look(at: &Connected, asg: Option<&str>, times: &RefCell<StableTimes>) -> Result<Vec<Row>> {
    if let Some(asg) = asg {
        at.may_touch(asg)?;
    }
    // AWS takes no name with a *. Then all groups are listed and filtered by the allow-list.
    let allowed = &at.settings.allowed;
    let names: Vec<Arc<str>> = match asg {
        Some(asg) => vec![asg.into()],
        None if allowed.groups.iter().any(|name| name.ends_with('*')) => Vec::new(),
        None => allowed.groups.clone(),
    };
    let leaving = at.live.auto_scaling().leaving(&names).await.map_err(|why| at.cannot_ask(&why))?;
    let leaving: Vec<Leaving> = leaving.into_iter().filter(|one| allowed.group(&one.asg)).collect();
    Ok(join_all(leaving.iter().map(|one| row(at, one, times))).await)
}

async fn row(at: &Connected, one: &Leaving, times: &RefCell<StableTimes>) -> Row {
    let departure = Departure { instance: one.instance, asg: Arc::clone(&one.asg), cause: named_by_a_person() };
    let state = describe::lifecycle(&one.lifecycle);
    let nothing = |reason: &str| Row {
        instance: one.instance.to_string(),
        asg: Arc::clone(&one.asg),
        state: state.clone(),
        waits: false,
        step: "-".to_owned(),
        reason: reason.to_owned(),
        reasons: Vec::new(),
        since: None,
        since_is_known: false,
        time_left_s: None,
        last_written: None,
        taken_up_by: None,
        next: "-".to_owned(),
    };
    match one.lifecycle {
        Lifecycle::Waiting | Lifecycle::WaitingForWarmPool | Lifecycle::ReplacingRootVolume | Lifecycle::Terminating => {}
        Lifecycle::Retained => return nothing("AWS keeps it, and bills it, until somebody terminates it"),
        Lifecycle::Past | Lifecycle::Gone | Lifecycle::Staying(_) | Lifecycle::Unknown(_) => {
            return nothing("decamp is done with it");
        }
    }
    let policy = &*at.settings.policy_of(&departure.asg);
    let NextStep { decision, mut reasons, seen } = next_step(&at.live, &departure, policy).await;
    let Some(mut decision) = decision else { return nothing("no decision was reached") };
    let now = at.live.now();
    let mut budget = Budget::of(&departure, &seen, policy);
    times.borrow_mut().hold(one.instance, &mut decision, &mut budget, now);
    if let Some(own) = reasons.first_mut() {
        own.clone_from(&decision.reason);
    }
    let last_written = last_written(&departure, &seen);
    Row {
        last_written,
        taken_up_by: last_written.map(|written| written + at.settings.serve.sweep_every),
        waits: [Lifecycle::Waiting, Lifecycle::ReplacingRootVolume].contains(&one.lifecycle),
        step: phase(&seen).to_owned(),
        reason: describe::because(&decision, &seen),
        reasons: NamedReason::each(&reasons, &seen),
        since: Some(budget.began),
        since_is_known: budget.began_is_known,
        time_left_s: Some(budget.end.since(now).as_secs()),
        next: match &decision.action {
            Action::Do(_) => format!("{} (by the next worker)", decision.action.title(now)),
            Action::End(Outcome::Refused { .. }) => {
                "unknown, because this token cannot see enough; run would refuse it, and plan needs another one too".to_owned()
            }
            Action::Look(_) | Action::Wait { .. } | Action::End(_) => decision.action.title(now),
        },
        ..nothing("")
    }
}

fn print(rows: &[Row], now: Time) {
    if rows.is_empty() {
        say("no instance is leaving");
        return;
    }
    for row in rows {
        say(format!("{}  {}  {}", row.instance, row.asg, row.state));
        let Some(since) = row.since else {
            say(format!("  {}", row.reason));
            continue;
        };
        let known = if row.since_is_known { "" } else { " (assumed)" };
        let left = plain(Duration::from_secs(row.time_left_s.unwrap_or(0)));
        say(format!("  {}, in its hook for {}{known}, {left} left", row.step, plain(now.since(since))));
        say(format!("  {}, because {}", row.next, row.reason));
        if let (Some(written), Some(by)) = (row.last_written, row.taken_up_by) {
            let then = if now < by {
                format!("without another write, a sweep continues it at {by} (DECAMP_SWEEP)")
            } else {
                "no worker seems to work on it; the next sweep continues it, if a service or function sweeps".to_owned()
            };
            say(format!("  the last write for it was {} ago; {then}", plain(now.since(written))));
        }
    }
}
