//! Allocations that run and that Consul does not list (ADR 0011), and services that were registered by hand.

use std::sync::Arc;

use decamp_core::decide::{
    Action, ByHand, EffectKind, HandRegistration, Loss, Outcome, Part, Phase, Provider, Registrations, Service,
};
use decamp_core::time::Time;

use crate::decisions::{completion, drain, only_waits, writes};
use crate::facts::{API, INGRESS, SHOP, consul, secs};
use crate::scene::{Scene, calm, deregistered, draining, over, released};

fn departed() -> Outcome {
    Outcome::Departed { waiting_for: None }
}

/// Consul is asked where it lists nothing, and its answer is complete.
fn nothing_listed(scene: &mut Scene) {
    scene.consul.services = Vec::new().into();
}

fn registered_by_hand(critical: bool) -> Arc<[HandRegistration]> {
    [HandRegistration { service: "edge".into(), critical }].into()
}

#[test]
fn what_runs_and_is_not_listed_is_not_drained_beside_the_delay() {
    let mut scene = deregistered(|_| ());
    assert_eq!(drain(&scene.until_no_heartbeat()).2.phase, Phase::Services);
    let mut scene = deregistered(nothing_listed);
    only_waits(&scene.until_no_heartbeat(), "load-balancer-delay");
}

#[test]
fn what_was_never_listed_is_stopped_in_order_and_ends_unconfirmed() {
    let mut scene = over(nothing_listed);
    assert_eq!(completion(&scene.next()).1, Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() });
    let names: Vec<_> = scene.foreseen().into_iter().filter(|f| f.loss == Loss::NotInConsul).map(|f| f.object).collect();
    assert_eq!(names, ["traefik/group".into(), "api/group".into(), "shop/group".into()] as [Arc<str>; 3]);
}

#[test]
fn one_service_that_was_never_listed_is_enough() {
    let without_shop = |scene: &mut Scene| {
        let listed: Vec<_> = scene.consul.services.iter().filter(|one| one.allocation != SHOP).cloned().collect();
        scene.consul.services = listed.into();
    };
    assert_eq!(completion(&over(without_shop).next()).1, Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() });
    let in_nomad = |scene: &mut Scene| {
        without_shop(scene);
        scene.task_group(SHOP, |group| group.services[0].provider = Provider::Nomad);
    };
    assert_eq!(completion(&over(in_nomad).next()).1, departed());
}

#[test]
fn the_next_worker_reads_from_the_drain_that_something_was_never_listed() {
    let mut scene = released(nothing_listed);
    let decision = scene.until_it_writes(EffectKind::Drain);
    assert!(drain(&decision).2.unproved);
    let mut scene = released(|_| ());
    assert!(!drain(&scene.until_it_writes(EffectKind::Drain)).2.unproved);

    for replaced in [false, true] {
        let mut scene = over(nothing_listed);
        scene.seen = decamp_core::decide::Snapshot::begin(scene.departure.instance, scene.now);
        scene.look(&Part::Nomad);
        if replaced {
            // An operator drains the node by hand: what that writes on it takes the place of ours.
            scene.node().last_drain.as_mut().expect("it was drained").meta = None;
        }
        let mut decision = scene.until_no_heartbeat();
        while !writes(&decision, EffectKind::Complete) {
            scene.pass(31);
            decision = scene.until_no_heartbeat();
        }
        assert_eq!(
            completion(&decision).1,
            Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() },
            "replaced: {replaced}"
        );
    }
}

#[test]
fn a_new_allocation_gets_the_time_to_be_listed() {
    let mut scene = calm();
    nothing_listed(&mut scene);
    scene.policy.target_groups.clear();
    scene.group.attached.clear();
    scene.group.hooks[0].target_groups.clear();
    let began = scene.now - secs(1);
    scene.allocations(|a| a.started = Some(began));
    let decision = scene.until_it_writes(EffectKind::MakeIneligible);
    scene.obey(&decision);
    let decision = scene.until_no_heartbeat();
    only_waits(&decision, "not-registered-yet");
    assert!(matches!(&decision.action, Action::Wait { watch, .. } if watch.contains(&Part::Consul)), "{decision:?}");
    // It comes, and nothing is in doubt.
    scene.pass(3);
    scene.consul = consul();
    let decision = scene.until_it_writes(EffectKind::Drain);
    assert!(!drain(&decision).2.unproved);
    scene.obey(&decision);
    scene.next();
    scene.pass(20);
    scene.everything_stops();
    assert_eq!(completion(&scene.next()).1, departed());
}

