//! decamp as a job on the cluster that it looks after. Each allocation runs `decamp serve`, restarts it when it dies, as Nomad does, and
//! reads a simulated SQS queue.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::select;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use super::log_capture::capture;
use super::plan::{ACCOUNT, DECAMP, Plan, REGION};
use super::queue::EventQueue;
use super::server::{Ended, ProcessState, Server};
use super::supervised::{Isolation, supervised};
use super::worker::{DOWNTIME, Journal, LIFETIME};
use decamp_sandbox::wire::Shared;
use decamp_sim::rng::Rng;

/// Without chaos one replica is killed once, this long after the refresh began.
const KILLED_AFTER: Duration = Duration::from_secs(6);

/// The settings and the shared state of all replicas.
pub(super) struct Replicas {
    pub(super) binary: PathBuf,
    pub(super) variables: Vec<(&'static str, String)>,
    /// The port of the page, on each node that runs a replica.
    pub(super) page: u16,
    pub(super) journal: Journal,
    /// When the load began.
    pub(super) began: OnceLock<Instant>,
    /// Kills one replica when it is notified: the one that has waited longest.
    pub(super) kill: Notify,
}

/// Starts a replica, which receives webhooks at this address.
pub(super) fn start(replicas: &Arc<Replicas>, address: SocketAddr) -> Server {
    let (state, states) = watch::channel(ProcessState::Running);
    let ends = tokio::spawn(Arc::clone(replicas).keep_running(address, states));
    Server::of(address, state, ends)
}

impl Replicas {
    /// Runs one process after another, until the allocation is stopped or killed.
    async fn keep_running(self: Arc<Self>, address: SocketAddr, mut state: watch::Receiver<ProcessState>) -> Ended {
        loop {
            match self.one_process(address, &mut state).await {
                Ok(()) | Err(_) if *state.borrow() == ProcessState::Finishing => return Ended::ByItself,
                Ok(()) => {}
                Err(why) => self.record_trouble(&format!("cannot run decamp serve: {why:#}")),
            }
            select! {
                () = sleep(DOWNTIME) => {}
                gone = state.wait_for(|state| *state == ProcessState::Dead) => {
                    drop(gone);
                    return Ended::Killed;
                }
            }
        }
    }

    /// Runs one process from its start to its end.
    async fn one_process(&self, address: SocketAddr, state: &mut watch::Receiver<ProcessState>) -> Result<()> {
        let mut child = self.spawn(address)?;
        let mut signals = child.stdin.take().context("its input is piped")?;
        let output = child.stdout.take().context("its output is piped")?;
        let mut lines = BufReader::new(output).lines();
        loop {
            let signal = select! {
                line = lines.next_line() => match line.context("read the output of a replica")? {
                    Some(line) => {
                        self.capture(&line);
                        continue;
                    }
                    None => break,
                },
                changed = state.changed() => match (*state.borrow_and_update(), changed) {
                    (ProcessState::Running, Ok(())) => continue,
                    (ProcessState::Finishing, Ok(())) => "TERM\n",
                    (ProcessState::Dead, _) | (_, Err(_)) => "KILL\n",
                },
                () = self.kill.notified() => {
                    self.journal.lock().unwrap_or_else(PoisonError::into_inner).kills += 1;
                    "KILL\n"
                }
            };
            // A process that has just ended needs no signal.
            signals.write_all(signal.as_bytes()).await.ok();
        }
        child.wait().await.context("wait for a replica")?;
        Ok(())
    }

    fn spawn(&self, address: SocketAddr) -> Result<Child> {
        let page = SocketAddr::new(address.ip(), self.page);
        let mut command = Command::from(supervised(&self.binary, Isolation::Shared));
        command
            .arg("serve")
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (*name, value)))
            .env("AWS_ACCESS_KEY_ID", "rehearsal")
            .env("AWS_SECRET_ACCESS_KEY", "rehearsal")
            .env("DECAMP_WEBHOOKS_LISTEN", address.to_string())
            .env("DECAMP_ADMIN_LISTEN", page.to_string())
            .env("DECAMP_QUEUES", format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{DECAMP}"))
            .env("DECAMP_SWEEP", format!("{}s", Plan::SWEEP_EVERY.as_secs()))
            .env("DECAMP_LOG_FORMAT", "json")
            .kill_on_drop(true);
        command.spawn().context("start a shell")
    }

    fn capture(&self, line: &str) {
        let at = self.began.get().map_or(0.0, |began| began.elapsed().as_secs_f64());
        capture(&self.journal, at, line);
    }

    fn record_trouble(&self, why: &str) {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).trouble.get_or_insert_with(|| why.to_owned());
    }
}

/// Delivers events to the queue that the replicas share; they may come late, twice or never. It also kills replicas: one during the
/// refresh, or under chaos one every few seconds.
///
/// # Errors
/// A replica cannot be started.
pub(super) async fn serve(
    replicas: Arc<Replicas>,
    shared: Arc<Shared>,
    queue: Arc<EventQueue>,
    chaos: Option<u64>,
    calm: Duration,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let kills = async {
        match chaos {
            None => {
                sleep(calm + KILLED_AFTER).await;
                replicas.kill.notify_one();
                std::future::pending::<Infallible>().await
            }
            Some(seed) => {
                let mut rng = Rng::new(seed);
                loop {
                    sleep(rng.span(LIFETIME.0, LIFETIME.1)).await;
                    replicas.kill.notify_one();
                }
            }
        }
    };
    let deliveries = async {
        loop {
            let received = queue.receive().await;
            shared.stores().queues.entry(DECAMP.to_owned()).or_default().send(received.body());
            queue.delete(&received);
            let trouble = replicas.journal.lock().unwrap_or_else(PoisonError::into_inner).trouble.take();
            if let Some(why) = trouble {
                return anyhow::Error::msg(why);
            }
        }
    };
    select! {
        never = kills => match never {},
        why = deliveries => Err(why),
        _ = stop.wait_for(|stop| *stop) => Ok(()),
    }
}
