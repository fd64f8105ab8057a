//! One worker ends a wait that another began, by the live systems or by a note; and sweeps divide their heartbeats. (ADR 0018, 0002.)

use decamp_core::decide::{
    Action, BalancerKind, Beginning, Decision, Effect, EffectKind, NodeStatus, Noted, Outcome, Part, Phase, Policy, Reason,
    Refusal, Snapshot, remember,
};
use decamp_core::ids::TargetId;
use decamp_core::sweep::Sweep;
use decamp_core::time::Time;

use crate::decisions::{completion, drain, effects, only_waits, why, writes};
use crate::facts::{API, ENTRY, attached, instance, named, registration, secs, target};
use crate::scene::{Scene, calm, deregistered, draining, over, released};

/// Another worker takes over, which remembers nothing.
fn next_worker(scene: &mut Scene) {
    scene.seen = Snapshot::begin(instance(), scene.now);
}

/// Out of groups of a Network Load Balancer, whose routing lags for longer than their targets are listed.
fn behind_a_network_load_balancer() -> Scene {
    let mut scene = deregistered(|scene| {
        scene.policy = Policy { overlap: false, ..Policy::default() };
        scene.front(&attached()).kind = BalancerKind::Nlb;
        scene.front(&named()).kind = BalancerKind::Nlb;
    });
    scene.next();
    scene.pass(31);
    scene.targets_leave();
    scene
}

fn delayed_until(scene: &mut Scene) -> Time {
    let reason = scene.until_no_heartbeat().reason;
    let Reason::LoadBalancerDelay { until, .. } = reason else { panic!("it waits for a load balancer: {reason:?}") };
    until
}

fn note(what: Beginning, since: Time, listed: u32) -> Noted {
    Noted { what, action: crate::facts::departure().mark(), since, listed }
}

#[test]
fn the_time_of_a_deregistration_is_noted_on_the_node() {
    let scene = deregistered(|scene| scene.policy.overlap = false);
    let at = scene.now;
    let decision = scene.decide();
    let [decamp_core::decide::Effect::Note { notes, .. }] = effects(&decision) else { panic!("{decision:?}") };
    assert_eq!(*notes, [note(Beginning::Departure, ENTRY, 0), note(Beginning::Deregistered, at, 0)]);
    assert_eq!(decision.reason, Reason::NextMustKnow);
}

#[test]
fn the_next_worker_counts_from_the_note_and_not_from_its_first_look() {
    let mut scene = behind_a_network_load_balancer();
    let since = scene.nomad.nodes[0].notes.iter().find(|note| note.what == Beginning::Deregistered).expect("it is noted").since;
    for _ in 0..4 {
        next_worker(&mut scene);
        assert_eq!(delayed_until(&mut scene), since + secs(120));
        scene.pass(20);
    }
    next_worker(&mut scene);
    scene.pass(20);
    assert!(writes(&scene.until_no_heartbeat(), EffectKind::Drain), "{:?}", scene.decide());
}

#[test]
fn a_worker_that_sees_a_target_corrects_the_note_that_there_is_none() {
    for what in [Beginning::Deregistered, Beginning::Unlisted] {
        let mut scene = calm();
        scene.node().notes.push(note(what, ENTRY + secs(1), 0));
        scene.node().eligible = false;
        scene.pass(100);
        next_worker(&mut scene);
        // Notes of a step are written down by the scene.
        let decision = scene.until_it_writes(EffectKind::Deregister);
        let noted = scene.node().notes.iter().filter(|note| note.what == what).map(|note| note.since).max();
        let first = scene.seen.balancers.iter().filter_map(|balancer| balancer.first_look).max();
        assert_eq!(noted, first, "it is noted before the deregistration: {decision:?}");
    }
}

#[test]
fn without_a_note_the_next_worker_waits_from_its_own_first_look() {
    let mut scene = behind_a_network_load_balancer();
    scene.node().notes.clear();
    next_worker(&mut scene);
    let now = scene.now;
    assert_eq!(delayed_until(&mut scene), now + secs(120));
}

#[test]
fn a_warm_process_remembers_what_nobody_could_note() {
    let mut scene = behind_a_network_load_balancer();
    let since = remember(&scene.departure, &scene.seen, &scene.policy, scene.now);
    scene.node().notes.clear();
    scene.node().version = "1.1.2".into();
    for _ in 0..3 {
        scene.pass(10);
        scene.seen = Snapshot::begin_again(instance(), scene.now, &since);
        let until = delayed_until(&mut scene);
        assert!(until < scene.now + secs(120), "it goes on where the last pass was");
        assert_eq!(remember(&scene.departure, &scene.seen, &scene.policy, scene.now), since);
    }
}

