//! Questions to a decision: what it writes, waits for, or ends with.

use decamp_core::decide::{Action, Decision, Effect, EffectKind, Outcome, Reason, Target};
use decamp_core::ids::{ActionToken, NodeId, TargetGroupArn, TargetId};

use crate::facts::{self, instance};

/// The writes, if any.
pub(crate) fn effects(decision: &Decision) -> &[Effect] {
    match &decision.action {
        Action::Do(effects) => effects,
        Action::Look(_) | Action::Wait { .. } | Action::End(_) => &[],
    }
}

/// Whether something of this kind is written.
pub(crate) fn writes(decision: &Decision, kind: EffectKind) -> bool {
    effects(decision).iter().any(|effect| effect.kind() == kind)
}

/// The outcome, if the departure has ended.
pub(crate) fn ended(decision: &Decision) -> Option<&Outcome> {
    match &decision.action {
        Action::End(outcome) => Some(outcome),
        Action::Look(_) | Action::Do(_) | Action::Wait { .. } => None,
    }
}

/// The name of the reason.
pub(crate) fn why(decision: &Decision) -> &'static str {
    decision.reason.word()
}

/// Nothing is written, and the reason is this one.
#[track_caller]
pub(crate) fn only_waits(decision: &Decision, reason: &str) {
    assert!(matches!(decision.action, Action::Wait { .. }), "it waits: {decision:?}");
    assert_eq!(why(decision), reason, "{decision:?}");
}

/// It ends with this outcome, for this reason, and nothing is written.
#[track_caller]
pub(crate) fn ends(decision: &Decision, outcome: &Outcome, reason: &Reason) {
    assert_eq!((ended(decision), &decision.reason), (Some(outcome), reason), "{decision:?}");
}

/// The result and the verdict of the completion.
#[track_caller]
pub(crate) fn completion(decision: &Decision) -> (decamp_core::decide::LifecycleResult, Outcome) {
    let found = effects(decision).iter().find_map(|effect| match effect {
        Effect::Complete { result, verdict, .. } => Some((*result, verdict.clone())),
        Effect::Heartbeat(_)
        | Effect::MakeIneligible(_)
        | Effect::Deregister { .. }
        | Effect::Drain { .. }
        | Effect::Note { .. } => None,
    });
    found.unwrap_or_else(|| panic!("it completes the action: {decision:?}"))
}

/// The drain: its deadline in seconds, whether system jobs stay, and its `Meta`.
#[track_caller]
pub(crate) fn drain(decision: &Decision) -> (u64, bool, decamp_core::decide::DrainMeta) {
    let found = effects(decision).iter().find_map(|effect| match effect {
        Effect::Drain { deadline, ignore_system_jobs, meta, .. } => {
            Some((deadline.span().as_secs(), *ignore_system_jobs, meta.clone()))
        }
        Effect::Heartbeat(_)
        | Effect::MakeIneligible(_)
        | Effect::Deregister { .. }
        | Effect::Complete { .. }
        | Effect::Note { .. } => None,
    });
    found.unwrap_or_else(|| panic!("it drains: {decision:?}"))
}

/// The deregistered targets: group, target and port.
pub(crate) fn deregistrations(decision: &Decision) -> Vec<(TargetGroupArn, TargetId, u16)> {
    let mut all = Vec::new();
    for effect in effects(decision) {
        if let Effect::Deregister { group, targets } = effect {
            all.extend(targets.iter().map(|t| (group.clone(), t.id.clone(), t.port)));
        }
    }
    all
}

/// A target of ours at this port.
pub(crate) fn ours(port: u16) -> Target {
    facts::target(TargetId::Instance(instance()), port)
}

/// The hook's name and the token in the completion.
pub(crate) fn completed_by(decision: &Decision) -> Option<(String, Option<ActionToken>)> {
    let refs =
        effects(decision).iter().filter_map(|effect| if let Effect::Complete { of, .. } = effect { Some(of) } else { None });
    refs.map(|of| (of.hook.to_string(), of.token.clone())).next()
}

/// The nodes that are drained.
pub(crate) fn drained_nodes(decision: &Decision) -> Vec<NodeId> {
    let nodes =
        effects(decision).iter().filter_map(|effect| if let Effect::Drain { node, .. } = effect { Some(*node) } else { None });
    nodes.collect()
}
