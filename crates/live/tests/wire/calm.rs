//! One departure at a time without faults: every kind of target group, discovery and token.

use decamp_core::decide::Provider;
use decamp_sandbox::Options;
use decamp_sim::nomad::Version;
use futures_util::future::join_all;

use super::rig::{Rig, quick};

/// A name, the options of the sandbox, and additional settings of decamp.
type Case = (&'static str, Options, Vec<(&'static str, &'static str)>);

fn cases() -> Vec<Case> {
    let consul_off = vec![("DECAMP_CONSUL", "false")];
    vec![
        ("one group attached, one named", quick(), vec![]),
        ("attached groups only", Options { attached: 2, named: 0, ..quick() }, vec![]),
        ("named groups only", Options { attached: 0, named: 2, ..quick() }, vec![]),
        ("no target groups", Options { attached: 0, named: 0, ..quick() }, vec![]),
        ("drain after the delay", quick(), vec![("DECAMP_OVERLAP", "false")]),
        ("services in Nomad", Options { provider: Provider::Nomad, ..quick() }, vec![]),
        ("services in Nomad and Consul off", Options { provider: Provider::Nomad, ..quick() }, consul_off),
        ("tokens of the least power", Options { acls: true, ..quick() }, vec![]),
        ("Nomad 1.10", Options { nomad: Version::V1_10_5, ..quick() }, vec![]),
        ("the oldest Nomad, whose servers cannot filter", Options { nomad: Version::V1_1_2, nodes: 12, ..quick() }, vec![]),
        ("an AWS that throttles", Options { throttled: true, ..quick() }, vec![]),
        ("replacements come", Options { replacements: true, ..quick() }, vec![]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_calm_departure_loses_nothing_and_stays_within_its_calls() {
    let run = async |(what, options, settings): Case| {
        let rig = Rig::with(&options, &settings).await;
        let instance = rig.sandbox.instances[0];
        let story = if options.attached + options.named == 0 {
            // Without target groups no client sends requests. The instance still has to depart.
            let (outcome, story) = rig.depart(instance).await;
            assert_eq!(outcome.word(), "departed", "{what}\n{story}");
            story
        } else {
            rig.departs_without_loss(what, instance).await
        };
        let groups = u64::from(options.attached + options.named);
        let calls = rig.calls();
        assert!(calls <= 5 * groups + 6, "{what}: {calls} calls: {:?}", rig.live.calls().each().collect::<Vec<_>>());
        let heartbeats = rig.live.calls().of("RecordLifecycleActionHeartbeat");
        let needed = story.lasted.as_secs() / 11;
        assert!(needed <= heartbeats, "{what}: {heartbeats} heartbeats in {:?}\n{story}", story.lasted);
    };
    join_all(cases().into_iter().map(run)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_leave_one_after_another_while_replacements_come() {
    let rig = Rig::start(&Options { replacements: true, ..quick() }).await;
    rig.departs_without_loss("the first", rig.sandbox.instances[0]).await;
    // As in an instance refresh, the next one leaves when the replacement serves.
    rig.routes_to(3).await;
    rig.departs_without_loss("the second", rig.sandbox.instances[1]).await;
}
