//! Whose a target is: the instance's by its id, by an address of its node, or by the address and port of an allocation that is not over.
//! (ADR 0009.)

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use decamp_core::decide::{
    Action, Allocation, ClientStatus, Decision, EffectKind, GroupToRead, JobKind, Loss, Outcome, OwnNetwork, Part, Phase, Reason,
    System,
};
use decamp_core::ids::{TargetGroupArn, TargetId};

use crate::decisions::{completion, deregistrations, drain, only_waits, writes};
use crate::facts::{ADDRESS, API, INGRESS, allocation, another_instance, attached, instance, named, secs, target, task_group};
use crate::scene::{Scene, calm, deregistered};

const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 5));
const STRANGE: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x10));

fn own(address: IpAddr, bridge: bool, ports: &[u16]) -> Option<OwnNetwork> {
    Some(OwnNetwork { address, bridge, ports: ports.into() })
}

/// Everything that is deregistered before the first drain.
fn taken_out(scene: &mut Scene) -> Vec<(TargetGroupArn, TargetId, u16)> {
    let mut all = Vec::new();
    for _ in 0..40 {
        let decision = scene.next();
        if writes(&decision, EffectKind::Drain) {
            return all;
        }
        all.extend(deregistrations(&decision));
        scene.obey(&decision);
        let Action::Wait { until, .. } = decision.action else { continue };
        scene.now = until;
    }
    all
}

/// Goes on until an action other than a look, a wait or a deregistration comes, or until this many seconds have passed.
fn goes_on(scene: &mut Scene, seconds: u64) -> Decision {
    let end = scene.now + secs(seconds);
    loop {
        let decision = scene.next();
        let Action::Wait { until, .. } = decision.action else {
            let ends = matches!(decision.action, Action::End(_));
            if writes(&decision, EffectKind::Drain) || writes(&decision, EffectKind::Complete) || ends {
                return decision;
            }
            scene.obey(&decision);
            continue;
        };
        if end <= until {
            return decision;
        }
        scene.now = until;
        scene.targets_leave();
    }
}

fn with_an_address(change: impl FnOnce(&mut Allocation)) -> Scene {
    let mut scene = calm();
    let mut api = allocation(API, task_group("api", JobKind::Service), 21_001);
    change(&mut api);
    scene.allocation(API, |a| *a = api.clone());
    scene.add_target(&named(), target(TargetId::Ip(OWN), 80));
    scene
}

#[test]
fn an_address_of_the_node_is_ours_in_a_group_that_was_named_and_in_no_other() {
    let mut scene = calm();
    scene.add_target(&attached(), target(TargetId::Ip(ADDRESS), 8080));
    scene.add_target(&named(), target(TargetId::Ip(ADDRESS), 8080));
    let all = deregistrations(&scene.until_it_writes(EffectKind::Deregister));
    let addresses: Vec<_> = all.iter().filter(|(_, id, _)| *id == TargetId::Ip(ADDRESS)).collect();
    assert_eq!(addresses, [&(named(), TargetId::Ip(ADDRESS), 8080)]);
}

/// The target, the allocation's network, its status, who else has the address, and whether the target is ours.
type Case = (&'static str, Option<OwnNetwork>, ClientStatus, &'static [IpAddr], bool);

#[test]
fn an_allocations_own_address_is_ours_at_its_ports_while_it_is_not_over_and_nobody_else_has_it() {
    let ours = (named(), TargetId::Ip(OWN), 80);
    let cases: &[Case] = &[
        ("its port", own(OWN, false, &[80]), ClientStatus::Running, &[], true),
        ("it declares none", own(OWN, false, &[]), ClientStatus::Running, &[], true),
        ("another port", own(OWN, false, &[81]), ClientStatus::Running, &[], false),
        ("it is over", own(OWN, false, &[80]), ClientStatus::Complete, &[], false),
        ("it has failed", own(OWN, false, &[80]), ClientStatus::Failed, &[], false),
        ("behind a bridge", own(OWN, true, &[80]), ClientStatus::Running, &[], false),
        ("another has it too", own(OWN, false, &[80]), ClientStatus::Running, &[OWN], false),
        ("another address", own(STRANGE, false, &[80]), ClientStatus::Running, &[], false),
    ];
    for (name, network, client, elsewhere, is_ours) in cases {
        let mut scene = with_an_address(|a| (a.own, a.client) = (network.clone(), *client));
        scene.elsewhere = elsewhere.to_vec();
        assert_eq!(taken_out(&mut scene).contains(&ours), *is_ours, "{name}");
    }
}

#[test]
fn a_target_that_another_node_has_is_left_alone_and_not_waited_for() {
    let mut scene = calm();
    scene.add_target(&named(), target(TargetId::Ip(STRANGE), 8080));
    scene.elsewhere = vec![STRANGE];
    let drained = goes_on(&mut scene, 35);
    assert!(writes(&drained, EffectKind::Drain), "{drained:?}");
}

#[test]
fn an_address_that_nobody_is_known_to_have_is_waited_for_and_nothing_is_drained_beside_it() {
    let mut scene = calm();
    scene.add_target(&named(), target(TargetId::Ip(STRANGE), 8080));
    scene.policy.unknown_target_wait = secs(100);
    let waits = goes_on(&mut scene, 90);
    only_waits(&waits, "unknown-target");
    let finding = scene.foreseen().into_iter().find(|finding| finding.loss == Loss::UnknownTarget).expect("it is named");
    assert_eq!(&*finding.object, "named");
    assert!(finding.value.contains("fd00::10"), "{finding}");
    let drained = goes_on(&mut scene, 20);
    assert_eq!(drain(&drained).2.phase, Phase::All, "{drained:?}");
}

