//! A node whose agent Nomad has lost: it is let go early only if nothing shows that its processes live (ADR 0005).

use std::sync::Arc;
use std::time::Duration;

use super::budget::Budget;
use super::leaving;
use super::registrations::controlled;
use super::scope::Scope;
use super::snapshot::Provider;
use super::step::{Step, look_again, retry_at};
use super::{Outcome, Part, Reason, System};
use crate::ids::TargetGroupArn;
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
    let node = look_again(&seen.nomad, Part::Nomad, System::Nomad, now, Reason::MustConfirm);
    match node {
        Step::Look(more, _) if !parts.is_empty() || !is_recent(scope, seen.nomad.fresh_at(), now) => parts.extend(more),
        Step::Look(..) => {}
        waiting @ (Step::Wait { .. } | Step::Do(..) | Step::Satisfied) => return waiting,
    }
    let mut old = super::balancers::seen_before(scope, now);
    if parts.is_empty() {
        let seen_at = |arn: &TargetGroupArn| {
            seen.balancers.iter().find(|balancer| balancer.arn == *arn).and_then(|found| found.sight.fresh_at())
        };
        old.retain(|(arn, _)| !is_recent(scope, seen_at(arn), now));
    }
    if !old.is_empty() && super::balancers::blind_until(scope, &old).is_none() {
        // If one part is old, all are read again in one round, whose the addresses are among them: with slow answers, one round after
        // the other would make each other's results old without end.
        if parts.is_empty() {
            parts.extend(consul_too(scope));
            parts.push(Part::Nomad);
        }
        parts.push(Part::TargetGroups { groups: old, attributes_again: false });
        parts.extend(scope.ask_again());
    }
    if !parts.is_empty() {
        return Step::Look(parts, Reason::MustConfirm);
    }
    leaving::complete(scope, scope.policy.on_timeout, Outcome::AgentDead, reason(scope, budget, until), now)
}

/// Whether it was looked at a moment ago, or in the round of looks that ended then.
fn is_recent(scope: &Scope<'_>, looked: Option<Time>, now: Time) -> bool {
    looked.is_some_and(|at| scope.seen.history.is_recent(at, RECENT, now))
}

/// Consul, where it can be asked.
fn consul_too(scope: &Scope<'_>) -> Option<Part> {
    (scope.policy.consul && scope.seen.consul.blind().is_none()).then_some(Part::Consul)
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
        return if is_recent(scope, Some(at), now) { Step::Satisfied } else { look(Reason::MustConfirm) };
    }
    let reason = match alive(scope) {
        Some(service) => Reason::AgentLost { service, until: budget.end },
        None => Reason::CannotSee(System::Consul),
    };
    let next = at.max(consul.blind().map_or(at, |blind| retry_at(blind.tried, blind.tries))) + LOOK_EVERY;
    if next <= now { look(reason) } else { Step::Wait { until: next, watch: vec![Part::Consul], reason } }
}
