//! Who drives: the live adapters and the loop over HTTP, by decamp's rules or a baseline's, fed by the queue and by a sweep.

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
use super::queue::{Queue, Received, VISIBILITY};
use decamp_aws::aws::{Aws, Keys};
use decamp_config::Settings;
use decamp_core::decide::{
    Action, Cause, Decision, Departure, Effect, Finding, Lifecycle, LifecycleAction, Policy, Refusal, Snapshot, foreseen_losses,
};
use decamp_core::ids::InstanceId;
use decamp_core::run::{How, Manner, Tell, run_by};
use decamp_core::time::Time;
use decamp_events::{Told, read};
use decamp_live::Live;
use decamp_sim::drivers::Driver;

/// A received message is hidden again this often while its departure is under way.
pub(super) const HIDE_EVERY: Duration = Duration::from_secs(5);
/// Under chaos, the worker lives for so long at most, and is dead for so long.
pub(super) const LIVES: (Duration, Duration) = (Duration::from_millis(1_500), Duration::from_secs(6));
pub(super) const DEAD: Duration = Duration::from_secs(1);

/// What a driver said of one departure.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Story {
    /// What was decided and written: seconds since the load began, and what.
    pub lines: Vec<(f64, String)>,
    /// How it ended.
    pub outcome: Option<String>,
}

/// What was said of all departures.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    pub(super) stories: BTreeMap<InstanceId, Story>,
    /// What was foreseen, before the first write.
    pub(super) findings: Vec<Finding>,
    /// How often the worker was killed.
    pub(super) kills: u32,
    /// Why it cannot work, if it cannot.
    pub(super) trouble: Option<String>,
}

/// Where it is said.
pub(super) type Ear = Arc<Mutex<Said>>;

