//! Whether the instance is leaving, whether the hook is ours, and heartbeats. (ADR 0001, 0002, 0012, 0013, 0014, 0015.)

use decamp_core::decide::{
    Action, Cause, Effect, EffectKind, Lifecycle, LifecycleAction, LifecycleResult, Outcome, Part, Phase, Reason, Refusal, System,
};

use crate::decisions::{completed_by, completion, drain, effects, ended, ends, only_waits, why, writes};
use crate::facts::{ENTRY, hook, secs};
use crate::scene::{Scene, calm, calm_and_seen, deregistered, over, released};

/// A calm world in which the live look shows this state.
fn in_state(state: Lifecycle) -> Scene {
    let mut scene = calm();
    scene.lifecycle = state;
    scene
}

fn by_a_sweep(scene: &mut Scene) {
    *scene.action() = LifecycleAction::default();
}

#[test]
fn nothing_is_written_before_a_live_look() {
    let decision = calm().decide();
    let Action::Look(parts) = &decision.action else { panic!("it looks: {decision:?}") };
    assert!(parts.contains(&Part::Lifecycle) && parts.contains(&Part::Group { with_activity: false }), "{parts:?}");
    assert!(parts.contains(&Part::Nomad) && parts.contains(&Part::NomadToken), "the first round sees Nomad too: {parts:?}");
}

#[test]
fn an_event_that_does_not_say_when_it_began_is_worth_a_heartbeat_and_nothing_else() {
    let mut scene = calm();
    scene.action().began = None;
    let decision = scene.decide();
    assert!(matches!(effects(&decision), [Effect::Heartbeat(_)]), "{decision:?}");
}

#[test]
fn an_instance_that_stays_is_left_alone() {
    for state in ["InService", "Pending:Wait", "Standby", "Detaching"] {
        let decision = in_state(Lifecycle::Staying(state.into())).next();
        ends(&decision, &Outcome::NotLeaving, &Reason::InState(state.into()));
    }
}

#[test]
fn a_state_that_this_version_does_not_know_is_left_alone() {
    let decision = in_state(Lifecycle::Unknown("Terminating:Someday".into())).next();
    ends(&decision, &Outcome::NotLeaving, &Reason::InState("Terminating:Someday".into()));
}

#[test]
fn an_instance_on_its_way_into_a_warm_pool_leaves_only_if_the_event_said_so() {
    let mut scene = in_state(Lifecycle::WaitingForWarmPool);
    ends(&scene.next(), &Outcome::NotLeaving, &Reason::InState("Warmed:Pending:Wait".into()));

    let mut scene = in_state(Lifecycle::WaitingForWarmPool);
    scene.action().to_warm_pool = true;
    scene.until_it_writes(EffectKind::Deregister);
}

#[test]
fn a_drain_for_a_warm_pool_says_so() {
    for warm in [true, false] {
        let mut scene = deregistered(|scene| scene.action().to_warm_pool = warm);
        assert_eq!(drain(&scene.until_it_writes(EffectKind::Drain)).2.warm, warm);
    }
}

#[test]
fn a_hook_that_has_not_begun_is_waited_for() {
    let mut scene = in_state(Lifecycle::Terminating);
    only_waits(&scene.next(), "hook-not-begun");
    scene.pass(5);
    assert!(matches!(scene.decide().action, Action::Look(_)), "it looks again after 5 s");
}

#[test]
fn an_instance_that_is_not_listed_is_gone() {
    ends(&in_state(Lifecycle::Gone).next(), &Outcome::Gone, &Reason::NotListed);
}

#[test]
fn past_its_hook_before_we_came_is_not_the_same_as_past_it_while_we_worked() {
    ends(&in_state(Lifecycle::Past).next(), &Outcome::AlreadyPast, &Reason::PastItsHook);

    let mut scene = deregistered(|_| ());
    scene.lifecycle = Lifecycle::Past;
    scene.look(&Part::Lifecycle);
    ends(&scene.decide(), &Outcome::Overtaken, &Reason::PastItsHook);

    // After that, the hook may have ended by itself.
    let mut scene = deregistered(|_| ());
    scene.lifecycle = Lifecycle::Past;
    scene.now = scene.now + scene.budget().heartbeat_timeout;
    scene.look(&Part::Lifecycle);
    ends(&scene.decide(), &Outcome::Expired, &Reason::PastItsHook);
}

