//! A replica of the service, started from the command line, with a sandbox.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use decamp_core::ids::InstanceId;
use decamp_sandbox::{ACCOUNT, Options, REGION, Sandbox};
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// The key of `POST /v1/events`.
pub(crate) const KEY: &str = "canary-events-key-0123456789";
/// The name of the shared queue in the sandbox.
pub(crate) const QUEUE: &str = "decamp-events";

/// Delays of seconds, so that a whole departure takes about ten.
pub(crate) fn quick() -> Options {
    Options {
        delay: Duration::from_secs(3),
        lag: Duration::from_secs(1),
        shutdown_delay: Duration::from_secs(3),
        longest_request: Duration::from_millis(700),
        heartbeat_timeout: Duration::from_secs(300),
        replacements: false,
        acls: true,
        ..Options::default()
    }
}

/// The ARN of the shared queue.
pub(crate) fn queue() -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{QUEUE}")
}

/// A running replica. It is killed when this is dropped.
pub(crate) struct Replica {
    child: Child,
    pub(crate) webhooks: String,
    pub(crate) admin: String,
    pub(crate) client: Client,
    printed: Arc<Mutex<String>>,
    /// The tasks that collect the output, until the process closes it.
    gathering: Vec<JoinHandle<()>>,
}

impl Replica {
    /// Starts one with these settings and those for the sandbox, and waits until it is ready.
    pub(crate) async fn start(sandbox: &Sandbox, settings: &[(&str, &str)]) -> Self {
        Self::start_with(sandbox, &[], settings).await
    }

    /// The same with arguments.
    pub(crate) async fn start_with(sandbox: &Sandbox, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        Self::start_as(Command::new(env!("CARGO_BIN_EXE_decamp")), sandbox, arguments, settings).await
    }

    /// The same with a limit of open files.
    pub(crate) async fn start_within(files: u32, sandbox: &Sandbox, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("ulimit -n {files}; exec \"$0\" \"$@\"")).arg(env!("CARGO_BIN_EXE_decamp"));
        Self::start_as(command, sandbox, &[], settings).await
    }

    async fn start_as(mut command: Command, sandbox: &Sandbox, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        command.env_clear().arg("serve").args(arguments).envs(sandbox.variables());
        command.env("DECAMP_GUARD_ALB", "2s").env("DECAMP_LONGEST_REQUEST", "1s").env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("DECAMP_WEBHOOKS_LISTEN", "127.0.0.1:0").env("DECAMP_ADMIN_LISTEN", "127.0.0.1:0");
        command.env("DECAMP_EVENTS_KEY", KEY).env("DECAMP_LOG_FORMAT", "json").envs(settings.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the binary starts");
        let printed = Arc::new(Mutex::new(String::new()));
        let gathering = vec![
            gather(child.stderr.take().expect("it is piped"), &printed),
            gather(child.stdout.take().expect("it is piped"), &printed),
        ];
        let addresses = async {
            loop {
                let said = printed.lock().expect("nobody panicked").clone();
                let line = said.lines().find_map(|line| line.strip_prefix("webhooks on "));
                if let Some((webhooks, admin)) = line.and_then(|line| line.split_once(", admin on ")) {
                    return (format!("http://{webhooks}"), format!("http://{admin}"));
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let Ok((webhooks, admin)) = timeout(Duration::from_secs(20), addresses).await else {
            panic!("it does not begin: {}", printed.lock().expect("nobody panicked"));
        };
        // An error means that another test has installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A connection for each request: an idle one may be closed just when the next request is sent.
        let client = Client::builder().pool_max_idle_per_host(0).build().expect("it can be made");
        let replica = Self { child, webhooks, admin, client, printed, gathering };
        let ready = async {
            while replica.get("/readyz").await.status() != 200 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(20), ready).await.expect("it is ready some time");
        replica
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.admin)).send().await.expect("it answers")
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.expect("it is JSON")
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        self.get(path).await.text().await.expect("it is text")
    }

    /// Waits until a departure has ended, and returns the view of the last one.
    pub(crate) async fn past(&self) -> Value {
        let over = async {
            loop {
                let past = self.json("/v1/departures").await["past"][0].clone();
                if past.is_object() {
                    return past;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        match timeout(Duration::from_secs(20), over).await {
            Ok(past) => past,
            Err(_) => panic!("nothing is over: {}", self.printed()),
        }
    }

    /// Sends an event as EventBridge's API destination does.
    pub(crate) async fn send(&self, event: &Value) -> Response {
        let request = self.client.post(format!("{}/v1/events", self.webhooks)).header("x-api-key", KEY);
        request.json(event).send().await.expect("it answers")
    }

    /// Stops it, and waits until it has exited.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.stop_by("TERM").await
    }

    /// Sends it a signal.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().await.expect("kill is there");
        assert!(sent.success());
    }

    /// Stops it by this signal, and waits until it has exited.
    pub(crate) async fn stop_by(&mut self, signal: &str) -> ExitStatus {
        self.signal(signal).await;
        let ended = timeout(Duration::from_secs(10), self.child.wait()).await.expect("it is gone within 10 s").expect("it ended");
        for gathered in self.gathering.drain(..) {
            gathered.await.expect("it reads to the end");
        }
        ended
    }

    /// Waits until it has printed this text. The log may be written after an answer.
    pub(crate) async fn says(&self, what: &str) {
        let began = Instant::now();
        while !self.printed().contains(what) {
            assert!(began.elapsed() < Duration::from_secs(5), "it did not print {what}: {}", self.printed());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its output so far.
    pub(crate) fn printed(&self) -> String {
        self.printed.lock().expect("nobody panicked").clone()
    }
}

fn gather(from: impl AsyncRead + Unpin + Send + 'static, into: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    tokio::spawn(async move {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            into.lock().expect("nobody panicked").push_str(&format!("{line}\n"));
        }
    })
}

/// Begins a termination, waits until its hook has begun, and returns its event as EventBridge sends it.
pub(crate) async fn terminate(sandbox: &Sandbox, instance: InstanceId) -> Value {
    sandbox.terminate_these(&[instance]).await.expect("it is in service").remove(0)
}

/// Waits until the machine of this instance is off. False: it took too long.
pub(crate) async fn machine_is_off(sandbox: &Sandbox, instance: InstanceId) -> bool {
    timeout(Duration::from_secs(90), sandbox.machine_is_off(instance)).await.is_ok()
}

/// How many requests were sent, and the failed ones.
pub(crate) fn requests(sandbox: &Sandbox) -> (u64, Value) {
    let more = sandbox.shared.look(|models| models.more());
    (more["requests"]["sent"].as_u64().expect("a number"), more["requests"]["last_failures"].clone())
}
