//! Drained means stopped, and gone from discovery. (ADR 0004, 0005, 0006, 0010, 0011.)

use decamp_core::decide::{
    Action, ClientStatus, Decision, EffectKind, JobKind, NodeStatus, Outcome, Part, Provider, Reason, Registrations, Service,
    System,
};
use decamp_core::ids::{AllocationId, NodeId};
use decamp_core::time::Time;

use crate::decisions::{completion, ended, only_waits, why, writes};
use crate::facts::{API, BATCH, INGRESS, SHOP, allocation, registration, secs, task, task_group, to_read};
use crate::scene::{Scene, calm, draining, over, released};

/// Everything but this change is over and unregistered, and Nomad has reported it.
fn over_but(change: impl FnOnce(&mut Scene)) -> (Scene, Decision) {
    let mut scene = over(|_| ());
    change(&mut scene);
    scene.news_from_nomad();
    let decision = scene.next();
    (scene, decision)
}

#[track_caller]
fn still_here(decision: &Decision) {
    assert!(!writes(decision, EffectKind::Complete), "it must not be let go: {decision:?}");
    assert_eq!(ended(decision), None, "{decision:?}");
}

/// Until when this allocation counts as running.
#[track_caller]
fn vanished_until(decision: &Decision, which: Option<AllocationId>) -> Time {
    if let Reason::Vanished { allocation, until } = &decision.reason
        && *allocation == which
    {
        return *until;
    }
    panic!("it vanished: {decision:?}");
}

#[test]
fn a_drain_that_nomad_calls_complete_has_running_tasks() {
    let mut scene = draining(|_| ());
    scene.drain_completes();
    scene.news_from_nomad();
    let decision = scene.next();
    still_here(&decision);
    assert_eq!(why(&decision), "allocations-left");
}

#[test]
fn only_complete_and_failed_are_over() {
    for client in [ClientStatus::Pending, ClientStatus::Running, ClientStatus::Lost, ClientStatus::Unknown] {
        let (_, decision) = over_but(|scene| scene.allocation(API, |a| a.client = client));
        still_here(&decision);
    }
    let (_, decision) = over_but(|scene| scene.allocation(API, |a| a.client = ClientStatus::Failed));
    assert_eq!(completion(&decision).1, Outcome::Departed { waiting_for: None });
}

#[test]
fn a_wait_for_allocations_names_one_of_them() {
    let (_, decision) = over_but(|scene| scene.allocation(API, |a| a.client = ClientStatus::Pending));
    let expected = Reason::AllocationsLeft { count: 1, example: API, title: "api/group".into() };
    assert_eq!(decision.reason, expected);
    let Action::Wait { watch, .. } = &decision.action else { panic!("{decision:?}") };
    assert!(watch.contains(&Part::Nomad), "it is watched, not polled: {watch:?}");
}

#[test]
fn an_allocation_that_vanished_counts_as_running_for_its_longest_stop() {
    let mut scene = draining(|_| ());
    scene.purge(API);
    scene.stopped_are_over();
    scene.drain_completes();
    scene.unregister_what_is_over();
    scene.consul.services = Vec::new().into();
    scene.pass(5);
    scene.news_from_nomad();
    let decision = scene.next();
    let until = vanished_until(&decision, Some(API));
    assert!(scene.now + secs(30) <= until, "it was last seen before this look, and told to stop by then at the latest");
    scene.now = until - secs(1);
    still_here(&scene.next());
    scene.now = until;
    assert!(writes(&scene.next(), EffectKind::Complete), "{:?}", scene.decide());
}

#[test]
fn an_empty_list_after_a_purge_is_not_the_same_as_nothing_left() {
    let mut scene = draining(|_| ());
    scene.node().allocations = Vec::new().into();
    scene.drain_completes();
    scene.consul.services = Vec::new().into();
    scene.pass(5);
    scene.news_from_nomad();
    still_here(&scene.next());
}

#[test]
fn a_worker_that_finds_fewer_allocations_than_the_drain_counted_waits_for_the_longest_stop() {
    let sent = draining(|_| ());
    let mut scene = calm();
    scene.now = sent.now;
    scene.seen = decamp_core::decide::Snapshot::begin(scene.departure.instance, scene.now);
    scene.nomad = sent.nomad;
    scene.node().allocations = Vec::new().into();
    scene.drain_completes();
    scene.consul.services = Vec::new().into();
    for front in &mut scene.fronts {
        front.targets = Some(Vec::new().into());
    }
    let decision = scene.until_no_heartbeat();
    still_here(&decision);
    let until = vanished_until(&decision, None);
    assert!(scene.now + secs(30) <= until);
    scene.now = until;
    assert!(writes(&scene.next(), EffectKind::Complete), "{:?}", scene.decide());
}