#[test]
fn an_instance_that_stays_after_all_is_left_as_it_is() {
    let mut scene = deregistered(|_| ());
    scene.lifecycle = Lifecycle::Staying("InService".into());
    scene.look(&Part::Lifecycle);
    ends(&scene.decide(), &Outcome::NotLeaving, &Reason::InState("InService".into()));
    // Something was written before, so no sentence may deny it.
    for outcome in [Outcome::NotLeaving, Outcome::NotOurs] {
        assert!(!outcome.meaning().contains("nothing was"), "{}", outcome.meaning());
    }
}

#[test]
fn a_retained_instance_is_named_so() {
    ends(&in_state(Lifecycle::Retained).next(), &Outcome::Retained, &Reason::PastItsHook);
}

#[test]
fn a_hook_that_is_not_in_the_settings_is_not_touched() {
    let mut scene = calm();
    scene.policy.hooks = vec!["another".into()];
    ends(&scene.next(), &Outcome::NotOurs, &Reason::NoHookOfOurs);
}

#[test]
fn none_of_two_hooks_is_guessed() {
    let mut scene = calm();
    scene.action().hook = None;
    scene.group.hooks.push(hook("another"));
    ends(&scene.next(), &Outcome::NotOurs, &Reason::WhichHook);

    let mut scene = calm();
    scene.action().hook = None;
    scene.group.hooks.push(hook("another"));
    scene.policy.hooks = vec!["decamp".into()];
    // The settings name the hook.
    scene.until_it_writes(EffectKind::Deregister);
}

#[test]
fn an_outage_of_auto_scaling_completes_and_writes_nothing() {
    let mut scene = calm();
    scene.look_in_vain(&Part::Lifecycle);
    scene.look_in_vain(&Part::Group { with_activity: false });
    let decision = scene.decide();
    assert!(matches!(decision.action, Action::Look(_) | Action::Wait { .. }), "{decision:?}");
    scene.pass(301);
    let decision = scene.decide();
    assert!(matches!(effects(&decision), [Effect::Heartbeat(_)]), "only the hook is kept alive: {decision:?}");
}

#[test]
fn a_heartbeat_is_sent_at_a_third_of_the_time_out_and_not_before() {
    let mut scene = deregistered(|_| ());
    scene.pass(297);
    assert!(!writes(&scene.next(), EffectKind::Heartbeat), "{}", scene.now);
    scene.pass(1);
    let decision = scene.next();
    assert!(writes(&decision, EffectKind::Heartbeat), "{decision:?}");
    scene.obey(&decision);
    scene.pass(299);
    assert!(!writes(&scene.next(), EffectKind::Heartbeat));
    scene.pass(1);
    assert!(writes(&scene.next(), EffectKind::Heartbeat));
}

#[test]
fn a_heartbeat_goes_out_whatever_else_is_broken() {
    let mut scene = deregistered(|_| ());
    scene.pass(300);
    for part in [Part::Nomad, Part::NomadToken, Part::Consul] {
        scene.look_in_vain(&part);
    }
    assert!(writes(&scene.decide(), EffectKind::Heartbeat));
}

#[test]
fn a_heartbeat_that_failed_is_tried_again_after_a_pause() {
    let mut scene = deregistered(|_| ());
    scene.pass(300);
    let decision = scene.next();
    scene.refuse(&decision, &Refusal::Throttled);
    assert!(!writes(&scene.next(), EffectKind::Heartbeat), "not at once");
    scene.pass(1);
    assert!(writes(&scene.next(), EffectKind::Heartbeat));
}

#[test]
fn no_heartbeat_is_sent_past_the_end() {
    let mut scene = deregistered(|_| ());
    scene.now = scene.budget().end;
    assert!(!writes(&scene.next(), EffectKind::Heartbeat));
}

