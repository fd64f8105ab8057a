//! Measures the binary as Lambda starts it: `cargo build --profile lambda -p decamp-lambda`, then
//! `cargo run -p decamp-lambda --example coldstart -- target/lambda/bootstrap [RUNS]`.

#[path = "../tests/departure/depart.rs"]
mod depart;
#[path = "../tests/runtime/mod.rs"]
mod runtime;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use decamp_sandbox::{ACCOUNT, ASG, HOOK, REGION};
use runtime::{Answer, FailingServer, Function};
use serde_json::json;
use tokio::process::Command;

const TIME: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let binary: PathBuf = arguments.next().context("name the binary")?.into();
    let runs: usize = arguments.next().map_or(Ok(100), |runs| runs.parse()).context("the second argument is a number of runs")?;
    let size = std::fs::metadata(&binary).with_context(|| format!("read {}", binary.display()))?.len();
    println!("binary                     {:>8.2} MB", size as f64 / 1e6);
    test_notification(&binary, runs).await?;
    first_event(&binary, runs).await?;
    let departed = depart::depart(Command::new(&binary)).await;
    let resident = departed.resident.context("this machine does not report a process's peak resident size")?;
    anyhow::ensure!(departed.printed.contains("departed"), "the departure ended otherwise:\n{}", departed.printed);
    let requests = departed.sandbox.shared.look(|stage| stage.more())["requests"].clone();
    println!("peak resident, departure   {:>8.1} MiB", resident as f64 / 1024.0);
    println!(
        "that departure             {:>8.1} s, {} passes, requests {requests}",
        departed.took.as_secs_f64(),
        departed.passes
    );
    Ok(())
}

/// Measures the start itself, with an event that needs no call.
async fn test_notification(binary: &Path, runs: usize) -> anyhow::Result<()> {
    let failing = FailingServer::start().await;
    let settings = [
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "none"),
        ("AWS_ENDPOINT_URL", &*failing.url),
        ("NOMAD_ADDR", &*failing.url),
        ("CONSUL_HTTP_ADDR", &*failing.url),
        ("DECAMP_GROUPS", "workers"),
    ];
    let (mut requested, mut answered) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let began = Instant::now();
        let mut function = Function::start(binary, &settings).await;
        let answer = function.invoke("{\"Event\":\"autoscaling:TEST_NOTIFICATION\"}", TIME).await;
        answered.push(began.elapsed());
        anyhow::ensure!(matches!(answer, Answer::Response(_)), "the function answered {answer:?}");
        requested.push(function.first_request_after().context("the function requested no event")?);
        function.end().await;
    }
    anyhow::ensure!(failing.requests().is_empty(), "a test notification needs no call");
    print_spans("exec to first /next", requested);
    print_spans("to a test's answer", answered);
    Ok(())
}

/// Measures a lifecycle event of an instance that is in service: the function queries AWS and Nomad, and answers.
async fn first_event(binary: &Path, runs: usize) -> anyhow::Result<()> {
    let sandbox = decamp_sandbox::serve(&depart::options()).await?;
    let event = json!({
        "version": "0", "id": "e-1", "detail-type": "EC2 Instance-terminate Lifecycle Action", "source": "aws.autoscaling",
        "account": ACCOUNT, "region": REGION, "time": "2027-01-15T08:00:00Z", "resources": [],
        "detail": {
            "LifecycleActionToken": "87654321-4321-4321-4321-210987654321", "AutoScalingGroupName": ASG,
            "LifecycleHookName": HOOK, "EC2InstanceId": sandbox.instances[0].to_string(),
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING", "Origin": "AutoScalingGroup", "Destination": "EC2",
        },
    });
    let message = depart::delivered(&event.to_string());
    let mut answered = Vec::new();
    for _ in 0..runs {
        let began = Instant::now();
        let mut function = depart::start(&sandbox, Command::new(binary), &[]).await;
        let answer = function.invoke(&message, TIME).await;
        answered.push(began.elapsed());
        let printed = function.end().await;
        anyhow::ensure!(matches!(answer, Answer::Response(_)), "the function answered {answer:?}");
        anyhow::ensure!(printed.contains("not-leaving"), "the function answered otherwise:\n{printed}");
    }
    print_spans("to a departure's answer", answered);
    Ok(())
}

fn print_spans(what: &str, mut all: Vec<Duration>) {
    all.sort_unstable();
    let at = |percent: usize| all.get(all.len() * percent / 100).or(all.last()).map_or(0.0, |span| span.as_secs_f64() * 1e3);
    println!("{what:<26} {:>8.1} ms p50 {:>8.1} ms p99", at(50), at(99));
}
