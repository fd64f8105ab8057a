//! Data in host volumes: it is named before anything moves, and with `DECAMP_LOCAL_DATA=hold` nothing is written before an operator lets it
//! go (ADR 0047).

use decamp_core::decide::{
    Cause, ClientStatus, EffectKind, JobKind, LifecycleResult, LocalData, Loss, Outcome, Reason, ReasonClass, ReasonKind,
    Snapshot, Volume, VolumeKind,
};

use crate::decisions::{completion, only_waits, writes};
use crate::facts::{API, ENTRY, SHOP, instance, node_id, secs};
use crate::scene::{Scene, calm, over};

fn host(source: &str, read_only: bool, sticky: bool) -> Volume {
    Volume { name: "data".into(), source: source.into(), read_only, kind: VolumeKind::Host { sticky } }
}

fn writes_to(scene: &mut Scene, volumes: &[Volume]) {
    scene.task_group(API, |group| group.volumes = volumes.to_vec());
}

/// `api` has data in a host volume, and the settings hold it.
fn holding() -> Scene {
    let mut scene = calm();
    scene.policy.local_data = LocalData::Hold;
    writes_to(&mut scene, &[host("mysql", false, false)]);
    scene
}

fn left(local: &[&str]) -> Outcome {
    let local = local.iter().map(|name| std::sync::Arc::from(*name)).collect();
    Outcome::DataLeft { titles: [].into(), claims: [].into(), local, cut: false }
}

#[test]
fn local_data_is_named_before_anything_moves_and_not_waited_for() {
    let mut scene = calm();
    writes_to(&mut scene, &[host("mysql", false, false), host("certificates", true, false), host("queue", false, true)]);
    scene.until_it_writes(EffectKind::Deregister);
    let found: Vec<_> = scene.foreseen().into_iter().filter(|finding| finding.loss == Loss::LocalData).collect();
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(&*finding.object, "api/group");
    assert_eq!(finding.value, "host volume mysql, host volume queue (sticky)");
    let mut scene = over(|scene| writes_to(scene, &[host("mysql", false, false)]));
    scene.allocation(API, |allocation| allocation.moved = true);
    scene.news_from_nomad();
    assert_eq!(completion(&scene.until_it_writes(EffectKind::Complete)).1, Outcome::Departed { waiting_for: None });
}

#[test]
fn what_is_read_only_is_no_local_data() {
    let mut scene = holding();
    writes_to(&mut scene, &[host("certificates", true, false)]);
    scene.until_it_writes(EffectKind::Deregister);
    assert!(scene.foreseen().iter().all(|finding| finding.loss != Loss::LocalData), "{:?}", scene.foreseen());
}

#[test]
fn a_hold_writes_nothing_but_heartbeats_and_says_how_to_answer() {
    let mut scene = holding();
    let decision = scene.until_no_heartbeat();
    let Reason::LocalData { count: 1, title, volumes, node, until } = &decision.reason else { panic!("{decision:?}") };
    assert_eq!((&**title, &**volumes, *node), ("api/group", "mysql", node_id()));
    assert_eq!(*until, scene.budget().held_until());
    let text = decision.reason.to_string();
    assert!(text.contains("nomad node meta apply") && text.contains("decamp.local_data=leave"), "{text}");
    assert_eq!(ReasonKind::LocalData.class(), ReasonClass::NeedsAPerson);
    // For longer than a departure may take.
    for _ in 0..200 {
        scene.pass(60);
        only_waits(&scene.until_no_heartbeat(), "local-data");
    }
    assert!(ENTRY + scene.policy.max_departure < scene.now);
    // The next worker holds it as well.
    scene.seen = Snapshot::begin(instance(), scene.now);
    only_waits(&scene.until_no_heartbeat(), "local-data");
}

#[test]
fn with_leave_the_departure_goes_on_with_all_its_time() {
    let mut scene = holding();
    scene.pass(3 * 3600);
    only_waits(&scene.until_no_heartbeat(), "local-data");
    scene.node().leaves_local_data = true;
    scene.pass(60);
    let decision = scene.until_it_writes(EffectKind::Deregister);
    assert!(!writes(&decision, EffectKind::Complete), "{decision:?}");
    assert!(scene.now + secs(7_000) <= scene.budget().end, "{:?}", scene.budget());
}

