//! Wrong about the hook: when to begin, when to heartbeat, when and how it is over.

use std::time::Duration;

use super::How::{Does, Sees};
use super::{Scene, View, Wrong};
use crate::faults::Fault;
use decamp_core::decide::{
    Action, Decision, Effect, EffectKind, Lifecycle, LifecycleResult, Outcome, Reason, Refusal, Sight, our_hook,
};

const LONG: &[Fault] = &[Fault::HookIsShort, Fault::LongBatch];

pub(super) const WRONG: &[Wrong] = &[
    Wrong {
        name: "takes-any-hook",
        mistake: "It completes the hook that it hears of, although nobody has said which of several is its own.",
        faults: &[Fault::HooksNotNamed],
        how: Sees(|view| view.policy.hooks = vec!["decamp".into(), "another".into()]),
    },
    Wrong {
        name: "never-heartbeats",
        mistake: "It sends no heartbeat, so that the hook runs out while it waits.",
        faults: LONG,
        how: Sees(|view| view.seen.history.heartbeat = Some(view.now)),
    },
    Wrong {
        name: "heartbeats-too-late",
        mistake: "It sends a heartbeat after the time-out instead of at a third of it.",
        faults: LONG,
        how: Sees(heartbeats_too_late),
    },
    Wrong {
        name: "no-heartbeat-in-an-outage",
        mistake: "It stops its heartbeats while Nomad cannot be seen.",
        faults: &[Fault::HookIsShort, Fault::NomadDenied],
        how: Sees(|view| {
            if view.seen.nomad.now().is_none() {
                view.seen.history.heartbeat = Some(view.now);
            }
        }),
    },
    Wrong {
        name: "trusts-the-event",
        mistake: "It takes the event's word that the instance is leaving.",
        faults: &[Fault::InstanceDetached, Fault::HookIsShort],
        how: Sees(|view| view.seen.lifecycle = Sight::seen(view.now, Lifecycle::Waiting)),
    },
    Wrong {
        name: "new-root-volume-is-staying",
        mistake: "It takes an instance that waits for another root volume for one that stays.",
        faults: &[Fault::RootVolume],
        how: Sees(|view| {
            if view.seen.lifecycle.last() == Some(&Lifecycle::ReplacingRootVolume) {
                view.seen.lifecycle = Sight::seen(view.now, Lifecycle::Staying("ReplacingRootVolume:Wait".into()));
            }
        }),
    },
    Wrong {
        name: "new-root-volume-is-leaving",
        mistake: "It walks an instance out that comes back with another root volume.",
        faults: &[Fault::RootVolume],
        how: Sees(|view| {
            if view.seen.lifecycle.last() == Some(&Lifecycle::ReplacingRootVolume) {
                view.seen.lifecycle = Sight::seen(view.now, Lifecycle::Waiting);
            }
        }),
    },
    Wrong {
        name: "ignores-the-hold",
        mistake: "It does not heed the tag that holds the group.",
        faults: &[Fault::Held],
        how: Sees(|view| view.seen.group.edit(|group| group.held = false)),
    },
    Wrong {
        name: "completes-another-hook",
        mistake: "It completes whichever other terminating hook the group has.",
        faults: &[Fault::SecondHook],
        how: Does(completes_another_hook),
    },
    Wrong {
        name: "refused-token-is-success",
        mistake: "It takes \"no active lifecycle action\" for success, without a look.",
        faults: &[Fault::StaleToken],
        how: Does(|scene, decision| {
            let refused = scene.seen.history.token_refused || scene.seen.history.no_active_action.is_some();
            if refused { departed() } else { decision }
        }),
    },
    Wrong {
        name: "completes-on-403",
        mistake: "It takes a completion that was denied for done.",
        faults: &[Fault::CredentialsExpire],
        how: Does(|scene, decision| match completion_failure(scene) {
            Some(Refusal::Denied(_)) => departed(),
            _ => decision,
        }),
    },
    Wrong {
        name: "completes-on-silence",
        mistake: "It takes a completion that was not answered for done.",
        faults: &[Fault::NonsenseAnswers, Fault::RegionOutage],
        how: Does(|scene, decision| match completion_failure(scene) {
            Some(Refusal::Away(_)) => departed(),
            _ => decision,
        }),
    },
    Wrong {
        name: "never-completes",
        mistake: "It never completes the action and lets the hook run out.",
        faults: &[Fault::HookIsShort],
        how: Does(|scene, decision| scene.effects(decision, |effect| Some(effect).filter(|e| e.kind() != EffectKind::Complete))),
    },
    Wrong {
        name: "ends-without-completing",
        mistake: "It says how it ended where it should complete the action.",
        faults: &[],
        how: Does(|_, decision| match &decision.action {
            Action::Do(effects) if effects.iter().any(|e| e.kind() == EffectKind::Complete) => departed(),
            _ => decision,
        }),
    },
    Wrong {
        name: "abandons",
        mistake: "It completes with ABANDON although nothing is left, so that other hooks are skipped.",
        faults: &[],
        how: Does(|scene, decision| {
            scene.effects(decision, |effect| match effect {
                Effect::Complete { of, verdict, .. } => Some(Effect::Complete { of, result: LifecycleResult::Abandon, verdict }),
                other => Some(other),
            })
        }),
    },
    Wrong {
        name: "calls-it-departed",
        mistake: "It says departed, however it ended.",
        faults: &[Fault::LongBatch, Fault::NeedsForce, Fault::StuckStop],
        how: Does(|scene, decision| {
            scene.effects(decision, |effect| match effect {
                Effect::Complete { of, result, .. } => {
                    Some(Effect::Complete { of, result, verdict: Outcome::Departed { waiting_for: None } })
                }
                other => Some(other),
            })
        }),
    },
    Wrong {
        name: "gives-up-early",
        mistake: "It gives every departure only a minute and a half, and cuts what is left.",
        faults: &[],
        how: Sees(|view| view.policy.max_departure = Duration::from_secs(90)),
    },
    Wrong {
        name: "never-gives-up",
        mistake: "It holds the instance for as long as anything runs on it.",
        faults: &[Fault::LongBatch],
        how: Sees(|view| view.policy.max_departure = Duration::from_hours(48)),
    },
    Wrong {
        name: "lets-go-in-an-outage",
        mistake: "It lets the instance go when Nomad could not be seen three times.",
        faults: &[Fault::NomadDenied, Fault::NomadThrottled],
        how: Does(lets_go_in_an_outage),
    },
    Wrong {
        name: "never-pauses",
        mistake: "It looks again at once instead of waiting.",
        faults: &[],
        how: Does(|_, decision| match decision.action {
            Action::Wait { .. } => {
                Decision { action: Action::Look(vec![decamp_core::decide::Part::Nomad]), reason: decision.reason }
            }
            _ => decision,
        }),
    },
];

