//! A node whose agent Nomad has lost: it is let go early only if nothing shows that its processes live (D38).

use std::sync::Arc;
use std::time::Duration;

use super::budget::Budget;
use super::leaving;
use super::registrations::controlled;
use super::scope::Scope;
use super::snapshot::Provider;
use super::step::{Step, look_again, retry_at};
use super::{Outcome, Part, Reason, System};
use crate::time::Time;

/// How often signs of life are looked for again.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How old the evidence may be from which it is concluded that nothing lives.
const RECENT: Duration = Duration::from_secs(5);

/// What is done about a lost node, once nothing is registered with a load balancer.
pub(super) fn given_up(scope: &Scope<'_>, budget: &Budget, until: Time, now: Time) -> Step {
    if now < until {
        return Step::wait(until, reason(scope, budget, until));
    }
    let seen = scope.seen;
    let mut parts = Vec::new();
    match look_for_life(scope, budget, now) {
        Step::Satisfied => {}
        Step::Look(more, _) => parts.extend(more),
        waiting @ (Step::Wait { .. } | Step::Do(..)) => return waiting,
    }
    if seen.nomad.fresh_at().is_none_or(|at| at + RECENT < now) {
        match look_again(&seen.nomad, Part::Nomad, System::Nomad, now, Reason::MustConfirm) {
            Step::Look(more, _) => parts.extend(more),
            waiting @ (Step::Wait { .. } | Step::Do(..) | Step::Satisfied) => return waiting,
        }
    }
    let stale = super::balancers::seen_before(scope, now - RECENT);
    if !stale.is_empty() && super::balancers::blind_until(scope, &stale).is_none() {
        parts.push(Part::TargetGroups { groups: stale, attributes_again: false });
    }
    if !parts.is_empty() {
        return Step::Look(parts, Reason::MustConfirm);
    }
    leaving::complete(scope, scope.policy.on_timeout, Outcome::AgentDead, reason(scope, budget, until), now)
}

/// Why a lost node is waited for.
pub(super) fn reason(scope: &Scope<'_>, budget: &Budget, until: Time) -> Reason {
    match alive(scope) {
        Some(service) => Reason::AgentLost { service, until: budget.end },
        None => Reason::AgentDead { until },
    }
}

/// A service of the node that passes its checks under a Consul agent that lives, by a look since the agent was lost.
fn alive(scope: &Scope<'_>) -> Option<Arc<str>> {
    scope.seen.consul.at().filter(|at| scope.seen.history.agents_dead_since.is_some_and(|since| since <= *at))?;
    let registrations = scope.seen.consul.last().filter(|r| scope.policy.consul && !r.agent_dead)?;
    registrations.services.iter().find(|r| !r.critical).map(|r| Arc::clone(&r.service))
}

/// Satisfied if a look a moment ago showed that nothing lives. What cannot be seen, or not wholly, is no such look.
fn look_for_life(scope: &Scope<'_>, budget: &Budget, now: Time) -> Step {
    let consul = &scope.seen.consul;
    // A purge takes what declares a service out of the list: Consul is asked all the same, if it can be.
    let asked_in_vain = !scope.declares(Provider::Consul) && consul.blind().is_some();
    if !scope.policy.consul || asked_in_vain {
        return Step::Satisfied;
    }
    let look = |reason| look_again(consul, Part::Consul, System::Consul, now, reason);
    let Some((at, registrations)) = consul.fresh_at().zip(consul.now()) else { return look(Reason::MustConfirm) };
    let nothing = registrations.agent_dead || registrations.services.iter().all(|r| r.critical);
    let proved = registrations.agent_dead || registrations.whole || controlled(scope) || !scope.declares(Provider::Consul);
    if nothing && proved {
        return if at + RECENT < now { look(Reason::MustConfirm) } else { Step::Satisfied };
    }
    let reason = match alive(scope) {
        Some(service) => Reason::AgentLost { service, until: budget.end },
        None => Reason::CannotSee(System::Consul),
    };
    let next = at.max(consul.blind().map_or(at, |blind| retry_at(blind.tried, blind.tries))) + LOOK_EVERY;
    if next <= now { look(reason) } else { Step::Wait { until: next, watch: vec![Part::Consul], reason } }
}
