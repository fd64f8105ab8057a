//! An instance that is not a Nomad node: whether that is expected, or contradicts something else (ADR 0007).

use std::time::Duration;

use super::balancers;
use super::beginnings;
use super::case::Case;
use super::policy::is_named_by;
use super::proposal::{Proposal, look_again};
use super::snapshot::{Launched, TokenAccess};
use super::{Part, Reason};
use crate::time::Time;

/// An instance of this age may never have joined: it takes time to start, and one that does not come up is replaced.
const YOUNG: Duration = Duration::from_mins(15);
/// How often decamp looks for a node that may still join.
pub(super) const LOOK_FOR_NODE_EVERY: Duration = Duration::from_secs(5);
/// How often decamp looks for a node that should have been there.
const LOOK_FOR_MISSING_EVERY: Duration = Duration::from_secs(30);
/// How often it looks at the load balancers meanwhile. A target that is registered again in that long time is deregistered before the end.
const LOOK_AT_TARGETS_EVERY: Duration = Duration::from_mins(2);

/// What it means that the instance is not a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// It may not have one. There is nothing to wait for.
    Expected,
    /// Its group runs Nomad and it had time to join. Most likely it has a node that cannot be recognised, and what runs there cannot be
    /// seen.
    Contradiction,
    /// Its age has to be asked first.
    Unasked,
}

/// Whether the instance leaves so soon after its launch that it may never have come up. `None` if that has to be asked first.
pub(super) fn is_young(case: &Case<'_>) -> Option<bool> {
    match case.seen.group.last()?.launched {
        Launched::At(at) => Some(case.budget.began < at + YOUNG),
        Launched::Untold => Some(false),
        Launched::Unasked => None,
    }
}

/// Whether its group runs no Nomad, by the operator's settings. Then there is nothing but its load balancers to leave.
pub(super) fn runs_no_nomad(case: &Case<'_>) -> bool {
    case.policy.without_nomad.iter().any(|pattern| is_named_by(pattern, &case.departure.asg))
}

fn missing(case: &Case<'_>) -> Missing {
    if runs_no_nomad(case) {
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

/// What to do while the instance is not a node, and was none in this run.
pub(super) fn look_for_it(case: &Case<'_>, since: Time, looked: Time) -> Proposal {
    let again = |next: Time, reason| {
        if next <= case.now { Proposal::look(vec![Part::Nomad], reason) } else { Proposal::wait(next, reason) }
    };
    match missing(case) {
        Missing::Unasked => {
            let part = Part::Group { with_activity: true };
            look_again(case, &case.seen.group, part, Reason::NoNodeYet)
        }
        // An empty list contradicts nothing if the token may not see more (ADR 0011).
        Missing::Contradiction if is_seen(case) => {
            let stale = balancers::last_read_before(case, case.now - LOOK_AT_TARGETS_EVERY);
            if !stale.is_empty() && balancers::unreadable_until(case, &stale).is_none_or(|until| until <= case.now) {
                let part = Part::TargetGroups { groups: stale, attributes_again: false };
                return Proposal::look(vec![part], Reason::NodeMissing);
            }
            again(looked + LOOK_FOR_MISSING_EVERY, Reason::NodeMissing)
        }
        // A look decides, not the clock alone: the node may have appeared since.
        Missing::Expected if since + case.policy.no_node_wait <= looked => Proposal::Done,
        Missing::Expected => again((looked + LOOK_FOR_NODE_EVERY).min(since + case.policy.no_node_wait), Reason::NoNodeYet),
        Missing::Contradiction => again(looked + LOOK_FOR_NODE_EVERY, Reason::NoNodeYet),
    }
}

/// The instance is no node of any status, that was expected, and it was waited for.
pub(super) fn no_node(case: &Case<'_>) -> bool {
    let waited = case.seen.nomad.at().zip(beginnings::no_node(case));
    is_nowhere(case)
        && missing(case) == Missing::Expected
        && waited.is_some_and(|(at, since)| since + case.policy.no_node_wait <= at)
}

/// The instance is no node of any status and was none in this run, as seen by a token that sees everything.
pub(super) fn is_nowhere(case: &Case<'_>) -> bool {
    let nowhere = case.seen.nomad.now().is_some_and(|nomad| nomad.nodes.is_empty());
    is_seen(case) && nowhere && case.seen.history.known.is_empty()
}

fn is_seen(case: &Case<'_>) -> bool {
    matches!(case.seen.nomad_token.last(), Some(TokenAccess::Full))
}
