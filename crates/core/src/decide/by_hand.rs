//! Services on the node's Consul agent that Nomad did not register. A drain does not stop them, and an ingress that routes by Consul sends
//! to them until the machine is gone.

use std::sync::Arc;
use std::time::Duration;

use super::case::Case;
use super::findings::{Finding, Layer, Loss};
use super::proposal::{Proposal, look_again};
use super::snapshot::HandRegistration;
use super::{ByHand, Part, Reason};
use crate::time::Time;

/// They are watched, and read again this often.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Those that are routable, as they were last seen.
pub(super) fn routable<'s>(case: &'s Case<'_>) -> impl Iterator<Item = &'s HandRegistration> {
    let registrations = case.seen.consul.last().filter(|all| case.policy.consul && !all.agent_dead);
    registrations.into_iter().flat_map(|all| all.by_hand.iter()).filter(|one| !one.critical)
}

/// Whether the settings say to wait for any.
pub(super) fn waits(case: &Case<'_>) -> bool {
    case.policy.consul && case.policy.by_hand != ByHand::Name
}

/// When Consul last failed to answer, if a Consul agent runs on the node and this run never read what is registered there.
pub(super) fn unknown_since(case: &Case<'_>) -> Option<Time> {
    let consul = &case.seen.consul;
    let unread = case.policy.consul && case.has_consul_agent() && consul.at().is_none();
    consul.blind().filter(|_| unread).map(|blind| blind.tried)
}

/// Waits until none of those to wait for is routable, by a look after everything was over.
pub(super) fn removed(case: &Case<'_>, over_at: Time) -> Proposal {
    let consul = &case.seen.consul;
    let Some(looked) = consul.fresh_at().filter(|at| over_at <= *at) else {
        return look_again(case, consul, Part::Consul, Reason::MustConfirm);
    };
    let mut left = routable(case).filter(|one| case.policy.by_hand.waits_for(&one.service)).peekable();
    let Some(service) = left.peek().map(|one| Arc::clone(&one.service)) else { return Proposal::Done };
    let reason = Reason::RegisteredByHand { count: u32::try_from(left.count()).unwrap_or(u32::MAX), service };
    let until = looked + LOOK_EVERY;
    if until <= case.now {
        return look_again(case, consul, Part::Consul, reason);
    }
    Proposal::watch(until, Part::Consul, reason)
}

/// One finding for each of those services.
pub(super) fn findings(case: &Case<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for one in routable(case) {
        if findings.iter().any(|finding| finding.object == one.service) {
            continue;
        }
        let why = if case.policy.by_hand.waits_for(&one.service) {
            "the instance is held until it is out of discovery, at most until the time is up"
        } else {
            "nothing stops it or takes it out of discovery: what routes by Consul sends to it until the instance is gone"
        };
        findings.push(Finding {
            layer: Layer::Service,
            loss: Loss::RegisteredByHand,
            object: Arc::clone(&one.service),
            value: "registered with the node's Consul agent, and not by Nomad".to_owned(),
            needed: "to be out of discovery before the instance goes".to_owned(),
            why: why.to_owned(),
            line: "DECAMP_BY_HAND=wait, and `consul maint -enable` on the node by whoever runs it".to_owned(),
        });
    }
    findings
}
