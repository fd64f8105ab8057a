//! What is logged and counted if another worker, or another tool, came first. (ADR 0013.)

use decamp_core::decide::{EffectKind, Lifecycle, Outcome, Policy, Refusal};
use decamp_core::denials::Denials;
use decamp_core::describe::{DecisionLog, found_nothing_to_do};
use decamp_core::run::Observer;

use crate::decisions::{effects, ended, writes};
use crate::facts::hook;
use crate::scene::{Scene, calm_and_seen, over};

/// Its completion was refused: another worker's came first.
fn refused(refusal: Refusal) -> Scene {
    let mut scene = over(|_| ());
    for _ in 0..2 {
        // By token, then by instance id.
        let decision = scene.until_it_writes(EffectKind::Complete);
        scene.refuse(&decision, &refusal);
        if refusal != Refusal::NoActiveAction {
            break;
        }
        scene.pass(2);
    }
    scene.lifecycle = Lifecycle::Past;
    scene.pass(1);
    scene
}

#[test]
fn a_completion_that_was_refused_is_not_ours() {
    let mut scene = refused(Refusal::NoActiveAction);
    assert_eq!(ended(&scene.next()), Some(&Outcome::Overtaken), "{:?}", scene.decide());
}

#[test]
fn a_completion_that_was_not_answered_may_be_ours() {
    let mut scene = refused(Refusal::Away("timeout".into()));
    assert_eq!(ended(&scene.next()), Some(&Outcome::Departed { waiting_for: None }), "{:?}", scene.decide());
}

/// A heartbeat is refused, in a departure that only a sweep knows of and a group with this many hooks.
fn rejected(hooks: usize) -> u32 {
    let mut scene = calm_and_seen();
    *scene.action() = decamp_core::decide::LifecycleAction::default();
    scene.group.hooks.extend((1..hooks).map(|n| hook(&format!("another-{n}"))));
    scene.policy.hooks = vec!["decamp".into()];
    scene.seen = decamp_core::decide::Snapshot::begin(scene.departure.instance, scene.now);
    let decision = scene.until_it_writes(EffectKind::Heartbeat);
    assert!(writes(&decision, EffectKind::Heartbeat));
    let (policy, denials) = (Policy::default(), Denials::default());
    let mut telling = DecisionLog::new(&policy, &denials);
    telling.decided(&scene.departure, &decision, &scene.seen, scene.now);
    effects(&decision).iter().for_each(|effect| {
        telling.wrote(&scene.departure, effect, &Err(Refusal::NoActiveAction), scene.now);
    });
    telling.heartbeats_rejected
}

#[test]
fn a_sweep_that_asks_whether_another_hook_holds_the_instance_counts_no_refused_heartbeat() {
    assert_eq!(rejected(2), 0, "that is how it asks");
    assert_eq!(rejected(1), 1, "here nobody else can hold it");
}

#[test]
fn a_pass_that_found_nothing_to_do_counts_no_departure() {
    assert!(found_nothing_to_do(&Outcome::AlreadyPast, 0));
    assert!(!found_nothing_to_do(&Outcome::AlreadyPast, 1) && !found_nothing_to_do(&Outcome::Overtaken, 0));
}