fn departed() -> Decision {
    Decision { action: Action::End(Outcome::Departed { waiting_for: None }), reason: Reason::ActionCompleted }
}

fn completion_failure<'a>(scene: &'a Scene<'_>) -> Option<&'a Refusal> {
    scene.seen.history.failures(EffectKind::Complete).map(|row| &row.why)
}

fn heartbeats_too_late(view: &mut View<'_>) {
    let timeout = our_hook(view.departure, &view.seen, &view.policy).map_or(Duration::ZERO, |hook| hook.heartbeat_timeout);
    let history = &mut view.seen.history;
    if view.now < history.heartbeat.unwrap_or(history.began) + timeout + timeout / 4 {
        history.heartbeat = Some(view.now);
    }
}

fn completes_another_hook(scene: &Scene<'_>, decision: Decision) -> Decision {
    let ours = our_hook(scene.departure, scene.seen, scene.policy).map(|hook| &hook.name);
    let other = scene.seen.group.last().and_then(|group| group.hooks.iter().find(|hook| Some(&hook.name) != ours));
    let Some(other) = other else { return decision };
    scene.effects(decision, |effect| match effect {
        Effect::Complete { mut of, result, verdict } => {
            of.hook = other.name.clone();
            of.token = None;
            Some(Effect::Complete { of, result, verdict })
        }
        effect => Some(effect),
    })
}

fn lets_go_in_an_outage(scene: &Scene<'_>, decision: Decision) -> Decision {
    let out = scene.seen.nomad.blind().is_some_and(|blind| 3 <= blind.tries);
    if !out || scene.seen.history.completed.is_some() {
        return decision;
    }
    scene.complete(Outcome::TimedOut).unwrap_or(decision)
}
