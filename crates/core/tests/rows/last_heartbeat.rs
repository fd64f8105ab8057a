//! The last heartbeat of a worker that hands a departure back: what it is for, and when none is sent. (ADR 0012, 0015.)

use decamp_core::decide::{Effect, EffectKind, Lifecycle, LifecycleAction, Refusal, last_heartbeat};

use crate::facts::hook;
use crate::scene::{Scene, calm, calm_and_seen};

fn sent(scene: &Scene) -> Option<Effect> {
    last_heartbeat(&scene.departure, &scene.seen, &scene.policy, scene.now)
}

/// The hook that a heartbeat names, and whether it has the token.
fn of(scene: &Scene) -> Option<(String, bool)> {
    let Effect::Heartbeat(of) = sent(scene)? else { panic!("it is a heartbeat") };
    Some((of.hook.to_string(), of.token.is_some()))
}

#[test]
fn it_is_for_the_action_that_the_event_named_even_if_nothing_was_seen() {
    assert_eq!(of(&calm()), Some(("decamp".to_owned(), true)));
    assert_eq!(of(&calm_and_seen()), Some(("decamp".to_owned(), true)));
}

#[test]
fn without_an_event_only_a_look_says_that_there_is_an_action() {
    let mut scene = calm();
    *scene.action() = LifecycleAction::default();
    assert_eq!(of(&scene), None);
    scene.until_it_writes(EffectKind::Heartbeat);
    assert_eq!(of(&scene), Some(("decamp".to_owned(), false)));
    scene.seen = decamp_core::decide::Snapshot::begin(scene.departure.instance, scene.now);
    scene.lifecycle = Lifecycle::Past;
    scene.next();
    assert_eq!(of(&scene), None);
}

#[test]
fn none_is_sent_once_the_action_is_over_or_another_hook_holds_the_instance() {
    let mut scene = calm_and_seen();
    scene.group.hooks.clear();
    scene.group.hooks.push(hook("another"));
    scene.look(&decamp_core::decide::Part::Group { with_activity: false });
    assert_eq!(of(&scene), None, "its hook is gone");
    let mut refused = calm();
    let decision = {
        refused.action().began = None;
        refused.until_it_writes(EffectKind::Heartbeat)
    };
    for _ in 0..2 {
        // By token, then by instance id.
        refused.refuse(&decision, &Refusal::NoActiveAction);
    }
    assert_eq!(of(&refused), None, "{:?}", refused.seen.history);
}

#[test]
fn none_is_sent_past_decamps_own_end_so_that_the_hooks_default_can_act() {
    let mut scene = calm_and_seen();
    scene.now = scene.budget().end - std::time::Duration::from_secs(1);
    assert!(of(&scene).is_some());
    scene.now = scene.budget().end;
    assert_eq!(of(&scene), None);
}
