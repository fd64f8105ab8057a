//! A hold stops decamp's own clock, and leaves time in the hook to drain the instance in order. (ADR 0015.)

use decamp_core::decide::{Action, EffectKind, Part, Reason, Target};

use crate::decisions::{deregistrations, only_waits, writes};
use crate::facts::{ENTRY, secs};
use crate::scene::{Scene, calm};

/// A group that is held, in a hook of 25 hours.
fn held() -> Scene {
    let mut scene = calm();
    scene.group.held = true;
    scene.next();
    scene
}

#[test]
fn a_hold_may_last_longer_than_the_longest_departure() {
    let mut scene = held();
    scene.pass(3 * 3600);
    only_waits(&scene.until_no_heartbeat(), "held");
    assert_eq!(scene.budget().end, ENTRY + secs(90_000 - 30), "the hook's own end");
}

#[test]
fn the_clock_begins_with_the_look_that_shows_the_end_of_a_hold() {
    let mut scene = held();
    // Auto Scaling is away for longer than a departure may take, and the tag is deleted meanwhile.
    scene.pass(4 * 3600);
    scene.group.held = false;
    let decision = scene.until_it_writes(EffectKind::Deregister);
    assert!(!writes(&decision, EffectKind::Complete), "{decision:?}");
    assert!(scene.now + secs(7000) <= scene.budget().end, "{:?}", scene.budget());
}

#[test]
fn a_hold_says_since_when_and_until_when() {
    let mut scene = held();
    let Reason::Held { since, until } = scene.next().reason else { panic!("it is held: {:?}", scene.decide()) };
    assert_eq!(since, ENTRY, "it was held when this run first looked");
    assert_eq!(until, scene.budget().held_until());
    let text = scene.decide().reason.to_string();
    assert!(text.contains(&since.to_string()) && text.contains(&until.to_string()), "{text}");
}

#[test]
fn after_a_hold_that_lasts_as_long_as_it_can_the_drain_is_in_order_before_the_hook_ends() {
    let mut scene = held();
    scene.now = scene.budget().held_until();
    let decision = scene.until_it_writes(EffectKind::Deregister);
    assert!(!writes(&decision, EffectKind::Complete), "{decision:?}");
    assert!(secs(900) <= scene.budget().end.since(scene.now) + secs(30));
}

#[test]
fn a_hold_leaves_as_much_time_as_the_load_balancers_may_take() {
    let mut scene = held();
    scene.fronts.iter_mut().for_each(|front| front.delay = Some(secs(3000)));
    scene.pass(23 * 3600);
    scene.until_no_heartbeat();
    let budget = scene.budget();
    assert!(budget.held_until() + secs(2 * 3000) <= budget.hook_ends, "until {}", budget.held_until());
    scene.now = budget.held_until();
    let decision = scene.until_it_writes(EffectKind::Deregister);
    assert!(!writes(&decision, EffectKind::Complete), "{decision:?}");
}

#[test]
fn what_a_group_lists_is_looked_at_again_after_a_hold() {
    let mut scene = held();
    scene.pass(23 * 3600);
    scene.until_no_heartbeat();
    let listed = scene.fronts[0].targets.as_ref().expect("it lists the instance").to_vec();
    scene.fronts[0].targets = Some(listed.into_iter().map(|target| Target { port: 9_090, ..target }).collect());
    scene.pass(600);
    scene.group.held = false;
    let decision = scene.until_it_writes(EffectKind::Deregister);
    assert!(
        deregistrations(&decision).iter().any(|(_, _, port)| *port == 9_090),
        "it was registered at another port: {decision:?}"
    );
}

#[test]
fn when_a_hold_ends_the_departure_has_all_its_time() {
    let mut scene = held();
    scene.pass(3 * 3600);
    scene.until_no_heartbeat();
    scene.group.held = false;
    scene.pass(60);
    let shown = scene.now;
    let decision = scene.until_it_writes(EffectKind::Deregister);
    assert!(!writes(&decision, EffectKind::Complete), "{decision:?}");
    assert_eq!(scene.budget().end, shown + secs(7200 - 30));
}

#[test]
fn a_new_worker_after_a_long_hold_drains_in_order_too() {
    let mut scene = calm();
    scene.pass(3 * 3600);
    scene.seen = decamp_core::decide::Snapshot::begin(scene.departure.instance, scene.now);
    let decision = scene.until_it_writes(EffectKind::Deregister);
    assert!(!writes(&decision, EffectKind::Complete), "nobody has begun, and the hook goes on: {decision:?}");
}

#[test]
fn the_end_of_a_hold_is_seen_while_the_instance_cannot_be_read() {
    let mut scene = calm();
    scene.group.held = true;
    scene.look_in_vain(&Part::Lifecycle);
    scene.look(&Part::Group { with_activity: false });
    scene.pass(3 * 3600);
    scene.group.held = false;
    let shown = scene.now;
    for _ in 0..20 {
        let decision = scene.decide();
        match &decision.action {
            Action::Look(parts) => {
                for part in parts {
                    if *part == Part::Lifecycle { scene.look_in_vain(part) } else { scene.look(part) }
                }
            }
            Action::Do(_) => scene.obey(&decision),
            Action::Wait { .. } | Action::End(_) => scene.pass(15),
        }
    }
    assert_eq!(scene.budget().end, shown + secs(7200 - 30), "{:?}", scene.decide());
}
