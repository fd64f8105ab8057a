//! Findings: what the cluster's own settings will cost, reported before the first write, and no false alarm.

use decamp_core::decide::{Finding, Ingress, JobKind, Layer, Loss, Provider, Service};
use decamp_core::ids::{AllocationId, TargetId};

use crate::facts::{API, INGRESS, allocation, arn, attached, instance, secs, target, task_group};
use crate::scene::{Scene, calm};

/// The findings in the calm world after this change.
fn foreseen(change: impl FnOnce(&mut Scene)) -> Vec<Finding> {
    let mut scene = calm();
    change(&mut scene);
    let first = scene.next();
    scene.obey(&first);
    scene.next();
    scene.foreseen()
}

fn kinds(change: impl FnOnce(&mut Scene)) -> Vec<(Layer, Loss)> {
    foreseen(change).iter().map(|finding| (finding.layer, finding.loss)).collect()
}

#[test]
fn a_calm_world_has_no_findings() {
    assert_eq!(kinds(|_| ()), []);
}

#[test]
fn a_service_that_stops_before_the_ingress_forgets_it_is_named_with_the_line_to_change() {
    let findings = foreseen(|scene| scene.task_group(API, |group| group.shutdown_delay = secs(1)));
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!((finding.layer, finding.loss, &*finding.object), (Layer::Service, Loss::LeavesBeforeForgotten, "api/group"));
    // Its settings promise 2 s, and its own work may take 3 s more.
    assert_eq!(finding.line, "shutdown_delay = \"5s\"");
    assert!(
        finding.why.ends_with("for 5s after it left discovery, 3s of it for its own work, which load makes longer"),
        "{}",
        finding.why
    );
}

#[test]
fn the_margin_for_the_ingresss_own_work_is_a_setting() {
    let kinds = |margin, delay| {
        let set = |scene: &mut Scene| {
            scene.policy.ingress_margin = secs(margin);
            scene.task_group(API, |group| group.shutdown_delay = secs(delay));
        };
        foreseen(set).iter().map(|finding| finding.loss).collect::<Vec<_>>()
    };
    assert_eq!(kinds(0, 2), []);
    assert_eq!(kinds(2, 3), [Loss::LeavesBeforeForgotten]);
    assert_eq!(kinds(2, 4), []);
}

#[test]
fn a_delay_as_long_as_the_ingress_remembers_is_no_finding() {
    assert_eq!(kinds(|scene| scene.task_group(API, |group| group.shutdown_delay = secs(5))), []);
}

#[test]
fn an_ingress_that_polls_needs_more_than_one_that_watches() {
    let polls = Ingress { forgets_after: secs(17), how: "traefik polls Consul every 15 s".into() };
    let change = |delay| {
        let polls = polls.clone();
        move |scene: &mut Scene| {
            scene.task_group(INGRESS, |group| group.ingress = Some(polls.clone()));
            scene.task_group(API, |group| group.shutdown_delay = secs(delay));
        }
    };
    assert_eq!(kinds(change(19)), [(Layer::Service, Loss::LeavesBeforeForgotten)]);
    assert_eq!(kinds(change(20)), []);
}

#[test]
fn without_an_ingress_job_the_settings_say_how_slow_the_ingress_is() {
    let without = |scene: &mut Scene| scene.task_group(INGRESS, |group| group.ingress = None);
    assert!(
        kinds(|scene| {
            without(scene);
            scene.task_group(API, |group| group.shutdown_delay = secs(16));
        })
        .contains(&(Layer::Service, Loss::LeavesBeforeForgotten))
    );
    assert_eq!(kinds(without), []);
}

#[test]
fn a_kill_timeout_shorter_than_the_longest_request_is_named() {
    let change = |scene: &mut Scene| {
        scene.task_group(API, |group| {
            group.shutdown_delay = secs(5);
            group.tasks[0].kill_timeout = secs(3);
        });
    };
    assert_eq!(kinds(change), [(Layer::Container, Loss::KilledWithRequests)]);
}

#[test]
fn a_long_shutdown_delay_makes_up_for_a_short_kill_timeout() {
    assert_eq!(kinds(|scene| scene.task_group(API, |group| group.tasks[0].kill_timeout = secs(1))), []);
}

#[test]
fn a_service_whose_copies_may_all_stop_at_once_is_named() {
    let change = |here: u32, count, at_once| {
        move |scene: &mut Scene| {
            let copies: Vec<AllocationId> = (1..here).map(|copy| AllocationId(u128::from(90 + copy))).collect();
            for copy in &copies {
                scene.add_allocation(allocation(*copy, task_group("api", JobKind::Service), 0));
            }
            for id in copies.into_iter().chain([API]) {
                scene.task_group(id, |group| {
                    group.count = count;
                    group.max_parallel = Some(at_once);
                });
            }
        }
    };
    assert_eq!(kinds(change(1, 1, 1)), [(Layer::Service, Loss::NoCopyLeft)]);
    assert_eq!(kinds(change(3, 3, 3)), [(Layer::Service, Loss::NoCopyLeft)]);
    assert_eq!(kinds(change(2, 3, 3)), [], "a copy on another node stays");
    assert_eq!(kinds(change(3, 3, 2)), []);
}

