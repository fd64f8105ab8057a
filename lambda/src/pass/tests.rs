//! What one invocation does and answers, with systems whose answers the test defines.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use decamp_aws::Leaving;
use decamp_config::Allowed;
use decamp_core::decide::{Effect, Group, Hook, Lifecycle, Observation, Part, Refusal, Snapshot, Unseen};
use decamp_core::proactive_replacement::Replaces;
use decamp_core::world::World;
use serde_json::json;

use super::*;

mod counts;
mod early;
mod sweeps;

const INSTANCE: &str = "i-0123456789abcdef0";

/// A group `workers` with one hook, `decamp`. Nomad does not answer, so no departure ends.
struct Scripted {
    began: Instant,
    lifecycle: Lifecycle,
    leaving: Result<Vec<Leaving>, Unseen>,
    group: Result<Option<Arc<str>>, Unseen>,
    /// Whether every write hangs forever.
    hangs: bool,
    /// Auto Scaling's answer to a request to replace an instance.
    replaces: Result<(), Refusal>,
    acts: RefCell<Vec<&'static str>>,
    hidden: RefCell<Vec<(String, Duration)>>,
    looks: RefCell<u32>,
    /// The hook's heartbeat time-out.
    timeout: Duration,
    /// Another tool's terminating hook beside ours.
    other_hook: Option<&'static str>,
    /// The answer to every write.
    answers: Result<(), Refusal>,
}

impl Scripted {
    fn with(lifecycle: Lifecycle) -> Self {
        Self {
            began: Instant::now(),
            lifecycle,
            leaving: Ok(Vec::new()),
            group: Ok(None),
            hangs: false,
            replaces: Ok(()),
            acts: RefCell::default(),
            hidden: RefCell::default(),
            looks: RefCell::default(),
            timeout: Duration::from_secs(180),
            other_hook: None,
            answers: Ok(()),
        }
    }

    fn heartbeats(&self) -> usize {
        self.acts.borrow().iter().filter(|act| **act == "heartbeat").count()
    }
}

/// The beginning of every test: a minute after its events.
fn begin() -> Time {
    Time::read("2026-03-04T05:07:07Z").unwrap()
}

impl World for Scripted {
    fn now(&self) -> Time {
        begin() + self.began.elapsed()
    }

    fn steady(&self) -> Duration {
        self.began.elapsed()
    }

    async fn look(&self, _: &Departure, _: &Snapshot, parts: &[Part]) -> Vec<Observation> {
        *self.looks.borrow_mut() += 1;
        let unavailable = || Unseen::Away("connection refused".into());
        let shown = |part: &Part| match part {
            Part::Lifecycle => vec![Observation::Lifecycle(Ok(self.lifecycle.clone()))],
            Part::Group { .. } => vec![Observation::Group(Ok(group(self.timeout, self.other_hook)))],
            Part::TargetGroups { groups, .. } => {
                groups.iter().map(|group| Observation::TargetGroup(group.arn.clone(), Err(unavailable()))).collect()
            }
            Part::Scan => vec![Observation::Scan(Err(unavailable()))],
            Part::Nomad => vec![Observation::Nomad(Err(unavailable()))],
            Part::NomadToken => vec![Observation::NomadToken(Err(unavailable()))],
            Part::Consul => vec![Observation::Consul(Err(unavailable()))],
            Part::NomadServices => vec![Observation::NomadServices(Err(unavailable()))],
            Part::Addresses(_) => vec![Observation::Addresses(Err(unavailable()))],
        };
        parts.iter().flat_map(shown).collect()
    }

    async fn pause(&self, _: &Departure, _: &Snapshot, until: Time, _: &[Part]) -> Vec<Observation> {
        tokio::time::sleep(until.since(self.now())).await;
        Vec::new()
    }

    async fn act(&self, _: &Departure, effect: &Effect) -> Result<(), Refusal> {
        self.acts.borrow_mut().push(effect.kind().word());
        if self.hangs {
            std::future::pending::<()>().await;
        }
        self.answers.clone()
    }
}

impl Replaces for Scripted {
    async fn group_of(&self, _: InstanceId) -> Result<Option<Arc<str>>, Unseen> {
        self.group.clone()
    }

    async fn ask_to_replace(&self, _: InstanceId) -> Result<(), Refusal> {
        self.acts.borrow_mut().push("replace");
        self.replaces.clone()
    }
}

impl Fleet for Scripted {
    async fn leaving(&self, _: &Allowed) -> Result<Vec<Leaving>, Unseen> {
        self.leaving.clone()
    }

    async fn hide(&self, message: &Message, span: Duration) -> Result<(), Refusal> {
        self.hidden.borrow_mut().push((message.id.to_string(), span));
        Ok(())
    }
}

