//! The end: what is completed, when, and by which name. (ADR 0001.)

use decamp_core::decide::{
    Action, ClientStatus, Effect, EffectKind, Lifecycle, LifecycleResult, Observation, Outcome, Part, Reason, Refusal,
    TokenAccess, Unseen,
};

use crate::decisions::{completion, ended, ends, ours, why, writes};
use crate::facts::{API, hook, secs};
use crate::scene::{Scene, calm, deregistered, draining, over};

#[test]
fn a_calm_departure_is_completed_when_nothing_is_left() {
    let mut scene = over(|_| ());
    let decision = scene.next();
    assert_eq!(completion(&decision), (LifecycleResult::Continue, Outcome::Departed { waiting_for: None }));
    assert_eq!(decision.reason, Reason::NothingLeft);
}

#[test]
fn the_completion_comes_after_looks_younger_than_our_last_write() {
    let mut scene = over(|_| ());
    scene.pass(6);
    let decision = scene.decide();
    let Action::Look(parts) = &decision.action else { panic!("work that landed late would show: {decision:?}") };
    assert!(parts.contains(&Part::Nomad), "{parts:?}");
    assert_eq!(why(&decision), "must-confirm");
}

/// The time is up, and an allocation runs on.
fn late(change: impl FnOnce(&mut Scene)) -> Scene {
    let mut scene = draining(change);
    scene.now = scene.budget().end;
    scene
}

#[test]
fn at_the_end_decamp_completes_by_what_the_settings_say() {
    let decision = late(|_| ()).until_no_heartbeat();
    assert_eq!(completion(&decision), (LifecycleResult::Continue, Outcome::TimedOut));
    assert_eq!(decision.reason, Reason::TimeIsUp);

    let decision = late(|scene| scene.policy.on_timeout = LifecycleResult::Abandon).until_no_heartbeat();
    assert_eq!(completion(&decision), (LifecycleResult::Abandon, Outcome::TimedOut));
}

#[test]
fn an_abandoned_instance_of_a_group_that_retains_is_retained() {
    let decision = late(|scene| {
        scene.policy.on_timeout = LifecycleResult::Abandon;
        scene.group.retains = true;
    })
    .until_no_heartbeat();
    assert_eq!(completion(&decision), (LifecycleResult::Abandon, Outcome::Retained));

    let mut continued = late(|scene| scene.group.retains = true);
    assert_eq!(completion(&continued.until_no_heartbeat()).1, Outcome::TimedOut, "CONTINUE retains nothing");
}

#[test]
fn a_moment_before_the_end_decamp_still_waits() {
    let mut scene = late(|_| ());
    scene.now = scene.now - secs(1);
    let decision = scene.until_no_heartbeat();
    assert!(!writes(&decision, EffectKind::Complete), "{decision:?}");
}

#[test]
fn a_completion_that_nobody_saw_land_is_expired_and_claims_nothing() {
    let mut scene = late(|_| ());
    let decision = scene.until_no_heartbeat();
    scene.refuse(&decision, &Refusal::Away("timeout".into()));
    assert_eq!(ended(&scene.next()), None, "it is tried again: {:?}", scene.decide());
    scene.pass(1);
    assert!(writes(&scene.next(), EffectKind::Complete));
    scene.pass(30 + 900 + 60);
    assert_eq!(ended(&scene.next()).map(|outcome| outcome.word()), Some("expired"), "{:?}", scene.decide());
}

#[test]
fn a_completion_whose_answer_was_lost_is_believed_although_a_heartbeat_is_refused_right_after_it() {
    let mut scene = over(|_| ());
    let decision = scene.next();
    scene.refuse(&decision, &Refusal::Away("no answer".into()));
    let Action::Do(effects) = &decision.action else { panic!("{decision:?}") };
    let Some(Effect::Complete { of, .. }) = effects.first() else { panic!("{decision:?}") };
    // The heartbeat was due at that moment, and the completion had ended the action.
    scene.seen.did(scene.now, scene.now, &Effect::Heartbeat(of.clone()), &Err(Refusal::NoActiveAction));
    scene.lifecycle = Lifecycle::Past;
    scene.look(&Part::Lifecycle);
    ends(&scene.decide(), &Outcome::Departed { waiting_for: None }, &Reason::PastItsHook);
}

#[test]
fn a_hook_that_ran_out_unseen_is_expired() {
    let mut scene = calm();
    scene.look_in_vain(&Part::Lifecycle);
    scene.look(&Part::Group { with_activity: false });
    scene.now = scene.budget().end + secs(30 + 900 + 60);
    ends(&scene.decide(), &Outcome::Expired, &Reason::TimeIsUp);
}

#[test]
fn forced_allocations_are_named_although_everything_is_over() {
    let mut scene = draining(|_| ());
    scene.allocation(API, |a| a.wanted = true);
    scene.pass(scene.budget().force_at.since(scene.now).as_secs());
    let decision = scene.until_it_writes(EffectKind::Drain);
    scene.obey(&decision);
    scene.pass(5);
    scene.everything_stops();
    assert_eq!(completion(&scene.until_it_writes(EffectKind::Complete)).1, Outcome::Forced);
}

