//! A node whose agent Nomad has lost: it is let go early only if nothing shows that its processes live (ADR 0005).

use std::sync::Arc;
use std::time::Duration;

use super::budget::Budget;
use super::leaving;
use super::proposal::{Order, Proposal, look_again, merge, retry_at};
use super::registrations::controlled;
use super::scope::Scope;
use super::snapshot::Provider;
use super::{Outcome, Part, Reason, System};
use crate::ids::TargetGroupArn;
use crate::time::Time;

/// How often signs of life are looked for again.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How old the evidence may be from which it is concluded that nothing lives.
const RECENT: Duration = Duration::from_secs(5);

/// What is done about a lost node, once nothing is registered with a load balancer.
pub(super) fn given_up(scope: &Scope<'_>, budget: &Budget, until: Time, now: Time) -> Proposal {
    if now < until {
        return Proposal::wait(until, reason(scope, budget, until));
    }
    let seen = scope.seen;
    let life = look_for_life(scope, budget, now);
    let node = if life.is_look() || !is_recent(scope, seen.nomad.fresh_at(), now) {
        look_again(&seen.nomad, Part::Nomad, System::Nomad, now, Reason::MustConfirm)
    } else {
        Proposal::Done
    };
    let round = merge(Order::OneRound, [life, node]);
    if round.is_wait() {
        return round;
    }
    let mut old = super::balancers::seen_before(scope, now);
    if !round.is_look() {
        let seen_at = |arn: &TargetGroupArn| {
            seen.balancers.iter().find(|balancer| balancer.arn == *arn).and_then(|found| found.sight.fresh_at())
        };
        old.retain(|(arn, _)| !is_recent(scope, seen_at(arn), now));
    }
    let mut parts = Vec::new();
    if !old.is_empty() && super::balancers::blind_until(scope, &old).is_none() {
        // If one part is old, all are read again in one round, whose the addresses are among them.
        if !round.is_look() {
            parts.extend(consul_too(scope));
            parts.push(Part::Nomad);
        }
        parts.push(Part::TargetGroups { groups: old, attributes_again: false });
        parts.extend(scope.ask_again());
    }
    let round = merge(Order::OneRound, [round, Proposal::look(parts, Reason::MustConfirm)]);
    if round.is_look() {
        return round.look_because(Reason::MustConfirm);
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

/// Done if a look a moment ago showed that nothing lives. What cannot be seen, or not wholly, is no such look.
fn look_for_life(scope: &Scope<'_>, budget: &Budget, now: Time) -> Proposal {
    let consul = &scope.seen.consul;
    // A purge takes what declares a service out of the list: Consul is asked all the same, if it can be.
    let asked_in_vain = !scope.declares(Provider::Consul) && consul.blind().is_some();
    if !scope.policy.consul || asked_in_vain {
        return Proposal::DoesNotApply;
    }
    let look = |reason| look_again(consul, Part::Consul, System::Consul, now, reason);
    let Some((at, registrations)) = consul.fresh_at().zip(consul.now()) else { return look(Reason::MustConfirm) };
    let nothing = registrations.agent_dead || registrations.services.iter().all(|r| r.critical);
    let proved = registrations.agent_dead || registrations.whole || controlled(scope) || !scope.declares(Provider::Consul);
    if nothing && proved {
        return if is_recent(scope, Some(at), now) { Proposal::Done } else { look(Reason::MustConfirm) };
    }
    let reason = match alive(scope) {
        Some(service) => Reason::AgentLost { service, until: budget.end },
        None => Reason::CannotSee(System::Consul),
    };
    let next = at.max(consul.blind().map_or(at, |blind| retry_at(blind.tried, blind.tries))) + LOOK_EVERY;
    if next <= now { look(reason) } else { Proposal::watch(next, Part::Consul, reason) }
}
