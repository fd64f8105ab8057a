//! Systems do not answer in the order in which they were asked: a look that was asked for before another's answer did not know that answer.

use std::net::Ipv4Addr;

use decamp_core::decide::snapshot::{Target, TargetHealth};
use decamp_core::decide::{Action, AnswerTimes, Decision, EffectKind, Observation, Part, Snapshot};
use decamp_core::ids::TargetId;

use crate::decisions::writes;
use crate::facts::secs;
use crate::scene::{Scene, calm, draining, released};

impl Scene {
    /// The next decision that is no look, if every answer takes this long. Fewer than ten rounds of looks must do.
    pub(crate) fn next_slowly(&mut self, seconds: u64) -> Decision {
        for _ in 0..10 {
            let decision = self.decide();
            let Action::Look(parts) = &decision.action else { return decision };
            self.look_slowly(parts, seconds);
        }
        panic!("it looks for ever: {:?}", self.decide());
    }

    /// One round of looks, whose answers take this long.
    pub(crate) fn look_slowly(&mut self, parts: &[Part], seconds: u64) {
        let asked = self.now;
        parts.iter().for_each(|part| self.look(part));
        self.pass(seconds);
        if parts.contains(&Part::Nomad) {
            let answered = AnswerTimes { answered: self.now, ..AnswerTimes::at_once(asked) };
            self.seen.take_late(answered, Observation::Nomad(Ok(self.nomad.clone())));
        }
        self.seen.history.looked(asked, self.now);
    }
}

/// Nomad is asked now, and answers three seconds later. Meanwhile this part is read.
fn nomad_is_late(scene: &mut Scene, meanwhile: &Part) {
    let asked = scene.now;
    scene.pass(1);
    let last_asked = scene.now;
    scene.look(meanwhile);
    scene.pass(2);
    scene.seen.take_late(AnswerTimes { asked, last_asked, answered: scene.now }, Observation::Nomad(Ok(scene.nomad.clone())));
}

/// Every decision until one waits or ends. Writes are accepted, and looks answered at once.
fn until_it_waits(scene: &mut Scene) -> Vec<Decision> {
    let mut all = Vec::new();
    for _ in 0..20 {
        let decision = scene.decide();
        match &decision.action {
            Action::Look(parts) => parts.iter().for_each(|part| scene.look(part)),
            Action::Do(_) => scene.obey(&decision),
            Action::Wait { .. } | Action::End(_) => return all,
        }
        all.push(decision);
        scene.now = scene.now + std::time::Duration::from_millis(10);
    }
    panic!("it never waits: {all:?}");
}

fn looks(all: &[Decision], part: &Part) -> usize {
    all.iter().filter(|decision| matches!(&decision.action, Action::Look(parts) if parts.contains(part))).count()
}

#[test]
fn a_scan_that_was_asked_for_before_a_node_told_its_addresses_is_made_again() {
    let mut scene = calm();
    scene.policy.scan = true;
    for part in [Part::Lifecycle, Part::Group { with_activity: false }, Part::NomadToken] {
        scene.look(&part);
    }
    nomad_is_late(&mut scene, &Part::Scan);
    assert_eq!(looks(&until_it_waits(&mut scene), &Part::Scan), 1, "once: the second knows the addresses");
}

#[test]
fn a_look_at_consul_before_nomad_answered_that_all_is_over_is_no_proof() {
    let mut scene = draining(|_| ());
    scene.pass(20);
    scene.stopped_are_over();
    scene.drain_completes();
    scene.unregister_what_is_over();
    nomad_is_late(&mut scene, &Part::Consul);
    let all = until_it_waits(&mut scene);
    let completed = all.iter().position(|decision| writes(decision, EffectKind::Complete)).expect("it is over");
    assert_eq!(looks(&all[..completed], &Part::Consul), 1, "{all:?}");
}

#[test]
fn nomad_confirms_what_consul_lacks_only_if_it_was_asked_after_consul_had_answered() {
    for (nomads, confirms) in [(1, false), (3, true)] {
        let mut scene = calm();
        scene.look(&Part::Nomad);
        let asked = scene.now;
        let answered = asked + secs(2);
        scene.consul.services = [].into();
        scene.seen.take_late(AnswerTimes { asked, last_asked: asked, answered }, Observation::Consul(Ok(scene.consul.clone())));
        scene.now = asked + secs(nomads);
        scene.look(&Part::Nomad);
        let confirmed = scene.seen.history.known.iter().any(|known| known.unlisted.is_some());
        assert_eq!(confirmed, confirms, "asked {nomads} s later");
    }
}

#[test]
fn what_waits_for_a_load_balancer_counts_from_the_answer() {
    let scene = calm();
    // The process is stopped between its question and the answer.
    let (asked, answered) = (scene.now, scene.now + secs(170));
    let mut front = scene.fronts[0].clone();
    let address = TargetId::Ip(Ipv4Addr::new(10, 9, 9, 9).into());
    front.targets = Some([Target { id: address.clone(), port: 80, zone: None, health: TargetHealth::Healthy }].into());
    let mut seen = Snapshot::begin(scene.departure.instance, asked);
    seen.take_late(AnswerTimes { asked, last_asked: asked, answered }, Observation::TargetGroup(front.arn.clone(), Ok(front)));
    let balancer = &seen.balancers[0];
    assert_eq!(balancer.first_look, Some(answered), "the guard of a target that is absent");
    assert_eq!(balancer.registered, [(address, 80, answered)], "the wait for an address that nobody is known to have");
}

#[test]
fn a_late_answer_does_not_make_an_old_look_at_the_node_a_recent_one() {
    let drains_after = |node_after: u64| {
        let mut scene = released(|_| ());
        let together = |decision: &Decision| matches!(&decision.action, Action::Look(parts) if parts.contains(&Part::Consul));
        let mut decision = scene.decide();
        while !together(&decision) {
            match &decision.action {
                Action::Look(parts) => parts.iter().for_each(|part| scene.look(part)),
                Action::Do(_) | Action::Wait { .. } | Action::End(_) => scene.obey(&decision),
            }
            decision = scene.decide();
        }
        let Action::Look(parts) = decision.action else { panic!("{decision:?}") };
        // Consul is asked now and answers after five seconds. The node is read meanwhile, and another worker may have drained it since.
        let asked = scene.now;
        scene.now = asked + secs(node_after);
        parts.iter().for_each(|part| scene.look(part));
        scene.now = asked + secs(5);
        scene.look(&Part::Consul);
        scene.seen.history.looked(asked, scene.now);
        writes(&scene.decide(), EffectKind::Drain)
    };
    assert!(drains_after(0), "one round takes as long as its slowest answer");
    assert!(!drains_after(2));
}

#[test]
fn answers_from_before_the_process_was_suspended_are_asked_for_again_before_a_drain() {
    for (seconds, drains) in [(4, true), (200, false)] {
        let mut scene = calm();
        scene.group.attached.clear();
        scene.group.hooks[0].target_groups.clear();
        let mut drained = false;
        for _ in 0..12 {
            let decision = scene.decide();
            drained |= writes(&decision, EffectKind::Drain);
            match &decision.action {
                Action::Look(parts) => scene.look_slowly(parts, seconds),
                Action::Do(_) | Action::Wait { .. } | Action::End(_) => scene.obey(&decision),
            }
        }
        assert_eq!(drained, drains, "answers after {seconds} s: {:?}", scene.decide());
    }
}