#[test]
fn what_a_deadline_cut_is_forced_too() {
    let mut scene = draining(|_| ());
    scene.allocation(API, |a| a.wanted = true);
    scene.news_from_nomad();
    scene.pass(scene.budget().until.since(scene.now).as_secs() + 1);
    scene.allocation(API, |a| a.wanted = false);
    scene.news_from_nomad();
    scene.stopped_are_over();
    scene.drain_completes();
    scene.unregister_what_is_over();
    scene.pass(2);
    scene.news_from_nomad();
    assert_eq!(completion(&scene.until_it_writes(EffectKind::Complete)).1, Outcome::Forced);
}

#[test]
fn with_a_token_that_sees_too_little_the_settings_end_it_and_not_before_the_end() {
    let mut scene = deregistered(|scene| scene.sight = TokenAccess::Insufficient("add read-job".into()));
    scene.targets_leave();
    scene.now = scene.budget().end - secs(1);
    let decision = scene.until_no_heartbeat();
    assert!(!writes(&decision, EffectKind::Complete), "{decision:?}");
    scene.pass(1);
    let (result, outcome) = completion(&scene.until_no_heartbeat());
    assert_eq!((result, outcome), (LifecycleResult::Continue, Outcome::TimedOut));
}

#[test]
fn a_deregistration_that_never_worked_does_not_release_it_early() {
    let mut scene = draining(|_| ());
    scene.allocations(|a| a.client = ClientStatus::Complete);
    scene.unregister_what_is_over();
    scene.add_target(&crate::facts::named(), ours(8080));
    scene.pass(20);
    scene.news_from_nomad();
    let decision = scene.next();
    assert!(writes(&decision, EffectKind::Deregister) && !writes(&decision, EffectKind::Complete), "{decision:?}");
    scene.refuse(&decision, &Refusal::Denied("no".into()));
    scene.pass(3600);
    assert!(!writes(&scene.until_no_heartbeat(), EffectKind::Complete));
}

#[test]
fn while_auto_scaling_is_away_nothing_is_completed_in_a_group_that_may_be_held_or_by_a_hook_that_may_be_another_tools() {
    let named = || vec!["decamp".into()];
    for (hooks, denied, completes) in
        [(vec![], false, false), (vec![], true, true), (named(), false, false), (named(), true, true)]
    {
        let mut scene = calm();
        scene.policy.hooks = hooks;
        scene.look_in_vain(&Part::Lifecycle);
        scene.look_in_vain(&Part::Group { with_activity: false });
        scene.now = scene.budget().end + secs(1);
        scene.look_in_vain(&Part::Lifecycle);
        scene.look_in_vain(&Part::Group { with_activity: false });
        if denied {
            scene.seen.take(scene.now, Observation::Group(Err(Unseen::Denied("no DescribeLifecycleHooks".into()))));
        }
        // The part of Nomad that can be read is read again before the outcome is stated.
        scene.look(&Part::Nomad);
        scene.look(&Part::Consul);
        let decision = scene.decide();
        assert_eq!(writes(&decision, EffectKind::Complete), completes, "denied: {denied}, {decision:?}");
    }
}

#[test]
fn a_group_that_was_read_while_the_instance_was_not_shows_whose_the_hook_is() {
    for (hooks, deleted, not_ours) in [
        (vec![], false, Some(Reason::WhichHook)),
        (vec!["another".into()], false, Some(Reason::NoHookOfOurs)),
        (vec!["decamp".into()], true, Some(Reason::NoHookOfOurs)),
        (vec!["decamp".into()], false, None),
    ] {
        let mut scene = calm();
        scene.policy.hooks = hooks;
        scene.group.hooks.push(hook("another"));
        scene.group.hooks.retain(|hook| !deleted || &*hook.name == "another");
        scene.look_in_vain(&Part::Lifecycle);
        assert_eq!(ended(&scene.decide()), None, "the group was not read: {:?}", scene.decide());
        scene.look(&Part::Group { with_activity: false });
        if let Some(reason) = not_ours {
            ends(&scene.decide(), &Outcome::NotOurs, &reason);
            continue;
        }
        scene.now = scene.budget().end + secs(1);
        scene.look_in_vain(&Part::Lifecycle);
        scene.look(&Part::Nomad);
        scene.look(&Part::Consul);
        let decision = scene.decide();
        assert!(writes(&decision, EffectKind::Complete), "{decision:?}");
    }
}

#[test]
fn an_action_that_is_refused_by_token_and_by_id_is_over_if_looks_at_the_instance_are_denied() {
    let denied = || Unseen::Denied("not authorized".into());
    for (why, is_over) in [(denied(), true), (Unseen::Away("timeout".into()), false), (Unseen::Throttled, false)] {
        let mut scene = over(|_| ());
        for refusals in 1..=2 {
            let decision = scene.until_it_writes(EffectKind::Complete);
            scene.refuse(&decision, &Refusal::NoActiveAction);
            if refusals == 1 {
                scene.pass(2);
            }
        }
        // The token may be an earlier action's, so one refusal is no end, and neither is a denial before the second.
        assert_eq!(ended(&scene.decide()), None, "{:?}", scene.decide());
        scene.pass(2);
        scene.seen.take(scene.now, Observation::Lifecycle(Err(why.clone())));
        let outcome = is_over.then_some(&Outcome::Overtaken);
        assert_eq!(ended(&scene.decide()), outcome, "{why:?}: {:?}", scene.decide());
    }
}
