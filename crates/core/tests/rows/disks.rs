//! Disks that migrate: the instance stays until each replacement has its disk (ADR 0046).

use std::sync::Arc;

use decamp_core::decide::{
    Action, Disk, EffectKind, JobKind, LifecycleResult, NodeStatus, Outcome, Part, Reason, ReasonClass, ReasonKind, Snapshot,
    reasons,
};
use decamp_core::ids::AllocationId;

use crate::decisions::{completion, only_waits, why};
use crate::facts::{API, ENTRY, SHOP, allocation, instance, secs, task_group};
use crate::scene::{Scene, draining, over};

const REPLACEMENT: AllocationId = AllocationId(0xd15c);

/// Everything is over, and a look shows where the disk of `api` is.
fn stopped_with(disk: Disk) -> Scene {
    let mut scene = over(|scene| scene.task_group(API, |group| group.migrates_disk = true));
    shows(&mut scene, disk);
    scene
}

fn shows(scene: &mut Scene, disk: Disk) {
    scene.allocation(API, |allocation| allocation.disk = disk);
    scene.news_from_nomad();
}

fn left_behind(titles: &[&str]) -> Outcome {
    let titles = titles.iter().map(|title| Arc::from(*title)).collect();
    Outcome::DataLeft { titles, claims: [].into(), local: [].into(), cut: false }
}

#[test]
fn the_instance_stays_until_the_replacement_has_the_disk() {
    let mut scene = stopped_with(Disk::Copying(REPLACEMENT));
    let decision = scene.until_no_heartbeat();
    assert_eq!(decision.reason, Reason::DiskCopying { count: 1, title: "api/group".into(), replacement: REPLACEMENT });
    assert_eq!(ReasonKind::DiskCopying.class(), ReasonClass::Own, "it ends by itself");
    let Action::Wait { watch, .. } = &decision.action else { panic!("{decision:?}") };
    assert!(watch.contains(&Part::Nomad), "{decision:?}");
    // Minutes later it is the same.
    for _ in 0..20 {
        scene.pass(20);
        only_waits(&scene.until_no_heartbeat(), "disk-copying");
    }
    shows(&mut scene, Disk::Moved);
    let decision = scene.until_it_writes(EffectKind::Complete);
    assert_eq!(completion(&decision), (LifecycleResult::Continue, Outcome::Departed { waiting_for: None }));
}

#[test]
fn a_disk_that_nobody_copies_keeps_the_instance_and_needs_a_person() {
    let mut scene = stopped_with(Disk::Unplaced);
    let decision = scene.until_no_heartbeat();
    assert_eq!(decision.reason, Reason::DiskUnplaced { count: 1, title: "api/group".into() });
    assert_eq!(ReasonKind::DiskUnplaced.class(), ReasonClass::NeedsAPerson);
    // The job was stopped or purged meanwhile: nothing will want the disk.
    shows(&mut scene, Disk::Stays);
    assert_eq!(completion(&scene.until_it_writes(EffectKind::Complete)).1, Outcome::Departed { waiting_for: None });
}

#[test]
fn both_reasons_are_told_and_the_one_that_needs_a_person_first() {
    let mut scene = stopped_with(Disk::Copying(REPLACEMENT));
    scene.allocation(SHOP, |allocation| allocation.disk = Disk::Unplaced);
    scene.news_from_nomad();
    let decision = scene.until_no_heartbeat();
    only_waits(&decision, "disk-unplaced");
    let all = reasons(&scene.departure, &scene.seen, &scene.policy, scene.now);
    assert!(all.iter().any(|reason| reason.kind() == ReasonKind::DiskCopying), "{all:?}");
}

#[test]
fn what_still_runs_is_named_before_any_disk() {
    let mut scene = draining(|scene| scene.task_group(API, |group| group.migrates_disk = true));
    scene.allocation(SHOP, |allocation| allocation.disk = Disk::Copying(REPLACEMENT));
    scene.news_from_nomad();
    only_waits(&scene.until_no_heartbeat(), "allocations-left");
}

#[test]
fn at_the_end_the_outcome_names_the_disks_and_the_settings_say_how_it_ends() {
    let end = |result: LifecycleResult, disk: Disk| {
        let mut scene = stopped_with(disk);
        scene.policy.on_timeout = result;
        scene.allocation(SHOP, |allocation| allocation.disk = Disk::Unplaced);
        scene.now = scene.budget().end;
        completion(&scene.until_it_writes(EffectKind::Complete))
    };
    for disk in [Disk::Copying(REPLACEMENT), Disk::Unplaced] {
        for result in [LifecycleResult::Continue, LifecycleResult::Abandon] {
            assert_eq!(end(result, disk), (result, left_behind(&["api/group", "shop/group"])));
        }
    }
    assert_eq!(end(LifecycleResult::Continue, Disk::Moved).1, left_behind(&["shop/group"]));
    let meaning = left_behind(&["api/group", "shop/group"]).meaning().into_owned();
    assert_eq!(meaning, "its allocations are over, but no replacement has the disk of api/group, shop/group");
    let titles: Arc<[Arc<str>]> = ["api/group".into()].into();
    let cut = Outcome::DataLeft { titles, claims: [].into(), local: [].into(), cut: true }.meaning().into_owned();
    assert_eq!(cut, "its allocations are over, but no replacement has the disk of api/group; some were cut short by a deadline");
}

