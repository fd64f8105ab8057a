//! Service discovery: after everything is over, no registration of the instance may be routable (ADR 0010, 0011).

use std::time::Duration;

use super::case::Case;
use super::proposal::{Order, Proposal, look_again, merge};
use super::snapshot::{Provider, Registration, Registrations};
use super::{Observed, Part, Reason, by_hand};
use crate::time::Time;

/// Registrations are watched, and read again this often.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// How far discovery has removed the instance.
pub(super) struct Discovery {
    /// What to do next.
    pub(super) proposal: Proposal,
    /// Whether it proves that no routable registration is left.
    pub(super) proved: bool,
}

/// What to do next about discovery. `over_at` is the look that showed everything over.
pub(super) fn discovery(case: &Case<'_>, over_at: Time) -> Discovery {
    let seen = case.seen;
    let consul = case.policy.consul && case.declares(Provider::Consul);
    let native = case.declares(Provider::Nomad);
    let mut proved = true;
    let mut proposals = Vec::new();
    // A registration that is routable after the whole wait was given up and is not gone. The outcome says so (ADR 0010).
    let routable = |sight: &Observed<Registrations>| {
        sight.now().is_some_and(|registrations| registrations.services.iter().any(|one| counts(case, registrations, one)))
    };
    proved &= !(consul && routable(&seen.consul) || native && routable(&seen.nomad_services));
    if consul {
        proposals.push(removed(case, &seen.consul, Part::Consul, over_at));
        proved &= seen.consul.now().is_some_and(|r| r.whole) || is_controlled(case) || !ran_in_consul(case);
    }
    if by_hand::waits(case) {
        // If Consul does not show the node, it hides what is registered there.
        proved &= consul || seen.consul.now().is_some_and(|r| r.whole);
        proposals.push(by_hand::removed(case, over_at));
    }
    if let Some(tried) = by_hand::unknown_since(case).filter(|_| !consul) {
        // One more try before the machine goes. If it fails, nobody knows what is registered by hand.
        proved = false;
        proposals.push(if tried < over_at { Proposal::look(vec![Part::Consul], Reason::MustConfirm) } else { Proposal::Done });
    }
    if native {
        proposals.push(removed(case, &seen.nomad_services, Part::NomadServices, over_at));
    }
    Discovery { proposal: merge(Order::InTurn, proposals), proved }
}

fn removed(case: &Case<'_>, sight: &Observed<Registrations>, part: Part, over_at: Time) -> Proposal {
    let fresh = sight.fresh_at().filter(|at| over_at <= *at).and_then(|at| sight.now().map(|r| (at, r)));
    let Some((looked, registrations)) = fresh else {
        return look_again(case, sight, part, Reason::MustConfirm);
    };
    let mut left = registrations.services.iter().filter(|r| counts(case, registrations, r)).peekable();
    let Some(first) = left.peek() else { return Proposal::Done };
    // Each wait begins at the end of the registration's own allocation, even if an earlier worker saw that end.
    let left_since = |one: &Registration| ended(case, one).unwrap_or(over_at).min(over_at);
    let since = registrations.services.iter().filter(|r| counts(case, registrations, r)).map(left_since).max();
    let given_up = since.unwrap_or(over_at) + case.policy.leftover_wait;
    if given_up <= case.now {
        // The report names it. Its allocation is over, so it answers nobody.
        return Proposal::Done;
    }
    let service = first.service.clone();
    let count = u32::try_from(left.count()).unwrap_or(u32::MAX);
    let until = (looked + LOOK_EVERY).min(given_up);
    if until <= case.now {
        return look_again(case, sight, part, Reason::StillRegistered { count, service });
    }
    Proposal::watch(until, part, Reason::StillRegistered { count, service })
}

/// Whether a registration may still bring requests to the instance. Not if it is critical, if its agent is dead, or if its allocation is
/// exempt. One of an allocation that was lost before this run counts, because it shows that the process is alive.
fn counts(case: &Case<'_>, all: &Registrations, one: &Registration) -> bool {
    let routable = !one.critical && !all.agent_dead;
    let stays = case.allocations().any(|a| a.id == one.allocation && !a.client.is_over() && case.is_exempt(a));
    routable && !stays
}

/// When the last task of a registration's allocation ended, if Nomad still lists it.
fn ended(case: &Case<'_>, one: &Registration) -> Option<Time> {
    let mut listed = case.allocations();
    listed.find(|a| a.id == one.allocation && a.client.is_over())?.ended
}

/// Whether an allocation with services in Consul ran during the departure. What ended before needs no proof: its end was no matter of this
/// departure, and a registration that is left of it is listed and waited for.
fn ran_in_consul(case: &Case<'_>) -> bool {
    case.seen.history.last_in_consul.is_some_and(|ended| !case.is_before(ended))
}

/// Whether this run saw a registration for every Consul service that its allocations declare. Then a later empty answer is a true one (ADR
/// 0011).
pub(super) fn is_controlled(case: &Case<'_>) -> bool {
    let history = &case.seen.history;
    // If nothing was left from the first, there is no control look for an empty answer.
    history.known.iter().any(|known| known.group.in_consul().next().is_some())
        && history.known.iter().all(|known| history.lists_all_of(known))
}
