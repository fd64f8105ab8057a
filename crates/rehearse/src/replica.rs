//! decamp as a job of the cluster that it looks after: `decamp serve` as the process of each of its allocations, started again when it
//! dies, as Nomad does, and fed by a queue of SQS's.

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

use super::guard::{Where, guarded};
use super::hearing::hear;
use super::plan::{ACCOUNT, DECAMP, Plan, REGION};
use super::queue::Queue;
use super::server::{Ended, Life, Server};
use super::worker::{DEAD, Ear, LIVES};
use decamp_sandbox::wire::Shared;
use decamp_sim::luck::Luck;

/// Without chaos one replica is killed once, so long after the refresh began.
const KILLED_AFTER: Duration = Duration::from_secs(6);

/// What replicas are made of.
pub(super) struct Replicas {
    pub(super) binary: PathBuf,
    pub(super) variables: Vec<(&'static str, String)>,
    /// The port of the page, on each node that has a replica.
    pub(super) page: u16,
    pub(super) ear: Ear,
    /// When the load began.
    pub(super) began: OnceLock<Instant>,
    /// Kills the replica that has waited longest for it.
    pub(super) kill: Notify,
}

/// Starts a replica, which takes webhooks in at this address.
pub(super) fn start(replicas: &Arc<Replicas>, address: SocketAddr) -> Server {
    let (life, heard) = watch::channel(Life::Running);
    let ends = tokio::spawn(Arc::clone(replicas).keep(address, heard));
    Server::of(address, life, ends)
}

impl Replicas {
    /// One process after another, until it is told to stop or is killed for good.
    async fn keep(self: Arc<Self>, address: SocketAddr, mut life: watch::Receiver<Life>) -> Ended {
        loop {
            match self.one_process(address, &mut life).await {
                Ok(()) | Err(_) if *life.borrow() == Life::Finishing => return Ended::ByItself,
                Ok(()) => {}
                Err(why) => self.say(&format!("cannot run decamp serve: {why:#}")),
            }
            select! {
                () = sleep(DEAD) => {}
                gone = life.wait_for(|life| *life == Life::Dead) => {
                    drop(gone);
                    return Ended::Killed;
                }
            }
        }
    }

    /// From its start to its end.
    async fn one_process(&self, address: SocketAddr, life: &mut watch::Receiver<Life>) -> Result<()> {
        let mut child = self.spawn(address)?;
        let mut orders = child.stdin.take().context("its input is piped")?;
        let output = child.stdout.take().context("its output is piped")?;
        let mut lines = BufReader::new(output).lines();
        loop {
            let signal = select! {
                line = lines.next_line() => match line.context("read what a replica prints")? {
                    Some(line) => {
                        self.hear(&line);
                        continue;
                    }
                    None => break,
                },
                changed = life.changed() => match (*life.borrow_and_update(), changed) {
                    (Life::Running, Ok(())) => continue,
                    (Life::Finishing, Ok(())) => "TERM\n",
                    (Life::Dead, _) | (_, Err(_)) => "KILL\n",
                },
                () = self.kill.notified() => {
                    self.ear.lock().unwrap_or_else(PoisonError::into_inner).kills += 1;
                    "KILL\n"
                }
            };
            // One that has just ended needs no signal.
            orders.write_all(signal.as_bytes()).await.ok();
        }
        child.wait().await.context("wait for a replica")?;
        Ok(())
    }

    fn spawn(&self, address: SocketAddr) -> Result<Child> {
        let page = SocketAddr::new(address.ip(), self.page);
        let mut command = Command::from(guarded(&self.binary, Where::Here));
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

    fn hear(&self, line: &str) {
        let at = self.began.get().map_or(0.0, |began| began.elapsed().as_secs_f64());
        hear(&self.ear, at, line);
    }

    fn say(&self, why: &str) {
        self.ear.lock().unwrap_or_else(PoisonError::into_inner).trouble.get_or_insert_with(|| why.to_owned());
    }
}

/// Brings events from their way, on which they come late, twice or not at all, to the queue that the replicas share, and kills a replica:
/// one, once, while the refresh is under way; under chaos one every few seconds.
///
/// # Errors
/// A replica cannot be run.
pub(super) async fn serve(
    replicas: Arc<Replicas>,
    shared: Arc<Shared>,
    queue: Arc<Queue>,
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
                let mut luck = Luck::new(seed);
                loop {
                    sleep(luck.span(LIVES.0, LIVES.1)).await;
                    replicas.kill.notify_one();
                }
            }
        }
    };
    let brings = async {
        loop {
            let received = queue.receive().await;
            shared.stores().queues.entry(DECAMP.to_owned()).or_default().send(received.body());
            queue.delete(&received);
            let trouble = replicas.ear.lock().unwrap_or_else(PoisonError::into_inner).trouble.take();
            if let Some(why) = trouble {
                return anyhow::Error::msg(why);
            }
        }
    };
    select! {
        never = kills => match never {},
        why = brings => Err(why),
        _ = stop.wait_for(|stop| *stop) => Ok(()),
    }
}
