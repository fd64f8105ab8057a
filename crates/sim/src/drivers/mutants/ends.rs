//! Wrong about the end: when it hurries, what it takes for lost, and what it says when others have been there.

use std::time::Duration;

use super::How::{Does, Sees};
use super::{Scene, Wrong};
use crate::faults::Fault;
use decamp_core::decide::{Action, Budget, Effect, Outcome, Reason};

pub(super) const WRONG: &[Wrong] = &[
    Wrong {
        name: "believes-every-claim",
        mistake: "It leaves every stop the time that its job claims, and cuts everybody's deadline by it.",
        faults: &[Fault::ClaimsHours],
        how: Sees(|view| view.policy.max_kill_timeout = Duration::MAX),
    },
    Wrong {
        name: "gives-up-during-a-hold",
        mistake: "Its own clock goes on while the group is held.",
        faults: &[Fault::HeldForHours],
        how: Does(|scene, decision| {
            let held = scene.seen.group.last().is_some_and(|group| group.held);
            let began = Budget::of(scene.departure, scene.seen, scene.policy).began;
            let up = held && began + scene.policy.max_departure <= scene.now && scene.seen.history.completed.is_none();
            if up { scene.complete(Outcome::TimedOut).unwrap_or(decision) } else { decision }
        }),
    },
    Wrong {
        name: "gives-up-after-a-hold",
        mistake: "Its clock counts the time for which the group was held.",
        faults: &[Fault::HeldForHours],
        how: Sees(|view| {
            view.seen.history.held = None;
            view.seen.history.untouched = None;
        }),
    },
    Wrong {
        name: "lets-the-living-go",
        mistake: "It gives a dead agent its time, and does not ask Consul whether its services live.",
        faults: &[Fault::AgentDead],
        how: Does(|scene, decision| match decision.reason {
            Reason::AgentLost { .. } if matches!(decision.action, Action::Wait { .. }) && given_up(scene) => {
                scene.complete(Outcome::AgentDead).unwrap_or(decision)
            }
            _ => decision,
        }),
    },
    Wrong {
        name: "forgets-a-leftover",
        mistake: "It says departed of an instance that Consul still lists as routable.",
        faults: &[Fault::LeftoverRegistration],
        how: Does(|scene, decision| {
            scene.effects(decision, |effect| match effect {
                Effect::Complete { of, result, verdict: Outcome::Unconfirmed { .. } } => {
                    Some(Effect::Complete { of, result, verdict: Outcome::Departed { waiting_for: None } })
                }
                other => Some(other),
            })
        }),
    },
    Wrong {
        name: "keeps-quiet-of-an-outage",
        mistake: "It says departed although Consul could not be seen while services stopped.",
        faults: &[Fault::ConsulVanishes],
        how: Does(|scene, decision| {
            scene.effects(decision, |effect| match effect {
                Effect::Complete { of, result, verdict: Outcome::Unconfirmed { unseen: Some(_), .. } } => {
                    Some(Effect::Complete { of, result, verdict: Outcome::Departed { waiting_for: None } })
                }
                other => Some(other),
            })
        }),
    },
    Wrong {
        name: "takes-the-credit",
        mistake: "It says of a completion that was refused how its own would have ended.",
        faults: &[Fault::TwoWorkers],
        how: Does(|_, mut decision| {
            if decision.action == Action::End(Outcome::Overtaken) {
                decision.action = Action::End(Outcome::Departed { waiting_for: None });
            }
            decision
        }),
    },
    Wrong {
        name: "gives-up-on-old-evidence",
        mistake: "It lets a lost node go by what it saw half a minute ago.",
        faults: &[Fault::AgentBackLate, Fault::ConsulAgentDead],
        how: Does(|scene, decision| {
            let confirming = decision.reason == Reason::MustConfirm && matches!(decision.action, Action::Look(_));
            let lost = confirming || matches!(decision.reason, Reason::AgentDead { .. });
            if lost && given_up(scene) { scene.complete(Outcome::AgentDead).unwrap_or(decision) } else { decision }
        }),
    },
];

/// Whether a dead agent has had its time, and its load balancers theirs.
fn given_up(scene: &Scene<'_>) -> bool {
    let budget = Budget::of(scene.departure, scene.seen, scene.policy);
    let since = scene.seen.history.agents_dead_since.filter(|_| scene.seen.history.completed.is_none());
    let waited = |at| at + scene.policy.agent_dead_wait.max(budget.longest_stop) <= scene.now;
    since.is_some_and(waited) && budget.force_at - budget.longest_stop > scene.now
}
