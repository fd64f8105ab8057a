//! Tests of the real `World`: every look is answered, a pause lasts, and no secret is in a log.

#[expect(dead_code, reason = "the adapters' own tests use the rest")]
#[path = "../../../aws/src/tests/wire.rs"]
mod wire;

use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use self::wire::{Answer, Call, Server, departure, group, instance, row, some_groups};
use decamp_aws::aws;
use decamp_config::Settings;
use decamp_core::decide::{
    ActionRef, Effect, GroupToRead, Lifecycle, LifecycleResult, Observation, Part, Refusal, Snapshot, Target, TargetHealth,
    Unseen,
};
use decamp_core::ids::TargetId;
use decamp_core::time::Time;
use decamp_core::world::World;
use decamp_live::Live;

const TOKEN: &str = "87654321-4321-4321-4321-210987654321";

/// A world in which AWS answers, and Nomad and Consul are unreachable.
async fn live(server: &Server) -> Live {
    let get = |name: &str| match name {
        "NOMAD_ADDR" | "CONSUL_HTTP_ADDR" => Some("http://127.0.0.1:9".to_owned()),
        _ => None,
    };
    let settings = Settings::read(&get, &["NOMAD_ADDR", "CONSUL_HTTP_ADDR"]).expect("they make sense");
    Live::new(&settings, &server.aws().await).expect("no certificates are involved")
}

fn answer(call: &Call) -> Answer {
    match call.action() {
        "DescribeAutoScalingInstances" => {
            let rows: String = call.members("InstanceIds").iter().map(|id| row(id, "web", "Terminating:Wait")).collect();
            Answer::result(call.action(), &format!("<AutoScalingInstances>{rows}</AutoScalingInstances>"))
        }
        "RecordLifecycleActionHeartbeat" => Answer::result(call.action(), ""),
        "CompleteLifecycleAction" => {
            Answer::error(400, "ValidationError", &format!("No active Lifecycle Action found with token {TOKEN}"))
        }
        _ => some_groups(call),
    }
}

#[tokio::test]
async fn every_requested_part_is_answered() {
    let server = Server::start(answer).await;
    let live = live(&server).await;
    let to_read = |name, attached| GroupToRead { arn: group(name), attached };
    let groups = vec![to_read("web-a", false), to_read("gone", true)];
    let parts = [
        Part::Lifecycle,
        Part::TargetGroups { groups, attributes_again: false },
        Part::Nomad,
        Part::NomadToken,
        Part::Consul,
        Part::NomadServices,
    ];
    let showings = live.look(&departure(1), &Snapshot::begin(instance(1), live.now()), &parts).await;
    assert_eq!(showings.len(), 7, "{showings:?}");
    for showing in &showings {
        match showing {
            Observation::Lifecycle(look) => assert_eq!(*look, Ok(Lifecycle::Waiting)),
            Observation::TargetGroup(arn, look) => {
                assert_eq!(look.as_ref().map(|g| g.targets.is_some()), Ok(*arn == group("web-a")))
            }
            Observation::Nomad(look) => assert!(matches!(look, Err(Unseen::Away(_))), "{look:?}"),
            Observation::NomadToken(look) => assert!(matches!(look, Err(Unseen::Away(_))), "{look:?}"),
            Observation::Addresses(look) => assert!(matches!(look, Err(Unseen::Away(_))), "{look:?}"),
            Observation::Consul(look) | Observation::NomadServices(look) => {
                assert!(matches!(look, Err(Unseen::Away(_))), "{look:?}")
            }
            Observation::Group(_) | Observation::Scan(_) => panic!("it was not requested"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_lasts_until_its_end_if_nothing_can_be_watched() {
    let live = live(&Server::start(answer).await).await;
    let (began, until) = (Instant::now(), live.now() + Duration::from_secs(300));
    let watch = [Part::Lifecycle, Part::Nomad, Part::Consul];
    let news = live.pause(&departure(1), &Snapshot::begin(instance(1), live.now()), until, &watch).await;
    assert_eq!(news, []);
    let lasted = began.elapsed();
    assert!(Duration::from_secs(300) <= lasted && lasted < Duration::from_secs(301), "{lasted:?}");
    live.pause(&departure(1), &Snapshot::begin(instance(1), live.now()), Time(0), &watch).await;
    assert!(began.elapsed() < Duration::from_secs(301), "a time that has passed is not waited for");
}

/// Keeps every line that any crate writes, down to DEBUG.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::DEBUG
    }
    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        attributes.record(&mut self.clone());
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = writeln!(self.0.lock().expect("unpoisoned"), "{field}={value:?}");
    }
}

#[tokio::test]
async fn neither_the_action_token_nor_a_key_is_in_any_log() {
    let log = Log::default();
    let server = Server::start(answer).await;
    let live = live(&server).await;
    let guard = tracing::subscriber::set_default(log.clone());
    let of = ActionRef { hook: "decamp".into(), token: TOKEN.parse().ok() };
    let target = Target { id: TargetId::Instance(instance(1)), port: 80, zone: None, health: TargetHealth::Healthy };
    assert_eq!(live.act(&departure(1), &Effect::Heartbeat(of.clone())).await, Ok(()));
    let verdict = decamp_core::decide::Outcome::Departed { waiting_for: None };
    let complete = Effect::Complete { of, result: LifecycleResult::Continue, verdict };
    assert_eq!(live.act(&departure(1), &complete).await, Err(Refusal::NoActiveAction));
    let deregister = Effect::Deregister { group: group("web-a"), targets: vec![target] };
    assert_eq!(live.act(&departure(1), &deregister).await, Ok(()));
    live.look(&departure(1), &Snapshot::begin(instance(1), live.now()), &[Part::Lifecycle, Part::Nomad]).await;
    drop(guard);
    let log = log.0.lock().expect("unpoisoned");
    assert!(!log.is_empty(), "nothing was logged, so nothing was proved");
    for secret in [TOKEN, "secret-canary"] {
        assert!(!log.contains(secret), "{log}");
    }
}
