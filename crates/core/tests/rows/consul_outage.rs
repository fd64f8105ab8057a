//! An outage of Consul while allocations stop: decamp watches for it, reports it, notes it, and the outcome names it.

use decamp_core::decide::{
    Action, Beginning, Decision, EffectKind, Outcome, Part, Provider, Reason, Snapshot, StoppedUnseen, System,
};

use crate::decisions::{completion, only_waits, why, writes};
use crate::facts::{API, INGRESS, SHOP, instance, secs};
use crate::scene::{Scene, draining};

fn is_watched(decision: &Decision) -> bool {
    matches!(&decision.action, Action::Wait { watch, .. } if watch.contains(&Part::Consul) && watch.contains(&Part::Nomad))
}

/// Consul is away from now on for this many seconds, while both services stop.
fn away_for(scene: &mut Scene, seconds: u64) {
    scene.look_in_vain(&Part::Consul);
    for _ in 0..seconds {
        scene.pass(1);
        scene.look_in_vain(&Part::Consul);
    }
    scene.pass(1);
}

/// Everything is over and unregistered, and Consul is back.
fn ends(scene: &mut Scene) -> Outcome {
    let now = scene.now;
    scene.allocations(|a| a.ended = a.ended.or(Some(now)));
    scene.everything_stops();
    scene.look(&Part::Consul);
    completion(&scene.until_it_writes(EffectKind::Complete)).1
}

fn titles(outcome: &Outcome) -> Vec<&str> {
    let Outcome::Unconfirmed { unseen: Some(StoppedUnseen { titles, .. }), .. } = outcome else {
        panic!("it names what stopped unseen: {outcome:?}")
    };
    titles.iter().map(|title| &**title).collect()
}

#[test]
fn while_services_stop_consul_is_watched() {
    let mut scene = draining(|_| ());
    let decision = scene.until_no_heartbeat();
    only_waits(&decision, "allocations-left");
    assert!(is_watched(&decision), "{decision:?}");
    scene.consul_hangs = true;
    scene.pass(6);
    assert!(matches!(&scene.decide().action, Action::Look(parts) if parts.contains(&Part::Consul)), "{:?}", scene.decide());
}

#[test]
fn what_no_ingress_finds_in_consul_is_not_watched_there() {
    let mut scene = draining(|scene| {
        for id in [API, SHOP] {
            scene.task_group(id, |group| group.services.iter_mut().for_each(|s| s.provider = Provider::Nomad));
        }
    });
    let decision = scene.until_no_heartbeat();
    assert!(!is_watched(&decision), "{decision:?}");
}

#[test]
fn before_anything_stops_consul_is_not_watched() {
    let mut scene = crate::scene::deregistered(|scene| scene.policy.overlap = false);
    let decision = scene.until_no_heartbeat();
    assert!(matches!(&decision.action, Action::Wait { watch, .. } if !watch.contains(&Part::Consul)), "{decision:?}");
}

#[test]
fn the_reason_names_services_that_stop_unseen() {
    let mut scene = draining(|_| ());
    scene.look_in_vain(&Part::Consul);
    assert!(writes(&scene.decide(), EffectKind::Note), "the next worker may come before the second look: {:?}", scene.decide());
    let decision = scene.next();
    assert_eq!(why(&decision), "stops-unseen", "{decision:?}");
    assert!(decision.reason.to_string().starts_with("Consul cannot be seen while 2 allocations stop"), "{}", decision.reason);
    assert!(is_watched(&decision), "it is watched for Consul to come back: {decision:?}");
}

/// A stop may take hours, and a denial lasts until a person changes a policy.
#[test]
fn an_outage_that_lasts_is_looked_at_less_often() {
    let looks_after = |seconds: u64| {
        let mut scene = draining(|_| ());
        away_for(&mut scene, seconds);
        scene.look_in_vain(&Part::Consul);
        let tried = scene.now;
        let again = scene.until_no_heartbeat();
        let Action::Wait { until, .. } = again.action else { panic!("{again:?}") };
        assert!(matches!(again.reason, Reason::StopsUnseen { .. }), "{again:?}");
        until.since(tried)
    };
    assert_eq!(looks_after(20), secs(3));
    assert_eq!(looks_after(80), secs(10));
}

