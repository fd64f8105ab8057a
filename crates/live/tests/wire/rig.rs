//! A sandbox with decamp's adapters, to run departures from beginning to end.

use std::sync::Arc;
use std::time::Duration;

use decamp_aws::aws::{Aws, Keys};
use decamp_config::Settings;
use decamp_core::decide::{Cause, Decision, Departure, Effect, LifecycleAction, Outcome, Refusal, Snapshot};
use decamp_core::ids::InstanceId;
use decamp_core::run::{Observer, RunOptions, RunResult, run};
use decamp_core::time::Time;
use decamp_live::Live;
use decamp_sandbox::{ASG, Options, Sandbox};
use decamp_sim::auto_scaling::LifecycleEvent;
use serde_json::Value;

/// A sandbox and the adapters that run departures in it.
pub(crate) struct Rig {
    pub(crate) sandbox: Sandbox,
    pub(crate) live: Live,
    pub(crate) settings: Settings,
}

/// Short delays, so that a whole departure takes about ten seconds.
pub(crate) fn quick() -> Options {
    Options {
        delay: Duration::from_secs(3),
        lag: Duration::from_secs(1),
        shutdown_delay: Duration::from_secs(3),
        longest_request: Duration::from_millis(700),
        // The shortest time-out that AWS allows. A departure of more than 10 s must send heartbeats.
        heartbeat_timeout: Duration::from_secs(30),
        replacements: false,
        ..Options::default()
    }
}

impl Rig {
    pub(crate) async fn start(options: &Options) -> Self {
        Self::with(options, &[]).await
    }

    /// Starts a sandbox, with these settings in addition to those that point to it.
    pub(crate) async fn with(options: &Options, more: &[(&'static str, &str)]) -> Self {
        let sandbox = decamp_sandbox::serve(options).await.expect("loopback is there");
        let mut all = sandbox.variables();
        let quick = [
            ("DECAMP_GUARD_ALB", "2s"),
            ("DECAMP_GUARD_NLB", "2s"),
            ("DECAMP_LONGEST_REQUEST", "1s"),
            ("DECAMP_CALL_TIMEOUT", "2s"),
        ];
        all.extend(quick.iter().chain(more).map(|(name, value)| (*name, (*value).to_owned())));
        let get = |name: &str| all.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        let settings = Settings::read(&get, &names).expect("they make sense");
        let keys = Keys { id: "sandbox".to_owned(), secret: "sandbox".to_owned() };
        let live = Live::new(&settings, &Aws::load(&settings.aws, Some(keys)).await).expect("no certificates are involved");
        Self { sandbox, live, settings }
    }

    /// Begins a termination.
    pub(crate) fn terminate(&self, instance: InstanceId) {
        let begun = self.sandbox.shared.with(|stage| {
            let (asg, elb) = stage.aws();
            asg.terminate(instance, elb)
        });
        begun.expect("it is in service");
    }

    /// The event of its lifecycle action, once there is one.
    pub(crate) async fn event(&self, instance: InstanceId) -> LifecycleEvent {
        let mut changes = self.sandbox.shared.watch();
        loop {
            if let Some(event) = self.sandbox.shared.events().into_iter().find(|event| event.instance == instance) {
                return event;
            }
            changes.changed().await.expect("the sandbox is there");
        }
    }

    /// Begins a termination and runs the departure. Returns the outcome and the lines of its decisions.
    pub(crate) async fn depart(&self, instance: InstanceId) -> (Outcome, Story) {
        self.terminate(instance);
        let event = self.event(instance).await;
        let action = LifecycleAction {
            hook: Some(Arc::clone(&event.hook)),
            token: Some(event.token.clone()),
            began: Some(event.time),
            to_warm_pool: false,
        };
        let departure = Departure { instance, asg: ASG.into(), cause: Cause::Lifecycle(action) };
        let mut story = Story { began: event.time, lasted: Duration::ZERO, lines: Vec::new() };
        let ending = run(&self.live, &departure, &self.settings.policy, RunOptions::default(), &mut story).await;
        match ending.how {
            RunResult::Ended(outcome, _) => (outcome, story),
            RunResult::HandedBack | RunResult::Observed(_) => panic!("nobody asked for that: {:?}", ending.how),
        }
    }

    /// Waits until the machine of this instance is off.
    pub(crate) async fn machine_is_off(&self, instance: InstanceId) {
        self.sandbox.machine_is_off(instance).await;
    }

    /// Waits until every target group routes to this many instances.
    pub(crate) async fn routes_to(&self, many: usize) {
        let mut changes = self.sandbox.shared.watch();
        loop {
            let enough = self.sandbox.shared.look(|stage| {
                let elb = &*stage.aws().1;
                elb.arns().all(|arn| elb.routes(arn).len() == many)
            });
            if enough {
                return;
            }
            changes.changed().await.expect("the sandbox is there");
        }
    }

    /// The number of requests that were sent, and the failed ones with their causes.
    pub(crate) fn requests(&self) -> (u64, Value) {
        let more = self.sandbox.shared.look(|stage| stage.more());
        let requests = &more["requests"];
        (requests["sent"].as_u64().expect("a number"), requests["last_failures"].clone())
    }

    /// Calls of AWS so far, without heartbeats.
    pub(crate) fn calls(&self) -> u64 {
        self.live.calls().total() - self.live.calls().of("RecordLifecycleActionHeartbeat")
    }

    /// Runs a departure and asserts the outcome `departed`, a machine that is off, and no failed request.
    pub(crate) async fn departs_without_loss(&self, what: &str, instance: InstanceId) -> Story {
        let (outcome, story) = self.leaves_without_loss(what, instance).await;
        assert_eq!(outcome, Outcome::Departed { waiting_for: None }, "{what}\n{story}");
        story
    }

    /// Runs a departure and asserts a machine that is off and no failed request, whatever the outcome.
    pub(crate) async fn leaves_without_loss(&self, what: &str, instance: InstanceId) -> (Outcome, Story) {
        let (outcome, story) = self.depart(instance).await;
        self.machine_is_off(instance).await;
        let (sent, failures) = self.requests();
        assert_eq!(failures, Value::Array(Vec::new()), "{what}\n{story}");
        assert!(200 <= sent, "{what}: only {sent} requests were sent, so nothing was proved");
        (outcome, story)
    }
}

/// The decisions and writes of a departure, one line each.
pub(crate) struct Story {
    began: Time,
    /// From the event to the last decision.
    pub(crate) lasted: Duration,
    pub(crate) lines: Vec<String>,
}

impl std::fmt::Display for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl Observer for Story {
    fn decided(&mut self, _: &Departure, decision: &Decision, _: &Snapshot, now: Time) {
        self.lasted = now.since(self.began);
        let at = self.lasted.as_secs_f64();
        self.lines.push(format!("{at:7.2}s {:?} because {:?}", decision.action, decision.reason));
    }

    fn wrote(&mut self, _: &Departure, effect: &Effect, answer: &Result<(), Refusal>, now: Time) {
        let at = now.since(self.began).as_secs_f64();
        self.lines.push(format!("{at:7.2}s   {effect:?}: {answer:?}"));
    }
}
