//! What runs and Consul does not list: it is in a namespace or a datacenter that is not asked, or another Consul is. That it is gone from
//! there can then not be seen (ADR 0011).

use std::time::Duration;

use super::Reason;
use super::case::Case;
use super::findings::{Finding, Layer, Loss};
use super::proposal::Proposal;
use super::snapshot::{Known, NomadSight};
use crate::time::Time;

/// Nomad registers what runs with the agent beside it within a second, and that agent tells the servers at once; a busy machine takes
/// longer, and so does an agent that finds no leader.
const REGISTERED_WITHIN: Duration = Duration::from_secs(15);

/// What runs, should stop, and declares services in Consul that no look has shown.
pub(super) fn unlisted<'s>(case: &'s Case<'_>) -> impl Iterator<Item = &'s Known> {
    let history = &case.seen.history;
    let counts = |known: &&Known| case.policy.consul && !case.exempts(&known.group);
    history.unlisted().filter(counts)
}

/// Those of them that have run for longer than any registration takes, and ran on.
pub(super) fn never_listed<'s>(case: &'s Case<'_>) -> impl Iterator<Item = &'s Known> {
    unlisted(case).filter(|known| ran_for_long(known, known.unlisted))
}

/// Whether it had run for longer than any registration takes at such a look.
fn ran_for_long(known: &Known, looked: Option<Time>) -> bool {
    looked.zip(registered_by(known)).is_some_and(|(looked, registered)| registered <= looked)
}

/// When its services are registered at the latest.
fn registered_by(known: &Known) -> Option<Time> {
    Some(known.runs_since? + REGISTERED_WITHIN)
}

/// Whether it runs on, as far as Nomad was seen.
fn runs_on(known: &Known) -> bool {
    known.listed && known.running && known.wanted
}

/// Whether some of them may have been told to stop a moment before that look: Nomad's next answer tells.
pub(super) fn is_unconfirmed(case: &Case<'_>) -> bool {
    unlisted(case).any(|known| runs_on(known) && ran_for_long(known, known.missed) && !ran_for_long(known, known.unlisted))
}

/// Whether something runs that no look at Consul can have shown: Nomad told of it after the last one was answered.
pub(super) fn is_unasked(case: &Case<'_>) -> bool {
    let history = &case.seen.history;
    case.policy.consul && history.unasked().any(|known| !case.exempts(&known.group))
}

/// Waits for what may still be on its way into the catalog before it is told to stop.
pub(super) fn waiting_for_registrations(case: &Case<'_>) -> Proposal {
    let due = unlisted(case).filter(|known| runs_on(known));
    let latest = due.filter_map(|known| Some((registered_by(known)?, known))).max_by_key(|(until, _)| *until);
    let Some((until, known)) = latest.filter(|(until, _)| case.now < *until) else { return Proposal::Done };
    let reason = Reason::NotRegisteredYet { title: known.group.title().into(), until };
    Proposal::watch(until, super::Part::Consul, reason)
}

/// Whether an earlier run told something to stop that Consul had never listed: it said so in its drain.
pub(super) fn was_noted(case: &Case<'_>) -> bool {
    case.own_drains().any(|meta| meta.unproved)
}

/// One finding for each job that Consul does not list. Only of what a token saw that sees all: else it is the token that hides it.
pub(super) fn findings(case: &Case<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    if !matches!(case.seen.nomad_sight.last(), Some(NomadSight::Full)) {
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
