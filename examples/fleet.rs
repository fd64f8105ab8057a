//! A thousand instances terminating at once, walked out by one process: what it needs, and whether a hook is lost.
//!
//! `cargo run --release --example fleet -- 1000` starts the pretend world in a process of its own (`fleet serve 1000`), with AWS's
//! buckets on, terminates all instances but five, and prints calls, time, outcomes, failed requests, and the most memory that the
//! decamp side ever had resident.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use decamp::decide::{Cause, Departure, LifecycleAction};
use decamp::ids::{ActionToken, InstanceId};
use decamp::live::Live;
use decamp::live::aws::{Aws, Keys};
use decamp::run::{How, Manner, Quiet, run};
use decamp::settings::Settings;
use decamp::sim::sandbox::{self, ASG, HOOK, Options};
use decamp::time::Time;
use futures_util::future::join_all;
use serde_json::Value;

/// Instances that stay and take up what the others ran.
const STAY: u32 = 5;

fn options(leave: u32) -> Options {
    Options {
        nodes: leave + STAY,
        services: leave,
        delay: Duration::from_secs(30),
        lag: Duration::from_secs(5),
        heartbeat_timeout: Duration::from_secs(300),
        rate: 100,
        replacements: false,
        throttled: true,
        ..Options::default()
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match arguments.as_slice() {
        ["serve", leave] => runtime.block_on(serve(&options(leave.parse()?))),
        ["serve"] => runtime.block_on(serve(&Options::default())),
        [leave] => runtime.block_on(depart(leave.parse()?)),
        _ => bail!("usage: fleet NUMBER | fleet serve [NUMBER]"),
    }
}

/// Serves a sandbox until its input ends.
async fn serve(options: &Options) -> Result<()> {
    let sandbox = sandbox::serve(options).await?;
    println!("{}", sandbox.exports());
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().lines().for_each(drop)).await?;
    Ok(())
}

/// Starts the other process; the variables that it exports.
fn start_world(leave: u32) -> Result<(Child, BTreeMap<String, String>)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["serve", &leave.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start the pretend world")?;
    let output = child.stdout.take().context("its output is piped")?;
    let mut variables = BTreeMap::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        match line.strip_prefix("export ").and_then(|rest| rest.split_once('=')) {
            Some((name, value)) => drop(variables.insert(name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    Ok((child, variables))
}

async fn depart(leave: u32) -> Result<()> {
    let (mut world, variables) = start_world(leave)?;
    let names: Vec<&str> = variables.keys().map(String::as_str).collect();
    let settings = Settings::read(&|name| variables.get(name).cloned(), &names)?;
    let keys = Keys { id: "sandbox".to_owned(), secret: "sandbox".to_owned() };
    let live = Live::new(&settings, &Aws::load(&settings.aws, Some(keys)).await)?;
    let base = variables.get("AWS_ENDPOINT_URL").context("the world says where it listens")?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let state = || async { anyhow::Ok(client.get(format!("{base}/sandbox/state")).send().await?.json::<Value>().await?) };
    let group = state().await?["auto_scaling_groups"][0]["instances"].clone();
    let all: Vec<&str> = group.as_array().into_iter().flatten().filter_map(|row| row["id"].as_str()).collect();
    let leaving: Vec<InstanceId> = all.iter().take(leave as usize).map(|id| id.parse()).collect::<Result<_, _>>()?;
    println!("{} instances terminate at once; {} stay", leaving.len(), all.len() - leaving.len());
    let began = Instant::now();
    let endings = join_all(leaving.iter().map(|&instance| {
        let (client, live, policy) = (&client, &live, &settings.policy);
        async move {
            let url = format!("{base}/sandbox/terminate?instance={instance}&wait=120");
            let event: Value = client.post(url).send().await?.json().await?;
            let token: Option<ActionToken> = event["detail"]["LifecycleActionToken"].as_str().and_then(|token| token.parse().ok());
            let time = event["time"].as_str().and_then(Time::read);
            let action = LifecycleAction { hook: Some(HOOK.into()), token, began: time, to_warm_pool: false };
            let departure = Departure { instance, asg: ASG.into(), cause: Cause::Lifecycle(action) };
            anyhow::Ok(run(live, &departure, policy, Manner::default(), &mut Quiet).await.how)
        }
    }))
    .await;
    let took = began.elapsed();
    let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
    for ending in endings {
        let word = match ending? {
            How::Ended(outcome, _) => outcome.word().to_owned(),
            How::HandedBack | How::Observed(_) => "not ended".to_owned(),
        };
        *outcomes.entry(word).or_default() += 1;
    }
    let requests = state().await?["requests"].clone();
    println!("outcomes {outcomes:?} in {took:.1?}");
    println!("requests sent {} failed {} {}", requests["sent"], requests["failed"], requests["failed_by_kind"]);
    let calls: Vec<_> = live.calls().each().collect();
    println!("calls of AWS: {} {calls:?}", live.calls().total());
    println!("most memory resident: {}", most_resident().unwrap_or_else(|| "not known here".to_owned()));
    world.kill()?;
    world.wait()?;
    Ok(())
}

/// The most that this process ever had resident, where the system tells (Linux).
fn most_resident() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map(|rest| rest.trim().to_owned())
}
