//! Measures one process that takes 1,000 instances out of service at once, and checks that no hook is lost.
//!
//! `cargo run --release --example fleet -- 1000` starts the sandbox in a separate process (`fleet serve 1000`), with AWS's rate limits.
//! It terminates all instances except five, and prints calls, time, outcomes, failed requests, and the peak memory of the decamp process.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use decamp_aws::aws::{Aws, Keys};
use decamp_config::Settings;
use decamp_core::decide::{Cause, Departure, LifecycleAction};
use decamp_core::run::{NoObserver, RunOptions, RunResult, run};
use decamp_core::time::Time;
use decamp_live::Live;
use decamp_sandbox::{ASG, HOOK, Options};
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::Value;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match arguments.as_slice() {
        ["serve", leave] => runtime.block_on(serve(leave.parse()?)),
        [leave] => runtime.block_on(depart(leave.parse()?)),
        _ => bail!("usage: fleet NUMBER"),
    }
}

/// Serves a sandbox until standard input ends. It terminates this many instances and prints their events in one line.
async fn serve(leave: usize) -> Result<()> {
    let sandbox = decamp_sandbox::serve(&Options::exodus(u32::try_from(leave)?)).await?;
    for (name, value) in sandbox.variables() {
        println!("{name}={value}");
    }
    println!("{EVENTS}{}", serde_json::to_string(&sandbox.terminate(leave).await?)?);
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().lines().for_each(drop)).await?;
    Ok(())
}

/// The beginning of the line with the events.
const EVENTS: &str = "events ";

/// The sandbox in another process, its environment variables, and the events of the instances that leave.
struct SandboxProcess {
    child: Child,
    /// Kept open, because the process would end if it could not print.
    _output: BufReader<ChildStdout>,
    variables: BTreeMap<String, String>,
    events: Vec<Event>,
}

fn start_sandbox(leave: u32) -> Result<SandboxProcess> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["serve", &leave.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start the sandbox")?;
    let output = child.stdout.take().context("its output is piped")?;
    let mut variables = BTreeMap::new();
    let mut output = BufReader::new(output);
    for line in output.by_ref().lines() {
        let line = line?;
        if let Some(events) = line.strip_prefix(EVENTS) {
            return Ok(SandboxProcess { child, _output: output, variables, events: serde_json::from_str(events)? });
        }
        if let Some((name, value)) = line.split_once('=') {
            variables.insert(name.to_owned(), value.to_owned());
        }
    }
    bail!("the sandbox did not print the events")
}

/// The fields of a lifecycle event that are used here.
#[derive(Deserialize)]
struct Event {
    time: String,
    detail: Detail,
}

#[derive(Deserialize)]
struct Detail {
    #[serde(rename = "EC2InstanceId")]
    instance: String,
    #[serde(rename = "LifecycleActionToken")]
    token: String,
}

impl Event {
    fn departure(&self) -> Result<Departure> {
        let action = LifecycleAction {
            hook: Some(HOOK.into()),
            token: Some(self.detail.token.parse()?),
            began: Time::read(&self.time),
            to_warm_pool: false,
        };
        Ok(Departure { instance: self.detail.instance.parse()?, asg: ASG.into(), cause: Cause::Lifecycle(action) })
    }
}

async fn depart(leave: u32) -> Result<()> {
    println!("{leave} instances terminate at once");
    let SandboxProcess { mut child, _output, variables, events } = start_sandbox(leave)?;
    let names: Vec<&str> = variables.keys().map(String::as_str).collect();
    let settings = Settings::read(&|name| variables.get(name).cloned(), &names)?;
    let keys = Keys { id: "sandbox".to_owned(), secret: "sandbox".to_owned() };
    let live = Live::new(&settings, &Aws::load(&settings.aws, Some(keys)).await)?;
    // This client needs a default provider. decamp's own clients choose theirs.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        bail!("a crypto provider is installed already");
    }
    let base = variables.get("AWS_ENDPOINT_URL").context("the sandbox prints its address")?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let departures: Vec<Departure> = events.iter().map(Event::departure).collect::<Result<_>>()?;
    drop(events);
    let began = Instant::now();
    let (live, policy) = (&live, &settings.policy);
    let endings = join_all(departures.iter().map(|departure| async move {
        match run(live, departure, policy, RunOptions::default(), &mut NoObserver).await.how {
            RunResult::Ended(outcome, _) => outcome.word(),
            RunResult::HandedBack | RunResult::Observed(_) => "not ended",
        }
    }))
    .await;
    let (took, resident) = (began.elapsed(), most_resident());
    let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
    endings.into_iter().for_each(|word| *outcomes.entry(word).or_default() += 1);
    let state: Value = client.get(format!("{base}/sandbox/state")).send().await?.json().await?;
    let requests = &state["requests"];
    println!("outcomes {outcomes:?} in {took:.1?}");
    println!("requests sent {} failed {} {}", requests["sent"], requests["failed"], requests["failed_by_kind"]);
    let calls: Vec<_> = live.calls().each().collect();
    println!("calls of AWS: {} {calls:?}", live.calls().total());
    println!("peak resident memory: {}", resident.unwrap_or_else(|| "unknown on this system".to_owned()));
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// The peak resident memory of this process, on Linux.
fn most_resident() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map(|rest| rest.trim().to_owned())
}