#[test]
fn csi_plugins_are_never_waited_for() {
    let mut scene = over(|scene| {
        let mut group = task_group("csi", JobKind::System);
        group.csi_plugin = true;
        scene.add_allocation(allocation(AllocationId(5), group, 0));
    });
    assert_eq!(completion(&scene.next()).1, Outcome::Departed { waiting_for: None });
}

#[test]
fn a_batch_allocation_is_waited_for() {
    let mut scene = over(|scene| scene.add_allocation(allocation(BATCH, task_group("nightly", JobKind::Batch), 0)));
    let decision = scene.next();
    still_here(&decision);
    assert_eq!(why(&decision), "allocations-left");
}

#[test]
fn what_was_lost_before_we_came_is_out_of_scope_and_what_is_lost_since_is_not() {
    let mut scene = over(|scene| {
        let mut lost = allocation(AllocationId(5), task_group("old", JobKind::Service), 0);
        lost.client = ClientStatus::Lost;
        lost.wanted = false;
        lost.group = std::sync::Arc::new(decamp_core::decide::TaskGroup { services: Vec::new(), ..(*lost.group).clone() });
        scene.add_allocation(lost);
    });
    assert!(writes(&scene.next(), EffectKind::Complete), "{:?}", scene.decide());

    let (_, decision) = over_but(|scene| scene.allocation(SHOP, |a| a.client = ClientStatus::Lost));
    still_here(&decision);
}

#[test]
fn a_failed_look_at_nomad_concludes_nothing() {
    let mut scene = over(|_| ());
    scene.look_in_vain(&Part::Nomad);
    still_here(&scene.decide());
    let cannot = Reason::CannotSee(System::Nomad);
    assert!(scene.decide().reason == cannot || matches!(scene.decide().action, Action::Look(_)), "{:?}", scene.decide());
}

#[test]
fn a_dead_agent_is_waited_for_and_then_named() {
    let dead = |scene: &mut Scene| {
        scene.node().status = NodeStatus::Down;
        scene.allocations(|a| a.client = ClientStatus::Lost);
        scene.consul.agent_dead = true;
    };
    let mut scene = released(dead);
    let since = scene.seen.history.agents_dead_since.expect("it was seen down");
    let decision = scene.next();
    assert_eq!(decision.reason, Reason::AgentDead { until: since + secs(300) }, "{decision:?}");
    scene.now = since + secs(299);
    still_here(&scene.until_no_heartbeat());
    scene.pass(1);
    let decision = scene.until_it_writes(EffectKind::Complete);
    assert_eq!(completion(&decision).1, Outcome::AgentDead);
}

#[test]
fn an_agent_that_comes_back_is_drained_after_all() {
    let mut scene = released(|scene| scene.node().status = NodeStatus::Down);
    scene.next();
    scene.node().status = NodeStatus::Ready;
    scene.news_from_nomad();
    assert!(writes(&scene.next(), EffectKind::Drain), "{:?}", scene.decide());
}

#[test]
fn a_registration_that_is_left_is_waited_for() {
    let left = |scene: &mut Scene| scene.consul.services = vec![registration(API, "api")].into();
    let (_, decision) = over_but(left);
    only_waits(&decision, "still-registered");
    assert_eq!(decision.reason, Reason::StillRegistered { count: 1, service: "api".into() });
    let Action::Wait { watch, .. } = &decision.action else { panic!("{decision:?}") };
    assert!(watch.contains(&Part::Consul), "{watch:?}");
}

#[test]
fn a_leftover_that_is_critical_or_whose_agent_is_dead_is_not_routable() {
    let (_, decision) = over_but(|scene| {
        let mut one = registration(API, "api");
        one.critical = true;
        scene.consul.services = vec![one].into();
    });
    assert!(writes(&decision, EffectKind::Complete), "{decision:?}");
    let (_, decision) = over_but(|scene| {
        scene.consul.services = vec![registration(API, "api")].into();
        scene.consul.agent_dead = true;
    });
    assert!(writes(&decision, EffectKind::Complete), "{decision:?}");
}

#[test]
fn a_leftover_is_waited_for_no_longer_than_the_settings_say() {
    let (mut scene, _) = over_but(|scene| scene.consul.services = vec![registration(API, "api")].into());
    scene.pass(599);
    still_here(&scene.until_no_heartbeat());
    scene.pass(2);
    assert_eq!(
        completion(&scene.until_no_heartbeat()).1,
        Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() },
        "Consul lists it as routable still"
    );
}

