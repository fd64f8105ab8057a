//! Mistakes about the end: it gives up too early or too late, or reports a wrong outcome.

use std::time::Duration;

use super::Mistake::{Does, Sees};
use super::{Context, WrongDriver};
use crate::faults::Fault;
use decamp_core::decide::{Action, Budget, Effect, Outcome, Reason, Unseen};

pub(super) const WRONG_DRIVERS: &[WrongDriver] = &[
    WrongDriver {
        name: "believes-every-claim",
        mistake: "It reserves for every stop the time that its job claims, and makes the deadline earlier for all others.",
        faults: &[Fault::ClaimsHours],
        kind: Sees(|view| view.policy.max_kill_timeout = Duration::MAX),
    },
    WrongDriver {
        name: "believes-the-default-cap",
        mistake: "It takes Nomad's default for the longest stop that clients allow, although their configuration says more.",
        faults: &[Fault::ClaimsHours],
        kind: Sees(|view| view.policy.max_kill_timeout = Duration::from_secs(30)),
    },
    WrongDriver {
        name: "gives-up-during-a-hold",
        mistake: "Its own time runs on while the group is held.",
        faults: &[Fault::HeldForHours],
        kind: Does(|context, decision| {
            let held = context.seen.group.last().is_some_and(|group| group.held);
            let began = Budget::of(context.departure, context.seen, context.policy).began;
            let up = held && began + context.policy.max_departure <= context.now && context.seen.history.completed.is_none();
            if up { context.complete(Outcome::TimedOut).unwrap_or(decision) } else { decision }
        }),
    },
    WrongDriver {
        name: "ends-a-hold-unseen",
        mistake: "At the end it takes a group that it could not read for one that is not held.",
        faults: &[Fault::HeldForHours, Fault::MessageLate],
        kind: Sees(|view| {
            if let (None, Some(tried)) = (view.seen.group.last(), view.seen.group.blind().map(|blind| blind.tried)) {
                view.seen.group.take(tried, Err(Unseen::Denied("as if for good".into())));
            }
        }),
    },
    WrongDriver {
        name: "gives-up-after-a-hold",
        mistake: "It counts the time of a hold against the departure.",
        faults: &[Fault::HeldForHours],
        kind: Sees(|view| {
            view.seen.history.held = None;
            view.seen.history.untouched = None;
        }),
    },
    WrongDriver {
        name: "lets-the-living-go",
        mistake: "It gives a dead agent its time, and does not ask Consul whether its services pass.",
        faults: &[Fault::AgentDead],
        kind: Does(|context, decision| match decision.reason {
            Reason::AgentLost { .. } if matches!(decision.action, Action::Wait { .. }) && given_up(context) => {
                context.complete(Outcome::AgentDead).unwrap_or(decision)
            }
            _ => decision,
        }),
    },
    WrongDriver {
        name: "forgets-a-leftover",
        mistake: "It reports departed for an instance that Consul still lists as routable.",
        faults: &[Fault::LeftoverRegistration],
        kind: Does(|context, decision| {
            context.effects(decision, |effect| match effect {
                Effect::Complete { of, result, verdict: Outcome::Unconfirmed { .. } } => {
                    Some(Effect::Complete { of, result, verdict: Outcome::Departed { waiting_for: None } })
                }
                other => Some(other),
            })
        }),
    },
    WrongDriver {
        name: "keeps-quiet-of-an-outage",
        mistake: "It reports departed although Consul could not be seen while services stopped.",
        faults: &[Fault::ConsulVanishes],
        kind: Does(|context, decision| {
            context.effects(decision, |effect| match effect {
                Effect::Complete { of, result, verdict: Outcome::Unconfirmed { unseen: Some(_), .. } } => {
                    Some(Effect::Complete { of, result, verdict: Outcome::Departed { waiting_for: None } })
                }
                other => Some(other),
            })
        }),
    },
    WrongDriver {
        name: "takes-the-credit",
        mistake: "It reports the outcome of its own completion although that was refused.",
        faults: &[Fault::TwoWorkers],
        kind: Does(|_, mut decision| {
            if decision.action == Action::End(Outcome::Overtaken) {
                decision.action = Action::End(Outcome::Departed { waiting_for: None });
            }
            decision
        }),
    },
    WrongDriver {
        name: "gives-up-on-old-evidence",
        mistake: "It releases a lost node because of a look from half a minute ago.",
        faults: &[Fault::AgentBackLate, Fault::ConsulAgentDead],
        kind: Does(|context, decision| {
            let confirming = decision.reason == Reason::MustConfirm && matches!(decision.action, Action::Look(_));
            let lost = confirming || matches!(decision.reason, Reason::AgentDead { .. });
            if lost && given_up(context) { context.complete(Outcome::AgentDead).unwrap_or(decision) } else { decision }
        }),
    },
];

/// Whether the waits for a dead agent and for its load balancers are over.
fn given_up(context: &Context<'_>) -> bool {
    let budget = Budget::of(context.departure, context.seen, context.policy);
    let since = context.seen.history.agents_dead_since.filter(|_| context.seen.history.completed.is_none());
    let waited = |at| at + context.policy.agent_dead_wait.max(budget.longest_stop) <= context.now;
    since.is_some_and(waited) && budget.force_at - budget.longest_stop > context.now
}
