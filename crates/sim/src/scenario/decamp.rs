//! decamp's policy and its tokens in a scenario.

use std::time::Duration;

use crate::consul;
use crate::faults::{Fault, Faults};
use crate::nomad;
use crate::rng::Rng;
use crate::scenario::LONGEST_REQUEST;
use crate::world::Lists;
use decamp_core::decide::{ByHand, LastTarget, LifecycleResult, LocalData, Policy};

/// decamp's policy. `runs_no_nomad`: by the operator's settings, the group runs no Nomad.
pub(super) fn policy(seed: u64, faults: Faults, rng: &mut Rng, runs_no_nomad: bool) -> Policy {
    let secs = Duration::from_secs;
    let margin = if faults.has(Fault::IngressUnderLoad) { 3 } else { 1 };
    Policy {
        // Most departures may take half an hour. Hours of simulated waiting would cost the time of a thousand other departures.
        max_departure: if rng.one_in(16) { secs(2 * 3600) } else { secs(1800) },
        ignore_system_jobs: rng.one_in(12),
        never_force: faults.has(Fault::ClaimsHours) && seed.is_multiple_of(4),
        on_timeout: if faults.has(Fault::AbandonRetains) { LifecycleResult::Abandon } else { LifecycleResult::Continue },
        longest_request: LONGEST_REQUEST,
        // The operator's setting for an ingress that is not on the node.
        ingress_forgets: secs(if faults.has(Fault::IngressPolls) { 17 } else { 2 } + margin),
        // An ingress that is never under load needs no larger margin, and the operator has set so.
        ingress_margin: secs(margin),
        hooks: if faults.has(Fault::HooksNotNamed) { Vec::new() } else { vec!["decamp".into()] },
        scan: faults.has(Fault::FoundByScan),
        by_hand: if faults.has(Fault::ByHand) && seed.is_multiple_of(2) {
            ByHand::Wait(vec!["by-*".into()])
        } else {
            ByHand::Name
        },
        // Half of the instances that may be the last target of their zone are held.
        last_target: if faults.has(Fault::LastOfItsZone) && (seed / 16).is_multiple_of(2) {
            LastTarget::Hold
        } else {
            LastTarget::Warn
        },
        local_data: local_data(seed, faults),
        max_kill_timeout: max_kill_timeout(seed, faults),
        without_nomad: if runs_no_nomad { vec!["web*".into()] } else { Vec::new() },
        ..Policy::default()
    }
}

/// Half of the departures with local data are held, where the hook ends soon enough to simulate a hold to its end.
fn local_data(seed: u64, faults: Faults) -> LocalData {
    let ends_soon = !faults.has(Fault::SweepsAlone) && !faults.has(Fault::MessageLate);
    let holds = faults.has(Fault::HostVolumes) && ends_soon && (seed / 4).is_multiple_of(2);
    if holds { LocalData::Hold } else { LocalData::Warn }
}

/// decamp's Nomad token.
pub(super) fn nomad_token(seed: u64, faults: Faults) -> nomad::Token {
    if faults.has(Fault::BlindToken) { blind_token(seed) } else { nomad::Token::Management }
}

/// A token that may do nothing, or one that may read the node and gets an empty list of its allocations.
fn blind_token(seed: u64) -> nomad::Token {
    let policies = if seed.is_multiple_of(2) {
        Vec::new()
    } else {
        vec![nomad::Policy { namespaces: Vec::new(), ..nomad::Policy::decamp() }]
    };
    nomad::Token::Client(policies)
}

/// What the clients allow for a stop at most, and what the operator has set so in decamp. Half of the clusters with a job that claims hours
/// allow more than Nomad's default.
pub(super) fn max_kill_timeout(seed: u64, faults: Faults) -> Duration {
    let seconds =
        if faults.has(Fault::ClaimsHours) { [30, 30, 120, 240][usize::try_from(seed / 8 % 4).unwrap_or(0)] } else { 30 };
    Duration::from_secs(seconds)
}

/// decamp's Consul token.
pub(super) fn consul_token(seed: u64, faults: Faults) -> consul::Token {
    // Every other blind token is blind in Consul as well: Consul filters its answers, and they are empty.
    if faults.has(Fault::ConsulWithoutAcls) {
        consul::Token::AclsOff
    } else if faults.has(Fault::BlindToken) && seed % 4 < 2 {
        consul::Token::NodesOnly
    } else {
        consul::Token::Full
    }
}

/// What the Consul that decamp asks lists of the node.
pub(super) fn consul_lists(seed: u64, faults: Faults) -> Lists {
    match (faults.has(Fault::ConsulElsewhere), seed % 3) {
        (false, _) => Lists::All,
        (true, 0) => Lists::NoNode,
        (true, _) => Lists::NoServices,
    }
}