#[test]
fn what_is_listed_and_not_routable_is_described_with_the_cause() {
    let mut registered = crate::facts::consul();
    assert_eq!(registered.said(), "lists 3 of its services; all of them are routable");
    registered.agent_dead = true;
    assert!(
        registered.said().ends_with("none of them is routable, because the node's agent is dead there"),
        "{}",
        registered.said()
    );
}

#[test]
fn an_outage_of_consul_keeps_the_instance() {
    let mut scene = over(|_| ());
    scene.pass(1);
    scene.look_in_vain(&Part::Consul);
    still_here(&scene.decide());
    scene.pass(60);
    scene.look_in_vain(&Part::Consul);
    scene.news_from_nomad();
    let groups = scene.fronts.iter().map(|front| to_read(front.arn.clone(), front.attached)).collect();
    scene.look(&Part::TargetGroups { groups, attributes_again: false });
    still_here(&scene.decide());
    assert_eq!(scene.next().reason, Reason::CannotSee(System::Consul));
}

#[test]
fn an_empty_catalog_without_proof_of_sight_is_unconfirmed() {
    let blind = |scene: &mut Scene| {
        scene.consul = Registrations { whole: false, agent_dead: false, services: Vec::new().into(), by_hand: [].into() };
    };
    let mut scene = over(blind);
    assert_eq!(completion(&scene.next()).1, Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() });
}

#[test]
fn an_empty_catalog_that_showed_every_service_before_the_drain_is_proof() {
    let mut scene = over(|scene| scene.consul.whole = false);
    assert_eq!(completion(&scene.next()).1, Outcome::Departed { waiting_for: None });
}

#[test]
fn consul_is_not_asked_where_it_is_switched_off_or_nothing_registers_there() {
    let never_asked = |change: fn(&mut Scene)| {
        let mut scene = over(change);
        assert_eq!(completion(&scene.next()).1, Outcome::Departed { waiting_for: None });
        assert_eq!(scene.seen.consul.at(), None);
    };
    never_asked(|scene| scene.policy.consul = false);
    never_asked(|scene| {
        for id in [INGRESS, API, SHOP] {
            scene.task_group(id, |group| group.services.clear());
        }
        scene.node().consul_name = None;
    });
}

fn in_nomads_own_discovery(scene: &mut Scene) {
    for id in [INGRESS, API, SHOP] {
        scene.task_group(id, |group| {
            let native = |s: &Service| Service { name: s.name.clone(), provider: Provider::Nomad, namespace: None };
            group.services = group.services.iter().map(native).collect();
        });
    }
}

#[test]
fn nomads_own_discovery_is_confirmed_as_well() {
    let mut scene = over(in_nomads_own_discovery);
    scene.native.services = vec![registration(API, "api")].into();
    only_waits(&scene.next(), "still-registered");
    scene.native.services = Vec::new().into();
    scene.pass(15);
    assert_eq!(completion(&scene.next()).1, Outcome::Departed { waiting_for: None });
}

#[test]
fn discovery_is_seen_after_the_last_allocation_was_over_and_not_before() {
    let mut scene = over(|_| ());
    let over_at = scene.now;
    let decision = scene.next();
    assert!(writes(&decision, EffectKind::Complete), "{decision:?}");
    assert!(Some(over_at) <= scene.seen.consul.fresh_at(), "an older look proves nothing");
}

#[test]
fn a_second_node_of_the_instance_must_be_over_too() {
    let (_, decision) = over_but(|scene| {
        let mut second = crate::facts::node();
        second.id = NodeId(8);
        second.eligible = false;
        second.allocations = vec![allocation(AllocationId(20), task_group("other", JobKind::Service), 0)].into();
        scene.nomad.nodes.push(second);
    });
    still_here(&decision);
}

#[test]
fn the_longest_stop_adds_what_nomad_stops_one_after_the_other() {
    let mut group = task_group("api", JobKind::Service);
    let mut leader = task(3, 7);
    leader.role = decamp_core::decide::TaskRole::Leader;
    let mut sidecar = task(0, 4);
    sidecar.role = decamp_core::decide::TaskRole::Sidecar;
    let mut last = task(0, 0);
    last.role = decamp_core::decide::TaskRole::Poststop;
    group.tasks = vec![leader, task(1, 10), task(0, 5), sidecar, last];
    assert_eq!(group.longest_stop(secs(30), secs(30)), secs(20 + 10 + 11 + 4 + 30));
    assert_eq!(group.serves_on(), secs(20 + 3));
}
