//! Which departures the arguments of `decamp run` ask for.

use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use decamp_core::decide::{Cause, Departure};
use decamp_events::{MOST_BATCH_BYTES, Told};

use super::Arguments;
use crate::connect::{Connected, named_by_a_person};

pub(super) async fn departures(at: &Connected, arguments: &Arguments) -> Result<Vec<Departure>> {
    match (arguments.instance, &arguments.event) {
        (Some(instance), _) => Ok(vec![at.departure(instance, arguments.asg.as_deref(), named_by_a_person()).await?]),
        (None, Some(file)) => of_event(at, &read(file)?).await,
        (None, None) => bail!("name an instance with --instance, or an event with --event"),
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let mut event = Vec::new();
    // One more than is believed: then the reader says that it is too large.
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

async fn of_event(at: &Connected, event: &[u8]) -> Result<Vec<Departure>> {
    let settings = &at.settings;
    let mut departures = Vec::new();
    for record in decamp_events::read(event, &settings.allowed, &settings.policy.hooks) {
        match record.told {
            Ok(Told::Departure(departure)) => departures.push(departure),
            Ok(Told::Interruption { instance, at: gone }) => {
                departures.push(at.departure(instance, None, Cause::Interruption { at: gone }).await?);
            }
            Ok(Told::Sweep) => {
                bail!("the event is a schedule's; `decamp status` lists who waits, `decamp run --instance` takes one out")
            }
            Ok(told @ (Told::Arrival { .. } | Told::Rebalance { .. } | Told::ScheduledChange { .. })) => {
                bail!("the event is of the kind {}, which takes no instance out; name one with --instance", told.word())
            }
            Ok(told @ (Told::Test | Told::Informational(_))) => {
                bail!("the event is of the kind {}, about which nothing is to be done", told.word())
            }
            Err(rejection) => bail!("the event cannot be used: {rejection}"),
        }
    }
    Ok(departures)
}
