//! The Lambda function: handles events, and runs departures pass by pass.

mod check;
mod departing;
mod fleet;
mod logging;
mod memory;
mod pass;
mod real;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use aws_lambda_events::sqs::SqsBatchResponse;
use decamp_config::{LogLevel, Secret, Settings, kept_document};
use decamp_events::asks_for_a_check;
use decamp_live::{Live, document};
use lambda_runtime::{LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::value::RawValue;
use tracing::{Instrument, error, info_span, warn};

use crate::check::{Report, check};
use crate::memory::Memory;
use crate::pass::{Invocation, pass};

fn main() -> anyhow::Result<()> {
    // One thread is enough: a departure waits far more than it computes, and below 1,769 MB a function has less than one processor.
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    tokio.block_on(serve())
}

async fn serve() -> anyhow::Result<()> {
    let settings = settings().await;
    logging::begin(settings.as_ref().map_or(LogLevel::Info, |settings| settings.log_level));
    let settings = settings.inspect_err(|why| error!("decamp cannot work with its settings: {why:#}"))?;
    for warning in &settings.warnings {
        warn!("{warning}");
    }
    if let Some(why) = settings.names_no_group() {
        error!("{why}");
    }
    let live = Live::connect(&settings).await.inspect_err(|why| error!("decamp cannot work with its settings: {why:#}"))?;
    let (first, memory) = (AtomicBool::new(true), Memory::default());
    let handler = service_fn(|event: LambdaEvent<Box<RawValue>>| {
        let (live, settings, first, memory) = (&live, &settings, &first, &memory);
        async move {
            let cold_start = first.swap(false, Ordering::Relaxed);
            let request = event.context.request_id.clone();
            let span = info_span!("invocation", cold_start, function_request_id = request);
            Ok::<_, lambda_runtime::Error>(invoked(live, settings, memory, &event).instrument(span).await)
        }
    });
    lambda_runtime::Runtime::new(handler)
        .run()
        .await
        .map_err(|why| anyhow::anyhow!("the connection to the runtime API ended: {why}"))
}

/// The settings of the environment and of the stored document, if the environment names one.
async fn settings() -> anyhow::Result<Settings> {
    let text = match kept_document()? {
        None => None,
        Some((stored, aws)) => Some(document(&stored, &aws).await?),
    };
    Ok(Settings::of_the_function(text.as_ref().map(Secret::expose))?)
}

/// The answer to an invocation.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    /// The messages that the queue has to deliver again.
    Batch(SqsBatchResponse),
    /// The report of a check.
    Report(Report),
}

async fn invoked(live: &Live, settings: &Settings, memory: &Memory, event: &LambdaEvent<Box<RawValue>>) -> Answer {
    // Between two invocations Lambda freezes the process with its clocks.
    live.clock().start_again();
    let deadline = SystemTime::UNIX_EPOCH + Duration::from_millis(event.context.deadline);
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    let payload = event.payload.get().as_bytes();
    if asks_for_a_check(payload) {
        return Answer::Report(check(live, settings, left).await);
    }
    let print = |line: &str| println!("{line}");
    Answer::Batch(pass(&Invocation::begin(live, settings, memory, left, &print), payload).await)
}
