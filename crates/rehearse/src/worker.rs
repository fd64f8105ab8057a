//! The driver in this process: the loop with the live adapters, by decamp's rules or those of a baseline. It reads the queue and sweeps.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep};

use super::plan::{ASG, Plan};
use super::queue::{EventQueue, Received, VISIBILITY};
use decamp_aws::aws::{Aws, Keys};
use decamp_config::Settings;
use decamp_core::decide::{
    Action, Cause, Decision, Departure, Effect, Finding, Lifecycle, LifecycleAction, Policy, Refusal, Snapshot, foreseen_losses,
    stop_findings,
};
use decamp_core::ids::InstanceId;
use decamp_core::run::{Observer, RunOptions, RunResult, run_by};
use decamp_core::time::Time;
use decamp_events::{EventContent, read};
use decamp_live::Live;
use decamp_sim::drivers::Driver;

/// How often a received message is hidden again while its departure is in progress.
pub(super) const HIDE_EVERY: Duration = Duration::from_secs(5);
/// How long a worker lives under chaos before it is killed: the shortest and the longest time.
pub(super) const LIFETIME: (Duration, Duration) = (Duration::from_millis(1_500), Duration::from_secs(6));
/// How long a killed worker is down.
pub(super) const DOWNTIME: Duration = Duration::from_secs(1);

/// The record of one departure.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Story {
    /// Each decision and refused write, with its time in seconds since the load began.
    pub lines: Vec<(f64, String)>,
    /// How the departure ended.
    pub outcome: Option<String>,
}

/// The record of all departures of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorded {
    pub(super) stories: BTreeMap<InstanceId, Story>,
    /// The findings that were reported before the first write.
    pub(super) findings: Vec<Finding>,
    /// How often the worker was killed.
    pub(super) kills: u32,
    /// Why the worker cannot run, if it cannot.
    pub(super) trouble: Option<String>,
}

/// The shared record of a run.
pub(super) type Journal = Arc<Mutex<Recorded>>;