fn group(heartbeat_timeout: Duration, other_hook: Option<&str>) -> Group {
    let hook = |name: &str| Hook {
        name: name.into(),
        heartbeat_timeout,
        global_timeout: Duration::from_hours(5),
        target_groups: Vec::new(),
        misnamed: Vec::new(),
    };
    Group {
        hooks: ["decamp"].into_iter().chain(other_hook).map(hook).collect(),
        attached: Vec::new(),
        unhandled: Vec::new(),
        held: false,
        retains: false,
        activity_began: None,
        launched: decamp_core::decide::Launched::Unasked,
    }
}

fn settings(more: &[(&str, &str)]) -> Settings {
    let set = [("DECAMP_GROUPS", "workers"), ("DECAMP_ACCOUNTS", "123456789012"), ("DECAMP_REGIONS", "eu-west-1")];
    let all: Vec<(&str, &str)> = set.iter().chain(more).copied().collect();
    let get = |name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Settings::read(&get, &[]).unwrap()
}

fn termination(instance: &str) -> String {
    json!({
        "detail-type": "EC2 Instance-terminate Lifecycle Action", "source": "aws.autoscaling", "account": "123456789012",
        "region": "eu-west-1", "time": "2026-03-04T05:06:07Z", "resources": [],
        "detail": {
            "AutoScalingGroupName": "workers", "LifecycleHookName": "decamp", "EC2InstanceId": instance,
            "LifecycleActionToken": "11112222-3333-4444-5555-666677778888",
        },
    })
    .to_string()
}

fn spot() -> String {
    json!({
        "detail-type": "EC2 Spot Instance Interruption Warning", "source": "aws.ec2", "account": "123456789012",
        "region": "eu-west-1", "time": "2026-03-04T05:06:47Z", "resources": [], "detail": {"instance-id": INSTANCE},
    })
    .to_string()
}

/// A batch whose messages have their index as the id.
fn batch(bodies: &[&str]) -> String {
    let record = |(n, body): (usize, &&str)| {
        json!({
            "messageId": format!("m-{n}"), "receiptHandle": "h", "body": body, "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:decamp",
        })
    };
    json!({"Records": bodies.iter().enumerate().map(record).collect::<Vec<_>>()}).to_string()
}

struct Passed {
    /// The messages that the queue has to deliver again.
    back: Vec<String>,
    metrics: String,
    took: Duration,
}

