//! Runs a departure with each shell as users start it: the command, the service and the function, each behind a forwarder.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use decamp_sandbox::{ACCOUNT, ASG, Options, REGION, Sandbox};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::forwarder::{Alteration, Forwarder};
use super::runtime::{Answer, Function};

/// The shell that takes the instance out of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shell {
    Run,
    Serve,
    /// The service without an event. It finds the departure by a sweep.
    Sweeps,
    Lambda,
}

/// The result of one departure.
#[derive(Debug)]
pub(crate) struct Departed {
    /// The word of the outcome. `none` if there was none in time.
    pub(crate) outcome: String,
    /// The exit code of the command.
    pub(crate) code: Option<i32>,
    /// The number of failed requests.
    pub(crate) failed: u64,
    /// Everything that the shell printed.
    pub(crate) output: String,
    /// How many answers were rewritten.
    pub(crate) rewritten: u32,
    pub(crate) took: Duration,
    /// How long after its event a target was first deregistered.
    pub(crate) deregistered: Option<Duration>,
}

/// The longest departure. The hook of [`options`] has run out by then in any case.
const LONGEST: Duration = Duration::from_secs(200);

/// A cluster with delays of a second or two. A calm departure takes about eight seconds.
pub(crate) fn options() -> Options {
    Options {
        delay: Duration::from_secs(2),
        lag: Duration::from_secs(1),
        shutdown_delay: Duration::from_secs(2),
        longest_request: Duration::from_millis(700),
        heartbeat_timeout: Duration::from_secs(60),
        replacements: false,
        rate: 20,
        ..Options::default()
    }
}

pub(crate) fn settings(sandbox: &Sandbox, forwarder: &Forwarder) -> Vec<(&'static str, String)> {
    let mut all = sandbox.variables();
    let more = [
        ("AWS_ENDPOINT_URL", &*forwarder.aws),
        ("NOMAD_ADDR", &*forwarder.nomad),
        ("CONSUL_HTTP_ADDR", &*forwarder.consul),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("DECAMP_GUARD_ALB", "2s"),
        ("DECAMP_LONGEST_REQUEST", "1s"),
        ("DECAMP_CALL_TIMEOUT", "2s"),
        ("DECAMP_MAX_DEPARTURE", "3m"),
        ("DECAMP_RESERVE", "5s"),
        ("DECAMP_NO_NODE_WAIT", "3s"),
        ("DECAMP_LEFTOVER_WAIT", "5s"),
        ("DECAMP_AGENT_DEAD_WAIT", "10s"),
        ("DECAMP_ACCOUNTS", ACCOUNT),
        ("DECAMP_REGIONS", REGION),
    ];
    all.retain(|(name, _)| !more.iter().any(|(known, _)| known == name));
    all.extend(more.map(|(name, value)| (name, value.to_owned())));
    all
}

/// Runs one departure in its own sandbox, with this shell, this alteration and these additional settings.
pub(crate) async fn depart(
    shell: Shell,
    options: &Options,
    alteration: Option<Alteration>,
    more: &[(&'static str, &'static str)],
) -> Departed {
    let sandbox = decamp_sandbox::serve(options).await.expect("loopback is there");
    let instance = sandbox.instances[0];
    let forwarder = Forwarder::start(sandbox.aws.url(), sandbox.nomad.url(), sandbox.consul.url(), alteration).await;
    let mut settings = settings(&sandbox, &forwarder);
    settings.retain(|(name, _)| !more.iter().any(|(known, _)| known == name));
    settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    // The service must run before the instance terminates, so the event is created when the shell awaits it.
    let event_sent = Cell::new(None);
    let event = async {
        let event = sandbox.terminate_these(&[instance]).await.expect("it is in service").remove(0);
        event_sent.set(Some(Instant::now()));
        event
    };
    let began = Instant::now();
    let (outcome, code, output) = match shell {
        Shell::Run => by_run(event.await, &settings).await,
        Shell::Serve => by_serve(event, &settings, true).await,
        Shell::Sweeps => by_serve(event, &settings, false).await,
        Shell::Lambda => by_lambda(event.await, &sandbox, &settings).await,
    };
    let took = began.elapsed();
    // Count the requests that fail when the machine stops too. If it never stops, the outcome says so.
    let _ = timeout(Duration::from_secs(5), sandbox.machine_is_off(instance)).await;
    let failed = sandbox.shared.look(|models| models.more())["requests"]["failed"].as_u64().expect("a number");
    let deregistered = forwarder.deregistered().zip(event_sent.get()).map(|(at, sent)| at.saturating_duration_since(sent));
    Departed { outcome, code, failed, output, rewritten: forwarder.rewritten(), took, deregistered }
}