#[test]
fn a_note_of_an_earlier_departure_of_the_same_instance_counts_for_nothing() {
    let mut scene = behind_a_network_load_balancer();
    scene.node().notes = vec![note(Beginning::Deregistered, ENTRY - secs(3600), 0)];
    next_worker(&mut scene);
    let now = scene.now;
    assert_eq!(delayed_until(&mut scene), now + secs(120));
    scene.node().notes = vec![Noted { action: "another".into(), ..note(Beginning::Deregistered, ENTRY + secs(1), 0) }];
    next_worker(&mut scene);
    assert_eq!(delayed_until(&mut scene), now + secs(120));
}

#[test]
fn what_is_registered_again_is_noted_anew() {
    let mut scene = behind_a_network_load_balancer();
    next_worker(&mut scene);
    let target = crate::facts::target(decamp_core::ids::TargetId::Instance(instance()), 8080);
    scene.add_target(&named(), target);
    let decision = scene.until_it_writes(EffectKind::Deregister);
    scene.obey(&decision);
    let at = scene.now;
    scene.next();
    assert!(scene.nomad.nodes[0].notes.contains(&note(Beginning::Deregistered, at, 0)), "{:?}", scene.nomad.nodes[0].notes);
}

#[test]
fn an_old_nomad_is_not_asked_to_keep_notes() {
    let mut scene = deregistered(|scene| scene.node().version = "1.4.9".into());
    assert!(!writes(&scene.next(), EffectKind::Note), "{:?}", scene.decide());
    let mut scene = deregistered(|scene| scene.node().version = "1.5.0".into());
    scene.next();
    assert!(!scene.nomad.nodes[0].notes.is_empty());
}

#[test]
fn a_note_that_is_refused_holds_nothing_up() {
    let mut scene = deregistered(|_| ());
    let mut decision = scene.decide();
    for _ in 0..5 {
        if writes(&decision, EffectKind::Note) {
            scene.refuse(&decision, &decamp_core::decide::Refusal::Missing);
            scene.pass(20);
        }
        decision = scene.decide();
    }
    assert!(!writes(&decision, EffectKind::Note), "it is tried three times: {decision:?}");
}

/// Shows each decision of the steps that follow. Looks are answered, and writes are accepted.
fn each_decision(scene: &mut Scene, steps: usize, mut shown: impl FnMut(&Decision, Time)) {
    for _ in 0..steps {
        let decision = scene.decide();
        shown(&decision, scene.now);
        match &decision.action {
            Action::Look(parts) => parts.iter().for_each(|part| scene.look(part)),
            Action::Wait { until, .. } => scene.now = *until,
            Action::Do(_) => scene.obey(&decision),
            Action::End(_) => return,
        }
    }
}

#[test]
fn a_note_that_is_denied_is_not_sent_again_by_the_same_worker() {
    let mut scene = deregistered(|_| ());
    let decision = scene.decide();
    assert!(writes(&decision, EffectKind::Note), "{decision:?}");
    scene.refuse(&decision, &Refusal::Denied("403 Permission denied".into()));
    each_decision(&mut scene, 12, |decision, _| {
        assert!(!writes(decision, EffectKind::Note), "it takes the time that a step needs: {decision:?}");
    });
}

#[test]
fn a_group_that_lists_nobody_any_more_may_have_sent_to_an_address() {
    let another = target(TargetId::Instance(decamp_core::ids::InstanceId::from_number(77)), 8080);
    for (listed, drained_beside_its_delay) in [(Vec::new(), false), (vec![another], true)] {
        let mut scene = calm();
        scene.front(&named()).targets = Some(listed.into());
        scene.front(&named()).kind = BalancerKind::Nlb;
        // An earlier worker began. Otherwise a group that the hook names and that does not list the instance is a contradiction.
        scene.node().eligible = false;
        let released = scene.now + secs(120);
        let mut first = None;
        each_decision(&mut scene, 20, |decision, now| first = first.or(writes(decision, EffectKind::Drain).then_some(now)));
        assert_eq!(first.expect("it is drained") < released, drained_beside_its_delay, "it was left before this worker came");
    }
}