/// A driver that runs in this process.
pub(super) struct Worker {
    pub(super) driver: Driver,
    pub(super) variables: Vec<(&'static str, String)>,
    pub(super) queue: Arc<EventQueue>,
    pub(super) journal: Journal,
    pub(super) began: Instant,
    pub(super) chaos: Option<u64>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Settings from a list of variables instead of the environment.
///
/// # Errors
/// A value is invalid.
pub(super) fn settings(variables: &[(&'static str, String)]) -> Result<Settings> {
    let get = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
    Settings::read(&get, &names).context("read the rehearsal's own settings")
}

impl Worker {
    /// Works on the calling thread until `stop` is set.
    ///
    /// # Errors
    /// The adapters cannot be created.
    pub(super) fn work(self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
        let done = runtime.block_on(LocalSet::new().run_until(self.run_until_stopped()));
        // A call that still hangs must not delay the end.
        runtime.shutdown_background();
        done
    }

    /// Runs one process, or under chaos one after another.
    async fn run_until_stopped(self) -> Result<()> {
        let settings = settings(&self.variables)?;
        let mut stop = self.stop.clone();
        let mut rng = self.chaos.map(decamp_sim::rng::Rng::new);
        let worker = Rc::new(self);
        loop {
            // A new process shares nothing with the one that was killed.
            let keys = Keys { id: "rehearsal".to_owned(), secret: "rehearsal".to_owned() };
            let live = Rc::new(Live::new(&settings, &Aws::load(&settings.aws, Some(keys)).await)?);
            let process = Rc::clone(&worker).one_process(live, settings.clone());
            let Some(rng) = &mut rng else {
                tokio::select! {
                    () = process => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
                return Ok(());
            };
            let lifetime = rng.span(LIFETIME.0, LIFETIME.1);
            tokio::select! {
                () = process => {}
                () = sleep(lifetime) => {}
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            }
            worker.journal.lock().unwrap_or_else(PoisonError::into_inner).kills += 1;
            sleep(DOWNTIME).await;
        }
    }

    /// The work of one process. Dropping the future has the effect of a kill at that point.
    async fn one_process(self: Rc<Self>, live: Rc<Live>, settings: Settings) {
        let settings = Rc::new(settings);
        let under_way: Rc<RefCell<Vec<InstanceId>>> = Rc::default();
        let mut departures = JoinSet::new();
        let mut sweep = tokio::time::interval(Plan::sweep_every(self.chaos.is_some()));
        loop {
            tokio::select! {
                received = self.queue.receive() => {
                    let task = Rc::clone(&self).message(received, Rc::clone(&live), Rc::clone(&settings), Rc::clone(&under_way));
                    departures.spawn_local(task);
                }
                _ = sweep.tick() => {
                    let task = Rc::clone(&self).sweep(Rc::clone(&live), Rc::clone(&settings), Rc::clone(&under_way));
                    departures.spawn_local(task);
                }
                Some(_) = departures.join_next() => {}
            }
        }
    }

    async fn message(
        self: Rc<Self>,
        received: Received,
        live: Rc<Live>,
        settings: Rc<Settings>,
        under_way: Rc<RefCell<Vec<InstanceId>>>,
    ) {
        let event = received.batch().to_string();
        let records = read(event.as_bytes(), &settings.allowed, &settings.policy.hooks);
        let departures = records.into_iter().filter_map(|record| match record.content {
            Ok(EventContent::Departure(departure)) => Some(departure),
            Ok(_) | Err(_) => None,
        });
        for departure in departures {
            let mut departed = std::pin::pin!(self.depart(&departure, &live, &settings.policy, &under_way));
            loop {
                tokio::select! {
                    () = &mut departed => break,
                    () = sleep(HIDE_EVERY) => self.queue.hide(&received, VISIBILITY),
                }
            }
        }
        self.queue.delete(&received);
    }

    /// Starts a departure for every waiting instance that has none in progress here.
    async fn sweep(self: Rc<Self>, live: Rc<Live>, settings: Rc<Settings>, under_way: Rc<RefCell<Vec<InstanceId>>>) {
        let Ok(leaving) = live.auto_scaling().leaving(&[ASG.into()]).await else { return };
        let waiting = leaving.into_iter().filter(|one| one.lifecycle == Lifecycle::Waiting);
        let new: Vec<_> = waiting.filter(|one| !under_way.borrow().contains(&one.instance)).collect();
        let departures = new.iter().map(|one| {
            let cause = Cause::Lifecycle(LifecycleAction::default());
            let departure = Departure { instance: one.instance, asg: Arc::clone(&one.asg), cause };
            let (live, policy, under_way, worker) = (&live, &settings.policy, &under_way, &self);
            async move { worker.depart(&departure, live, policy, under_way).await }
        });
        futures_util::future::join_all(departures).await;
    }

    async fn depart(&self, departure: &Departure, live: &Live, policy: &Policy, under_way: &RefCell<Vec<InstanceId>>) {
        under_way.borrow_mut().push(departure.instance);
        let driver = self.driver;
        let rules = move |d: &Departure, s: &Snapshot, p: &Policy, t: Time| driver.decide(d, s, p, t);
        let mut recorder = StoryRecorder { worker: self, policy };
        let ending = run_by(rules, live, departure, policy, RunOptions::default(), &mut recorder).await;
        let outcome = match ending.how {
            RunResult::Ended(outcome, reason) => format!("{}, because {reason}", outcome.word()),
            RunResult::HandedBack | RunResult::Observed(_) => "handed back".to_owned(),
        };
        self.record(departure.instance, &format!("ended: {outcome}"));
        record_outcome(&self.journal, departure.instance, outcome);
        let mut under_way = under_way.borrow_mut();
        if let Some(place) = under_way.iter().position(|id| *id == departure.instance) {
            under_way.swap_remove(place);
        }
    }

    fn record(&self, instance: InstanceId, line: &str) {
        record_line(&self.journal, instance, self.began.elapsed().as_secs_f64(), line);
    }
}

/// Records the decisions of a departure as its story.
struct StoryRecorder<'a> {
    worker: &'a Worker,
    policy: &'a Policy,
}

impl Observer for StoryRecorder<'_> {
    fn decided(&mut self, departure: &Departure, decision: &Decision, seen: &Snapshot, _: Time) {
        let Decision { action, reason } = decision;
        match action {
            Action::Look(_) => return,
            Action::Wait { .. } => {}
            Action::End(_) if self.worker.driver == Driver::Decamp => {
                record_findings(&self.worker.journal, stop_findings(departure, seen, self.policy));
            }
            Action::End(_) => {}
            Action::Do(effects) => {
                let writes = effects.iter().any(|effect| !matches!(effect, Effect::Heartbeat(_)));
                if self.worker.driver == Driver::Decamp && writes {
                    record_findings(&self.worker.journal, foreseen_losses(departure, seen, self.policy));
                }
            }
        }
        let what = action.brief();
        self.worker.record(departure.instance, &format!("{what}, because {reason}"));
    }

    fn wrote(&mut self, departure: &Departure, _: &Effect, answer: &Result<(), Refusal>, _: Time) {
        if let Err(refusal) = answer {
            self.worker.record(departure.instance, &format!("refused: {refusal}"));
        }
    }
}

/// Adds a line to an instance's story, unless it repeats the last line.
pub(super) fn record_line(journal: &Journal, instance: InstanceId, at: f64, line: &str) {
    let mut recorded = journal.lock().unwrap_or_else(PoisonError::into_inner);
    let story = recorded.stories.entry(instance).or_default();
    if story.lines.last().is_none_or(|(_, last)| last != line) {
        story.lines.push((at, line.to_owned()));
    }
}

/// Records how an instance's departure ended. The first outcome counts: a later duplicate event finds the instance gone.
pub(super) fn record_outcome(journal: &Journal, instance: InstanceId, outcome: String) {
    let mut recorded = journal.lock().unwrap_or_else(PoisonError::into_inner);
    recorded.stories.entry(instance).or_default().outcome.get_or_insert(outcome);
}

/// Records each finding once.
pub(super) fn record_findings(journal: &Journal, findings: Vec<Finding>) {
    let mut recorded = journal.lock().unwrap_or_else(PoisonError::into_inner);
    for finding in findings {
        if !recorded.findings.iter().any(|known| known.repeats(&finding)) {
            recorded.findings.push(finding);
        }
    }
}
