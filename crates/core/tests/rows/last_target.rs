//! The last healthy target of a group, and of a zone where load balancing does not cross zones: its findings, and when it is held. (ADR
//! 0008.)

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use decamp_core::decide::{EffectKind, Finding, LastTarget, Layer, Lifecycle, Loss, Part, Target, TargetHealth, Zones};
use decamp_core::ids::{InstanceId, TargetId};

use crate::decisions::{deregistrations, only_waits, ours};
use crate::facts::{ADDRESS, another_instance, attached, instance, named, secs, target, to_read};
use crate::load_balancers::holding;
use crate::scene::{Scene, calm};

const A: &str = "eu-west-1a";
const B: &str = "eu-west-1b";

fn third_instance() -> InstanceId {
    InstanceId::from_number(0xaaa)
}

/// The named group does not cross zones. The zones of these instances are known, and ours is in A.
fn apart(scene: &mut Scene, others: &[(InstanceId, &str)]) {
    let told = [(instance(), A)].iter().chain(others).map(|(id, zone)| (*id, Arc::from(*zone))).collect();
    scene.front(&named()).zones = Zones::Apart(told);
}

fn by_id() -> TargetId {
    TargetId::Instance(instance())
}

fn listed(scene: &mut Scene, targets: Vec<Target>) {
    scene.front(&named()).targets = Some(targets.into());
}

fn others(id: InstanceId) -> Target {
    target(TargetId::Instance(id), 8080)
}

/// The findings about last targets before anything is deregistered.
fn foreseen(change: impl FnOnce(&mut Scene)) -> Vec<Finding> {
    let mut scene = calm();
    change(&mut scene);
    scene.until_it_writes(EffectKind::Deregister);
    scene.foreseen().into_iter().filter(|finding| finding.loss == Loss::LastHealthyTarget).collect()
}

#[test]
fn the_last_healthy_target_of_a_zone_is_named_with_the_zone_and_the_line() {
    let findings = foreseen(|scene| apart(scene, &[(another_instance(), B)]));
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!((finding.layer, &*finding.object), (Layer::LoadBalancer, "named"));
    assert_eq!(finding.value, "no other healthy target in eu-west-1a");
    assert_eq!(finding.line, "load_balancing_cross_zone_enabled = \"true\"");
}

#[test]
fn a_zone_with_another_healthy_target_or_an_unknown_zone_has_no_finding() {
    type Change = fn(&mut Scene);
    let cases: [(&str, Change); 7] = [
        ("load balancing crosses zones", |_| ()),
        ("whether it does is not known", |scene| scene.front(&named()).zones = Zones::Unknown),
        ("another stands beside it", |scene| apart(scene, &[(another_instance(), A)])),
        ("where the other stands is not known", |scene| apart(scene, &[])),
        ("one stands elsewhere, and one beside it", |scene| {
            apart(scene, &[(another_instance(), B), (third_instance(), A)]);
            scene.add_target(&named(), others(third_instance()));
        }),
        ("one is sent to from every zone", |scene| {
            apart(scene, &[(another_instance(), B)]);
            scene.add_target(&named(), Target { zone: Some("all".into()), ..others(third_instance()) });
        }),
        ("ours is not healthy", |scene| {
            apart(scene, &[(another_instance(), B)]);
            listed(scene, vec![Target { health: TargetHealth::Registered, ..ours(8080) }, others(another_instance())]);
        }),
    ];
    for (why, change) in cases {
        assert_eq!(foreseen(change), [], "{why}");
    }
}

#[test]
fn an_unhealthy_target_beside_it_does_not_count() {
    let findings = foreseen(|scene| {
        apart(scene, &[(another_instance(), B), (third_instance(), A)]);
        scene.add_target(&named(), Target { health: TargetHealth::Registered, ..others(third_instance()) });
    });
    assert_eq!(findings.len(), 1, "{findings:?}");
}

/// A target by address, in a zone that the list shows.
fn by_address(address: IpAddr, zone: &str) -> Target {
    Target { zone: Some(zone.into()), ..target(TargetId::Ip(address), 8080) }
}

const THEIRS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 99));

