//! The end of a departure: everything is over, or the time is up. The last looks prove it, an outcome names it, and decamp completes the
//! action.

use std::time::Duration;

use super::balancers;
use super::case::Case;
use super::proposal::{Order, Proposal, merge};
use super::snapshot::{DrainMeta, Phase, Provider, TokenAccess};
use super::{Cause, EffectKind, LifecycleResult, Observed, Outcome, Part, Reason, StoppedUnseen};
use super::{
    claims, consul_outage, disks, lifecycle_hook, local_data, missing_node, registrations, traffic_sources, uncertain_targets,
    unlisted,
};
use crate::time::Time;

/// How old the last look at the load balancers may be. The wait for a registration may take longer.
const STALE: Duration = Duration::from_secs(60);
/// Right before the completion the node is read once more, unless Nomad answered this recently. That shows work that landed late.
const LAST_ANSWER: Duration = Duration::from_secs(1);
/// When the time is up, everything that is older than this is read once more.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// Everything is over: discovery, one last look at everything, and the completion. `Done` if there is no action to complete.
pub(super) fn finish(case: &Case<'_>, release: Time, no_node: bool) -> Proposal {
    let seen = case.seen;
    // If the node that was set aside is the live one, the other one's agent is dead, and Nomad will say so.
    let until = case.budget.began + case.policy.agent_dead_wait;
    if case.work_may_be_set_aside() && case.now < until {
        return Proposal::watch(until, Part::Nomad, Reason::AgentDead { until });
    }
    let vanished = case.vanished().map(|vanished| vanished.until);
    let over_at = seen.history.nomad_changed.max(vanished).unwrap_or(Time(0));
    let discovery = registrations::discovery(case, over_at);
    let stale = balancers::last_read_before(case, over_at.max(release).max(case.now - STALE));
    let confirming = merge(Order::Together, [balancers::look_at(stale, Reason::MustConfirm), discovery.proposal]);
    if confirming.is_wait() {
        return confirming;
    }
    // Other systems may answer seconds after Nomad. Then Nomad alone is asked again.
    let heard = seen.history.nomad_answered.filter(|_| seen.nomad.fresh_at().is_some());
    let is_recent = heard.is_some_and(|at| case.now <= at + LAST_ANSWER);
    let node = if is_recent { Proposal::Done } else { Proposal::look(vec![Part::Nomad], Reason::MustConfirm) };
    let confirming = merge(Order::Together, [confirming, node]);
    if confirming.is_look() {
        return confirming.look_because(Reason::MustConfirm);
    }
    if matches!(case.departure.cause, Cause::Interruption { .. }) {
        return Proposal::Done;
    }
    // Nobody copies the disks of a node whose agent is dead.
    if let Some(verdict) = data_left(case) {
        return lifecycle_hook::complete(case, case.policy.on_timeout, verdict, Reason::NoneKnownToRun);
    }
    let proved = discovery.proved && is_proved(case);
    let (verdict, reason) = verdict(case, no_node, proved, consul_outage::stopped_unseen(case));
    lifecycle_hook::complete(case, LifecycleResult::Continue, verdict, reason)
}

/// The outcome if data was left on the instance.
fn data_left(case: &Case<'_>) -> Option<Outcome> {
    let (titles, claims, local) = (disks::titles(case), claims::held(case), local_data::left(case));
    let nothing = titles.is_empty() && claims.is_empty() && local.is_empty();
    (!nothing).then(|| Outcome::DataLeft { titles, claims, local, cut: was_forced(case) })
}

/// Whether nothing that was seen, now or by an earlier run, contradicts the result (ADR 0011, 0009).
fn is_proved(case: &Case<'_>) -> bool {
    let in_groups = case.unknown_targets().next().is_none()
        && !uncertain_targets::lists_nothing(case)
        && traffic_sources::are_all_handled(case);
    let in_nomad = !case.work_may_be_set_aside() && claims::unread(case).is_empty();
    in_groups && in_nomad && unlisted::never_listed(case).next().is_none() && !unlisted::was_noted(case)
}

/// The outcome if nothing is left. Something that could not be read is never reported as gone.
fn verdict(case: &Case<'_>, no_node: bool, proved: bool, unseen: Option<StoppedUnseen>) -> (Outcome, Reason) {
    if no_node && !missing_node::runs_no_nomad(case) {
        (Outcome::NoNode, Reason::NoNodeYet)
    } else if !proved || unseen.is_some() || case.node_row_is_gone() {
        (Outcome::Unconfirmed { unseen, cut: was_forced(case), unread: claims::unread(case) }, Reason::NoneKnownToRun)
    } else if was_forced(case) {
        (Outcome::Forced, Reason::NothingLeft)
    } else {
        (Outcome::Departed { waiting_for: None }, Reason::NothingLeft)
    }
}

