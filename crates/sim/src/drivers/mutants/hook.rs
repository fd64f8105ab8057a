//! Mistakes about the hook: when to begin, when to send heartbeats, when and how to complete.

use std::time::Duration;

use super::Mistake::{Does, Sees};
use super::{AlteredView, Context, WrongDriver};
use crate::faults::Fault;
use decamp_core::decide::{
    Action, Decision, Effect, EffectKind, Lifecycle, LifecycleResult, Observed, Outcome, Reason, Refusal, our_hook,
};

const LONG: &[Fault] = &[Fault::HookIsShort, Fault::LongBatch];

pub(super) const WRONG_DRIVERS: &[WrongDriver] = &[
    WrongDriver {
        name: "takes-any-hook",
        mistake: "It completes the hook of its event, although the settings do not say which of several is decamp's.",
        faults: &[Fault::HooksNotNamed],
        kind: Sees(|view| view.policy.hooks = vec!["decamp".into(), "another".into()]),
    },
    WrongDriver {
        name: "takes-any-hook-while-blind",
        mistake: "It completes the hook of its event while the instance cannot be read, although the settings do not say which of several is decamp's.",
        faults: &[Fault::HooksNotNamed, Fault::DeniedForGood],
        kind: Sees(|view| {
            if view.seen.lifecycle.now().is_none() {
                view.policy.hooks = vec!["decamp".into(), "another".into()];
            }
        }),
    },
    WrongDriver {
        name: "never-heartbeats",
        mistake: "It sends no heartbeat, so that the hook runs out while it waits.",
        faults: LONG,
        kind: Sees(|view| view.seen.history.heartbeat = Some(view.now)),
    },
    WrongDriver {
        name: "heartbeats-too-late",
        mistake: "It sends a heartbeat after the time-out instead of at a third of it.",
        faults: LONG,
        kind: Sees(heartbeats_too_late),
    },
    WrongDriver {
        name: "no-heartbeat-in-an-outage",
        mistake: "It stops its heartbeats while Nomad cannot be seen.",
        faults: &[Fault::HookIsShort, Fault::NomadDenied],
        kind: Sees(|view| {
            if view.seen.nomad.now().is_none() {
                view.seen.history.heartbeat = Some(view.now);
            }
        }),
    },
    WrongDriver {
        name: "trusts-the-event",
        mistake: "It trusts the event that the instance is leaving.",
        faults: &[Fault::InstanceDetached, Fault::HookIsShort],
        kind: Sees(|view| view.seen.lifecycle = Observed::seen(view.now, Lifecycle::Waiting)),
    },
    WrongDriver {
        name: "new-root-volume-is-staying",
        mistake: "It takes an instance that waits for another root volume for one that stays.",
        faults: &[Fault::RootVolume],
        kind: Sees(|view| {
            if view.seen.lifecycle.last() == Some(&Lifecycle::ReplacingRootVolume) {
                view.seen.lifecycle = Observed::seen(view.now, Lifecycle::Staying("ReplacingRootVolume:Wait".into()));
            }
        }),
    },
    WrongDriver {
        name: "new-root-volume-is-leaving",
        mistake: "It drains an instance that comes back with another root volume.",
        faults: &[Fault::RootVolume],
        kind: Sees(|view| {
            if view.seen.lifecycle.last() == Some(&Lifecycle::ReplacingRootVolume) {
                view.seen.lifecycle = Observed::seen(view.now, Lifecycle::Waiting);
            }
        }),
    },
    WrongDriver {
        name: "ignores-the-hold",
        mistake: "It ignores the tag that holds the group.",
        faults: &[Fault::Held],
        kind: Sees(|view| view.seen.group.edit(|group| group.held = false)),
    },
    WrongDriver {
        name: "completes-another-hook",
        mistake: "It completes another terminating hook of the group.",
        faults: &[Fault::SecondHook],
        kind: Does(completes_another_hook),
    },
    WrongDriver {
        name: "refused-token-is-success",
        mistake: "It takes \"no active lifecycle action\" for success, without a look.",
        faults: &[Fault::StaleToken],
        kind: Does(|context, decision| {
            let refused = context.seen.history.token_refused || context.seen.history.no_active_action.is_some();
            if refused { departed() } else { decision }
        }),
    },
    WrongDriver {
        name: "completes-on-403",
        mistake: "It takes a completion that was denied for done.",
        faults: &[Fault::CredentialsExpire],
        kind: Does(|context, decision| match completion_failure(context) {
            Some(Refusal::Denied(_)) => departed(),
            _ => decision,
        }),
    },
    WrongDriver {
        name: "completes-on-silence",
        mistake: "It takes a completion that was not answered for done.",
        faults: &[Fault::NonsenseAnswers, Fault::RegionOutage],
        kind: Does(|context, decision| match completion_failure(context) {
            Some(Refusal::Away(_)) => departed(),
            _ => decision,
        }),
    },
    WrongDriver {
        name: "never-completes",
        mistake: "It never completes the action and lets the hook run out.",
        faults: &[Fault::HookIsShort],
        kind: Does(|context, decision| {
            context.effects(decision, |effect| Some(effect).filter(|e| e.kind() != EffectKind::Complete))
        }),
    },
    WrongDriver {
        name: "ends-without-completing",
        mistake: "It reports an outcome instead of completing the action.",
        faults: &[],
        kind: Does(|_, decision| match &decision.action {
            Action::Do(effects) if effects.iter().any(|e| e.kind() == EffectKind::Complete) => departed(),
            _ => decision,
        }),
    },
    WrongDriver {
        name: "abandons",
        mistake: "It completes with ABANDON although nothing is left, which skips other hooks.",
        faults: &[],
        kind: Does(|context, decision| {
            context.effects(decision, |effect| match effect {
                Effect::Complete { of, verdict, .. } => Some(Effect::Complete { of, result: LifecycleResult::Abandon, verdict }),
                other => Some(other),
            })
        }),
    },
    WrongDriver {
        name: "calls-it-departed",
        mistake: "It reports departed for every outcome.",
        faults: &[Fault::LongBatch, Fault::NeedsForce, Fault::StuckStop],
        kind: Does(|context, decision| {
            context.effects(decision, |effect| match effect {
                Effect::Complete { of, result, .. } => {
                    Some(Effect::Complete { of, result, verdict: Outcome::Departed { waiting_for: None } })
                }
                other => Some(other),
            })
        }),
    },
    WrongDriver {
        name: "gives-up-early",
        mistake: "It gives every departure only a minute and a half, and cuts what is left.",
        faults: &[],
        kind: Sees(|view| view.policy.max_departure = Duration::from_secs(90)),
    },
    WrongDriver {
        name: "never-gives-up",
        mistake: "It holds the instance for as long as anything runs on it.",
        faults: &[Fault::LongBatch],
        kind: Sees(|view| view.policy.max_departure = Duration::from_hours(48)),
    },
    WrongDriver {
        name: "lets-go-in-an-outage",
        mistake: "It releases the instance when Nomad could not be seen three times.",
        faults: &[Fault::NomadDenied, Fault::NomadThrottled],
        kind: Does(lets_go_in_an_outage),
    },
    WrongDriver {
        name: "never-pauses",
        mistake: "It looks again at once instead of waiting.",
        faults: &[],
        kind: Does(|_, decision| match decision.action {
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

fn completion_failure<'a>(context: &'a Context<'_>) -> Option<&'a Refusal> {
    context.seen.history.failures(EffectKind::Complete).map(|row| &row.why)
}

fn heartbeats_too_late(view: &mut AlteredView<'_>) {
    let timeout = our_hook(view.departure, &view.seen, &view.policy).map_or(Duration::ZERO, |hook| hook.heartbeat_timeout);
    let history = &mut view.seen.history;
    if view.now < history.heartbeat.unwrap_or(history.began) + timeout + timeout / 4 {
        history.heartbeat = Some(view.now);
    }
}

fn completes_another_hook(context: &Context<'_>, decision: Decision) -> Decision {
    let ours = our_hook(context.departure, context.seen, context.policy).map(|hook| &hook.name);
    let other = context.seen.group.last().and_then(|group| group.hooks.iter().find(|hook| Some(&hook.name) != ours));
    let Some(other) = other else { return decision };
    context.effects(decision, |effect| match effect {
        Effect::Complete { mut of, result, verdict } => {
            of.hook = other.name.clone();
            of.token = None;
            Some(Effect::Complete { of, result, verdict })
        }
        effect => Some(effect),
    })
}

fn lets_go_in_an_outage(context: &Context<'_>, decision: Decision) -> Decision {
    let out = context.seen.nomad.blind().is_some_and(|blind| 3 <= blind.tries);
    if !out || context.seen.history.completed.is_some() {
        return decision;
    }
    context.complete(Outcome::TimedOut).unwrap_or(decision)
}
