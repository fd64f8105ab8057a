//! Endurance test of a replica: `cargo build --release && cargo run --release --example endurance -- [DEPARTURES [WAVE]]`.
//!
//! Waves of instances leave a simulated world. All instances of a wave leave at once, and then a new world replaces the empty one. Events
//! arrive by a queue and by `POST /v1/events`, some of them twice. Meanwhile clients read the page, and others send invalid requests. The
//! departures are as short as the settings allow, so that half an hour stands for a long time. The exit code is 1 if the memory at the end
//! is more than 5 % above that after a tenth of the departures, or if a departure or a request failed.

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

/// Half of the cost of a simulated world is memory allocation.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The default number of instances that leave at once.
const WAVE: u32 = 500;
/// The queue for half of the events.
const QUEUE: &str = "departures";
/// The longest time that a wave may take.
const LONGEST_WAVE: Duration = Duration::from_mins(5);

fn main() -> Result<ExitCode> {
    let departures: u32 = std::env::args().nth(1).map_or(Ok(100_000), |text| text.parse()).context("DEPARTURES is a number")?;
    let size: u32 = std::env::args().nth(2).map_or(Ok(WAVE), |text| text.parse()).context("WAVE is a number")?;
    if size == 0 {
        bail!("WAVE is 1 or more");
    }
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        bail!("a crypto provider is installed already");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let failed = runtime.block_on(run(departures, size))?;
    for why in &failed {
        println!("failed: {why}");
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The world of one wave. Its departures are short, and its settings lose no requests. As many instances stay as leave, so that each
/// service has a copy on a node that stays, and the copies that move need not wait for one another.
fn world(wave: u32, size: u32) -> Options {
    let (delay, lag) = (Duration::from_secs(1), Duration::from_millis(900));
    let short = Options { nodes: 2 * size, delay, lag, throttled: false, ..Options::exodus(size) };
    Options { first: 1 + wave * short.nodes, seed: u64::from(wave) + 1, ..short }
}

/// Runs this many departures and returns the failures.
async fn run(departures: u32, size: u32) -> Result<Vec<String>> {
    let waves = departures.div_ceil(size);
    let mut sandbox = decamp_sandbox::serve(&world(0, size)).await?;
    sandbox.shared.stores().queues.entry(QUEUE.to_owned()).or_default();
    let receiver = visitors::receiver().await?;
    let mut settings = tempfile::NamedTempFile::new()?;
    write!(settings, "[notify.team]\nkind = \"slack\"\nurl = \"{receiver}\"\n")?;
    let queue = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{QUEUE}");
    // With the default rate limit of an account the test would mostly wait, so this uses the quota of a large account.
    let more = [
        ("DECAMP_QUEUES", queue.as_str()),
        ("DECAMP_GUARD_ALB", "1s"),
        ("DECAMP_AUTO_SCALING_RATE", "500"),
        ("DECAMP_LOG", "warn"),
    ];
    let arguments = ["--config".as_ref(), settings.path().as_os_str()];
    let replica = Arc::new(Replica::start(&sandbox, &arguments, &more).await?);
    // No connection is kept: the service closes idle ones, and a request at that moment would get no answer.
    let client = Client::builder().no_proxy().pool_max_idle_per_host(0).build()?;
    let visitors = Visitors::begin(&client, &replica);
    let mut life = Life::begin(&replica)?;
    println!("{}", Sample::HEADER);
    for wave in 0..waves {
        if 0 < wave {
            sandbox.replace_world(&world(wave, size));
        }
        let before = life.departed;
        run_wave(&sandbox, &client, &replica, &mut life, size, u64::from(wave + 1) * u64::from(size)).await?;
        let requests = sandbox.shared.look(|stage| stage.more()).remove("requests").unwrap_or_default();
        life.requests(&requests);
        if life.departed != before + u64::from(size) {
            bail!("{} departures ended well in a wave of {size}: {:?}", life.departed - before, life.outcomes);
        }
        life.wave_ends(&replica)?;
        if wave + 1 == waves || (wave + 1) * 10 / waves != wave * 10 / waves {
            // By then the resources of the last departures and connections are released.
            sleep(Duration::from_secs(2)).await;
            println!("{}", life.sample(&replica)?);
        }
    }
    let unexpected = visitors.end().await;
    Ok(life.verdict(&unexpected))
}

/// Terminates `size` instances, sends their events, and waits until `departed` instances have departed in total.
async fn run_wave(
    sandbox: &Sandbox,
    client: &Client,
    replica: &Replica,
    life: &mut Life,
    size: u32,
    departed: u64,
) -> Result<()> {
    let began = Instant::now();
    let events = timeout(LONGEST_WAVE, sandbox.terminate(size as usize)).await.context("the hooks do not begin")??;
    send_events(sandbox, client, replica, &events).await?;
    loop {
        sleep(Duration::from_millis(250)).await;
        life.look(client, replica).await?;
        let messages = sandbox.shared.stores().queues.get(QUEUE).map_or(0, |queue| queue.len());
        if departed <= life.departed && life.in_progress == 0 && messages == 0 {
            return Ok(());
        }
        if LONGEST_WAVE < began.elapsed() {
            bail!("a wave does not end: {departed} should have departed, {:?}, {messages} messages", life.outcomes);
        }
    }
}

/// Sends half of the events by the queue and half by `POST /v1/events`, and every tenth both ways.
async fn send_events(sandbox: &Sandbox, client: &Client, replica: &Replica, events: &[Value]) -> Result<()> {
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