#[test]
fn an_address_that_is_registered_again_is_waited_for_anew() {
    let mut scene = calm();
    scene.policy.unknown_target_wait = secs(100);
    let looks = |scene: &mut Scene| {
        scene.pass(1);
        let groups = vec![GroupToRead { arn: named(), attached: false }];
        scene.look(&Part::TargetGroups { groups, attributes_again: false });
    };
    scene.add_target(&named(), target(TargetId::Ip(STRANGE), 8080));
    only_waits(&goes_on(&mut scene, 50), "unknown-target");
    let listed = scene.front(&named()).targets.clone();
    scene.front(&named()).targets =
        listed.as_ref().map(|all| all.iter().filter(|t| t.id != TargetId::Ip(STRANGE)).cloned().collect());
    looks(&mut scene);
    scene.front(&named()).targets = listed;
    looks(&mut scene);
    // The note of the first wait says nothing of this registration.
    only_waits(&goes_on(&mut scene, 90), "unknown-target");
    let drained = goes_on(&mut scene, 20);
    assert!(writes(&drained, EffectKind::Drain), "{drained:?}");
}

#[test]
fn a_departure_past_an_address_that_may_be_its_own_is_unconfirmed() {
    for (taken_out, outcome) in [
        (false, Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() }),
        (true, Outcome::Departed { waiting_for: None }),
    ] {
        let mut scene = calm();
        scene.add_target(&named(), target(TargetId::Ip(STRANGE), 8080));
        scene.policy.unknown_target_wait = secs(60);
        scene.policy.overlap = false;
        goes_on(&mut scene, 20);
        if taken_out {
            let front = scene.front(&named());
            let left = front.targets.iter().flat_map(|t| t.iter()).filter(|t| t.id != TargetId::Ip(STRANGE));
            front.targets = Some(left.cloned().collect::<Vec<_>>().into());
        }
        let drained = goes_on(&mut scene, 120);
        assert!(writes(&drained, EffectKind::Drain), "{drained:?}");
        scene.obey(&drained);
        scene.pass(20);
        scene.everything_stops();
        assert_eq!(completion(&goes_on(&mut scene, 60)).1, outcome);
    }
}

#[test]
fn without_an_answer_the_listener_is_unknown() {
    let mut scene = calm();
    scene.add_target(&named(), target(TargetId::Ip(STRANGE), 8080));
    scene.elsewhere = vec![STRANGE];
    let decision = scene.until_it_writes(EffectKind::Deregister);
    scene.obey(&decision);
    let asks = loop {
        let decision = scene.decide();
        if writes(&decision, EffectKind::Note) {
            scene.obey(&decision);
            continue;
        }
        let Action::Look(parts) = &decision.action else { panic!("it asks whose the address is: {decision:?}") };
        if let Some(asks) = parts.iter().find(|part| matches!(part, Part::Addresses(_))) {
            break asks.clone();
        }
        for part in parts.clone() {
            scene.look(&part);
        }
    };
    assert_eq!(asks, Part::Addresses(vec![STRANGE]));
    scene.pass(40);
    scene.targets_leave();
    scene.look_in_vain(&asks);
    assert_eq!(scene.until_no_heartbeat().reason, Reason::CannotSee(System::Nomad));
}

#[test]
fn a_system_job_on_the_host_port_does_not_answer_at_an_allocations_own_address() {
    // The ingress has the host port 80, and the service listens on the same port of its own address.
    let mut scene = with_an_address(|a| a.own = own(OWN, false, &[80]));
    scene.allocation(INGRESS, |a| a.ports = vec![80, 8080].into());
    scene.task_group(API, |group| group.shutdown_delay = secs(0));
    let drained = goes_on(&mut scene, 60);
    assert_eq!(drain(&drained).2.phase, Phase::All, "nothing is drained beside the delay: {drained:?}");

    // At the instance only the ingress listens, so the services are drained at once.
    let mut scene = calm();
    scene.allocation(INGRESS, |a| a.ports = vec![80, 8080].into());
    scene.add_target(&named(), target(TargetId::Instance(instance()), 80));
    assert_eq!(drain(&goes_on(&mut scene, 60)).2.phase, Phase::Services);
}

#[test]
fn an_attached_group_that_lists_us_no_more_may_still_send_to_the_port_of_its_others() {
    // Auto Scaling took the instance out of it, and its delay is over. Requests may arrive for as long as the guard.
    for (port, beside) in [(8080, true), (21_001, false), (9999, false)] {
        let mut scene = deregistered(|scene| {
            let front = scene.front(&attached());
            front.targets = Some([target(TargetId::Instance(another_instance()), port)].into());
            front.delay = Some(secs(1));
        });
        assert_eq!(writes(&scene.next(), EffectKind::Drain), beside, "{port}: {:?}", scene.decide());
    }
    let mut scene = deregistered(|scene| {
        let front = scene.front(&attached());
        front.targets = Some([].into());
        front.delay = Some(secs(1));
    });
    assert!(!writes(&scene.next(), EffectKind::Drain), "one that lists nobody tells no port: {:?}", scene.decide());
}

/// Nomad purges the row of a node that is down, and the targets at its address remain.
#[test]
fn the_addresses_of_a_node_whose_row_was_purged_are_scanned_too() {
    let mut scene = crate::scene::calm_and_seen();
    let known = scene.seen.addresses();
    assert!(!known.is_empty());
    scene.nomad.nodes.clear();
    scene.look(&Part::Nomad);
    assert_eq!(scene.seen.addresses(), known);
}