#[test]
fn what_stopped_unseen_is_named_by_the_outcome() {
    let mut scene = draining(|_| ());
    away_for(&mut scene, 5);
    scene.look(&Part::Consul);
    scene.pass(5);
    let outcome = ends(&mut scene);
    assert_eq!(titles(&outcome), ["api/group", "shop/group"]);
    assert!(outcome.meaning().contains("Consul could not be seen for a time between"), "{}", outcome.meaning());
    assert!(outcome.meaning().contains("api/group, shop/group stopped"), "{}", outcome.meaning());
}

#[test]
fn what_had_stopped_before_is_not_named() {
    let mut scene = draining(|_| ());
    scene.pass(1);
    let now = scene.now;
    scene.allocation(API, |a| {
        a.client = decamp_core::decide::ClientStatus::Complete;
        a.ended = Some(now);
    });
    scene.news_from_nomad();
    scene.pass(2);
    scene.look(&Part::Consul);
    away_for(&mut scene, 5);
    scene.look(&Part::Consul);
    assert_eq!(titles(&ends(&mut scene)), ["shop/group"]);
}

#[test]
fn a_lost_answer_is_no_outage() {
    let mut scene = draining(|_| ());
    scene.look_in_vain(&Part::Consul);
    scene.next();
    scene.pass(2);
    scene.look(&Part::Consul);
    scene.next();
    let noted = scene.nomad.nodes[0].notes.iter().find(|note| note.what == Beginning::Unseen).map(|note| note.listed);
    assert_eq!(noted, Some(1), "that it was brief is noted over what was noted at once");
    scene.pass(5);
    let mut another = scene.clone();
    another.seen = Snapshot::begin(instance(), another.now);
    another.next();
    for mut scene in [scene, another] {
        assert_eq!(ends(&mut scene), Outcome::Departed { waiting_for: None });
    }
}

#[test]
fn an_outage_after_the_last_stop_costs_nothing() {
    let mut scene = draining(|_| ());
    scene.pass(5);
    let now = scene.now;
    scene.allocations(|a| a.ended = Some(now));
    scene.everything_stops();
    scene.look(&Part::Consul);
    away_for(&mut scene, 20);
    scene.news_from_nomad();
    scene.look(&Part::Consul);
    assert_eq!(completion(&scene.until_it_writes(EffectKind::Complete)).1, Outcome::Departed { waiting_for: None });
}

#[test]
fn consul_is_looked_at_once_more_when_the_last_stop_is_over() {
    let mut scene = draining(|_| ());
    scene.pass(4);
    let now = scene.now;
    scene.allocations(|a| a.ended = Some(now));
    scene.everything_stops();
    assert!(matches!(&scene.decide().action, Action::Look(parts) if parts.contains(&Part::Consul)), "{:?}", scene.decide());
}

/// On real agents a stop took five seconds while Consul's server was frozen for thirty. No question of that time was answered.
#[test]
fn what_stops_within_an_outage_that_lasts_on_is_named() {
    let hangs = |scene: &mut Scene| {
        scene.consul_hangs = true;
        scene.pass(2);
        let now = scene.now;
        scene.allocations(|a| a.ended = Some(now));
        scene.everything_stops();
    };
    // The stop is over before the first hanging call is given up.
    let mut scene = draining(|_| ());
    hangs(&mut scene);
    away_for(&mut scene, 20);
    scene.look(&Part::Consul);
    assert_eq!(titles(&ends(&mut scene)), ["api/group", "shop/group"]);
    // And no call fails: the server is well again before the call is given up.
    let mut scene = draining(|_| ());
    hangs(&mut scene);
    scene.pass(15);
    scene.look(&Part::Consul);
    assert_eq!(titles(&ends(&mut scene)), ["api/group", "shop/group"]);
}

/// On real agents SIGSTOP stopped decamp for a minute while services stopped. Consul was well, and no request failed.
#[test]
fn a_worker_whose_own_process_was_stopped_reports_no_outage() {
    let mut scene = draining(|_| ());
    scene.consul_hangs = true;
    scene.pass(60);
    scene.seen.history.woke_late = Some(scene.now);
    scene.look(&Part::Consul);
    scene.pass(1);
    assert_eq!(ends(&mut scene), Outcome::Departed { waiting_for: None });
}

