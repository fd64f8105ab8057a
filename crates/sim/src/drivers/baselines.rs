//! Baselines: common ways to take an instance out of service, as drivers with decamp's interface. They look at the same world, and know
//! less about it.

use std::sync::Arc;
use std::time::Duration;

use decamp_core::decide::{
    Action, ActionRef, Decision, Departure, DrainMeta, Effect, GroupToRead, LifecycleResult, Node, Outcome, Part, Phase, Policy,
    Reason, Snapshot, WholeSeconds,
};
use decamp_core::ids::TargetGroupArn;
use decamp_core::time::Time;

/// How often a baseline looks.
const POLL: Duration = Duration::from_secs(2);

fn decision(action: Action, reason: Reason) -> Decision {
    Decision { action, reason }
}

fn look(parts: Vec<Part>) -> Decision {
    decision(Action::Look(parts), Reason::NotKnownYet)
}

fn wait(now: Time) -> Decision {
    decision(Action::Wait { until: now + POLL, watch: Vec::new() }, Reason::WorkLeft)
}

/// Completes the action that the event named, or ends if it was completed.
fn complete(departure: &Departure, seen: &Snapshot) -> Decision {
    if seen.history.completed.is_some() || seen.history.no_active_action.is_some() || seen.history.token_refused {
        return decision(Action::End(Outcome::Departed { waiting_for: None }), Reason::ActionCompleted);
    }
    let action = departure.action();
    let of = ActionRef {
        hook: action.and_then(|a| a.hook.clone()).unwrap_or_else(|| Arc::from("decamp")),
        token: action.and_then(|a| a.token.clone()),
    };
    let effect = Effect::Complete { of, result: LifecycleResult::Continue, verdict: Outcome::Departed { waiting_for: None } };
    decision(Action::Do(vec![effect]), Reason::NothingLeft)
}

/// Completes at once, as if there were no hook.
pub(super) fn terminate_at_once(departure: &Departure, seen: &Snapshot) -> Decision {
    complete(departure, seen)
}

fn node(seen: &Snapshot) -> Option<&Node> {
    seen.nomad.last()?.nodes.first()
}

fn drain(departure: &Departure, node: &Node) -> Decision {
    let meta = DrainMeta {
        action: departure.mark(),
        phase: Phase::All,
        until: Time::NEVER,
        longest_stop: Duration::ZERO,
        allocations: 0,
        warm: false,
        unproved: false,
    };
    let deadline = WholeSeconds::at_most(Duration::from_secs(600));
    let effect = Effect::Drain { node: node.id, deadline, ignore_system_jobs: false, meta };
    decision(Action::Do(vec![effect]), Reason::WorkLeft)
}

/// Drains, and trusts "complete". `None` when Nomad says so.
fn until_drained(departure: &Departure, seen: &Snapshot, now: Time) -> Option<Decision> {
    if seen.nomad.now().is_none() {
        return Some(match seen.nomad.blind() {
            Some(blind) if now < blind.tried + POLL => wait(now),
            _ => look(vec![Part::Nomad]),
        });
    }
    let node = node(seen)?;
    if node.last_drain.as_ref().is_none_or(|last| last.meta.is_none()) && node.drain.is_none() {
        return Some(drain(departure, node));
    }
    node.drain.as_ref()?;
    let looked = seen.nomad.at().unwrap_or(now);
    Some(if now < looked + POLL { wait(now) } else { look(vec![Part::Nomad]) })
}

/// Drains, and completes the action when Nomad says "complete".
pub(super) fn drain_only(departure: &Departure, seen: &Snapshot, now: Time) -> Decision {
    until_drained(departure, seen, now).unwrap_or_else(|| complete(departure, seen))
}

/// Deregisters every target of the instance, and waits until none is listed. `None` when none is.
fn until_deregistered(departure: &Departure, seen: &Snapshot, policy: &Policy, now: Time) -> Option<Decision> {
    let Some(group) = seen.group.last() else {
        return Some(match seen.group.blind() {
            Some(blind) if now < blind.tried + POLL => wait(now),
            _ => look(vec![Part::Group { with_activity: false }]),
        });
    };
    let read = |arn: &TargetGroupArn, attached| GroupToRead { arn: arn.clone(), attached };
    let named = group.hooks.iter().flat_map(|h| &h.target_groups).chain(&policy.target_groups).map(|arn| read(arn, false));
    let groups: Vec<_> = group.attached.iter().map(|arn| read(arn, true)).chain(named).collect();
    if groups.is_empty() {
        return None;
    }
    let look_at_all = || look(vec![Part::TargetGroups { groups: groups.clone(), attributes_again: false }]);
    if seen.balancers.len() < groups.len() || seen.balancers.iter().any(|b| b.sight.now().is_none()) {
        let tried = seen.balancers.iter().filter_map(|b| b.sight.blind()).map(|b| b.tried).max();
        return Some(match tried {
            Some(tried) if now < tried + POLL => wait(now),
            _ => look_at_all(),
        });
    }
    let mut effects = Vec::new();
    let mut listed = false;
    for group in seen.balancers.iter().filter_map(|b| b.sight.now()) {
        let ours = |t: &&decamp_core::decide::Target| t.id == decamp_core::ids::TargetId::Instance(departure.instance);
        let targets: Vec<_> = group.targets.iter().flat_map(|t| t.iter()).filter(ours).cloned().collect();
        listed |= !targets.is_empty();
        let registered: Vec<_> = targets.into_iter().filter(|t| t.health.is_registered()).collect();
        if !registered.is_empty() {
            effects.push(Effect::Deregister { group: group.arn.clone(), targets: registered });
        }
    }
    if !effects.is_empty() {
        return Some(decision(Action::Do(effects), Reason::TakesRequests));
    }
    let looked = seen.balancers.iter().filter_map(|b| b.sight.at()).min().unwrap_or(now);
    listed.then(|| if now < looked + POLL { wait(now) } else { look_at_all() })
}

/// Drains first, then deregisters.
pub(super) fn drain_then_deregister(departure: &Departure, seen: &Snapshot, policy: &Policy, now: Time) -> Decision {
    until_drained(departure, seen, now)
        .or_else(|| until_deregistered(departure, seen, policy, now))
        .unwrap_or_else(|| complete(departure, seen))
}

/// Drains and deregisters at the same time, without regard to the processes behind the targets.
pub(super) fn naive_overlap(departure: &Departure, seen: &Snapshot, policy: &Policy, now: Time) -> Decision {
    let deregistering = until_deregistered(departure, seen, policy, now);
    if let Some(Decision { action: Action::Look(_) | Action::Do(_), .. }) = &deregistering {
        return deregistering.unwrap_or_else(|| wait(now));
    }
    until_drained(departure, seen, now).or(deregistering).unwrap_or_else(|| complete(departure, seen))
}
