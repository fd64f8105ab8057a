//! Which departures the arguments of `decamp run` name, and which parts of an event are skipped.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use decamp_core::decide::{Cause, Departure, Outcome, Unseen};
use decamp_core::ids::InstanceId;
use decamp_core::time::{Time, plain};
use decamp_core::world::World;
use decamp_events::{EventContent, MOST_BATCH_BYTES};
use serde_json::json;
use tracing::info;

use super::Arguments;
use crate::connect::{Connected, named_by_a_person};
use crate::exit;
use crate::out::{complain, say, say_json};

/// The longest pause between two queries to Auto Scaling.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How long one record of an event may wait for its group's name. The other records wait meanwhile.
const MOST_WAIT_FOR_A_RECORD: Duration = Duration::from_secs(30);

/// The departures to run, and the parts of the event that are none.
#[derive(Default)]
pub(super) struct Requested {
    pub(super) departures: Vec<Departure>,
    pub(super) skipped: Vec<Skipped>,
}

/// A part of an event that is not a departure.
pub(super) struct Skipped {
    /// Its place in the event, from 1.
    record: usize,
    /// Why it is skipped, as a sentence without its subject.
    why: String,
    /// The least exit code of the command.
    pub(super) code: u8,
}

impl Skipped {
    /// Prints that it is skipped, and returns its exit code.
    pub(super) fn say(&self, json: bool) -> u8 {
        if json {
            say_json(&json!({ "kind": "passed-over", "record": self.record, "why": self.alone() }));
        } else {
            say(format!("skipped: record {} {}", self.record, self.why));
        }
        self.code
    }

    /// The reason as a sentence about the whole event, for an event that has no other part.
    pub(super) fn alone(&self) -> String {
        format!("the event {}", self.why)
    }
}

pub(super) async fn requested(at: &Connected, arguments: &Arguments) -> Result<Requested> {
    match (arguments.instance, &arguments.event) {
        (Some(instance), _) => {
            let departure = named(at, instance, arguments.asg.as_deref()).await?;
            Ok(Requested { departures: vec![departure], skipped: Vec::new() })
        }
        (None, Some(file)) => Ok(of_event(at, &read(file)?).await),
        (None, None) => bail!("name an instance with --instance, or an event with --event"),
    }
}

/// The departure of an instance that a person named. Like a departure, the query for its group is repeated while AWS throttles or cannot
/// be reached, for as long as a departure may take.
async fn named(at: &Connected, instance: InstanceId, asg: Option<&str>) -> Result<Departure> {
    let asg = match asg {
        Some(asg) => asg.into(),
        None => group_of(at, instance, at.live.now() + at.settings.policy.max_departure).await?,
    };
    at.departure_from(instance, asg, named_by_a_person())
}

/// An instance's group. The query is repeated until AWS answers, or until `end`.
async fn group_of(at: &Connected, instance: InstanceId, end: Time) -> Result<Arc<str>> {
    let mut pause = Duration::from_secs(1);
    loop {
        match at.group_of(instance).await {
            Ok(Some(asg)) => return Ok(asg),
            Ok(None) => return Err(at.no_such_instance(instance)),
            Err(why @ (Unseen::Throttled | Unseen::Away(_) | Unseen::Stale)) if at.live.now() + pause < end => {
                complain(format!("{}; retrying in {}", at.cannot_ask_because(&why), plain(pause)));
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(why) => return Err(at.cannot_ask(&why)),
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let mut event = Vec::new();
    // One byte more than the limit, so that the parser reports that the event is too large.
    let most = u64::try_from(MOST_BATCH_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    if file == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut event).context("read the event from standard input")?;
    } else {
        let opened = std::fs::File::open(file);
        let opened =
            opened.with_context(|| format!("open the event {}; name a file, or - for standard input", file.display()))?;
        opened.take(most).read_to_end(&mut event).with_context(|| format!("read the event {}", file.display()))?;
    }
    Ok(event)
}

/// Every departure in the event. A record that cannot be used does not affect the others.
async fn of_event(at: &Connected, event: &[u8]) -> Requested {
    let settings = &at.settings;
    let mut requested = Requested::default();
    let region = &at.region;
    for (place, record) in decamp_events::read(event, &settings.allowed, &settings.policy.hooks).into_iter().enumerate() {
        if record.names_no_region {
            info!("record {} names no Region; what Auto Scaling shows in {region} decides", place + 1);
        }
        let departure = match record.content {
            Ok(EventContent::Departure(departure)) => Ok(departure),
            Ok(EventContent::Interruption { instance, at: gone }) => interruption(at, instance, gone).await,
            Ok(content) => Err((needs_nothing(&content), 0)),
            Err(rejection) => {
                let code = if rejection.is_everyday() { 0 } else { exit::ERROR };
                Err((format!("cannot be used: {rejection}"), code))
            }
        };
        match departure {
            // A duplicate event starts no second run.
            Ok(departure) if requested.departures.iter().any(|known| is_the_same(known, &departure)) => {}
            Ok(departure) => requested.departures.push(departure),
            Err((why, code)) => requested.skipped.push(Skipped { record: place + 1, why, code }),
        }
    }
    requested
}

async fn interruption(at: &Connected, instance: InstanceId, gone: Time) -> Result<Departure, (String, u8)> {
    if gone <= at.live.now() {
        let why = format!("says that EC2 takes {instance} back at {gone}, which is past: it is too late to drain it");
        return Err((why, exit::of(&Outcome::AlreadyPast)));
    }
    let end = gone.min(at.live.now() + MOST_WAIT_FOR_A_RECORD);
    let departure = group_of(at, instance, end).await;
    let departure = departure.and_then(|asg| at.departure_from(instance, asg, Cause::Interruption { at: gone }));
    departure.map_err(|why| (format!("cannot be used: {why:#}"), exit::ERROR))
}

/// Why an event that is no departure is skipped.
fn needs_nothing(content: &EventContent) -> String {
    match content {
        EventContent::Sweep => {
            "is a scheduled sweep; `decamp status` lists the waiting instances, `decamp run --instance` drains one".to_owned()
        }
        EventContent::Arrival { .. } | EventContent::Rebalance { .. } | EventContent::ScheduledChange { .. } => {
            format!("is of the kind {}, which drains no instance; name one with --instance", content.word())
        }
        EventContent::Departure(_) | EventContent::Interruption { .. } | EventContent::Test | EventContent::Informational(_) => {
            format!("is of the kind {}, which needs no action", content.word())
        }
    }
}

fn is_the_same(one: &Departure, other: &Departure) -> bool {
    (one.instance, &one.asg, one.action().is_some()) == (other.instance, &other.asg, other.action().is_some())
}
