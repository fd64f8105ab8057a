//! The rules: a snapshot goes in, the next action and its reason come out. No I/O, no clock, no `.await`.

mod acl;
mod action;
mod balancers;
mod beginnings;
mod blocker;
mod budget;
mod by_hand;
mod case;
mod claims;
mod comparison;
mod connections;
mod consul_outage;
mod departure;
mod descriptions;
mod disks;
mod duplicate_nodes;
mod ending;
mod findings;
mod interruption;
mod last_target;
mod lifecycle_hook;
mod local_data;
mod lost_agent;
mod missing_node;
mod nodes;
mod observed;
mod outcome;
mod overlap;
mod ownership;
mod policy;
mod proposal;
mod reason;
mod reason_class;
mod registrations;
mod remaining;
pub mod snapshot;
mod stops;
mod traefik;
mod traffic_sources;
mod uncertain_targets;
mod unlisted;

pub use self::acl::{AclNamespace, AclRules, token_access};
pub use self::action::*;
pub use self::beginnings::{keeps_notes, last_written, remember};
pub use self::blocker::{Blocker, BlockerKind};
pub use self::budget::{Budget, Misfit, UNREADABLE_DELAY, guard, may_send_for, needed, our_hook};
pub use self::comparison::{Compared, Counted, LookBack, Match, Minute, Sign, compare, look_back, with_counts};
pub use self::departure::*;
pub use self::descriptions::{ActionKind, EffectKind};
pub use self::duplicate_nodes::{Twin, set_aside};
pub use self::findings::{Finding, Layer, Loss, foreseen_losses, ingress_forgets};
pub use self::lifecycle_hook::last_heartbeat;
pub use self::observed::*;
pub use self::outcome::*;
pub use self::ownership::{addresses_to_ask, targets_of};
pub use self::policy::*;
pub use self::reason::*;
pub use self::reason_class::ReasonClass;
pub use self::snapshot::*;
pub use self::stops::{Foreseen, PAST, StopKind, TaskStops, foreseen_stops, stop_evidence, stop_findings, stops};
pub use self::traefik::{Follows, Traefik};

use self::case::Case;
use self::proposal::{Merged, Order, Proposal, decide_among, merge};
use crate::time::Time;

/// Room for the proposals of all concerns.
const MOST_PROPOSALS: usize = 14;

/// Decides the next action of a departure, and says why.
///
/// Every snapshot has an answer. The concerns are asked in the order of a departure. Each returns a proposal, and
/// `proposal::merge` makes one decision of them.
#[must_use]
pub fn decide(departure: &Departure, seen: &Snapshot, policy: &Policy, now: Time) -> Decision {
    let case = &Case::new(departure, seen, policy, now);
    next(case).decision
}

/// Every reason of the decision that [`decide`] makes, each once, its own first.
#[must_use]
pub fn reasons(departure: &Departure, seen: &Snapshot, policy: &Policy, now: Time) -> Vec<Reason> {
    let case = &Case::new(departure, seen, policy, now);
    let Merged { decision, others } = next(case);
    let mut all = vec![decision.reason];
    for other in others {
        if !all.contains(&other) {
            all.push(other);
        }
    }
    all
}

/// Checks whether the departure has ended, whether the instance leaves by a hook of ours, and whether its group is held. Then the departure
/// proper begins.
fn next(case: &Case<'_>) -> Merged {
    let seen = case.seen;
    if let Some(decision) = lifecycle_hook::ended(case) {
        return decision.into();
    }
    let heartbeat = lifecycle_hook::heartbeat(case);
    let confirmed = lifecycle_hook::confirmed(case);
    if confirmed.is_look() {
        let first_round = merge(Order::InTurn, [confirmed, nomad_at_first(case)]);
        return decide_among(case, [heartbeat, first_round]);
    }
    // The group alone shows whose the hook is, also while the instance cannot be read.
    let interrupted = matches!(case.departure.cause, Cause::Interruption { .. });
    if confirmed.is_settled() || seen.lifecycle.blind().is_some() && seen.group.last().is_some() {
        if lifecycle_hook::hook_is_ambiguous(case) {
            return Decision { action: Action::End(Outcome::NotOurs), reason: Reason::WhichHook }.into();
        }
        if !interrupted && !lifecycle_hook::is_ours(case) {
            return Decision { action: Action::End(Outcome::NotOurs), reason: Reason::NoHookOfOurs }.into();
        }
    }
    if !confirmed.is_settled() {
        // A drain goes on stopping allocations while Auto Scaling cannot be read.
        let (watched, news) = (consul_outage::watched(case, false), watches_nomad(seen));
        let note = beginnings::write_down_an_outage(case);
        return decide_among(case, [ending::time_is_up(case), note, confirmed, watched, news, heartbeat]);
    }
    if case.budget.end <= case.now {
        return decide_among(case, [ending::time_is_up(case)]);
    }
    let held = lifecycle_hook::held(case);
    if !held.is_settled() {
        return decide_among(case, [held, heartbeat]);
    }
    let local_data = local_data::held(case);
    if !local_data.is_settled() {
        return decide_among(case, [local_data, watches_nomad(seen), heartbeat]);
    }
    let replaces_root_volume = lifecycle_hook::replaces_root_volume(case);
    if !replaces_root_volume.is_settled() {
        // The next worker has to know only when the departure began.
        let note = if nodes::may_write(case) {
            let balancing = balancers::balancing(case);
            beginnings::write_down(case, &balancing)
        } else {
            Proposal::DoesNotApply
        };
        return decide_among(case, [note, replaces_root_volume, heartbeat]);
    }
    let token = nodes::token(case);
    if case.policy.refuse_without_sight {
        if let Some(why) = nodes::token_never_suffices(case) {
            let outcome = Outcome::Refused { why: why.clone() };
            return Decision { action: Action::End(outcome), reason: Reason::NoSight(why) }.into();
        }
        if seen.nomad_token.at().is_none() {
            return decide_among(case, [token, heartbeat]);
        }
    }
    depart(case, token, heartbeat)
}

