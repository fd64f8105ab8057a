//! Claims of CSI volumes: the instance, and the plugin on it, stay until Nomad has released those of its allocations (ADR 0047).

use std::sync::Arc;

use decamp_core::decide::{
    Action, Claims, Effect, EffectKind, JobKind, LifecycleResult, NodeStatus, Outcome, Part, Phase, Reason, ReasonClass,
    ReasonKind, Snapshot, Volume, VolumeKind,
};
use decamp_core::denials::denied_now;
use decamp_core::ids::AllocationId;

use crate::decisions::{completion, effects, only_waits, why};
use crate::facts::{API, INGRESS, SHOP, allocation, instance, task_group};
use crate::scene::{Scene, over, released};

fn csi(source: &str, per_alloc: bool) -> Volume {
    Volume { name: "data".into(), source: source.into(), read_only: false, kind: VolumeKind::Csi { per_alloc } }
}

fn held(volumes: &[&str]) -> Claims {
    Claims { held: volumes.iter().map(|volume| Arc::from(*volume)).collect(), ..Claims::default() }
}

fn unread(volumes: &[&str]) -> Claims {
    let unread = volumes.iter().map(|volume| Arc::from(*volume)).collect();
    Claims { unread, denied: Some("Permission denied".into()), ..Claims::default() }
}

fn mounts(scene: &mut Scene) {
    scene.task_group(API, |group| group.volumes = vec![csi("disk", false)]);
}

/// Everything is over, and a look shows these claims of `api`.
fn stopped_with(claims: &Claims) -> Scene {
    let mut scene = over(mounts);
    // The services go first. Here the system jobs are over, too.
    scene.allocations(|allocation| allocation.wanted = false);
    scene.everything_stops();
    shows(&mut scene, claims);
    scene
}

fn shows(scene: &mut Scene, claims: &Claims) {
    scene.allocation(API, |allocation| allocation.claims = claims.clone());
    scene.news_from_nomad();
}

fn left(claims: &[&str]) -> Outcome {
    let claims = claims.iter().map(|claim| Arc::from(*claim)).collect();
    Outcome::DataLeft { titles: [].into(), claims, local: [].into(), cut: false }
}

const DEPARTED: Outcome = Outcome::Departed { waiting_for: None };

#[test]
fn the_instance_stays_until_the_claims_are_released() {
    let mut scene = stopped_with(&held(&["disk"]));
    let decision = scene.until_no_heartbeat();
    assert_eq!(decision.reason, Reason::VolumeClaimed { count: 1, volume: "disk".into(), title: "api/group".into() });
    assert_eq!(ReasonKind::VolumeClaimed.class(), ReasonClass::Own, "it ends by itself");
    let Action::Wait { watch, .. } = &decision.action else { panic!("{decision:?}") };
    assert!(watch.contains(&Part::Nomad), "{decision:?}");
    for _ in 0..20 {
        scene.pass(20);
        only_waits(&scene.until_no_heartbeat(), "volume-claimed");
    }
    shows(&mut scene, &Claims::default());
    assert_eq!(completion(&scene.until_it_writes(EffectKind::Complete)), (LifecycleResult::Continue, DEPARTED));
}

#[test]
fn the_next_worker_waits_for_claims_without_any_memory() {
    let mut scene = stopped_with(&held(&["disk"]));
    scene.seen = Snapshot::begin(instance(), scene.now);
    only_waits(&scene.until_no_heartbeat(), "volume-claimed");
}

#[test]
fn at_the_end_the_outcome_names_what_is_claimed() {
    for result in [LifecycleResult::Continue, LifecycleResult::Abandon] {
        let mut scene = stopped_with(&held(&["disk", "logs[0]"]));
        scene.policy.on_timeout = result;
        scene.allocation(SHOP, |allocation| allocation.claims = held(&["disk"]));
        scene.now = scene.budget().end;
        let names = ["disk of api/group", "logs[0] of api/group", "disk of shop/group"];
        assert_eq!(completion(&scene.until_it_writes(EffectKind::Complete)), (result, left(&names)));
    }
    let meaning = left(&["disk of api/group"]).meaning().into_owned();
    assert_eq!(meaning, "its allocations are over, but Nomad has not released its claim on disk of api/group");
}

#[test]
fn a_token_that_may_not_read_volumes_holds_nothing_up_and_the_outcome_says_so() {
    let mut scene = stopped_with(&unread(&["disk"]));
    assert!(denied_now(&scene.seen).iter().any(|denial| denial.call == "look-volumes"), "{:?}", denied_now(&scene.seen));
    let unconfirmed = Outcome::Unconfirmed { unseen: None, cut: false, unread: ["disk of api/group".into()].into() };
    assert_eq!(completion(&scene.until_it_writes(EffectKind::Complete)), (LifecycleResult::Continue, unconfirmed.clone()));
    let meaning = unconfirmed.meaning().into_owned();
    assert!(meaning.contains("csi-read-volume") && meaning.contains("disk of api/group"), "{meaning}");
    // One that is read and claimed is waited for even so.
    shows(&mut scene, &Claims { held: ["logs".into()].into(), ..unread(&["disk"]) });
    let mut scene = stopped_with(&Claims { held: ["logs".into()].into(), ..unread(&["disk"]) });
    only_waits(&scene.until_no_heartbeat(), "volume-claimed");
}

