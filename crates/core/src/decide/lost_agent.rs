//! A node whose agent Nomad has lost. It is released early only if nothing shows that its processes are alive (ADR 0005).

use std::sync::Arc;
use std::time::Duration;

use super::case::Case;
use super::lifecycle_hook;
use super::nodes::agent_dead_until;
use super::proposal::{Order, Proposal, look_again, merge, retry_at};
use super::registrations::is_controlled;
use super::snapshot::Provider;
use super::{Outcome, Part, Reason, System};
use crate::ids::TargetGroupArn;
use crate::time::Time;

/// How often decamp looks for signs of life again.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How old the evidence may be that nothing is alive.
const RECENT: Duration = Duration::from_secs(5);

/// A wait for something that only the node's agent can do. A dead agent does nothing, so it is waited for only as long as for its
/// allocations. `again`: when Nomad is looked at again.
pub(super) fn while_agent_lives(case: &Case<'_>, again: Time, wait: Proposal) -> Proposal {
    match agent_dead_until(case) {
        None => wait,
        Some(until) if case.now < until => Proposal::watch(until.min(again), Part::Nomad, Reason::AgentDead { until }),
        Some(_) => Proposal::Done,
    }
}

/// What to do about a lost node once no target is registered.
pub(super) fn give_up(case: &Case<'_>, until: Time) -> Proposal {
    if case.now < until {
        return Proposal::wait(until, reason(case, until));
    }
    let seen = case.seen;
    let life = look_for_life(case);
    let node = if life.is_look() || !is_recent(case, seen.nomad.fresh_at()) {
        look_again(case, &seen.nomad, Part::Nomad, Reason::MustConfirm)
    } else {
        Proposal::Done
    };
    let round = merge(Order::OneRound, [life, node]);
    if round.is_wait() {
        return round;
    }
    let mut old = super::balancers::last_read_before(case, case.now);
    if !round.is_look() {
        let seen_at = |arn: &TargetGroupArn| {
            seen.balancers.iter().find(|balancer| balancer.arn == *arn).and_then(|found| found.sight.fresh_at())
        };
        old.retain(|group| !is_recent(case, seen_at(&group.arn)));
    }
    let mut parts = Vec::new();
    if !old.is_empty() && super::balancers::unreadable_until(case, &old).is_none() {
        // If one part is old, all are read again in one round, including whose the addresses are.
        if !round.is_look() {
            parts.extend(consul_too(case));
            parts.push(Part::Nomad);
        }
        parts.push(Part::TargetGroups { groups: old, attributes_again: false });
        parts.extend(case.ask_again());
    }
    let round = merge(Order::OneRound, [round, Proposal::look(parts, Reason::MustConfirm)]);
    if round.is_look() {
        return round.look_because(Reason::MustConfirm);
    }
    lifecycle_hook::complete(case, case.policy.on_timeout, Outcome::AgentDead, reason(case, until))
}

/// Whether it was read a moment ago, or in the round of looks that has just ended.
fn is_recent(case: &Case<'_>, looked: Option<Time>) -> bool {
    looked.is_some_and(|at| case.seen.history.is_recent(at, RECENT, case.now))
}

/// Consul, if it can be read.
fn consul_too(case: &Case<'_>) -> Option<Part> {
    (case.policy.consul && case.seen.consul.blind().is_none()).then_some(Part::Consul)
}

/// Why decamp waits for a lost node.
pub(super) fn reason(case: &Case<'_>, until: Time) -> Reason {
    match alive(case) {
        Some(service) => Reason::AgentLost { service, until: case.budget.end },
        None => Reason::AgentDead { until },
    }
}

/// A service of the node that passes its checks under a live Consul agent, by a look since Nomad lost its agent.
fn alive(case: &Case<'_>) -> Option<Arc<str>> {
    case.seen.consul.at().filter(|at| case.seen.history.agents_dead_since.is_some_and(|since| since <= *at))?;
    let registrations = case.seen.consul.last().filter(|r| case.policy.consul && !r.agent_dead)?;
    registrations.services.iter().find(|r| !r.critical).map(|r| Arc::clone(&r.service))
}

/// `Done` if a recent look shows that nothing is alive. A part that was not fully read shows nothing.
fn look_for_life(case: &Case<'_>) -> Proposal {
    let consul = &case.seen.consul;
    // After a purge, no job on the list declares the service. Consul is asked all the same, if it can be read.
    let asked_in_vain = !case.declares(Provider::Consul) && consul.blind().is_some();
    if !case.policy.consul || asked_in_vain {
        return Proposal::DoesNotApply;
    }
    let look = |reason| look_again(case, consul, Part::Consul, reason);
    let Some((at, registrations)) = consul.fresh_at().zip(consul.now()) else { return look(Reason::MustConfirm) };
    let nothing = registrations.agent_dead || registrations.services.iter().all(|r| r.critical);
    let proved = registrations.agent_dead || registrations.whole || is_controlled(case) || !case.declares(Provider::Consul);
    if nothing && proved {
        return if is_recent(case, Some(at)) { Proposal::Done } else { look(Reason::MustConfirm) };
    }
    let reason = match alive(case) {
        Some(service) => Reason::AgentLost { service, until: case.budget.end },
        None => Reason::CannotSee(System::Consul),
    };
    let next = at.max(consul.blind().map_or(at, |blind| retry_at(blind.tried, blind.tries))) + LOOK_EVERY;
    if next <= case.now { look(reason) } else { Proposal::watch(next, Part::Consul, reason) }
}
