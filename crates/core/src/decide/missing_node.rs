//! An instance that no Nomad node is: whether that was to be expected, or contradicts what else is known (ADR 0007).

use std::time::Duration;

use super::balancers;
use super::beginnings;
use super::case::Case;
use super::policy::is_named_by;
use super::proposal::{Proposal, look_again};
use super::snapshot::{Launched, NomadSight};
use super::{Part, Reason};
use crate::time::Time;

/// An instance that leaves at this age may never have joined: its start takes time, and one that does not come up is replaced.
const YOUNG: Duration = Duration::from_mins(15);
/// How often a node that is not there yet is looked for.
pub(super) const LOOK_FOR_NODE_EVERY: Duration = Duration::from_secs(5);
/// How often a node is looked for that should have been there all along.
const LOOK_FOR_MISSING_EVERY: Duration = Duration::from_secs(30);
/// How often the load balancers are looked at meanwhile: what is registered again in so long a time is taken out before the end.
const LOOK_AT_TARGETS_EVERY: Duration = Duration::from_mins(2);

/// What it means that no node is the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// It may well have none: there is nothing to wait for.
    Expected,
    /// Its group runs Nomad and it has had time to join: most likely it did, and cannot be recognised. What runs on it is not seen.
    Contradiction,
    /// How old it is has to be asked first.
    Unasked,
}

/// Whether the instance leaves so soon after its launch that it may never have come up; `None` if that has to be asked first.
pub(super) fn is_young(case: &Case<'_>) -> Option<bool> {
    match case.seen.group.last()?.launched {
        Launched::At(at) => Some(case.budget.began < at + YOUNG),
        Launched::Untold => Some(false),
        Launched::Unasked => None,
    }
}

fn missing(case: &Case<'_>) -> Missing {
    if case.policy.without_nomad.iter().any(|pattern| is_named_by(pattern, &case.departure.asg)) {
        return Missing::Expected;
    }
    if case.seen.history.was_healthy {
        return Missing::Contradiction;
    }
    match is_young(case) {
        Some(true) => Missing::Expected,
        Some(false) => Missing::Contradiction,
        None => Missing::Unasked,
    }
}

/// What to do while no node is the instance, and none was in this run.
pub(super) fn look_for_it(case: &Case<'_>, since: Time, looked: Time) -> Proposal {
    let again = |next: Time, reason| {
        if next <= case.now { Proposal::look(vec![Part::Nomad], reason) } else { Proposal::wait(next, reason) }
    };
    match missing(case) {
        Missing::Unasked => {
            let part = Part::Group { with_activity: true };
            look_again(case, &case.seen.group, part, Reason::NoNodeYet)
        }
        // An empty list contradicts nothing where the token may not have been shown more (ADR 0011).
        Missing::Contradiction if is_seen(case) => {
            let stale = balancers::seen_before(case, case.now - LOOK_AT_TARGETS_EVERY);
            if !stale.is_empty() && balancers::blind_until(case, &stale).is_none_or(|until| until <= case.now) {
                let part = Part::TargetGroups { groups: stale, attributes_again: false };
                return Proposal::look(vec![part], Reason::NodeMissing);
            }
            again(looked + LOOK_FOR_MISSING_EVERY, Reason::NodeMissing)
        }
        // By a look, not by the clock alone: it may have appeared since.
        Missing::Expected if since + case.policy.no_node_wait <= looked => Proposal::Done,
        Missing::Expected => again((looked + LOOK_FOR_NODE_EVERY).min(since + case.policy.no_node_wait), Reason::NoNodeYet),
        Missing::Contradiction => again(looked + LOOK_FOR_NODE_EVERY, Reason::NoNodeYet),
    }
}

/// No node of any status is this instance, that was to be expected, and it was waited for.
pub(super) fn no_node(case: &Case<'_>) -> bool {
    let waited = case.seen.nomad.at().zip(beginnings::no_node(case));
    is_nowhere(case)
        && missing(case) == Missing::Expected
        && waited.is_some_and(|(at, since)| since + case.policy.no_node_wait <= at)
}

/// No node of any status is this instance, nor was one in this run, as seen by a token that sees all.
pub(super) fn is_nowhere(case: &Case<'_>) -> bool {
    let nowhere = case.seen.nomad.now().is_some_and(|nomad| nomad.nodes.is_empty());
    is_seen(case) && nowhere && case.seen.history.known.is_empty()
}

fn is_seen(case: &Case<'_>) -> bool {
    matches!(case.seen.nomad_sight.last(), Some(NomadSight::Full))
}