pub(crate) fn command(settings: &[(&'static str, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_decamp"));
    command.env_clear().envs(settings.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn by_run(event: Value, settings: &[(&'static str, String)]) -> (String, Option<i32>, String) {
    let instance = event["detail"]["EC2InstanceId"].as_str().expect("it names one").to_owned();
    let run = command(settings).args(["run", "--instance", &instance, "--asg", ASG, "--json"]).output();
    let Ok(output) = timeout(LONGEST, run).await else { return ("none".to_owned(), None, "it did not end".to_owned()) };
    let ended = output.expect("the binary starts");
    let output = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    (outcome_in(&output), ended.status.code(), output)
}

/// The last outcome in the JSON lines of an output.
fn outcome_in(output: &str) -> String {
    let lines = output.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.into_iter().find_map(|line| line["outcome"].as_str().map(str::to_owned)).unwrap_or_else(|| "none".to_owned())
}

async fn by_serve(
    event: impl Future<Output = Value>,
    settings: &[(&'static str, String)],
    sends_event: bool,
) -> (String, Option<i32>, String) {
    const KEY: &str = "alterations-events-key";
    let folder = tempfile::tempdir().expect("there is room");
    let printed = folder.path().join("printed");
    let file = std::fs::File::create(&printed).expect("it can be written");
    let mut command = command(settings);
    command.arg("serve").envs([
        ("DECAMP_WEBHOOKS_LISTEN", "127.0.0.1:0"),
        ("DECAMP_ADMIN_LISTEN", "127.0.0.1:0"),
        ("DECAMP_EVENTS_KEY", KEY),
        ("DECAMP_LOG_FORMAT", "json"),
    ]);
    command.stderr(file.try_clone().expect("it is open")).stdout(file);
    let mut child = command.spawn().expect("the binary starts");
    let read = || std::fs::read_to_string(&printed).unwrap_or_default();
    let began = Instant::now();
    let addresses = loop {
        let output = read();
        let line = output.lines().find_map(|line| line.strip_prefix("webhooks on ")).map(str::to_owned);
        if let Some((webhooks, admin)) = line.as_deref().and_then(|line| line.split_once(", admin on ")) {
            break Some((format!("http://{webhooks}"), format!("http://{admin}")));
        }
        if Duration::from_secs(20) < began.elapsed() || child.try_wait().is_ok_and(|ended| ended.is_some()) {
            break None;
        }
        sleep(Duration::from_millis(20)).await;
    };
    let Some((webhooks, admin)) = addresses else { return ("none".to_owned(), None, read()) };
    let client = reqwest::Client::builder().no_proxy().build().expect("no certificates are involved");
    let event = event.await;
    let status = if sends_event {
        let sent = client.post(format!("{webhooks}/v1/events")).header("x-api-key", KEY).json(&event).send().await;
        Some(sent.map(|answer| answer.status().as_u16()))
    } else {
        None
    };
    let past = async {
        loop {
            let shown = client.get(format!("{admin}/v1/departures")).send().await;
            let shown: Value = match shown {
                Ok(answer) => answer.json().await.unwrap_or_default(),
                Err(_) => Value::Null,
            };
            if let Some(word) = shown["past"][0]["outcome"]["word"].as_str() {
                return word.to_owned();
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    let outcome = timeout(LONGEST, past).await.unwrap_or_else(|_| format!("none, after the answer {status:?}"));
    // Only the output up to this point is compared.
    sleep(Duration::from_millis(200)).await;
    child.kill().await.ok();
    (outcome, None, read())
}

/// The binary of the function, beside that of the command. Both are built with the tests of the workspace.
fn bootstrap() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_decamp")).with_file_name("bootstrap");
    assert!(path.exists(), "there is no {}: `cargo build -p decamp-lambda` makes it", path.display());
    path
}

async fn by_lambda(event: Value, sandbox: &Sandbox, settings: &[(&'static str, String)]) -> (String, Option<i32>, String) {
    /// The function's time-out: a departure takes a few passes.
    const TIME: Duration = Duration::from_secs(15);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut function = Function::start(&bootstrap(), &settings).await;
    let message = json!({ "Records": [{
        "messageId": "m-1", "receiptHandle": "handle-1", "body": event.to_string(), "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:{REGION}:{ACCOUNT}:decamp"), "awsRegion": REGION,
    }] })
    .to_string();
    let began = Instant::now();
    let mut ended = "none";
    while began.elapsed() < LONGEST {
        match function.invoke(&message, TIME).await {
            Answer::Response(text) if text == r#"{"batchItemFailures":[]}"# => {
                ended = "";
                break;
            }
            Answer::Response(_) => (),
            Answer::Error(_) | Answer::Gone => {
                ended = "the function failed";
                break;
            }
        }
        // The queue delivers the message again after the visibility time-out that the function set.
        let hidden = sandbox.shared.stores().visibilities.last().map_or(1, |(_, seconds)| *seconds);
        sleep(Duration::from_secs(hidden.min(10))).await;
    }
    let printed = function.end().await;
    let outcome = if ended.is_empty() { outcome_in(&printed) } else { ended.to_owned() };
    (outcome, None, printed)
}
