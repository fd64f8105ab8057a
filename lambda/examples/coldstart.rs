//! Measures the binary as Lambda starts it: `cargo build --profile lambda -p decamp-lambda`, then
//! `cargo run -p decamp-lambda --example coldstart -- target/lambda/bootstrap [RUNS]`.

#[path = "../tests/runtime/mod.rs"]
mod runtime;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use runtime::{Answer, Function, Ruin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let binary: PathBuf = arguments.next().context("name the binary")?.into();
    let runs: usize = arguments.next().map_or(Ok(100), |runs| runs.parse()).context("the second argument is a number of runs")?;
    let size = std::fs::metadata(&binary).with_context(|| format!("read {}", binary.display()))?.len();
    let ruin = Ruin::start().await;
    let settings = [
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "none"),
        ("AWS_ENDPOINT_URL", &*ruin.url),
        ("NOMAD_ADDR", &*ruin.url),
        ("CONSUL_HTTP_ADDR", &*ruin.url),
        ("DECAMP_GROUPS", "workers"),
    ];
    let (mut asked, mut answered, mut resident) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let began = Instant::now();
        let mut function = Function::start(&binary, &settings).await;
        let answer = function.invoke("{\"Event\":\"autoscaling:TEST_NOTIFICATION\"}", Duration::from_secs(10)).await;
        answered.push(began.elapsed());
        anyhow::ensure!(matches!(answer, Answer::Response(_)), "the function answered {answer:?}");
        asked.push(function.asked_after().context("it asked for its event")?);
        resident.extend(function.most_resident());
        function.end().await;
    }
    anyhow::ensure!(ruin.asked().is_empty(), "a test notification needs no call");
    println!("binary                     {:>8.2} MB", size as f64 / 1e6);
    print_spans("exec to first /next", asked);
    print_spans("exec to answer of an event", answered);
    resident.sort_unstable();
    if let Some(most) = resident.last() {
        println!("peak resident (most)       {:>8.1} MiB", *most as f64 / 1024.0);
    }
    Ok(())
}

fn print_spans(what: &str, mut all: Vec<Duration>) {
    all.sort_unstable();
    let at = |percent: usize| all.get(all.len() * percent / 100).or(all.last()).map_or(0.0, |span| span.as_secs_f64() * 1e3);
    println!("{what:<26} {:>8.1} ms p50 {:>8.1} ms p99", at(50), at(99));
}
