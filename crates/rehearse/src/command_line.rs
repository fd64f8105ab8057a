//! decamp as its command line: one process for each message and for each instance that a sweep finds. Chaos kills them all by SIGKILL.

use std::collections::HashSet;
use std::convert::Infallible;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::plan::{ASG, Plan};
use super::queue::{EventQueue, Received, VISIBILITY};
use super::worker::{DOWNTIME, HIDE_EVERY, Journal, LIFETIME, record_findings, record_line, record_outcome};
use decamp_core::ids::InstanceId;
use decamp_sim::rng::Rng;

/// Exit codes of a process that did not begin the departure. Its message becomes visible again.
const NOT_BEGUN: [i32; 2] = [1, 22];

/// Starts the processes.
pub(super) struct Commands {
    pub(super) binary: PathBuf,
    pub(super) variables: Vec<(&'static str, String)>,
    pub(super) queue: Arc<EventQueue>,
    pub(super) journal: Journal,
    pub(super) began: Instant,
    pub(super) seed: u64,
}

/// The instances whose departure is in progress in a process.
type UnderWay = Arc<Mutex<HashSet<InstanceId>>>;

impl Commands {
    /// Serves until `stop` is set. It leaves no process behind.
    ///
    /// # Errors
    /// The binary cannot be started.
    pub(super) async fn serve(self, mut stop: watch::Receiver<bool>) -> Result<()> {
        let mut rng = Rng::new(self.seed);
        let commands = Arc::new(self);
        loop {
            let lifetime = rng.span(LIFETIME.0, LIFETIME.1);
            tokio::select! {
                broken = Arc::clone(&commands).until_killed() => match broken? {},
                () = sleep(lifetime) => {}
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            }
            commands.journal.lock().unwrap_or_else(PoisonError::into_inner).kills += 1;
            sleep(DOWNTIME).await;
        }
    }

    /// Starts processes until the future is dropped, which kills all of them.
    async fn until_killed(self: Arc<Self>) -> Result<Infallible> {
        let under_way = UnderWay::default();
        let mut processes = JoinSet::new();
        let mut sweeps = tokio::time::interval(Plan::SWEEP_EVERY);
        loop {
            tokio::select! {
                received = self.queue.receive() => {
                    processes.spawn(Arc::clone(&self).message(received, Arc::clone(&under_way)));
                }
                _ = sweeps.tick() => {
                    processes.spawn(Arc::clone(&self).sweep(Arc::clone(&under_way)));
                }
                Some(ended) = processes.join_next() => ended.context("the task of a process panicked")??,
            }
        }
    }

    async fn message(self: Arc<Self>, received: Received, under_way: UnderWay) -> Result<()> {
        let event = received.batch().to_string();
        let mut runs = std::pin::pin!(self.run(&["run", "--json", "--event", "-"], &event, &under_way));
        let code = loop {
            tokio::select! {
                code = &mut runs => break code?,
                () = sleep(HIDE_EVERY) => self.queue.hide(&received, VISIBILITY),
            }
        };
        if code.is_some_and(|code| !NOT_BEGUN.contains(&code)) {
            self.queue.delete(&received);
        }
        Ok(())
    }

    /// Starts a process for every waiting instance that has none.
    async fn sweep(self: Arc<Self>, under_way: UnderWay) -> Result<()> {
        let listed = self.command(&["status", "--json", "--asg", ASG]).output().await.context("start decamp")?;
        let Ok(listed) = serde_json::from_slice::<Value>(&listed.stdout) else { return Ok(()) };
        let rows = listed["leaving"].as_array().cloned().unwrap_or_default();
        let waiting = rows.iter().filter(|row| row["waits"] == true).filter_map(instance);
        let new: Vec<InstanceId> = {
            let mut under_way = under_way.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.filter(|instance| under_way.insert(*instance)).collect()
        };
        let departures = new.iter().map(|instance| {
            let (this, under_way, id) = (&self, &under_way, instance.to_string());
            async move { this.run(&["run", "--json", "--asg", ASG, "--instance", &id], "", under_way).await }
        });
        futures_util::future::try_join_all(departures).await.map(drop)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .env_clear()
            .env("AWS_ACCESS_KEY_ID", "rehearsal")
            .env("AWS_SECRET_ACCESS_KEY", "rehearsal")
            .envs(self.variables.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs one process and returns its exit code, if it had one.
    async fn run(&self, arguments: &[&str], input: &str, under_way: &UnderWay) -> Result<Option<i32>> {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn();
        let child = child.as_mut().map_err(|why| anyhow::anyhow!("start {}: {why}", self.binary.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // If the process ended at once, its exit code says why.
            stdin.write_all(input.as_bytes()).await.ok();
        }
        let mut departing = HashSet::new();
        if let Some(stdout) = child.stdout.take() {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(instance) = self.capture(&line)
                    && departing.insert(instance)
                {
                    under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(instance);
                }
            }
        }
        let code = child.wait().await.context("wait for decamp")?.code();
        under_way.lock().unwrap_or_else(PoisonError::into_inner).retain(|instance| !departing.contains(instance));
        Ok(code)
    }

    /// Records a line that a process printed, and returns the instance that it concerns.
    fn capture(&self, line: &str) -> Option<InstanceId> {
        let line: Value = serde_json::from_str(line).ok()?;
        let instance = instance(&line)?;
        let at = self.began.elapsed().as_secs_f64();
        match line["kind"].as_str()? {
            "decision" => record_line(&self.journal, instance, at, line["text"].as_str()?),
            "foreseen" => record_findings(&self.journal, serde_json::from_value(line["finding"].clone()).into_iter().collect()),
            "end" => {
                let stopped = serde_json::from_value(line["stopped"].clone());
                record_findings(&self.journal, stopped.unwrap_or_default());
                let outcome = format!("{}, because {}", line["outcome"].as_str()?, line["because"].as_str()?);
                record_line(&self.journal, instance, at, &format!("ended: {outcome}"));
                record_outcome(&self.journal, instance, outcome);
            }
            _ => {}
        }
        Some(instance)
    }
}

fn instance(line: &Value) -> Option<InstanceId> {
    line["instance.id"].as_str()?.parse().ok()
}