#[test]
fn owners_of_addresses_are_asked_for_before_the_doubt_is_noted() {
    let mut scene = calm();
    let strange = std::net::IpAddr::from([10, 9, 9, 9]);
    scene.add_target(&named(), target(TargetId::Ip(strange), 8080));
    scene.elsewhere = vec![strange];
    let doubts =
        |effect: &Effect| matches!(effect, Effect::Note { notes, .. } if notes.iter().any(|n| n.what == Beginning::Unknown));
    each_decision(&mut scene, 30, |decision, _| {
        assert!(!effects(decision).iter().any(doubts), "it is another node's, as soon as that is asked: {decision:?}");
    });
    assert!(scene.seen.elsewhere.at().is_some(), "it was asked");
}

#[test]
fn an_agent_has_been_dead_since_the_time_that_nomad_reports() {
    let mut scene = released(|scene| scene.node().status = NodeStatus::Down);
    scene.node().status_since = Some(scene.now - secs(290));
    scene.allocations(|a| a.client = decamp_core::decide::ClientStatus::Lost);
    scene.consul.agent_dead = true;
    next_worker(&mut scene);
    only_waits(&scene.until_no_heartbeat(), "agent-dead");
    scene.pass(11);
    next_worker(&mut scene);
    // Absent at the first look, so its guard is over earlier.
    let decision = scene.until_it_writes(EffectKind::Complete);
    assert_eq!(completion(&decision).1, Outcome::AgentDead);
}

#[test]
fn no_node_has_been_there_since_the_instance_entered_its_hook() {
    let mut scene = calm();
    scene.nomad.nodes.clear();
    scene.group.launched = decamp_core::decide::Launched::At(ENTRY);
    scene.group.attached.clear();
    scene.group.hooks[0].target_groups.clear();
    scene.now = ENTRY + secs(29);
    next_worker(&mut scene);
    only_waits(&scene.until_no_heartbeat(), "no-node-yet");
    scene.now = ENTRY + secs(31);
    next_worker(&mut scene);
    assert_eq!(completion(&scene.until_no_heartbeat()).1, Outcome::NoNode);
}

#[test]
fn a_leftover_has_been_one_since_the_end_of_its_allocation() {
    let mut scene = over(|scene| scene.policy.overlap = false);
    scene.consul.services = vec![registration(API, "api")].into();
    let ended = scene.now;
    scene.allocations(|a| a.ended = Some(ended));
    scene.pass(590);
    next_worker(&mut scene);
    let decision = scene.until_no_heartbeat();
    assert!(!writes(&decision, EffectKind::Complete), "{decision:?}");
    scene.pass(20);
    next_worker(&mut scene);
    let decision = scene.until_it_writes(EffectKind::Complete);
    assert_eq!(
        completion(&decision).1,
        Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() },
        "it is listed as routable still"
    );
    assert_eq!(why(&decision), "none-known-to-run", "and nothing is said to be gone");
}

#[test]
fn what_an_earlier_worker_saw_vanish_is_waited_for_although_another_landed_since() {
    let mut scene = over(|_| ());
    let (action, since) = (scene.departure.mark(), scene.now - secs(5));
    scene.node().notes.push(Noted { what: Beginning::Vanished, action, since, listed: 2 });
    next_worker(&mut scene);
    let decision = scene.until_no_heartbeat();
    assert!(matches!(decision.reason, Reason::Vanished { until, .. } if since + secs(30) <= until), "{decision:?}");
    scene.pass(60);
    assert_eq!(completion(&scene.until_no_heartbeat()).1, Outcome::Departed { waiting_for: None });
}

#[test]
fn a_drain_hangs_since_its_last_allocation_ended() {
    let mut scene = draining(|scene| scene.policy.overlap = false);
    scene.allocations(|a| {
        let system = a.group.kind == decamp_core::decide::JobKind::System;
        a.wanted = system;
        if !system {
            a.client = decamp_core::decide::ClientStatus::Complete;
        }
    });
    let ended = scene.now;
    scene.allocations(|a| a.ended = Some(ended).filter(|_| a.client.is_over()));
    let drained = scene.now;
    scene.node().last_drain.as_mut().expect("it drains").updated = Some(drained);
    scene.pass(2);
    next_worker(&mut scene);
    assert!(!writes(&scene.until_no_heartbeat(), EffectKind::Drain), "the servers may be about to tell it: {:?}", scene.decide());
    scene.pass(4);
    next_worker(&mut scene);
    let decision = scene.until_it_writes(EffectKind::Drain);
    assert_eq!(drain(&decision).2.phase, Phase::Resent);
}