#[test]
fn when_nothing_uses_the_data_any_more_the_departure_goes_on() {
    let mut scene = holding();
    only_waits(&scene.until_no_heartbeat(), "local-data");
    // The operator stopped the job. No drain moved it.
    scene.allocation(API, |allocation| {
        allocation.wanted = false;
        allocation.client = ClientStatus::Complete;
    });
    scene.pass(60);
    scene.until_it_writes(EffectKind::Deregister);
}

#[test]
fn a_hold_ends_in_time_for_an_orderly_departure_and_the_outcome_names_the_data() {
    let mut scene = over(|scene| {
        scene.policy.local_data = LocalData::Hold;
        writes_to(scene, &[host("mysql", false, false), host("queue", false, true)]);
        only_waits(&scene.until_no_heartbeat(), "local-data");
        scene.now = scene.budget().held_until();
    });
    scene.allocation(API, |allocation| allocation.moved = true);
    scene.news_from_nomad();
    let name = "mysql, queue of api/group";
    let decision = scene.until_it_writes(EffectKind::Complete);
    assert_eq!(completion(&decision), (LifecycleResult::Continue, left(&[name])));
    let meaning = left(&[name]).meaning().into_owned();
    assert_eq!(meaning, "its allocations are over, but the machine took along the data in mysql, queue of api/group");
    // With leave it is an ordinary departure.
    scene.node().leaves_local_data = true;
    scene.news_from_nomad();
    assert_eq!(completion(&scene.until_it_writes(EffectKind::Complete)).1, Outcome::Departed { waiting_for: None });
}

#[test]
fn what_an_operator_stopped_was_the_operators_to_decide() {
    let mut scene = over(|scene| {
        scene.policy.local_data = LocalData::Hold;
        writes_to(scene, &[host("mysql", false, false)]);
        scene.allocation(API, |allocation| {
            allocation.wanted = false;
            allocation.client = ClientStatus::Complete;
        });
    });
    assert_eq!(completion(&scene.until_it_writes(EffectKind::Complete)).1, Outcome::Departed { waiting_for: None });
}

#[test]
fn nothing_is_written_before_it_is_known_what_a_node_holds() {
    let mut scene = holding();
    writes_to(&mut scene, &[]);
    // Nomad is late: the looks that were answered are not enough to begin.
    loop {
        let decision = scene.decide();
        let decamp_core::decide::Action::Look(parts) = &decision.action else {
            assert!(!writes(&decision, EffectKind::Deregister), "{decision:?}");
            break;
        };
        if parts.iter().all(|part| matches!(part, decamp_core::decide::Part::Nomad | decamp_core::decide::Part::NomadToken)) {
            break;
        }
        for part in parts.clone() {
            if !matches!(part, decamp_core::decide::Part::Nomad | decamp_core::decide::Part::NomadToken) {
                scene.look(&part);
            }
        }
    }
    assert!(scene.seen.nomad.at().is_none());
}

#[test]
fn a_nomad_that_cannot_be_read_ends_no_hold_that_may_be_one() {
    let mut scene = holding();
    scene.pass(3 * 3600);
    scene.look(&decamp_core::decide::Part::Lifecycle);
    scene.look(&decamp_core::decide::Part::Group { with_activity: false });
    scene.look_in_vain(&decamp_core::decide::Part::Nomad);
    assert!(scene.now < scene.budget().end, "what the node holds is not known yet: {:?}", scene.budget());
    scene.policy.local_data = LocalData::Warn;
    assert!(scene.budget().end <= scene.now, "otherwise the time is up: {:?}", scene.budget());
}

#[test]
fn system_jobs_and_what_may_run_on_count_too() {
    let mut scene = holding();
    writes_to(&mut scene, &[]);
    scene.task_group(SHOP, |group| {
        group.kind = JobKind::System;
        group.volumes = vec![host("logs", false, false)];
    });
    only_waits(&scene.until_no_heartbeat(), "local-data");
    scene.allocation(SHOP, |allocation| allocation.client = ClientStatus::Unknown);
    scene.news_from_nomad();
    only_waits(&scene.until_no_heartbeat(), "local-data");
}

#[test]
fn an_interruption_is_not_held() {
    let mut scene = holding();
    scene.departure.cause = Cause::Interruption { at: scene.now + secs(118) };
    scene.until_it_writes(EffectKind::Deregister);
}
