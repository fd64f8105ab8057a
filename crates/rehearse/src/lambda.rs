//! decamp as its real Lambda binary. Each message of the queue is one invocation, and a schedule invokes sweeps. An invocation that
//! reaches its deadline is killed.

mod environment;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{Instant, interval, sleep};

use self::environment::{Answer, Environment};
use super::log_capture::capture;
use super::plan::Plan;
use super::queue::{EventQueue, Received};
use super::worker::Journal;
use decamp_sandbox::wire::Shared;
use decamp_sim::rng::Rng;

/// The function's time-out. It is shorter than a departure, so that messages are returned and received again.
const TIME: Duration = Duration::from_secs(20);
/// The payload of the schedule.
const SWEEP: &str = r#"{"decamp":"sweep"}"#;
/// How often an environment is killed under chaos: the shortest and the longest time.
const KILLED_EVERY: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(8));

/// A Lambda function with its environments, its queue and its schedule.
pub(super) struct Function {
    pub(super) binary: PathBuf,
    pub(super) variables: Vec<(&'static str, String)>,
    pub(super) queue: Arc<EventQueue>,
    pub(super) shared: Arc<Shared>,
    pub(super) journal: Journal,
    pub(super) began: Instant,
    pub(super) chaos: Option<u64>,
}

/// The environments that wait for an invocation.
type Idle = Mutex<Vec<Environment>>;

impl Function {
    /// Serves until `stop` is set. It leaves no process behind.
    ///
    /// # Errors
    /// The binary cannot be started.
    pub(super) async fn serve(self, mut stop: watch::Receiver<bool>) -> Result<()> {
        let function = Arc::new(self);
        let idle: Arc<Idle> = Arc::default();
        // A binary that cannot be started is reported before the first message.
        let first = function.environment().await?;
        idle.lock().await.push(first);
        let (broken, mut breaks) = mpsc::channel::<anyhow::Error>(1);
        let mut invocations = tokio::task::JoinSet::new();
        let mut sweeps = interval(Plan::sweep_every(function.chaos.is_some()));
        loop {
            let received = tokio::select! {
                received = function.queue.receive() => Some(received),
                _ = sweeps.tick() => None,
                Some(_) = invocations.join_next() => continue,
                Some(why) = breaks.recv() => return Err(why),
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            };
            let (function, idle, broken) = (Arc::clone(&function), Arc::clone(&idle), broken.clone());
            invocations.spawn(async move {
                if let Err(why) = function.invoke(&idle, received).await {
                    // Only the first error is read.
                    broken.try_send(why).ok();
                }
            });
        }
    }

    async fn environment(&self) -> Result<Environment> {
        Environment::start(&self.binary, &self.variables).await
    }

    /// Makes one invocation: for this message, or for the schedule.
    async fn invoke(&self, idle: &Idle, received: Option<Received>) -> Result<()> {
        let mut environment = match idle.lock().await.pop() {
            Some(environment) => environment,
            None => self.environment().await?,
        };
        let payload = received.as_ref().map_or_else(|| SWEEP.to_owned(), |received| received.batch().to_string());
        let killed = async {
            match self.chaos {
                None => std::future::pending().await,
                Some(seed) => {
                    let mut rng = Rng::new(seed ^ u64::try_from(self.began.elapsed().as_millis()).unwrap_or(0));
                    sleep(rng.span(KILLED_EVERY.0, KILLED_EVERY.1)).await;
                }
            }
        };
        let answer = tokio::select! {
            answer = environment.invoke(&payload, TIME) => answer,
            () = killed => Answer::Gone,
        };
        for (at, line) in environment.printed() {
            capture(&self.journal, at.duration_since(self.began).as_secs_f64(), &line);
        }
        match answer {
            Answer::Gone => {
                // It was killed by chaos or at its deadline. Its message becomes visible again.
                self.journal.lock().unwrap_or_else(PoisonError::into_inner).kills += 1;
                drop(environment);
                return Ok(());
            }
            Answer::Error(_) => {}
            Answer::Response(text) => {
                if let Some(received) = &received {
                    self.settle(received, &text);
                }
            }
        }
        idle.lock().await.push(environment);
        Ok(())
    }

    /// Deletes a message that the function handled. A message that it reported as failed becomes visible when the function asked for it.
    fn settle(&self, received: &Received, text: &str) {
        let answer: Value = serde_json::from_str(text).unwrap_or_default();
        if answer["batchItemFailures"].as_array().is_some_and(Vec::is_empty) {
            return self.queue.delete(received);
        }
        let receipt = received.receipt();
        let stores = self.shared.stores();
        let hidden = stores.visibilities.iter().rev().find(|(handle, _)| *handle == receipt).map(|(_, seconds)| *seconds);
        drop(stores);
        if let Some(seconds) = hidden {
            self.queue.hide(received, Duration::from_secs(seconds));
        }
    }
}
