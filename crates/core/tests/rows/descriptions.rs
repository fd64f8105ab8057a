//! Names: each thing has one, no two have the same, and each can be searched for.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use decamp_core::decide::{
    Action, ActionKind, ActionRef, BlockerKind, DrainMeta, Effect, EffectKind, LifecycleResult, Outcome, Part, Phase, Reason,
    ReasonClass, ReasonKind, System, WholeSeconds,
};
use decamp_core::ids::NodeId;
use decamp_core::time::Time;
use strum::{IntoEnumIterator, VariantNames};

use crate::facts::arn;

/// Each name is there once, in lower case and without spaces.
fn are_words<T: Debug>(all: impl IntoIterator<Item = T>, word: impl Fn(&T) -> &'static str) {
    let mut words = BTreeSet::new();
    for one in all {
        let word = word(&one);
        assert!(!word.is_empty() && word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-'), "{one:?}: {word}");
        assert!(words.insert(word), "{one:?} has a word of another: {word}");
    }
    assert!(1 < words.len());
}

#[test]
fn every_reason_write_outcome_blocker_and_system_has_its_own_name() {
    are_words(ReasonKind::iter(), |kind| kind.word());
    are_words(EffectKind::iter(), |kind| kind.word());
    are_words(BlockerKind::iter(), |kind| kind.word());
    are_words(Outcome::WORDS.iter().copied(), |word| word);
    are_words(System::VARIANTS.iter().copied(), |word| word);
    let steps = [ActionKind::Look, ActionKind::Wait, ActionKind::End];
    are_words(steps.into_iter().chain(EffectKind::iter().map(ActionKind::Write)), |kind| kind.word());
    assert_eq!(Reason::WORDS.len(), ReasonKind::iter().count());
}

#[test]
fn a_reason_has_the_same_name_in_json() {
    for kind in ReasonKind::iter() {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
    }
    let reason = Reason::CannotSee(System::Nomad);
    assert_eq!(serde_json::to_value(&reason).unwrap()["reason"], reason.word());
}

#[test]
fn every_class_has_a_reason_and_only_those_that_do_not_end_by_themselves_are_blocks() {
    for class in ReasonClass::iter() {
        assert!(ReasonKind::iter().any(|kind| kind.class() == class), "{class:?}");
    }
    assert!(ReasonKind::AgentDead.class().is_blocked() && ReasonKind::NodeMissing.class().is_blocked());
    assert!(!ReasonKind::LoadBalancerDelay.class().is_blocked() && !ReasonKind::NotKnownYet.class().is_blocked());
}

#[test]
fn each_look_has_its_own_description() {
    let parts = [
        Part::Lifecycle,
        Part::Group { with_activity: false },
        Part::TargetGroups { groups: Vec::new(), attributes_again: false },
        Part::Scan,
        Part::Nomad,
        Part::NomadToken,
        Part::Consul,
        Part::NomadServices,
        Part::Addresses(Vec::new()),
    ];
    let titles: BTreeSet<_> = parts.iter().map(Part::title).collect();
    assert_eq!(titles.len(), parts.len());
}

#[test]
fn a_write_is_described_with_its_node_and_shorter_in_a_story() {
    let (node, now) = (NodeId(1), Time(1_000));
    let (action, until, longest_stop) = ("mark".into(), Time(9_000), Duration::ZERO);
    let meta = DrainMeta { action, phase: Phase::All, until, longest_stop, allocations: 0, warm: false, unproved: false };
    let deadline = WholeSeconds::at_most(Duration::from_secs(90));
    let all = [
        (Effect::Heartbeat(ActionRef { hook: "ours".into(), token: None }), "heartbeat", "heartbeat"),
        (Effect::MakeIneligible(node), "make node {} ineligible", "make the node ineligible"),
        (Effect::Deregister { group: arn("web"), targets: Vec::new() }, "deregister 0 of web", "deregister 0 of web"),
        (Effect::Drain { node, deadline, ignore_system_jobs: false, meta }, "drain node {} (all, 90s)", "drain all (90s)"),
        (
            Effect::Complete {
                of: ActionRef { hook: "ours".into(), token: None },
                result: LifecycleResult::Continue,
                verdict: Outcome::Forced,
            },
            "complete: Continue",
            "complete: Continue",
        ),
    ];
    for (effect, title, brief) in &all {
        assert_eq!((effect.title(), effect.brief()), (title.replace("{}", &node.to_string()), (*brief).to_owned()));
    }
    let both = Action::Do(all.into_iter().map(|(effect, _, _)| effect).take(2).collect());
    assert_eq!(both.kind(), ActionKind::Write(EffectKind::Heartbeat));
    assert_eq!(both.brief(), "heartbeat; make the node ineligible");
    let wait = |until| Action::Wait { until, watch: Vec::new() };
    assert_eq!(wait(Time(61_000)).title(now), "wait 60s at most");
    assert_eq!((wait(Time(61_000)).brief(), wait(Time::NEVER).title(now)), ("wait".to_owned(), "wait".to_owned()));
}

#[test]
fn a_reason_that_only_repeats_its_outcome_explains_nothing() {
    let unconfirmed = Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() };
    let refused = Outcome::Refused { why: "no node write".into() };
    let cases = [
        (Outcome::Departed { waiting_for: None }, Reason::NothingLeft, true),
        (unconfirmed, Reason::NothingLeft, true),
        (Outcome::Forced, Reason::TimeIsUp, true),
        (Outcome::TimedOut, Reason::CannotSee(System::Nomad), true),
        (Outcome::TimedOut, Reason::TimeIsUp, false),
        (Outcome::Expired, Reason::TimeIsUp, false),
        (Outcome::AlreadyPast, Reason::PastItsHook, false),
        (Outcome::Departed { waiting_for: None }, Reason::ActionCompleted, false),
        (Outcome::Gone, Reason::NotListed, false),
        (Outcome::NotOurs, Reason::NoHookOfOurs, false),
        (refused, Reason::NoSight("no node write".into()), false),
    ];
    for (outcome, reason, explains) in cases {
        assert_eq!(outcome.is_explained_by(&reason), explains, "{outcome:?}, {reason:?}");
    }
}
