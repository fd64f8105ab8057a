//! A long life of one replica of `decamp serve`: `cargo build --release && cargo run --release --example endurance -- [DEPARTURES [WAVE]]`.
//!
//! Wave after wave of instances leaves a pretend world, each wave all at once, and a new world takes the place of the one that is
//! empty. Events come in by a queue and by `POST /v1/events`, some of them twice; people look at the page; nonsense is sent. The
//! departures are as short as settings can make them, which is what makes a long time pass in half an hour. It ends with 1 if the
//! replica needs more than a twentieth more memory at the end than after a tenth, or a departure or a request failed.

mod life;
#[path = "../replica/mod.rs"]
mod replica;
mod visitors;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use decamp_sandbox::{ACCOUNT, Options, REGION, Sandbox};
use reqwest::Client;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use self::life::{Life, Sample};
use self::replica::{KEY, Replica};
use self::visitors::Visitors;

/// Half of what a pretend world costs is memory taken and given back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Instances that leave at once, where nobody says otherwise.
const WAVE: u32 = 500;
/// The queue that half of the events come by.
const QUEUE: &str = "departures";
/// A wave that takes longer does not end.
const LONGEST_WAVE: Duration = Duration::from_mins(5);

fn main() -> Result<ExitCode> {
    let departures: u32 = std::env::args().nth(1).map_or(Ok(100_000), |text| text.parse()).context("DEPARTURES is a number")?;
    let size: u32 = std::env::args().nth(2).map_or(Ok(WAVE), |text| text.parse()).context("WAVE is a number")?;
    if size == 0 {
        bail!("WAVE is 1 or more");
    }
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        bail!("somebody else chose how to encrypt");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let failed = runtime.block_on(live(departures, size))?;
    for why in &failed {
        println!("failed: {why}");
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The world of one wave: departures in it are short, and nothing that clients send gets lost by its settings. As many instances stay
/// as leave, so that each service has a copy on either side, and the copies that move need not wait for one another.
fn world(wave: u32, size: u32) -> Options {
    let (delay, lag) = (Duration::from_secs(1), Duration::from_millis(900));
    let short = Options { nodes: 2 * size, delay, lag, throttled: false, ..Options::exodus(size) };
    Options { first: 1 + wave * short.nodes, seed: u64::from(wave) + 1, ..short }
}

/// Lets so many departures pass, and answers what was wrong.
async fn live(departures: u32, size: u32) -> Result<Vec<String>> {
    let waves = departures.div_ceil(size);
    let mut sandbox = decamp_sandbox::serve(&world(0, size)).await?;
    sandbox.shared.stores().queues.entry(QUEUE.to_owned()).or_default();
    let receiver = visitors::receiver().await?;
    let mut settings = tempfile::NamedTempFile::new()?;
    write!(settings, "[notify.team]\nkind = \"slack\"\nurl = \"{receiver}\"\n")?;
    let queue = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{QUEUE}");
    // One core would wait for what the account's usual bucket gives: a quota of a large account, in both.
    let more = [
        ("DECAMP_QUEUES", queue.as_str()),
        ("DECAMP_GUARD_ALB", "1s"),
        ("DECAMP_AUTO_SCALING_RATE", "500"),
        ("DECAMP_LOG", "warn"),
    ];
    let arguments = ["--config".as_ref(), settings.path().as_os_str()];
    let replica = Arc::new(Replica::start(&sandbox, &arguments, &more).await?);
    // No connection is kept: the service closes idle ones, and whoever writes into that very moment gets no answer.
    let client = Client::builder().no_proxy().pool_max_idle_per_host(0).build()?;
    let visitors = Visitors::begin(&client, &replica);
    let mut life = Life::begin(&replica)?;
    println!("{}", Sample::HEADER);
    for wave in 0..waves {
        if 0 < wave {
            sandbox.begin_again(&world(wave, size));
        }
        let before = life.departed;
        walk_out(&sandbox, &client, &replica, &mut life, size, u64::from(wave + 1) * u64::from(size)).await?;
        let requests = sandbox.shared.look(|stage| stage.more()).remove("requests").unwrap_or_default();
        life.requests(&requests);
        if life.departed != before + u64::from(size) {
            bail!("{} departures ended well in a wave of {size}: {:?}", life.departed - before, life.outcomes);
        }
        life.wave_ends(&replica)?;
        if wave + 1 == waves || (wave + 1) * 10 / waves != wave * 10 / waves {
            // What was in hand a moment ago is let go by then, connections too.
            sleep(Duration::from_secs(2)).await;
            println!("{}", life.sample(&replica)?);
        }
    }
    let unexpected = visitors.end().await;
    Ok(life.verdict(&unexpected))
}

/// Terminates so many, tells of it, and waits until as many have departed in all.
async fn walk_out(
    sandbox: &Sandbox,
    client: &Client,
    replica: &Replica,
    life: &mut Life,
    size: u32,
    departed: u64,
) -> Result<()> {
    let began = Instant::now();
    let events = timeout(LONGEST_WAVE, sandbox.terminate(size as usize)).await.context("the hooks do not begin")??;
    tell(sandbox, client, replica, &events).await?;
    loop {
        sleep(Duration::from_millis(250)).await;
        life.look(client, replica).await?;
        let left = sandbox.shared.stores().queues.get(QUEUE).map_or(0, |queue| queue.len());
        if departed <= life.departed && life.in_hand == 0 && left == 0 {
            return Ok(());
        }
        if LONGEST_WAVE < began.elapsed() {
            bail!("a wave does not end: {departed} should have departed, {:?}, {left} messages", life.outcomes);
        }
    }
}

/// Half of the events come by the queue and half by the door, and every tenth both ways.
async fn tell(sandbox: &Sandbox, client: &Client, replica: &Replica, events: &[Value]) -> Result<()> {
    let mut posted = Vec::new();
    {
        let mut stores = sandbox.shared.stores();
        let queue = stores.queues.entry(QUEUE.to_owned()).or_default();
        for (place, event) in events.iter().enumerate() {
            if place % 2 == 0 {
                queue.send(&event.to_string());
            }
            if place % 2 == 1 || place % 10 == 0 {
                posted.push(event);
            }
        }
    }
    for some in posted.chunks(50) {
        let request = client.post(format!("{}/v1/events", replica.webhooks)).header("x-api-key", KEY).json(some);
        request.send().await?.error_for_status()?;
    }
    Ok(())
}