/// The part of the first round of looks that does not depend on Auto Scaling's answer.
fn nomad_at_first(case: &Case<'_>) -> Proposal {
    let nomad = &case.seen.nomad;
    if nomad.at().is_some() || nomad.blind().is_some() {
        return Proposal::DoesNotApply;
    }
    Proposal::look(vec![Part::Nomad, Part::NomadToken], Reason::NotKnownYet)
}

/// The departure proper: everything that decamp does for an instance that leaves by a hook of ours.
fn depart(case: &Case<'_>, token: Proposal, heartbeat: Proposal) -> Merged {
    let seen = case.seen;
    let may_write = nodes::may_write(case);
    let mut balancing = balancers::balancing(case);
    let ineligible = nodes::make_ineligible(case, may_write);
    let settled = ineligible.is_settled() && token.is_settled();
    let mut proposals = Vec::with_capacity(MOST_PROPOSALS);
    proposals.extend([std::mem::replace(&mut balancing.proposal, Proposal::DoesNotApply), ineligible, token]);
    // A round of looks takes as long as its slowest answer. A deregistration does not need Consul, so it must not wait for Consul.
    let leaving_balancers = matches!(proposals.first(), Some(Proposal::Look(..) | Proposal::Write(..)));
    if seen.consul.at().is_none() && !leaving_balancers {
        proposals.extend(control_look(case));
    }
    let no_node = missing_node::no_node(case);
    let mut over = no_node;
    if may_write && !no_node {
        proposals.push(nodes::draining(case, &balancing));
        let begun = !seen.history.drains.is_empty() || case.nodes().iter().any(|node| node.drain.is_some());
        if balancing.released || begun {
            let stopped = nodes::all_stopped(case);
            // A replacement copies its disk from the node after the allocation here has stopped, and Nomad releases its volumes then.
            let left = if stopped.is_settled() {
                merge(Order::Together, [disks::all_moved(case), claims::all_released(case)])
            } else if stopped.is_wait() && claims::only_system_jobs_wait(case) {
                claims::all_released(case)
            } else {
                stopped
            };
            over = left.is_settled();
            proposals.push(left);
        }
        // The next worker cannot tell a drain that is complete from one that never began, and allocations may still be stopping. Once all
        // are over, the last look includes Consul.
        let watched = consul_outage::watched(case, !(over && balancing.released && settled));
        // An outage of Consul names the wait, unless Nomad cannot be read either: then nobody knows what stops.
        let names_it = seen.consul.blind().is_some() && seen.nomad.blind().is_none();
        let place = if names_it { 0 } else { proposals.len() };
        proposals.insert(place, watched);
        let force_at = case.budget.forced_from(balancing.release);
        if case.now < force_at {
            proposals.push(Proposal::wait(force_at, Reason::TimeIsShort));
        }
    }
    // These come last, so that another write or wait gives the reason.
    if may_write {
        proposals.push(beginnings::write_down(case, &balancing));
    }
    proposals.extend([heartbeat, watches_nomad(seen), Proposal::wait(case.budget.end, Reason::TimeIsUp)]);
    let only_waits = proposals.iter().all(|proposal| !matches!(proposal, Proposal::Write(..) | Proposal::Look(..)));
    if only_waits && balancing.released {
        // First, so that the last looks give the reason of a wait.
        let may_run = case.all_remaining().next().is_some() || may_write && case.shows_nothing_of_its_work();
        if let Some(until) = nodes::agent_dead_until(case).filter(|_| may_run) {
            proposals.insert(0, lost_agent::give_up(case, until));
        } else if settled && over {
            let finish = ending::finish(case, balancing.release, no_node);
            if finish == Proposal::Done {
                let reason = if no_node { Reason::NoNodeYet } else { Reason::NothingLeft };
                return Decision { action: Action::End(Outcome::Interrupted), reason }.into();
            }
            proposals.insert(0, finish);
        }
    }
    decide_among(case, proposals)
}

/// The control look at Consul (ADR 0011), which shows what is registered before anything is stopped.
fn control_look(case: &Case<'_>) -> [Proposal; 2] {
    let discovery = nodes::read_discovery(case, false);
    // After another worker's drain, a purge may have removed the job that declares a service, but not its registration. One successful look
    // at Consul shows that.
    let tried = case.seen.consul.blind().is_some() || case.declares(Provider::Consul);
    let once = case.policy.consul && !tried && case.was_drained_before_us();
    [discovery, if once { Proposal::look(vec![Part::Consul], Reason::NotKnownYet) } else { Proposal::DoesNotApply }]
}

/// Watches Nomad during every wait, so that another worker's drain is seen as soon as it begins.
fn watches_nomad(seen: &Snapshot) -> Proposal {
    if seen.nomad.now().is_none_or(|nomad| nomad.nodes.is_empty()) {
        return Proposal::DoesNotApply;
    }
    Proposal::watch(Time::NEVER, Part::Nomad, Reason::TimeIsUp)
}