#[test]
fn it_gets_no_more_time_than_that() {
    let mut scene = calm();
    nothing_listed(&mut scene);
    let began = scene.now - secs(1);
    scene.allocations(|a| a.started = Some(began));
    scene.fronts.iter_mut().for_each(|front| front.targets = Some(Vec::new().into()));
    scene.group.hooks[0].target_groups.clear();
    scene.policy.guard_alb = secs(0);
    let decision = scene.until_it_writes(EffectKind::MakeIneligible);
    scene.obey(&decision);
    only_waits(&scene.until_no_heartbeat(), "not-registered-yet");
    scene.pass(15);
    scene.look(&Part::Consul);
    scene.pass(1);
    assert!(drain(&scene.until_it_writes(EffectKind::Drain)).2.unproved);
}

#[test]
fn what_was_told_to_stop_before_consul_was_asked_is_not_in_doubt() {
    let mut scene = draining(|_| ());
    scene.seen = decamp_core::decide::Snapshot::begin(scene.departure.instance, scene.now);
    scene.look(&Part::Nomad);
    // Nomad shows it running, and it is told to stop right after that answer. Consul no longer lists it.
    let mut before = scene.clone();
    before.allocations(|a| a.wanted = true);
    before.look(&Part::Nomad);
    nothing_listed(&mut before);
    before.look(&Part::Consul);
    before.allocations(|a| a.wanted = false);
    before.pass(20);
    before.stopped_are_over();
    before.drain_completes();
    before.news_from_nomad();
    let mut decision = before.until_no_heartbeat();
    while !writes(&decision, EffectKind::Complete) {
        before.pass(31);
        decision = before.until_no_heartbeat();
    }
    assert_eq!(completion(&decision).1, departed());
}

#[test]
fn a_name_with_a_variable_matches_any_service_of_the_allocation() {
    let filled_in = |scene: &mut Scene| {
        scene.task_group(SHOP, |group| group.services[0].name = "shop-${meta.zone}".into());
        let services = scene.consul.services.iter().cloned().map(|mut one| {
            if one.allocation == SHOP {
                one.service = "shop-a".into();
            }
            one
        });
        let services: Vec<_> = services.collect();
        scene.consul.services = services.into();
    };
    assert_eq!(completion(&over(filled_in).next()).1, departed());
}

#[test]
fn each_namespace_is_asked_that_an_allocation_declares_whether_it_runs_or_not() {
    let mut scene = calm();
    let within = |name: &str, namespace: Option<&str>| Service {
        name: name.into(),
        provider: Provider::Consul,
        namespace: namespace.map(Arc::from),
    };
    scene.task_group(API, |group| group.services = vec![within("api", Some("team-a")), within("more", Some("team-a"))]);
    scene.task_group(SHOP, |group| group.services = vec![within("shop", Some("team-b")), within("plain", None)]);
    assert!(scene.seen.consul_namespaces().is_empty());
    scene.look(&Part::Nomad);
    assert_eq!(scene.seen.consul_namespaces(), ["team-a".into(), "team-b".into()] as [Arc<str>; 2]);
    // A purge removes it from the list, but not its registration.
    scene.purge(SHOP);
    scene.look(&Part::Nomad);
    assert_eq!(scene.seen.consul_namespaces(), ["team-a".into(), "team-b".into()] as [Arc<str>; 2]);
    assert!(scene.seen.nomad.last().is_some_and(|nomad| nomad.nodes[0].allocations.iter().any(|a| a.id == INGRESS)));
}

#[test]
fn what_is_registered_by_hand_is_named_and_not_waited_for() {
    let mut scene = over(|scene| scene.consul.by_hand = registered_by_hand(false));
    assert_eq!(completion(&scene.next()).1, departed());
    let found = scene.foreseen().into_iter().find(|finding| finding.loss == Loss::RegisteredByHand).expect("it is named");
    assert_eq!(&*found.object, "edge");
}

#[test]
fn what_cannot_be_routed_to_is_not_named() {
    for change in [(|consul| consul.by_hand = registered_by_hand(true)) as fn(&mut Registrations), |consul| {
        consul.by_hand = registered_by_hand(false);
        consul.agent_dead = true;
    }] {
        let scene = deregistered(|scene| change(&mut scene.consul));
        assert!(scene.foreseen().iter().all(|finding| finding.loss != Loss::RegisteredByHand));
    }
}

#[test]
fn with_the_setting_decamp_waits_until_nobody_routes_to_it() {
    let waits = |scene: &mut Scene| {
        scene.policy.by_hand = ByHand::Wait(vec!["ed*".into()]);
        scene.consul.by_hand = registered_by_hand(false);
    };
    let mut scene = over(waits);
    let decision = scene.until_no_heartbeat();
    only_waits(&decision, "registered-by-hand");
    assert!(matches!(&decision.action, Action::Wait { watch, .. } if watch.contains(&Part::Consul)), "{decision:?}");
    scene.pass(1000);
    only_waits(&scene.until_no_heartbeat(), "registered-by-hand");
    let mut in_maintenance = scene.clone();
    in_maintenance.consul.by_hand = registered_by_hand(true);
    scene.consul.by_hand = Vec::new().into();
    for mut scene in [scene, in_maintenance] {
        scene.pass(15);
        assert_eq!(completion(&scene.until_no_heartbeat()).1, departed());
    }
}