#[test]
fn a_worker_that_was_frozen_looks_before_it_writes() {
    let mut scene = calm_and_seen();
    scene.pass(451);
    let decision = scene.decide();
    let looks_first = matches!(&decision.action, Action::Look(parts) if parts.contains(&Part::Lifecycle));
    let only_beats = matches!(effects(&decision), [Effect::Heartbeat(_)]);
    assert!(looks_first || only_beats, "it trusts nothing that old: {decision:?}");
    scene.lifecycle = Lifecycle::Staying("InService".into());
    scene.look(&Part::Lifecycle);
    assert_eq!(ended(&scene.decide()), Some(&Outcome::NotLeaving));
}

#[test]
fn a_held_group_gets_heartbeats_and_nothing_else() {
    let mut scene = calm();
    scene.group.held = true;
    only_waits(&scene.next(), "held");
    scene.pass(300);
    let decision = scene.next();
    assert!(matches!(effects(&decision), [Effect::Heartbeat(_)]), "{decision:?}");
    assert_eq!(decision.reason, Reason::HeartbeatDue);
}

#[test]
fn a_hold_that_ends_is_seen_within_a_minute() {
    let mut scene = calm();
    scene.group.held = true;
    only_waits(&scene.next(), "held");
    scene.group.held = false;
    scene.pass(60);
    scene.until_it_writes(EffectKind::Deregister);
}

#[test]
fn an_instance_that_comes_back_with_another_root_volume_is_only_kept_alive_until_the_end() {
    let mut scene = calm();
    scene.lifecycle = Lifecycle::ReplacingRootVolume;
    only_waits(&scene.next(), "root-volume");
    scene.pass(300);
    let decision = scene.next();
    assert!(matches!(effects(&decision), [Effect::Heartbeat(_)]), "{decision:?}");
    scene.now = scene.budget().end;
    assert_eq!(completion(&scene.next()), (LifecycleResult::Continue, Outcome::TimedOut));
}

#[test]
fn the_unknown_beginning_of_a_root_volume_replacement_is_noted() {
    let mut scene = calm();
    by_a_sweep(&mut scene);
    scene.lifecycle = Lifecycle::ReplacingRootVolume;
    scene.next();
    assert!(!scene.nomad.nodes[0].notes.is_empty(), "{:?}", scene.decide());
}

#[test]
fn the_time_of_entry_is_asked_for_only_if_the_event_lacks_it() {
    let mut scene = calm();
    by_a_sweep(&mut scene);
    let decision = scene.decide();
    let Action::Look(parts) = &decision.action else { panic!("nothing names the hook yet: {decision:?}") };
    assert!(parts.contains(&Part::Group { with_activity: true }), "{parts:?}");
}

#[test]
fn a_swept_instance_is_completed_by_its_id_under_the_only_hook_of_ours() {
    let mut scene = over(by_a_sweep);
    let decision = scene.next();
    assert_eq!(completed_by(&decision), Some(("decamp".to_owned(), None)), "{decision:?}");
}

#[test]
fn after_a_refused_token_the_instance_id_names_the_action() {
    let mut scene = over(|_| ());
    let decision = scene.next();
    assert_eq!(completion(&decision).1, Outcome::Departed { waiting_for: None });
    scene.refuse(&decision, &Refusal::NoActiveAction);
    scene.pass(1);
    let decision = scene.until_it_writes(EffectKind::Complete);
    assert_eq!(completed_by(&decision), Some(("decamp".to_owned(), None)), "{decision:?}");
}

#[test]
fn no_active_action_is_the_end_only_if_a_look_shows_it_past_the_wait() {
    let refused_twice = || {
        let mut scene = over(|_| ());
        for _ in 0..2 {
            let decision = scene.until_it_writes(EffectKind::Complete);
            scene.refuse(&decision, &Refusal::NoActiveAction);
            scene.pass(2);
        }
        scene
    };
    let mut scene = refused_twice();
    assert_eq!(ended(&scene.next()), None, "it still waits, in no other hook: {:?}", scene.decide());

    let mut scene = refused_twice();
    scene.lifecycle = Lifecycle::Past;
    ends(&scene.next(), &Outcome::Overtaken, &Reason::PastItsHook);
}

#[test]
fn another_hook_that_still_holds_it_is_named() {
    let mut scene = over(|scene| {
        scene.group.hooks.push(hook("another"));
        scene.policy.hooks = vec!["decamp".into()];
    });
    // The first completion was not answered, but it let the instance go on to the other hook.
    for refusal in [Refusal::Away("timeout".into()), Refusal::NoActiveAction, Refusal::NoActiveAction] {
        let decision = scene.until_it_writes(EffectKind::Complete);
        scene.refuse(&decision, &refusal);
        scene.pass(2);
    }
    ends(&scene.next(), &Outcome::Departed { waiting_for: Some("another".into()) }, &Reason::PastItsHook);
}

