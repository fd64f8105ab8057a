//! Measures `decamp serve`: `cargo build --release && cargo run --release --example serving -- [NUMBER]`.
//!
//! It measures how many signed webhooks one core verifies, the latency of `POST /v1/events` at 2,000 requests per second, and the resources
//! that one replica needs for NUMBER departures at once (1,000 by default) with AWS's rate limits. The replica runs the release binary.

mod replica;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use decamp_config::Secret;
use decamp_core::time::Time;
use decamp_sandbox::{ACCOUNT, Options, REGION};
use decamp_service::verify::hmac_signatures::standard;
use reqwest::Client;
use ring::hmac;
use serde_json::json;
use tokio::time::{sleep, sleep_until};

use self::replica::{KEY, Replica};

/// Requests per second.
const RATE: u32 = 2_000;
/// How long they are sent.
const LASTS: Duration = Duration::from_secs(10);
/// The number of connections.
const CONNECTIONS: usize = 64;

fn main() -> Result<()> {
    let leave = std::env::args().nth(1).map_or(Ok(1_000), |text| text.parse()).context("NUMBER is a number")?;
    println!("signed webhooks of 1 KiB verified: {} per second on one core", verified()?);
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        bail!("a crypto provider is installed already");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        events().await?;
        fleet(leave).await
    })
}

/// How many webhooks of the Standard Webhooks scheme are verified in one second.
fn verified() -> Result<u32> {
    let key = [7_u8; 24];
    let secrets = [Secret::new(format!("whsec_{}", STANDARD.encode(key)))];
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (body, now) = (vec![b'x'; 1024], Time(seconds * 1_000));
    let seconds = seconds.to_string();
    let content = [b"msg_1.".as_slice(), seconds.as_bytes(), b".", &body].concat();
    let signature = format!("v1,{}", STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &content)));
    let header = |name: &str| match name {
        "webhook-id" => Some("msg_1".to_owned()),
        "webhook-timestamp" => Some(seconds.clone()),
        "webhook-signature" => Some(signature.clone()),
        _ => None,
    };
    let began = Instant::now();
    let mut many = 0;
    while began.elapsed() < Duration::from_secs(1) {
        for _ in 0..100 {
            standard(&header, &body, &secrets, now).context("the signature is valid")?;
            many += 1;
        }
    }
    Ok(many)
}

/// Measures the latency of events at a constant rate. The time counts from the moment each event was due.
async fn events() -> Result<()> {
    let sandbox = decamp_sandbox::serve(&Options::default()).await?;
    let replica = Replica::start(&sandbox, &[], &[]).await?;
    let client = Client::builder().no_proxy().pool_max_idle_per_host(CONNECTIONS).build()?;
    // A valid event that needs no action, so that only the intake is measured.
    let event = json!({
        "version": "0", "id": "12345678-1234-1234-1234-123456789012", "detail-type": "EC2 Instance Launch Successful",
        "source": "aws.autoscaling", "account": ACCOUNT, "time": "2026-01-01T00:00:00Z", "region": REGION, "resources": [],
        "detail": { "AutoScalingGroupName": "web", "EC2InstanceId": "i-0123456789abcdef0", "StatusCode": "InProgress" },
    });
    let (body, url) = (event.to_string(), format!("{}/v1/events", replica.webhooks));
    let began = tokio::time::Instant::now() + Duration::from_millis(100);
    let step = Duration::from_secs(1) / RATE;
    let many = u32::try_from(LASTS.as_secs())? * RATE;
    let senders = (0..u32::try_from(CONNECTIONS)?).map(|first| {
        let (client, body, url) = (client.clone(), body.clone(), url.clone());
        tokio::spawn(async move {
            let mut took = Vec::new();
            for number in (first..many).step_by(CONNECTIONS) {
                let due = began + step * number;
                sleep_until(due).await;
                let answer = client.post(&url).header("x-api-key", KEY).body(body.clone()).send().await;
                let accepted = answer.is_ok_and(|answer| answer.status() == 202);
                took.push((due.elapsed(), accepted));
            }
            took
        })
    });
    let mut took = Vec::new();
    for sender in senders.collect::<Vec<_>>() {
        took.extend(sender.await?);
    }
    let refused = took.iter().filter(|(_, accepted)| !accepted).count();
    let mut times: Vec<Duration> = took.iter().map(|(time, _)| *time).collect();
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 1000).min(times.len() - 1)];
    println!(
        "POST /v1/events at {RATE} requests per second: {} requests, {refused} not accepted; p50 {:.1?}, p99 {:.1?}, p99.9 {:.1?}",
        times.len(),
        at(500),
        at(990),
        at(999)
    );
    Ok(())
}

/// Measures one replica with many departures at once.
async fn fleet(leave: u32) -> Result<()> {
    let sandbox = decamp_sandbox::serve(&Options::exodus(leave)).await?;
    let replica = Replica::start(&sandbox, &[], &[("DECAMP_SWEEP", "1m")]).await?;
    // No connection is kept: the service closes idle ones, and a request at that moment would get no answer.
    let client = Client::builder().no_proxy().pool_max_idle_per_host(0).build()?;
    let events = sandbox.terminate(leave as usize).await?;
    let began = Instant::now();
    let before = replica.processor()?;
    for some in events.chunks(100) {
        let request = client.post(format!("{}/v1/events", replica.webhooks)).header("x-api-key", KEY).json(some);
        request.send().await?.error_for_status()?;
    }
    let departed = format!("outcome=\"departed\"}} {leave}");
    let metrics = loop {
        let metrics = client.get(format!("{}/metrics", replica.admin)).send().await?.text().await?;
        if metrics.contains(&departed) {
            break metrics;
        }
        if Duration::from_mins(10) < began.elapsed() {
            bail!("the departures do not end: {metrics}");
        }
        sleep(Duration::from_millis(500)).await;
    };
    let took = began.elapsed();
    let busy = replica.processor()?.saturating_sub(before);
    let requests = sandbox.shared.look(|stage| stage.more()).remove("requests").unwrap_or_default();
    let calls: u64 = metrics
        .lines()
        .filter(|line| line.starts_with("decamp_aws_calls_total"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum();
    println!("{leave} departures in one replica: {took:.1?}; requests sent {}, failed {}", requests["sent"], requests["failed"]);
    println!(
        "  calls of AWS {calls}; {:.0} % of a core; peak resident memory {} KiB",
        100.0 * busy.as_secs_f64() / took.as_secs_f64(),
        replica.status("VmHWM")?
    );
    Ok(())
}