#[test]
fn a_nomad_that_cannot_be_seen_shows_no_disk_to_be_there() {
    // Every look but those at Nomad succeeds.
    let blindly = |scene: &mut Scene| loop {
        let decision = scene.decide();
        let Action::Look(parts) = &decision.action else { return decision };
        for part in parts {
            if *part == Part::Nomad { scene.look_in_vain(part) } else { scene.look(part) }
        }
    };
    let mut scene = stopped_with(Disk::Copying(REPLACEMENT));
    scene.until_no_heartbeat();
    scene.look_in_vain(&Part::Nomad);
    only_waits(&blindly(&mut scene), "cannot-see");
    scene.now = scene.budget().end;
    assert_eq!(completion(&blindly(&mut scene)).1, Outcome::TimedOut, "nobody knows where it is");
}

#[test]
fn the_next_worker_waits_without_any_memory() {
    let mut scene = stopped_with(Disk::Copying(REPLACEMENT));
    scene.seen = Snapshot::begin(instance(), scene.now);
    only_waits(&scene.until_no_heartbeat(), "disk-copying");
}

#[test]
fn batch_work_that_nomad_leaves_stopped_needs_no_disk_and_one_that_it_moves_does() {
    for (disk, waits) in [(Disk::Unplaced, false), (Disk::Copying(REPLACEMENT), true)] {
        let mut scene = stopped_with(Disk::Stays);
        scene.task_group(API, |group| group.kind = JobKind::Batch);
        shows(&mut scene, disk);
        let decision = scene.until_no_heartbeat();
        assert_eq!(why(&decision) == "disk-copying", waits, "{disk:?}: {decision:?}");
    }
}

#[test]
fn what_an_earlier_drain_left_is_not_waited_for() {
    let mut scene = stopped_with(Disk::Unplaced);
    // An operator drained the node an hour before, or the first phase of our drain ended it before the second began.
    for (ended, waits) in [(Some(ENTRY - secs(3_600)), false), (Some(ENTRY + secs(1)), true), (None, true)] {
        scene.allocation(API, |allocation| allocation.ended = ended);
        scene.news_from_nomad();
        let decision = scene.until_no_heartbeat();
        assert_eq!(why(&decision) == "disk-unplaced", waits, "{ended:?}: {decision:?}");
    }
}

#[test]
fn a_dead_agent_is_given_its_time_and_then_serves_no_disk() {
    let mut scene = stopped_with(Disk::Copying(REPLACEMENT));
    scene.node().status = NodeStatus::Down;
    scene.news_from_nomad();
    only_waits(&scene.until_no_heartbeat(), "agent-dead");
    scene.pass(301);
    scene.news_from_nomad();
    let decision = scene.until_it_writes(EffectKind::Complete);
    assert_eq!(completion(&decision), (LifecycleResult::Continue, left_behind(&["api/group"])));
}

#[test]
fn an_allocation_of_another_group_is_no_reason_to_wait() {
    let mut scene = stopped_with(Disk::Moved);
    scene.add_allocation(allocation(AllocationId(9), task_group("gone", JobKind::Service), 0));
    scene.allocation(AllocationId(9), |allocation| {
        allocation.wanted = false;
        allocation.client = decamp_core::decide::ClientStatus::Complete;
    });
    scene.news_from_nomad();
    assert_eq!(completion(&scene.until_it_writes(EffectKind::Complete)).1, Outcome::Departed { waiting_for: None });
}

#[test]
fn only_data_that_is_waited_for_costs_a_look_more_calls() {
    let reads = |disk: Disk, kind: JobKind| {
        let mut scene = stopped_with(disk);
        scene.task_group(API, |group| group.kind = kind);
        scene.node().data_reads()
    };
    assert_eq!(reads(Disk::Unplaced, JobKind::Service), 1);
    assert_eq!(reads(Disk::Unplaced, JobKind::Batch), 0, "nothing waits for it, so Nomad's list can be watched");
    assert_eq!(reads(Disk::Copying(REPLACEMENT), JobKind::Batch), 1);
    assert_eq!(reads(Disk::Moved, JobKind::Service), 0);
}