/// Nomad counts a drain's deadline in whole seconds, so it may come this much earlier.
const WHOLE_SECONDS: Duration = Duration::from_secs(1);

/// Whether allocations were cut short, by a deadline that passed or by a forced drain of ours. A worker that comes later learns of the deadline
/// from the drain's `Meta`, and from the tasks that were told to stop then.
fn was_forced(case: &Case<'_>) -> bool {
    let last_told = || case.allocations().filter_map(|allocation| allocation.told).max();
    let cut = |meta: &DrainMeta| last_told().is_some_and(|told| meta.until <= told + WHOLE_SECONDS);
    case.seen.history.cut_by_deadline
        || case.seen.history.has_forced()
        || case.own_drains().any(|meta| meta.phase == Phase::Forced || cut(meta))
}

/// The end (ADR 0001): decamp itself completes the action, by `on_timeout`.
pub(super) fn time_is_up(case: &Case<'_>) -> Proposal {
    // The group may be held, and the action may be another tool's, so it is not completed on a guess. If Auto Scaling stays away, the hook
    // ends by itself (ADR 0013, 0015).
    let may_be_another_tools = lifecycle_hook::group_may_be_known_later(case) || lifecycle_hook::is_another_tools(case);
    if case.now < case.budget.end || may_be_another_tools {
        return Proposal::DoesNotApply;
    }
    let confirming = confirming_the_end(case);
    if !confirming.is_settled() {
        return confirming;
    }
    // A list proves something only if the token can see everything (ADR 0011).
    let over = matches!(case.seen.nomad_token.last(), Some(TokenAccess::Full))
        && case.seen.nomad.now().is_some_and(|nomad| !nomad.nodes.is_empty())
        && case.all_remaining().next().is_none()
        && case.vanished().is_none_or(|vanished| vanished.until <= case.now);
    // Only the group shows which load balancers there are.
    let released = case.seen.group.last().is_some() && balancers::balancing(case).released;
    // A target that may still be sent to is not nothing (ADR 0009).
    let unseen = consul_outage::stopped_unseen(case);
    let proved = is_proved(case) && unseen.is_none();
    let left = data_left(case);
    let verdict = match (over && released, proved && was_forced(case)) {
        _ if missing_node::is_nowhere(case) && released && !missing_node::runs_no_nomad(case) => Outcome::NoNode,
        (true, proved) => match left {
            Some(left) => left,
            None if proved => Outcome::Forced,
            None => Outcome::Unconfirmed { unseen, cut: was_forced(case), unread: claims::unread(case) },
        },
        // Nobody could stop or watch its processes.
        (false, _) if case.seen.history.agents_dead_since.is_some() && case.all_remaining().next().is_some() => {
            Outcome::AgentDead
        }
        (false, _) => Outcome::TimedOut,
    };
    lifecycle_hook::complete(case, case.policy.on_timeout, verdict, Reason::TimeIsUp)
}

/// Reads again what the outcome is about to state, right before it does. A part that cannot be read holds up nothing.
fn confirming_the_end(case: &Case<'_>) -> Proposal {
    fn is_old<T>(sight: &Observed<T>, time: Time) -> bool {
        let tried = sight.blind().map(|blind| blind.tried);
        sight.fresh_at().max(tried) < Some(time)
    }
    let seen = case.seen;
    let recent = case.now - LAST_LOOK;
    // Only once: the answers may be slow, and the completion has to succeed.
    if case.budget.end + LAST_LOOK < case.now || seen.history.failures(EffectKind::Complete).is_some() {
        return Proposal::DoesNotApply;
    }
    let mut parts = Vec::new();
    if is_old(&seen.nomad, recent) {
        parts.push(Part::Nomad);
    }
    if case.policy.consul && case.declares(Provider::Consul) && is_old(&seen.consul, recent) {
        parts.push(Part::Consul);
    }
    let mut old = balancers::last_read_before(case, recent);
    old.retain(|group| seen.balancers.iter().any(|b| b.arn == group.arn && is_old(&b.sight, recent)));
    if !old.is_empty() {
        parts.push(Part::TargetGroups { groups: old, attributes_again: false });
    }
    Proposal::look(parts, Reason::MustConfirm)
}