#[test]
fn what_vanished_between_two_workers_is_noted_and_waited_for_once() {
    let mut scene = draining(|_| ());
    scene.purge(API);
    scene.stopped_are_over();
    scene.drain_completes();
    scene.consul.services = Vec::new().into();
    scene.pass(60);
    next_worker(&mut scene);
    let since = scene.now;
    let decision = scene.until_no_heartbeat();
    let Reason::Vanished { until, .. } = decision.reason else { panic!("{decision:?}") };
    assert!(since + secs(30) <= until, "a purge may have come right before this look");
    assert!(scene.nomad.nodes[0].notes.contains(&note(Beginning::Vanished, since, 2)), "{:?}", scene.nomad.nodes[0].notes);
    scene.pass(20);
    next_worker(&mut scene);
    let Reason::Vanished { until: later, .. } = scene.until_no_heartbeat().reason else { panic!("{:?}", scene.decide()) };
    assert_eq!(later, until, "the next worker goes on with the same wait");
    scene.purge(crate::facts::SHOP);
    next_worker(&mut scene);
    let Reason::Vanished { until: anew, .. } = scene.until_no_heartbeat().reason else { panic!("{:?}", scene.decide()) };
    assert!(until < anew, "another vanished since");
}

#[test]
fn a_drain_that_is_sent_again_forgets_nothing_that_vanished_before() {
    let mut scene = draining(|scene| scene.policy.overlap = false);
    scene.purge(API);
    let system = |a: &decamp_core::decide::Allocation| a.group.kind == decamp_core::decide::JobKind::System;
    scene.allocations(|a| a.wanted = system(a));
    scene.allocations(|a| {
        if !system(a) {
            a.client = decamp_core::decide::ClientStatus::Complete;
        }
    });
    let ended = scene.now;
    scene.allocations(|a| a.ended = Some(ended).filter(|_| a.client.is_over()));
    scene.node().last_drain.as_mut().expect("it drains").updated = Some(ended);
    scene.pass(30);
    next_worker(&mut scene);
    let decision = scene.until_it_writes(EffectKind::Drain);
    assert_eq!(drain(&decision).2.phase, Phase::Resent);
    scene.obey(&decision);
    scene.everything_stops();
    let Reason::Vanished { .. } = scene.until_no_heartbeat().reason else { panic!("it may run on: {:?}", scene.decide()) };
}

#[test]
fn a_beginning_that_nothing_shows_does_not_move() {
    let mut scene = calm();
    scene.action().began = None;
    scene.now = ENTRY + secs(1000);
    scene.until_it_writes(EffectKind::Deregister);
    let (began, end) = (scene.budget().began, scene.budget().end);
    assert!(!scene.budget().began_is_known);
    let decision = scene.decide();
    scene.obey(&decision);
    scene.next();
    assert!(scene.nomad.nodes[0].notes.contains(&note(Beginning::Departure, began, 0)), "{:?}", scene.nomad.nodes[0].notes);
    for _ in 0..5 {
        scene.pass(600);
        next_worker(&mut scene);
        scene.look(&Part::Group { with_activity: true });
        scene.look(&Part::Nomad);
        assert_eq!((scene.budget().began, scene.budget().end), (began, end));
    }
}

#[test]
fn a_beginning_that_is_only_assumed_leaves_half_of_the_time() {
    let mut scene = calm();
    scene.action().began = None;
    scene.policy.max_departure = secs(600);
    scene.look(&Part::Group { with_activity: true });
    assert!(scene.now + secs(200) < scene.budget().end, "{:?}", scene.budget());
}

#[test]
fn a_sweep_heartbeats_those_whose_turn_it_is() {
    let mut turns = Vec::new();
    for number in 0..10 {
        let mut scene = calm();
        scene.now = ENTRY + secs(400 + 60 * number);
        // A sweep knows only that an instance waits.
        *scene.action() = decamp_core::decide::LifecycleAction { began: Some(ENTRY), ..Default::default() };
        next_worker(&mut scene);
        scene.seen.history.sweep = Some(Sweep::begin(scene.now, secs(60), 100, 15));
        turns.push(writes(&scene.next(), EffectKind::Heartbeat) || scene.seen.history.heartbeat.is_some());
    }
    assert_eq!(turns.iter().filter(|turn| **turn).count(), 2, "once in five minutes: {turns:?}");
}