#[test]
fn without_a_stop_consul_need_not_answer() {
    let mut scene = draining(|_| ());
    scene.pass(2);
    scene.look(&Part::Consul);
    scene.pass(1);
    let now = scene.now;
    scene.allocations(|a| a.ended = Some(now));
    scene.everything_stops();
    scene.look(&Part::Consul);
    scene.pass(60);
    scene.look(&Part::Consul);
    assert_eq!(ends(&mut scene), Outcome::Departed { waiting_for: None });
}

#[test]
fn an_ingress_that_stops_is_not_found_in_consul() {
    let mut scene = draining(|_| ());
    scene.pass(5);
    let now = scene.now;
    for id in [API, SHOP] {
        scene.allocation(id, |a| {
            a.client = decamp_core::decide::ClientStatus::Complete;
            a.ended = Some(now);
        });
    }
    scene.news_from_nomad();
    scene.look(&Part::Consul);
    assert!(scene.nomad.nodes[0].allocations.iter().any(|a| a.id == INGRESS && !a.wanted && !a.client.is_over()));
    away_for(&mut scene, 20);
    scene.look(&Part::Consul);
    assert_eq!(ends(&mut scene), Outcome::Departed { waiting_for: None });
}

/// A new pass whose first look at Nomad already shows the services over, and whose first look at Consul fails.
#[test]
fn what_stopped_between_the_beginning_of_a_pass_and_its_first_look_is_named() {
    let named = |ended_after: u64| {
        let mut scene = draining(|_| ());
        let now = scene.now;
        scene.allocations(|a| a.ended = Some(now + secs(ended_after)));
        scene.stopped_are_over();
        scene.pass(40);
        scene.seen = Snapshot::begin(instance(), now + secs(38));
        for part in [Part::Lifecycle, Part::Group { with_activity: false }, Part::NomadToken, Part::Nomad] {
            scene.look(&part);
        }
        scene.look_in_vain(&Part::Consul);
        scene.seen.unseen_at_once(scene.now).is_some()
    };
    assert!(named(39), "no worker looked at Consul when it ended");
    assert!(!named(10), "an earlier worker watched it");
}

#[test]
fn an_outage_is_noted_while_auto_scaling_cannot_be_read() {
    let mut scene = draining(|_| ());
    scene.look_in_vain(&Part::Lifecycle);
    scene.look_in_vain(&Part::Consul);
    assert!(writes(&scene.decide(), EffectKind::Note), "{:?}", scene.decide());
    let mut unmarked = scene.clone();
    for node in &mut unmarked.nomad.nodes {
        node.last_drain = None;
    }
    unmarked.look(&Part::Nomad);
    assert!(!writes(&unmarked.decide(), EffectKind::Note), "nothing shows that the node is the instance's");
}

#[test]
fn the_next_worker_names_what_stopped_unseen_before_it_came() {
    let mut scene = draining(|_| ());
    away_for(&mut scene, 5);
    assert!(writes(&scene.decide(), EffectKind::Note), "{:?}", scene.decide());
    scene.next();
    let noted = |scene: &Scene| scene.nomad.nodes[0].notes.iter().find(|note| note.what == Beginning::Unseen).map(|n| n.listed);
    assert_eq!(noted(&scene), Some(0), "it lasts");
    let mut another = scene.clone();
    another.seen = Snapshot::begin(instance(), another.now);
    another.next();
    another.pass(5);
    assert_eq!(titles(&ends(&mut another)), ["api/group", "shop/group"], "an earlier worker saw no end of it");

    scene.look(&Part::Consul);
    scene.next();
    assert!(noted(&scene).is_some_and(|seconds| (5..15).contains(&seconds)), "{:?}", noted(&scene));
    scene.pass(5);
    scene.seen = Snapshot::begin(instance(), scene.now);
    scene.next();
    let outcome = ends(&mut scene);
    assert_eq!(titles(&outcome), ["api/group", "shop/group"]);
    let Outcome::Unconfirmed { unseen: Some(StoppedUnseen { after, before, .. }), .. } = outcome else { panic!("{outcome:?}") };
    assert!(before.is_some_and(|before| before <= after + secs(15)), "{after} {before:?}");
}