#[test]
fn it_is_waited_for_no_longer_than_there_is_time_and_the_end_says_so() {
    let mut scene = over(|scene| {
        scene.policy.by_hand = ByHand::Wait(vec!["*".into()]);
        scene.consul.by_hand = registered_by_hand(false);
    });
    only_waits(&scene.until_no_heartbeat(), "registered-by-hand");
    scene.now = scene.budget().end;
    assert_eq!(completion(&scene.until_no_heartbeat()).1, Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() });
}

#[test]
fn only_names_that_are_meant_are_waited_for() {
    let mut scene = over(|scene| {
        scene.policy.by_hand = ByHand::Wait(vec!["traefik".into()]);
        scene.consul.by_hand = registered_by_hand(false);
    });
    assert_eq!(completion(&scene.until_no_heartbeat()).1, departed());
}

#[test]
fn where_nothing_declares_a_service_consul_is_asked_once_for_what_was_registered_by_hand() {
    let mut scene = over(|scene| {
        for id in [INGRESS, API, SHOP] {
            scene.task_group(id, |group| group.services.clear());
        }
        scene.consul = Registrations { services: Vec::new().into(), by_hand: registered_by_hand(false), ..consul() };
    });
    let first: Option<Time> = scene.seen.consul.at();
    assert!(first.is_some() && scene.foreseen().iter().any(|finding| finding.loss == Loss::RegisteredByHand));
    assert_eq!(completion(&scene.next()).1, departed());
    assert_eq!(scene.seen.consul.at(), first);
}

#[test]
fn without_declared_services_an_outage_of_consul_holds_up_nothing() {
    let mut scene = calm();
    for id in [INGRESS, API, SHOP] {
        scene.task_group(id, |group| group.services.clear());
    }
    let decision = scene.until_it_writes(EffectKind::MakeIneligible);
    scene.obey(&decision);
    scene
        .seen
        .take(scene.now, decamp_core::decide::Observation::Consul(Err(decamp_core::decide::Unseen::Away("timeout".into()))));
    let decision = scene.until_it_writes(EffectKind::Deregister);
    scene.obey(&decision);
    scene.pass(31);
    scene.targets_leave();
    assert_eq!(drain(&scene.until_it_writes(EffectKind::Drain)).2.phase, Phase::All);
    assert_eq!(scene.seen.consul.at(), None);
}

#[test]
fn what_nomad_shows_after_the_last_look_at_consul_is_looked_up_there() {
    let mut scene = released(|_| ());
    scene.look(&Part::Consul);
    // Its node was collected, and its agent registers again, with an allocation that nobody knew.
    let mut new = scene.nomad.nodes[0].allocations[0].clone();
    new.id = decamp_core::ids::AllocationId(99);
    scene.add_allocation(new);
    scene.look(&Part::Nomad);
    let mut decision = scene.decide();
    while matches!(decision.action, Action::Do(_)) {
        assert!(!writes(&decision, EffectKind::Drain), "no look at Consul can have shown it: {decision:?}");
        scene.obey(&decision);
        decision = scene.decide();
    }
    assert!(matches!(&decision.action, Action::Look(parts) if parts.contains(&Part::Consul)), "{decision:?}");
    let decision = scene.until_it_writes(EffectKind::Drain);
    assert!(drain(&decision).2.unproved, "it runs, and Consul does not list it");
}

#[test]
fn a_consul_that_was_never_read_is_tried_once_more_before_the_machine_goes() {
    let nothing_declared = |scene: &mut Scene| {
        for id in [API, SHOP, INGRESS] {
            scene.task_group(id, |group| group.services.clear());
        }
        scene.consul.services = Vec::new().into();
    };
    let mut scene = over(nothing_declared);
    scene.seen = decamp_core::decide::Snapshot::begin(scene.departure.instance, scene.now);
    scene.look_in_vain(&Part::Consul);
    for part in [Part::Lifecycle, Part::Group { with_activity: true }, Part::Nomad, Part::NomadToken] {
        scene.look(&part);
    }
    scene.consul_hangs = true;
    let mut asked = 0;
    let mut decision = scene.next_slowly(1);
    while !writes(&decision, EffectKind::Complete) {
        scene.pass(5);
        asked += usize::from(scene.seen.consul.blind().is_some());
        decision = scene.next_slowly(1);
        assert!(asked < 20, "one more try is enough: {decision:?}");
    }
    assert_eq!(completion(&decision).1, Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() });
}