/// What a worker is made of.
pub(super) struct Worker {
    pub(super) driver: Driver,
    pub(super) variables: Vec<(&'static str, String)>,
    pub(super) queue: Arc<Queue>,
    pub(super) ear: Ear,
    pub(super) began: Instant,
    pub(super) chaos: Option<u64>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Settings from variables that are not the process's own.
///
/// # Errors
/// One of them makes no sense.
pub(super) fn settings(variables: &[(&'static str, String)]) -> Result<Settings> {
    let get = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
    Settings::read(&get, &names).context("read the rehearsal's own settings")
}

impl Worker {
    /// Works on the calling thread until it is told to stop.
    ///
    /// # Errors
    /// The adapters cannot be made.
    pub(super) fn work(self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
        let done = runtime.block_on(LocalSet::new().run_until(self.live_and_die()));
        // Whatever still hangs in a call must not hold us up.
        runtime.shutdown_background();
        done
    }

    /// One life after another under chaos, else a single one.
    async fn live_and_die(self) -> Result<()> {
        let settings = settings(&self.variables)?;
        let mut stop = self.stop.clone();
        let mut luck = self.chaos.map(decamp_sim::luck::Luck::new);
        let worker = Rc::new(self);
        loop {
            // A new process knows nothing that the old one knew.
            let keys = Keys { id: "rehearsal".to_owned(), secret: "rehearsal".to_owned() };
            let live = Rc::new(Live::new(&settings, &Aws::load(&settings.aws, Some(keys)).await)?);
            let life = Rc::clone(&worker).one_life(live, settings.clone());
            let Some(luck) = &mut luck else {
                tokio::select! {
                    () = life => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
                return Ok(());
            };
            let lives = luck.span(LIVES.0, LIVES.1);
            tokio::select! {
                () = life => {}
                () = sleep(lives) => {}
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            }
            worker.ear.lock().unwrap_or_else(PoisonError::into_inner).kills += 1;
            sleep(DEAD).await;
        }
    }

    /// Everything that one process does. Dropped, it is as if it had been killed: wherever it stood.
    async fn one_life(self: Rc<Self>, live: Rc<Live>, settings: Settings) {
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
        let told = records.into_iter().filter_map(|record| match record.told {
            Ok(Told::Departure(departure)) => Some(departure),
            Ok(_) | Err(_) => None,
        });
        for departure in told {
            let walk = self.walk(&departure, &live, &settings.policy, &under_way);
            let mut walk = std::pin::pin!(walk);
            loop {
                tokio::select! {
                    () = &mut walk => break,
                    () = sleep(HIDE_EVERY) => self.queue.hide(&received, VISIBILITY),
                }
            }
        }
        self.queue.delete(&received);
    }

    /// Takes up whatever waits and nobody of us walks out.
    async fn sweep(self: Rc<Self>, live: Rc<Live>, settings: Rc<Settings>, under_way: Rc<RefCell<Vec<InstanceId>>>) {
        let Ok(leaving) = live.auto_scaling().leaving(&[ASG.into()]).await else { return };
        let waiting = leaving.into_iter().filter(|one| one.lifecycle == Lifecycle::Waiting);
        let new: Vec<_> = waiting.filter(|one| !under_way.borrow().contains(&one.instance)).collect();
        let walks = new.iter().map(|one| {
            let cause = Cause::Lifecycle(LifecycleAction::default());
            let departure = Departure { instance: one.instance, asg: Arc::clone(&one.asg), cause };
            let (live, policy, under_way, worker) = (&live, &settings.policy, &under_way, &self);
            async move { worker.walk(&departure, live, policy, under_way).await }
        });
        futures_util::future::join_all(walks).await;
    }

    async fn walk(&self, departure: &Departure, live: &Live, policy: &Policy, under_way: &RefCell<Vec<InstanceId>>) {
        under_way.borrow_mut().push(departure.instance);
        let driver = self.driver;
        let rules = move |d: &Departure, s: &Snapshot, p: &Policy, t: Time| driver.decide(d, s, p, t);
        let mut telling = Telling { worker: self, policy };
        let ending = run_by(rules, live, departure, policy, Manner::default(), &mut telling).await;
        let outcome = match ending.how {
            How::Ended(outcome, reason) => format!("{}, because {reason}", outcome.word()),
            How::HandedBack | How::Observed(_) => "handed back".to_owned(),
        };
        self.say(departure.instance, &format!("ended: {outcome}"));
        ended(&self.ear, departure.instance, outcome);
        let mut under_way = under_way.borrow_mut();
        if let Some(place) = under_way.iter().position(|id| *id == departure.instance) {
            under_way.swap_remove(place);
        }
    }

    fn say(&self, instance: InstanceId, line: &str) {
        say(&self.ear, instance, self.began.elapsed().as_secs_f64(), line);
    }
}

struct Telling<'a> {
    worker: &'a Worker,
    policy: &'a Policy,
}

impl Tell for Telling<'_> {
    fn decided(&mut self, departure: &Departure, decision: &Decision, seen: &Snapshot, _: Time) {
        let Decision { action, reason } = decision;
        match action {
            Action::Look(_) => return,
            Action::Wait { .. } | Action::End(_) => {}
            Action::Do(effects) => {
                let writes = effects.iter().any(|effect| !matches!(effect, Effect::Heartbeat(_)));
                if self.worker.driver == Driver::Decamp && writes {
                    foresee(&self.worker.ear, foreseen_losses(departure, seen, self.policy));
                }
            }
        }
        let what = action.brief();
        self.worker.say(departure.instance, &format!("{what}, because {reason}"));
    }

    fn wrote(&mut self, departure: &Departure, _: &Effect, answer: &Result<(), Refusal>, _: Time) {
        if let Err(refusal) = answer {
            self.worker.say(departure.instance, &format!("refused: {refusal}"));
        }
    }
}

/// A line of an instance's story, unless it was the last one already.
pub(super) fn say(ear: &Ear, instance: InstanceId, at: f64, line: &str) {
    let mut said = ear.lock().unwrap_or_else(PoisonError::into_inner);
    let story = said.stories.entry(instance).or_default();
    if story.lines.last().is_none_or(|(_, last)| last != line) {
        story.lines.push((at, line.to_owned()));
    }
}

/// How an instance's departure ended. A duplicate that came later finds the instance gone: the first ending is the one that tells.
pub(super) fn ended(ear: &Ear, instance: InstanceId, outcome: String) {
    let mut said = ear.lock().unwrap_or_else(PoisonError::into_inner);
    said.stories.entry(instance).or_default().outcome.get_or_insert(outcome);
}

/// Each finding once.
pub(super) fn foresee(ear: &Ear, findings: Vec<Finding>) {
    let mut said = ear.lock().unwrap_or_else(PoisonError::into_inner);
    for finding in findings {
        if !said.findings.iter().any(|known| known.repeats(&finding)) {
            said.findings.push(finding);
        }
    }
}
