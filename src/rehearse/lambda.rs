//! The real Lambda binary in decamp's place: fed by the queue, one message an invocation, killed at its deadline; and a sweep.

mod environment;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{Instant, interval, sleep};

use self::environment::{Answer, Environment};
use super::plan::Plan;
use super::queue::{Queue, Received};
use super::worker::{Ear, foresee};
use crate::decide::Finding;
use crate::ids::InstanceId;
use crate::sim::luck::Luck;
use crate::sim::wire::Shared;

/// The function's time-out. Shorter than a departure, so that messages are handed back and come again.
const TIME: Duration = Duration::from_secs(20);
/// What the schedule sends.
const SWEEP: &str = r#"{"decamp":"sweep"}"#;
/// Under chaos, an environment is killed so often, in the middle of whatever it does.
const KILLED_EVERY: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(8));

/// A Lambda function, its environments and what invokes it.
pub(super) struct Function {
    pub(super) binary: PathBuf,
    pub(super) variables: Vec<(&'static str, String)>,
    pub(super) queue: Arc<Queue>,
    pub(super) shared: Arc<Shared>,
    pub(super) ear: Ear,
    pub(super) began: Instant,
    pub(super) chaos: Option<u64>,
}

/// The environments that wait for an invocation.
type Idle = Mutex<Vec<Environment>>;

impl Function {
    /// Serves until told to stop. No process of it is left behind.
    ///
    /// # Errors
    /// The binary cannot be started.
    pub(super) async fn serve(self, mut stop: watch::Receiver<bool>) -> Result<()> {
        let function = Arc::new(self);
        let idle: Arc<Idle> = Arc::default();
        // Whatever cannot be started is said before anything is waited for.
        let first = function.environment().await?;
        idle.lock().await.push(first);
        let (broken, mut breaks) = mpsc::channel::<anyhow::Error>(1);
        let mut invocations = tokio::task::JoinSet::new();
        let mut sweeps = interval(Plan::SWEEP_EVERY);
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
                    // Only the first matters.
                    broken.try_send(why).ok();
                }
            });
        }
    }

    async fn environment(&self) -> Result<Environment> {
        Environment::start(&self.binary, &self.variables).await
    }

    /// One invocation, by the message or by the schedule.
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
                    let mut luck = Luck::new(seed ^ u64::try_from(self.began.elapsed().as_millis()).unwrap_or(0));
                    sleep(luck.span(KILLED_EVERY.0, KILLED_EVERY.1)).await;
                }
            }
        };
        let answer = tokio::select! {
            answer = environment.invoke(&payload, TIME) => answer,
            () = killed => Answer::Gone,
        };
        for (at, line) in environment.printed() {
            self.tell(at, &line);
        }
        match answer {
            Answer::Gone => {
                // It was killed at its deadline, or in the middle: its message comes back by itself.
                self.ear.lock().unwrap_or_else(PoisonError::into_inner).kills += 1;
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

    /// A message that was not named as failed is deleted; one that was comes back when the function said.
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

    /// A line that the function logged.
    fn tell(&self, at: Instant, line: &str) {
        let Ok(line) = serde_json::from_str::<Value>(line) else { return };
        let Some(instance) = line["instance.id"].as_str().and_then(|id| id.parse::<InstanceId>().ok()) else { return };
        let Some(message) = line["message"].as_str() else { return };
        if let Some(finding) = foreseen(&line) {
            foresee(&self.ear, vec![finding]);
        }
        let mut said = self.ear.lock().unwrap_or_else(PoisonError::into_inner);
        let story = said.stories.entry(instance).or_default();
        story.lines.push((at.duration_since(self.began).as_secs_f64(), message.to_owned()));
        if let Some(outcome) = line["outcome"].as_str() {
            story.outcome.get_or_insert(outcome.to_owned());
        }
    }
}

/// What a line says that was foreseen, if that is what it is about.
fn foreseen(line: &Value) -> Option<Finding> {
    if line["action"] != "foresee" {
        return None;
    }
    serde_json::from_value(line.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Layer, Loss};
    use serde_json::json;

    #[test]
    fn a_line_about_a_finding_is_read_and_any_other_is_not() {
        let mut line = json!({
            "level": "WARN", "instance.id": "i-1", "action": "foresee", "layer": "load-balancer", "loss": "delay-too-short",
            "object": "web", "value": "5s", "needed": "6s", "why": "because", "line": "delay = 6", "message": "foreseen: …",
        });
        let finding = foreseen(&line).expect("it is one");
        assert_eq!((finding.layer, finding.loss, &*finding.object), (Layer::LoadBalancer, Loss::DelayTooShort, "web"));
        line["action"] = json!("drain");
        assert_eq!(foreseen(&line), None);
    }

    #[test]
    fn the_words_of_the_log_are_those_that_are_read() {
        for layer in
            [Layer::Container, Layer::Service, Layer::Ingress, Layer::LoadBalancer, Layer::Node, Layer::Hook, Layer::Group]
        {
            assert_eq!(json!(layer), layer.word());
        }
        for loss in [
            Loss::LeavesBeforeForgotten,
            Loss::KilledWithRequests,
            Loss::NoCopyLeft,
            Loss::DelayTooShort,
            Loss::CutAtDeadline,
            Loss::NeverMigrates,
            Loss::NoTargetGroup,
            Loss::DoesNotFit,
            Loss::Interrupted,
        ] {
            assert_eq!(json!(loss), loss.word());
        }
    }
}
