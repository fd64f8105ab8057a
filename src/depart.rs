//! `decamp run`: walks an instance out, and says every step of it.

mod asked;
mod board;
mod checklist;
mod farewell;
mod report;
pub(super) mod signals;
mod telling;

use std::cell::RefCell;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args};
use decamp_config::Mode;
use decamp_core::decide::Departure;
use decamp_core::ids::InstanceId;
use decamp_core::run::{Ending, How, Manner, run};
use decamp_core::runbook;
use decamp_core::world::World;
use futures_util::future::join_all;
use tokio::select;

use self::asked::Asked;
use self::signals::Signals;
use self::telling::{Line, Telling};
use super::connect::{Connected, connect};
use super::exit;
use super::out::{is_watched, say, say_json};

/// The exit codes, and what to do about each.
fn help() -> String {
    format!("{}\n\nWhat to do about each outcome: {}", exit::help("run"), runbook::page("outcomes"))
}

/// Drain one instance and complete its lifecycle action: load balancers, Nomad node, service discovery, lifecycle action.
///
/// It may be stopped and begun again at any moment, and run twice at the same time: every step looks first at what is true.
#[derive(Debug, Args)]
#[command(after_help = help(), group = ArgGroup::new("who").required(true).args(["instance", "event"]))]
pub(crate) struct Arguments {
    /// The instance, such as i-0123456789abcdef0
    #[arg(long, value_name = "ID")]
    instance: Option<InstanceId>,
    /// Its Auto Scaling group; Auto Scaling is asked if it is not given
    #[arg(long, value_name = "NAME", requires = "instance")]
    asg: Option<String>,
    /// A file with an event as EventBridge, SNS or SQS delivers it, alone or in a batch, or what `aws sqs receive-message` prints; -
    /// reads standard input. Every departure in it is processed; decamp lists the rest
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
    /// One JSON object per line instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) async fn depart(arguments: Arguments) -> Result<u8> {
    let mut signals = Signals::new()?;
    let mut at = connect().await?;
    // Whoever watches wants to be told at once that the token is short, not after waiting for another one.
    at.settings.policy.refuse_without_sight = true;
    let Asked { departures, passed_over } = select! {
        asked = asked::asked(&at, &arguments) => asked?,
        // Nothing was begun, so nothing has to be said of it.
        signal = signals.next() => return Ok(signal.exit_code()),
    };
    if let ([], [alone]) = (&*departures, &*passed_over)
        && matches!(alone.code, 0 | exit::ERROR)
    {
        bail!("{}", alone.alone());
    }
    let passed = passed_over.iter().map(|part| part.say(arguments.json)).max().unwrap_or(0);
    if departures.is_empty() {
        if matches!(passed, 0 | exit::ERROR) {
            bail!("the event contains no departure");
        }
        return Ok(passed);
    }
    let several = departures.len() > 1;
    let watched = is_watched() && !arguments.json && !several;
    let tellings: Vec<RefCell<Telling>> = departures
        .iter()
        .map(|d| {
            let policy = &at.settings.policy_of(&d.asg);
            RefCell::new(Telling::new(d, policy, arguments.json, watched, several, at.live.now()))
        })
        .collect();
    let walked = {
        let walks = departures.iter().zip(&tellings).map(|(departure, telling)| walk(&at, departure, telling));
        let walking = pin!(join_all(walks));
        let signs = pin!(say_signs_of_life(&at, &departures, &tellings));
        select! {
            codes = walking => Ok(codes),
            () = signs => Ok(Vec::new()),
            signal = signals.next() => Err(signal),
        }
    };
    match walked {
        // Zero only if all of them departed, and nothing was passed over that may have been one.
        Ok(codes) => Ok(codes.into_iter().max().unwrap_or(exit::ERROR).max(passed)),
        Err(signal) => {
            let farewells = departures.iter().zip(&tellings).map(|(d, t)| farewell::say_farewell(&at, d, t, arguments.json));
            let farewells = pin!(join_all(farewells));
            select! {
                _ = farewells => {}
                _ = signals.next() => {}
            }
            Ok(signal.exit_code())
        }
    }
}

/// Says for ever what each waits for, where nothing else is said.
async fn say_signs_of_life(at: &Connected, departures: &[Departure], tellings: &[RefCell<Telling>]) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for (departure, telling) in departures.iter().zip(tellings) {
            telling.borrow_mut().say_if_silent(departure, at.live.now());
        }
    }
}

async fn walk(at: &Connected, departure: &Departure, telling: &RefCell<Telling>) -> u8 {
    let policy = &*at.settings.policy_of(&departure.asg);
    let manner = Manner { observe: at.settings.mode == Mode::Observe, ..Manner::default() };
    let Ending { how, seen } = run(&at.live, departure, policy, manner, &mut Line(telling)).await;
    let mut telling = telling.borrow_mut();
    let now = at.live.now();
    telling.seen = seen.clone();
    let watched = telling.finish(departure, now);
    let report = report::Report::of(departure, &seen, &how, &telling, policy, at.live.calls(), now);
    if telling.json {
        say_json(&report);
    } else {
        let shown = |line: String| if watched { checklist::with_short_ids(&line, &seen) } else { line };
        report.lines().into_iter().map(shown).for_each(say);
    }
    match how {
        How::Ended(outcome, _) => exit::of(&outcome),
        How::Observed(_) => exit::OBSERVED,
        How::HandedBack => exit::ERROR,
    }
}