#[test]
fn batch_work_is_cut_at_the_deadline() {
    for kind in [JobKind::Batch, JobKind::SysBatch] {
        let findings = kinds(|scene| scene.add_allocation(allocation(AllocationId(5), task_group("nightly", kind), 0)));
        assert_eq!(findings, [(Layer::Node, Loss::CutAtDeadline)], "{kind:?}");
    }
}

#[test]
fn a_job_that_may_never_migrate_is_named() {
    let findings = kinds(|scene| scene.task_group(API, |group| group.max_parallel = Some(0)));
    assert!(findings.contains(&(Layer::Node, Loss::NeverMigrates)), "{findings:?}");
}

#[test]
fn a_disk_that_migrates_is_named_where_a_drain_moves_it() {
    let findings = foreseen(|scene| scene.task_group(API, |group| group.migrates_disk = true));
    let found: Vec<_> = findings.iter().filter(|finding| finding.loss == Loss::DiskCut).collect();
    let [finding] = found.as_slice() else { panic!("{findings:?}") };
    assert_eq!((finding.layer, &*finding.object), (Layer::Node, "api/group"));
    assert!(finding.why.contains("starts with an empty disk"), "{finding}");
    let stays = kinds(|scene| {
        scene.task_group(API, |group| {
            group.migrates_disk = true;
            group.kind = JobKind::System;
        });
    });
    assert!(!stays.contains(&(Layer::Node, Loss::DiskCut)), "a system job is not replaced on another node: {stays:?}");
}

#[test]
fn a_deregistration_delay_shorter_than_the_longest_request_is_named() {
    let findings = foreseen(|scene| scene.front(&attached()).delay = Some(secs(4)));
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!((finding.layer, finding.loss, &*finding.object), (Layer::LoadBalancer, Loss::DelayTooShort, "attached"));
    assert_eq!(finding.line, "deregistration_delay = 5");
}

#[test]
fn a_hook_too_short_for_the_departure_is_named() {
    let findings = foreseen(|scene| scene.group.hooks[0].global_timeout = secs(90));
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!((finding.layer, finding.loss), (Layer::Hook, Loss::DoesNotFit));
    // Both figures include the reserve, the confirmations and Nomad's slack, as the sentence does.
    let said = format!("at least {} ", finding.needed);
    assert!(finding.why.contains(&said) && finding.why.contains(&format!("has {}:", finding.value)), "{finding}");
    assert_eq!(finding.value, "90s");
}

#[test]
fn many_copies_of_a_task_group_are_one_finding() {
    let findings = foreseen(|scene| {
        scene.task_group(API, |group| group.shutdown_delay = secs(0));
        for n in 30..40 {
            let mut group = task_group("api", JobKind::Service);
            group.shutdown_delay = secs(0);
            scene.add_allocation(allocation(AllocationId(n), group, 0));
        }
    });
    assert_eq!(findings.iter().filter(|f| f.loss == Loss::LeavesBeforeForgotten).count(), 1, "{findings:?}");
}

#[test]
fn what_no_ingress_routes_to_is_no_finding() {
    let unregistered = |scene: &mut Scene| {
        scene.task_group(API, |group| {
            group.shutdown_delay = secs(0);
            group.services.clear();
        });
    };
    assert_eq!(kinds(unregistered), []);
}

#[test]
fn a_service_that_a_load_balancer_sends_to_stops_after_the_delay_and_is_no_finding() {
    let direct = |scene: &mut Scene| {
        scene.task_group(API, |group| group.shutdown_delay = secs(0));
        scene.add_target(&attached(), target(TargetId::Instance(instance()), 21_001));
    };
    assert_eq!(kinds(direct), []);
}

#[test]
fn a_finding_reads_as_a_sentence_with_what_to_set() {
    let findings = foreseen(|scene| scene.task_group(API, |group| group.shutdown_delay = secs(0)));
    let text = findings[0].to_string();
    for part in ["service: api/group", "shutdown_delay 0s", "needed: 5s", "Set: shutdown_delay = \"5s\""] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_group_that_is_deleted_is_no_finding() {
    let gone = |scene: &mut Scene| {
        scene.fronts.push(crate::facts::target_group(arn("gone"), false));
        scene.policy.target_groups = vec![arn("gone")];
        let front = scene.front(&arn("gone"));
        front.delay = Some(secs(0));
        front.targets = None;
    };
    assert_eq!(kinds(gone), []);
}

#[test]
fn a_service_in_nomads_own_discovery_is_treated_the_same() {
    let change = |scene: &mut Scene| {
        scene.task_group(API, |group| {
            group.shutdown_delay = secs(0);
            group.services = vec![Service { name: "api".into(), provider: Provider::Nomad, namespace: None }];
        });
    };
    assert_eq!(kinds(change), [(Layer::Service, Loss::LeavesBeforeForgotten)]);
}

#[test]
fn an_ingress_that_no_known_load_balancer_sends_to_is_named() {
    let nowhere = |scene: &mut Scene| {
        scene.group.attached = Vec::new();
        scene.group.hooks.iter_mut().for_each(|hook| hook.target_groups = Vec::new());
    };
    let findings = foreseen(nowhere);
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!((finding.layer, finding.loss, &*finding.object), (Layer::LoadBalancer, Loss::NoTargetGroup, "traefik/group"));
    let named = |scene: &mut Scene| {
        nowhere(scene);
        scene.policy.target_groups = vec![attached()];
    };
    assert_eq!(kinds(named), []);
}