/// Ours in A and another one's, by address.
fn by_addresses(scene: &mut Scene, theirs: &str) {
    scene.front(&named()).zones = Zones::Apart(Arc::default());
    scene.elsewhere = vec![THEIRS];
    listed(scene, vec![by_address(ADDRESS, A), by_address(THEIRS, theirs)]);
}

#[test]
fn the_list_tells_the_zone_of_an_address() {
    let foreseen = |theirs: &'static str, asks: bool| {
        foreseen(move |scene| {
            by_addresses(scene, theirs);
            scene.look(&Part::Nomad);
            if asks {
                scene.look(&Part::Addresses(vec![THEIRS]));
            }
        })
    };
    assert_eq!(foreseen(B, true).len(), 1);
    assert_eq!(foreseen(B, false).len(), 1, "a target in another zone is not the instance's");
    assert_eq!(foreseen(A, true), []);
    assert_eq!(foreseen(A, false), [], "it may be ours");
}

#[test]
fn owners_of_addresses_are_asked_for_before_ours_is_held() {
    let mut scene = calm();
    by_addresses(&mut scene, A);
    scene.group.attached.clear();
    scene.policy.last_target = LastTarget::Hold;
    let leaves = deregistrations(&scene.until_it_writes(EffectKind::Deregister));
    assert_eq!(leaves, [(named(), TargetId::Ip(ADDRESS), 8080)]);
}

#[test]
fn the_last_healthy_target_of_a_group_is_named_too() {
    let findings = foreseen(|scene| listed(scene, vec![ours(8080)]));
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!((&*finding.object, &*finding.value), ("named", "no other healthy target in the target group"));
}

#[test]
fn what_auto_scaling_took_out_before_anybody_looked_is_named_as_well() {
    for left in [
        vec![Target { health: TargetHealth::Draining, ..ours(8080) }, others(another_instance())],
        vec![others(another_instance())],
    ] {
        let findings = foreseen(|scene| {
            let told = [(instance(), Arc::from(A)), (another_instance(), Arc::from(B))];
            let front = scene.front(&attached());
            front.zones = Zones::Apart(told.into());
            front.targets = Some(left.into());
        });
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!((&*finding.object, &*finding.value), ("attached", "no other healthy target in eu-west-1a"));
    }
}

#[test]
fn one_that_has_just_come_up_was_no_target_yet() {
    let mut scene = calm();
    let told = [(instance(), Arc::from(A)), (another_instance(), Arc::from(B))];
    let front = scene.front(&attached());
    (front.zones, front.targets) = (Zones::Apart(told.into()), Some([others(another_instance())].into()));
    scene.lifecycle = Lifecycle::Staying("Pending".into());
    for part in [
        Part::Lifecycle,
        Part::Group { with_activity: false },
        Part::TargetGroups { groups: vec![to_read(attached(), true)], attributes_again: false },
    ] {
        scene.look(&part);
    }
    assert!(scene.foreseen().iter().all(|finding| finding.loss != Loss::LastHealthyTarget), "{:?}", scene.foreseen());
}

#[test]
fn a_group_that_nothing_sends_to_has_no_last_target() {
    let findings = foreseen(|scene| {
        let unused = Target { health: TargetHealth::RegisteredUnused, ..others(another_instance()) };
        scene.front(&attached()).targets = Some([unused].into());
    });
    assert_eq!(findings, []);
}

#[test]
fn the_last_of_its_zone_is_held_until_another_is_healthy_there_or_it_must_go() {
    let alone_there = |scene: &mut Scene| apart(scene, &[(another_instance(), B), (third_instance(), A)]);
    let mut scene = holding(alone_there);
    only_waits(&scene.next(), "last-of-its-zone");
    assert_eq!(scene.foreseen(), [], "it is held, so that nothing is lost");
    scene.add_target(&named(), others(third_instance()));
    scene.pass(12);
    assert_eq!(deregistrations(&scene.next()), [(named(), by_id(), 8080)]);

    let mut scene = holding(alone_there);
    scene.now = scene.budget().force_at - secs(30);
    assert_eq!(deregistrations(&scene.until_it_writes(EffectKind::Deregister)), [(named(), by_id(), 8080)]);
    assert!(scene.foreseen().iter().any(|finding| finding.loss == Loss::LastHealthyTarget), "now it is lost");
}