#[test]
fn a_dead_agent_is_given_its_time_and_then_unmounts_nothing() {
    let mut scene = stopped_with(&held(&["disk"]));
    scene.node().status = NodeStatus::Down;
    scene.news_from_nomad();
    only_waits(&scene.until_no_heartbeat(), "agent-dead");
    scene.pass(301);
    scene.news_from_nomad();
    assert_eq!(completion(&scene.until_it_writes(EffectKind::Complete)).1, left(&["disk of api/group"]));
}

/// A node with a service that mounts a CSI volume, the plugin, and the ingress: the load balancers have released the instance.
fn with_a_plugin() -> Scene {
    released(|scene| {
        mounts(scene);
        let mut plugin = task_group("csi", JobKind::System);
        (plugin.csi_plugin, plugin.services) = (true, Vec::new());
        scene.add_allocation(allocation(AllocationId(9), plugin, 0));
    })
}

/// The phases of the drains in a decision, and whether each leaves system jobs.
fn drains(scene: &mut Scene) -> Vec<(Phase, bool)> {
    let decision = scene.until_it_writes(EffectKind::Drain);
    let drains = effects(&decision).iter().filter_map(|effect| match effect {
        Effect::Drain { meta, ignore_system_jobs, .. } => Some((meta.phase, *ignore_system_jobs)),
        Effect::Heartbeat(_)
        | Effect::MakeIneligible(_)
        | Effect::Deregister { .. }
        | Effect::Complete { .. }
        | Effect::Note { .. } => None,
    });
    let drains = drains.collect();
    scene.obey(&decision);
    drains
}

#[test]
fn the_plugin_and_all_system_jobs_stop_after_the_claims_are_released() {
    let mut scene = with_a_plugin();
    assert_eq!(drains(&mut scene), [(Phase::Services, true)]);
    scene.pass(20);
    scene.stopped_are_over();
    scene.drain_completes();
    scene.unregister_what_is_over();
    shows(&mut scene, &held(&["disk"]));
    for _ in 0..5 {
        let decision = scene.until_no_heartbeat();
        only_waits(&decision, "volume-claimed");
        scene.pass(20);
    }
    shows(&mut scene, &Claims::default());
    assert_eq!(drains(&mut scene), [(Phase::All, false)]);
    let stopped: Vec<AllocationId> = scene.nomad.nodes[0].allocations.iter().filter(|a| !a.wanted).map(|a| a.id).collect();
    assert!(stopped.contains(&INGRESS), "{stopped:?}");
}

#[test]
fn a_node_without_csi_volumes_is_drained_at_once() {
    let mut scene = released(|_| {});
    assert_eq!(drains(&mut scene), [(Phase::All, false)]);
    let mut read_only = released(|scene| {
        let host = VolumeKind::Host { sticky: false };
        scene.task_group(API, |group| group.volumes = vec![Volume { kind: host, ..csi("disk", false) }]);
    });
    assert_eq!(drains(&mut read_only), [(Phase::All, false)], "no plugin serves a host volume");
}

#[test]
fn claims_that_stay_do_not_keep_system_jobs_beyond_the_force() {
    let mut scene = with_a_plugin();
    drains(&mut scene);
    scene.pass(20);
    scene.stopped_are_over();
    scene.drain_completes();
    scene.unregister_what_is_over();
    shows(&mut scene, &held(&["disk"]));
    scene.now = scene.budget().force_at;
    assert_eq!(drains(&mut scene), [(Phase::Forced, false)]);
}

#[test]
fn each_allocation_of_a_group_may_have_its_own_volume() {
    let mut group = task_group("db", JobKind::Service);
    group.volumes = vec![csi("data", true), csi("shared", false)];
    let ids = |number| group.csi_volumes(number).map(|id| id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(Some(2)), ["data[2]", "shared"]);
    assert_eq!(ids(None), ["data", "shared"]);
    assert!(group.claims_volumes());
    group.csi_plugin = true;
    assert!(!group.claims_volumes(), "a plugin serves volumes");
}

#[test]
fn what_still_runs_is_named_before_any_claim() {
    let mut scene = crate::scene::draining(mounts);
    scene.allocation(SHOP, |allocation| allocation.claims = held(&["disk"]));
    scene.news_from_nomad();
    assert_eq!(why(&scene.until_no_heartbeat()), "allocations-left");
}
