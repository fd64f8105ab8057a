//! Allocations that run and that Consul does not list. They are in a namespace or datacenter that decamp does not ask, or in another
//! Consul. Nobody can then see that they have left discovery (ADR 0011).

use std::time::Duration;

use super::Reason;
use super::case::Case;
use super::findings::{Finding, Layer, Loss};
use super::proposal::Proposal;
use super::snapshot::{Known, TokenAccess};
use crate::time::Time;

/// Nomad registers an allocation with the agent beside it within a second, and that agent tells the servers at once. A busy machine takes
/// longer, and so does an agent without a leader.
const REGISTERED_WITHIN: Duration = Duration::from_secs(15);

/// Allocations that run, have to stop, and declare services in Consul that no look has shown.
pub(super) fn unlisted<'s>(case: &'s Case<'_>) -> impl Iterator<Item = &'s Known> {
    let history = &case.seen.history;
    let counts = |known: &&Known| case.policy.consul && !case.exempts(&known.group);
    history.unlisted().filter(counts)
}

/// Those of them that had run for longer than any registration takes, and ran on.
pub(super) fn never_listed<'s>(case: &'s Case<'_>) -> impl Iterator<Item = &'s Known> {
    unlisted(case).filter(|known| ran_for_long(known, known.unlisted))
}

/// Whether it had run for longer than any registration takes when Consul was read.
fn ran_for_long(known: &Known, looked: Option<Time>) -> bool {
    looked.zip(registered_by(known)).is_some_and(|(looked, registered)| registered <= looked)
}

/// When its services are registered at the latest.
fn registered_by(known: &Known) -> Option<Time> {
    Some(known.runs_since? + REGISTERED_WITHIN)
}

/// Whether it runs on, as far as Nomad was read.
fn runs_on(known: &Known) -> bool {
    known.listed && known.running && known.wanted
}

/// Whether some of them may have been told to stop a moment before that look. Nomad's next answer shows it.
pub(super) fn is_unconfirmed(case: &Case<'_>) -> bool {
    unlisted(case).any(|known| runs_on(known) && ran_for_long(known, known.missed) && !ran_for_long(known, known.unlisted))
}

/// Whether an allocation runs that no look at Consul can have shown, because Nomad showed it after the last one was answered.
pub(super) fn is_unasked(case: &Case<'_>) -> bool {
    let history = &case.seen.history;
    case.policy.consul && history.unasked().any(|known| !case.exempts(&known.group))
}

/// Waits for registrations that may not have reached the catalog yet, before their allocations are told to stop.
pub(super) fn waiting_for_registrations(case: &Case<'_>) -> Proposal {
    let due = unlisted(case).filter(|known| runs_on(known));
    let latest = due.filter_map(|known| Some((registered_by(known)?, known))).max_by_key(|(until, _)| *until);
    let Some((until, known)) = latest.filter(|(until, _)| case.now < *until) else { return Proposal::Done };
    let reason = Reason::NotRegisteredYet { title: known.group.title().into(), until };
    Proposal::watch(until, super::Part::Consul, reason)
}

/// Whether an earlier run stopped an allocation that Consul had never listed, as its drain says.
pub(super) fn was_noted(case: &Case<'_>) -> bool {
    case.own_drains().any(|meta| meta.unproved)
}

/// One finding for each job that Consul does not list. Only if the Nomad token sees everything: otherwise the token may be the cause.
pub(super) fn findings(case: &Case<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    if !matches!(case.seen.nomad_token.last(), Some(TokenAccess::Full)) {
        return findings;
    }
    for known in never_listed(case) {
        let title = known.group.title();
        if findings.iter().any(|finding| *finding.object == *title) {
            continue;
        }
        let names: Vec<&str> = known.group.in_consul().map(|service| &*service.name).collect();
        findings.push(Finding {
            layer: Layer::Service,
            loss: Loss::NotInConsul,
            object: title.into(),
            value: format!("running, and Consul does not list {} on its node", names.join(", ")),
            needed: "a Consul that lists it".to_owned(),
            why: "another Consul, datacenter or namespace is asked than the one where it is registered, or it never was: whether it has \
                  left discovery cannot be seen, and the end is unconfirmed"
                .to_owned(),
            line: "CONSUL_HTTP_ADDR, CONSUL_DATACENTER or CONSUL_NAMESPACE as the node's own agent has them".to_owned(),
        });
    }
    findings
}
