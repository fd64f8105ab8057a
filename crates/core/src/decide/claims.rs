//! Claims of CSI volumes: the instance stays until Nomad has released those of its allocations, and so does the plugin that unmounts the
//! volumes (ADR 0047).

use std::sync::Arc;
use std::time::Duration;

use super::case::Case;
use super::lost_agent::while_agent_lives;
use super::nodes::LOOK_EVERY;
use super::outcome::each_once;
use super::proposal::{Proposal, must_see};
use super::snapshot::{Allocation, Claims, JobKind, Node};
use super::{Part, Reason};

/// Waits until no ended allocation of the instance claims a volume. Without an agent nothing unmounts a volume, so a dead one is waited for
/// only as long as for its allocations.
pub(super) fn all_released(case: &Case<'_>) -> Proposal {
    let Some(looked) = case.seen.nomad.fresh_at() else {
        return must_see(case, &case.seen.nomad, Part::Nomad);
    };
    let mut claiming = claiming(case).peekable();
    let Some(first) = claiming.peek().copied() else { return Proposal::Done };
    let again = (looked + LOOK_EVERY).max(case.now + Duration::from_secs(1));
    let volume = first.claims.held.first().map(Arc::clone).unwrap_or_default();
    let count = claiming.map(|allocation| allocation.claims.held.len()).sum::<usize>();
    let reason =
        Reason::VolumeClaimed { count: u32::try_from(count).unwrap_or(u32::MAX), volume, title: first.group.title().into() };
    while_agent_lives(case, again, Proposal::watch(again, Part::Nomad, reason))
}

/// Whether the system jobs of a node have to wait, and with them its CSI plugins: something on it uses a CSI volume, or has ended and still
/// claims one.
pub(super) fn keep_system_jobs(case: &Case<'_>, node: &Node) -> bool {
    let moves = |a: &&Allocation| !matches!(a.group.kind, JobKind::System) && a.group.claims_volumes();
    node.allocations.iter().filter(moves).any(|a| !a.claims.held.is_empty()) || case.remaining(node).any(|a| moves(&a))
}

/// Whether nothing but system jobs is left on the instance, and these wait for claims.
pub(super) fn only_system_jobs_wait(case: &Case<'_>) -> bool {
    claiming(case).next().is_some()
        && case.all_remaining().all(|a| a.group.kind == JobKind::System && a.wanted)
        && case.nodes().iter().any(|node| keep_system_jobs(case, node))
}

/// The volumes that are still claimed, each once, with what claims them: `volume of job/group`.
pub(super) fn held(case: &Case<'_>) -> Arc<[Arc<str>]> {
    named(case, |claims| &claims.held)
}

/// The volumes whose claims Nomad does not show to decamp's token.
pub(super) fn unread(case: &Case<'_>) -> Arc<[Arc<str>]> {
    named(case, |claims| &claims.unread)
}

fn named(case: &Case<'_>, which: impl Fn(&Claims) -> &[Arc<str>]) -> Arc<[Arc<str>]> {
    let of = |a: &'_ Allocation| {
        which(&a.claims).iter().map(|volume| format!("{volume} of {}", a.group.title()).into()).collect::<Vec<_>>()
    };
    each_once(case.allocations().flat_map(of))
}

/// The ended allocations that claim a volume, as they were last seen.
fn claiming<'c>(case: &'c Case<'_>) -> impl Iterator<Item = &'c Allocation> {
    case.allocations().filter(|allocation| !allocation.claims.held.is_empty())
}