async fn invoke(fleet: &Scripted, settings: &Settings, event: &str) -> Passed {
    let metrics = RefCell::new(String::new());
    let note = |line: &str| metrics.borrow_mut().push_str(&format!("{line}\n"));
    let began = Instant::now();
    let memory = Memory::default();
    let at = Invocation::begin(fleet, settings, &memory, Duration::from_secs(60), &note);
    let answer = pass(&at, event.as_bytes()).await;
    let took = began.elapsed();
    Passed {
        back: answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect(),
        metrics: metrics.into_inner(),
        took,
    }
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_departure_gets_a_heartbeat_and_is_handed_back_before_the_time_is_up() {
    let fleet = Scripted::with(Lifecycle::Waiting);
    let passed = invoke(&fleet, &settings(&[]), &batch(&[&termination(INSTANCE)])).await;
    assert_eq!(passed.back, ["m-0"]);
    assert_eq!(*fleet.hidden.borrow(), [("m-0".to_owned(), Duration::from_secs(5))]);
    assert_eq!(fleet.acts.borrow().last(), Some(&"heartbeat"));
    assert_eq!(passed.took, Duration::from_secs(55));
    assert!(passed.metrics.contains("HandedBack"), "{}", passed.metrics);
}

#[tokio::test(start_paused = true)]
async fn a_departure_that_has_ended_is_not_handed_back() {
    for lifecycle in [Lifecycle::Gone, Lifecycle::Past, Lifecycle::Staying("InService".into())] {
        let fleet = Scripted::with(lifecycle);
        let passed = invoke(&fleet, &settings(&[]), &batch(&[&termination(INSTANCE)])).await;
        assert!(passed.back.is_empty());
        assert!(fleet.acts.borrow().iter().all(|act| *act == "heartbeat"), "the event alone justifies no other write");
        assert!(passed.metrics.contains("\"Departures\":1.0"), "{}", passed.metrics);
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_record_is_dropped_and_delays_no_other() {
    let fleet = Scripted::with(Lifecycle::Waiting);
    let foreign = termination(INSTANCE).replace("123456789012", "999999999999");
    let passed = invoke(&fleet, &settings(&[]), &batch(&["{\"cut off", &termination(INSTANCE), &foreign])).await;
    assert_eq!(passed.back, ["m-1"]);
    assert!(passed.metrics.contains("\"Kind\":\"not-json\"") && passed.metrics.contains("\"Kind\":\"foreign-account\""));
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_is_done_once_and_both_messages_are_handed_back() {
    let event = termination(INSTANCE);
    let (one, two) = (Scripted::with(Lifecycle::Waiting), Scripted::with(Lifecycle::Waiting));
    let alone = invoke(&one, &settings(&[]), &batch(&[&event])).await;
    let both = invoke(&two, &settings(&[]), &batch(&[&event, &event])).await;
    assert_eq!((alone.back.len(), both.back.len()), (1, 2));
    assert_eq!(one.looks, two.looks);
    assert_eq!(one.heartbeats(), two.heartbeats());
}

#[tokio::test(start_paused = true)]
async fn departures_of_one_batch_run_concurrently() {
    let fleet = Scripted::with(Lifecycle::Waiting);
    let bodies: Vec<String> = (0..9).map(|n| termination(&format!("i-0000000{n}"))).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let passed = invoke(&fleet, &settings(&[]), &batch(&bodies)).await;
    assert_eq!(passed.back.len(), 9);
    assert_eq!(passed.took, Duration::from_secs(55));
}

#[tokio::test(start_paused = true)]
async fn a_sweep_sends_heartbeats_for_all_waiting_instances_and_does_not_wait() {
    let one = |number: u64, lifecycle: Lifecycle| Leaving {
        asg: "workers".into(),
        instance: InstanceId::from_number(number),
        lifecycle,
    };
    let leaving = vec![
        one(1, Lifecycle::Waiting),
        one(2, Lifecycle::Waiting),
        one(3, Lifecycle::Terminating),
        one(4, Lifecycle::Retained),
        one(5, Lifecycle::Past),
    ];
    let fleet = Scripted { leaving: Ok(leaving), ..Scripted::with(Lifecycle::Waiting) };
    let passed = invoke(&fleet, &settings(&[]), "{\"decamp\":\"sweep\"}").await;
    assert_eq!(fleet.heartbeats(), 2);
    assert_eq!(passed.took, Duration::ZERO);
    assert!(passed.metrics.contains("\"InstancesWaiting\":2.0") && passed.metrics.contains("\"InstancesRetained\":1.0"));
    assert!(!passed.metrics.contains("HandedBack"), "a sweep hands nothing back");
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_cannot_read_the_instances_is_not_counted_and_not_handed_back() {
    let fleet = Scripted { leaving: Err(Unseen::Throttled), ..Scripted::with(Lifecycle::Waiting) };
    let passed = invoke(&fleet, &settings(&[]), &batch(&["{\"decamp\":\"sweep\"}"])).await;
    assert!(passed.back.is_empty() && !passed.metrics.contains("Sweeps"), "{}", passed.metrics);
}

#[tokio::test(start_paused = true)]
async fn an_observer_writes_nothing_and_hides_nothing() {
    let fleet = Scripted::with(Lifecycle::Waiting);
    let passed = invoke(&fleet, &settings(&[("DECAMP_MODE", "observe")]), &batch(&[&termination(INSTANCE)])).await;
    assert!(passed.back.is_empty());
    assert!(fleet.acts.borrow().is_empty() && fleet.hidden.borrow().is_empty());
    assert!(0 < *fleet.looks.borrow());
}

#[tokio::test(start_paused = true)]
async fn a_spot_instance_in_no_allowed_group_is_ignored() {
    for group in [None, Some("payroll".into())] {
        let fleet = Scripted { group: Ok(group), ..Scripted::with(Lifecycle::Staying("InService".into())) };
        let passed = invoke(&fleet, &settings(&[]), &batch(&[&spot()])).await;
        assert!(passed.back.is_empty() && *fleet.looks.borrow() == 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_spot_instance_of_an_allowed_group_is_drained_without_a_heartbeat() {
    let fleet = Scripted { group: Ok(Some("workers".into())), ..Scripted::with(Lifecycle::Staying("InService".into())) };
    let passed = invoke(&fleet, &settings(&[]), &batch(&[&spot()])).await;
    assert!(0 < *fleet.looks.borrow());
    assert_eq!(fleet.heartbeats(), 0, "there is no lifecycle action to keep alive");
    assert_eq!(passed.back.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_event_of_a_spot_instance_whose_group_cannot_be_read_is_handed_back() {
    let fleet = Scripted { group: Err(Unseen::Throttled), ..Scripted::with(Lifecycle::Waiting) };
    let passed = invoke(&fleet, &settings(&[]), &batch(&[&spot()])).await;
    assert_eq!(passed.back, ["m-0"]);
}

#[tokio::test(start_paused = true)]
async fn although_a_call_hangs_the_function_answers_and_hides_the_message() {
    let fleet = Scripted { hangs: true, ..Scripted::with(Lifecycle::Waiting) };
    let passed = invoke(&fleet, &settings(&[]), &batch(&[&termination(INSTANCE)])).await;
    assert_eq!(passed.back, ["m-0"]);
    assert_eq!(fleet.hidden.borrow().len(), 1, "the message is hidden");
    assert!(passed.took <= Duration::from_secs(59), "{:?}", passed.took);
}

#[tokio::test(start_paused = true)]
async fn for_an_event_without_a_queue_no_message_is_handed_back() {
    let fleet = Scripted::with(Lifecycle::Waiting);
    let passed = invoke(&fleet, &settings(&[]), &termination(INSTANCE)).await;
    assert!(passed.back.is_empty());
    assert_eq!(fleet.acts.borrow().last(), Some(&"heartbeat"));
}