#[test]
fn an_accepted_completion_ends_it() {
    let mut scene = over(|_| ());
    let decision = scene.next();
    scene.obey(&decision);
    ends(&scene.next(), &Outcome::Departed { waiting_for: None }, &Reason::ActionCompleted);
}

#[test]
fn a_completion_whose_answer_was_lost_is_the_same_in_the_end() {
    let mut scene = over(|_| ());
    let decision = scene.next();
    scene.refuse(&decision, &Refusal::Away("no answer".into()));
    only_waits(&scene.next(), "write-failed");
    scene.lifecycle = Lifecycle::Past;
    scene.look(&Part::Lifecycle);
    ends(&scene.decide(), &Outcome::Departed { waiting_for: None }, &Reason::PastItsHook);
}

/// EC2 takes the instance back two minutes after its entry, while Auto Scaling keeps it in service.
fn interrupted(scene: &mut Scene) {
    scene.departure.cause = Cause::Interruption { at: ENTRY + secs(120) };
    scene.lifecycle = Lifecycle::Staying("InService".into());
}

#[test]
fn an_interrupted_instance_leaves_its_load_balancers_although_auto_scaling_keeps_it() {
    let mut scene = calm();
    interrupted(&mut scene);
    let first = scene.next();
    assert!(matches!(effects(&first), [Effect::MakeIneligible(_)]), "there is no action, so no heartbeat: {first:?}");
    let second = scene.until_it_writes(EffectKind::Deregister);
    assert!(!writes(&second, EffectKind::Heartbeat), "{second:?}");
}

#[test]
fn an_interruption_completes_no_action() {
    let mut scene = over(interrupted);
    ends(&scene.next(), &Outcome::Interrupted, &Reason::NothingLeft);

    let mut scene = deregistered(interrupted);
    scene.now = ENTRY + secs(120);
    ends(&scene.next(), &Outcome::Interrupted, &Reason::TimeIsUp);

    let mut scene = calm();
    scene.departure.cause = Cause::Interruption { at: ENTRY - secs(600) };
    ends(&scene.next(), &Outcome::AlreadyPast, &Reason::TimeIsUp);
}

#[test]
fn an_interrupted_instance_is_drained_in_time_for_its_longest_stop_although_the_delay_runs() {
    let mut scene = deregistered(|scene| {
        interrupted(scene);
        scene.policy.overlap = false;
        for front in &mut scene.fronts {
            front.delay = Some(secs(300));
        }
    });
    let decision = scene.next();
    assert!(!writes(&decision, EffectKind::Drain), "not before it must: {decision:?}");
    scene.now = scene.budget().force_at;
    let decision = scene.next();
    assert_eq!(drain(&decision).2.phase, Phase::Forced);
    assert_eq!(why(&decision), "time-is-short");
}

#[test]
fn a_drain_after_the_delay_needs_the_live_look_of_this_run() {
    let mut scene = released(|_| ());
    scene.look_in_vain(&Part::Lifecycle);
    let decision = scene.decide();
    assert!(!writes(&decision, EffectKind::Drain) && ended(&decision).is_none(), "{decision:?}");
    assert!(matches!(decision.reason, Reason::CannotSee(System::AutoScaling) | Reason::NotKnownYet), "{decision:?}");
}

#[test]
fn a_group_with_several_hooks_of_which_none_is_named_is_not_touched() {
    for told in [true, false] {
        let mut scene = calm();
        scene.group.hooks.push(hook("ecs-managed-draining-termination-hook"));
        if !told {
            scene.action().hook = None;
        }
        ends(&scene.next(), &Outcome::NotOurs, &Reason::WhichHook);

        let mut named = calm();
        named.group.hooks.push(hook("ecs-managed-draining-termination-hook"));
        named.policy.hooks = vec!["decamp".into()];
        assert!(!effects(&named.next()).is_empty(), "it is said which: {:?}", named.decide());
    }
}
