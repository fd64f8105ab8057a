//! `decamp run`: drains an instance and reports every step.

mod checklist;
mod interrupted;
mod live_lines;
mod looked_back;
mod report;
mod reporter;
mod requested;
pub(super) mod signals;

use std::cell::RefCell;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args};
use decamp_config::Mode;
use decamp_core::decide::{Departure, look_back};
use decamp_core::ids::InstanceId;
use decamp_core::run::{Ending, RunOptions, RunResult, run};
use decamp_core::runbook;
use decamp_core::world::World;
use futures_util::future::join_all;
use tokio::select;

use self::reporter::{Reporter, SharedReporter};
use self::requested::Requested;
use self::signals::Signals;
use super::connect::{Connected, connect};
use super::exit;
use super::out::{is_interactive, say, say_json};

/// The exit codes, and where each outcome is explained.
fn help() -> String {
    format!("{}\n\nWhat to do about each outcome: {}", exit::help("run"), runbook::page("outcomes"))
}

/// Drain one instance and complete its lifecycle action: load balancers, Nomad node, service discovery, lifecycle action.
///
/// It is safe to stop and restart at any moment, and to run twice at the same time: before each step it reads the live systems.
#[derive(Debug, Args)]
#[command(after_help = help(), group = ArgGroup::new("who").required(true).args(["instance", "event"]))]
pub(crate) struct Arguments {
    /// The instance, such as i-0123456789abcdef0
    #[arg(long, value_name = "ID")]
    instance: Option<InstanceId>,
    /// Its Auto Scaling group; by default decamp asks Auto Scaling
    #[arg(long, value_name = "NAME", requires = "instance")]
    asg: Option<String>,
    /// A file with an event as EventBridge, SNS or SQS delivers it, alone or in a batch, or the output of
    /// `aws sqs receive-message`; - reads standard input. decamp processes every departure in it and lists the rest
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
    /// Print one JSON object per line instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) async fn depart(arguments: Arguments) -> Result<u8> {
    let mut signals = Signals::new()?;
    let mut at = connect().await?;
    // A person wants to know at once that the token lacks a permission, so the run does not wait for another token.
    at.settings.policy.refuse_without_sight = true;
    let Requested { departures, skipped } = select! {
        requested = requested::requested(&at, &arguments) => requested?,
        // No departure has begun, so there is nothing to report.
        signal = signals.next() => return Ok(signal.exit_code()),
    };
    if let ([], [alone]) = (&*departures, &*skipped)
        && matches!(alone.code, 0 | exit::ERROR)
    {
        bail!("{}", alone.alone());
    }
    let code_of_skipped = skipped.iter().map(|part| part.say(arguments.json)).max().unwrap_or(0);
    if departures.is_empty() {
        if matches!(code_of_skipped, 0 | exit::ERROR) {
            bail!("the event contains no departure");
        }
        return Ok(code_of_skipped);
    }
    let several = departures.len() > 1;
    let watched = is_interactive() && !arguments.json && !several;
    let reporters: Vec<RefCell<Reporter>> = departures
        .iter()
        .map(|d| {
            let policy = &at.settings.policy_of(&d.asg);
            RefCell::new(Reporter::new(d, policy, arguments.json, watched, several, at.live.now()))
        })
        .collect();
    let ended = {
        let runs = departures.iter().zip(&reporters).map(|(departure, reporter)| run_one(&at, departure, reporter));
        let runs = pin!(join_all(runs));
        let updates = pin!(update_every_second(&at, &departures, &reporters));
        select! {
            codes = runs => Ok(codes),
            () = updates => Ok(Vec::new()),
            signal = signals.next() => Err(signal),
        }
    };
    match ended {
        // Zero only if every instance departed, and no skipped part of the event may have been a departure.
        Ok(codes) => Ok(codes.into_iter().max().unwrap_or(exit::ERROR).max(code_of_skipped)),
        Err(signal) => {
            let reports =
                departures.iter().zip(&reporters).map(|(d, r)| interrupted::report_interruption(&at, d, r, arguments.json));
            let reports = pin!(join_all(reports));
            select! {
                _ = reports => {}
                _ = signals.next() => {}
            }
            Ok(signal.exit_code())
        }
    }
}

/// Updates each reporter once a second, and never returns.
async fn update_every_second(at: &Connected, departures: &[Departure], reporters: &[RefCell<Reporter>]) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for (departure, reporter) in departures.iter().zip(reporters) {
            reporter.borrow_mut().tick(departure, at.live.now());
        }
    }
}

async fn run_one(at: &Connected, departure: &Departure, reporter: &RefCell<Reporter>) -> u8 {
    let policy = &*at.settings.policy_of(&departure.asg);
    let manner = RunOptions { observe: at.settings.mode == Mode::Observe, ..RunOptions::default() };
    let Ending { how, seen } = run(&at.live, departure, policy, manner, &mut SharedReporter(reporter)).await;
    let now = at.live.now();
    let (json, watched, compared) = {
        let mut reporter = reporter.borrow_mut();
        reporter.seen = seen.clone();
        let watched = reporter.finish(departure, now);
        let report = report::Report::of(departure, &seen, &how, &reporter, policy, at.live.calls(), now);
        if reporter.json {
            say_json(&report);
        } else {
            let shown = |line: String| if watched { checklist::with_short_ids(&line, &seen) } else { line };
            report.lines().into_iter().map(shown).for_each(say);
        }
        (reporter.json, watched, report.compared().to_vec())
    };
    if let RunResult::Ended(outcome, _) = &how
        && let Some(at_most) = at.settings.look_back
        && let Some(asked) = look_back(departure, &seen, policy, outcome, now)
    {
        let lines = looked_back::report(at, departure, &seen, &asked, at_most, &compared, json).await;
        let shown = |line: String| if watched { checklist::with_short_ids(&line, &seen) } else { line };
        lines.into_iter().map(shown).for_each(say);
    }
    match how {
        RunResult::Ended(outcome, _) => exit::of(&outcome),
        RunResult::Observed(_) => exit::OBSERVED,
        RunResult::HandedBack => exit::ERROR,
    }
}