/// The drain was sent, nothing has been told to stop yet, and from now on neither Nomad nor Consul answers for this many seconds.
fn both_are_away_for(seconds: u64) -> Scene {
    let mut scene = draining(|_| ());
    scene.allocations(|a| a.wanted = true);
    scene.news_from_nomad();
    scene.look_in_vain(&Part::Nomad);
    let decision = scene.until_no_heartbeat();
    let Action::Wait { watch, .. } = &decision.action else { panic!("{decision:?}") };
    assert!(watch.contains(&Part::Consul), "what stops meanwhile does not show: {decision:?}");
    for _ in 0..seconds {
        scene.look_in_vain(&Part::Consul);
        scene.pass(1);
    }
    scene.look_in_vain(&Part::Nomad);
    assert_eq!(scene.until_no_heartbeat().reason, Reason::CannotSee(System::Nomad), "Nomad would tell what stops");
    scene.allocations(|a| a.wanted = false);
    scene
}

#[test]
fn what_stopped_while_nomad_was_away_too_is_named() {
    let mut scene = both_are_away_for(20);
    assert_eq!(titles(&ends(&mut scene)), ["api/group", "shop/group"]);
}

#[test]
fn between_two_looks_a_stop_may_have_begun_at_any_time() {
    let mut scene = both_are_away_for(5);
    scene.look(&Part::Consul);
    scene.pass(30);
    let ended = scene.now - secs(20);
    scene.allocations(|a| a.ended = Some(ended));
    assert_eq!(titles(&ends(&mut scene)), ["api/group", "shop/group"], "the first look that showed it told came long after");
}

#[test]
fn an_outage_that_another_worker_saw_begin_is_named() {
    let mut scene = draining(|_| ());
    let mut another = scene.clone();
    away_for(&mut another, 5);
    another.next();
    scene.pass(6);
    scene.nomad.nodes[0].notes.clone_from(&another.nomad.nodes[0].notes);
    scene.news_from_nomad();
    assert_eq!(titles(&ends(&mut scene)), ["api/group", "shop/group"], "its own first look at Consul came before all that");
}

#[test]
fn another_workers_drain_is_seen_while_load_balancers_are_waited_for() {
    let mut scene = crate::scene::deregistered(|scene| scene.policy.overlap = false);
    let decision = scene.until_no_heartbeat();
    assert!(matches!(&decision.action, Action::Wait { watch, .. } if watch.contains(&Part::Nomad)), "{decision:?}");
}

#[test]
fn stops_are_watched_while_auto_scaling_cannot_be_read() {
    let mut scene = draining(|_| ());
    scene.pass(400);
    scene.look_in_vain(&Part::Lifecycle);
    scene.news_from_nomad();
    scene.look(&Part::Consul);
    let decision = scene.until_no_heartbeat();
    assert!(is_watched(&decision), "{decision:?}");
}

#[test]
fn it_is_noted_although_nomads_servers_are_behind() {
    let mut scene = draining(|_| ());
    scene.look_in_vain(&Part::Nomad);
    scene.look_in_vain(&Part::Consul);
    assert!(writes(&scene.decide(), EffectKind::Note), "{:?}", scene.decide());
}

/// A process survived its signals for longer than its longest stop, and the worker came when it was over.
#[test]
fn the_time_of_a_stop_is_what_its_tasks_report() {
    for (told_after, named) in [(1, true), (50, false)] {
        let mut scene = draining(|_| ());
        let began = scene.now;
        away_for(&mut scene, 20);
        scene.look(&Part::Consul);
        scene.next();
        scene.pass(200);
        let ended = scene.now;
        scene.allocations(|a| (a.told, a.ended) = (Some(began + secs(told_after)), Some(ended)));
        scene.everything_stops();
        scene.seen = Snapshot::begin(instance(), scene.now);
        scene.next();
        let outcome = ends(&mut scene);
        assert_eq!(matches!(outcome, Outcome::Unconfirmed { .. }), named, "told after {told_after} s: {outcome:?}");
    }
}
