//! Reads the settings of the rules, and refuses those that cannot work together.

use std::time::Duration;

use super::Refused;
use super::reader::Reader;
use decamp_core::decide::{ByHand, LastTarget, LifecycleResult, LocalData, OnCancel, Policy};
use decamp_core::time::plain;

/// The longest lifecycle action. It ends after 48 hours, or 100 times its heartbeat time-out, even with heartbeats.
const LONGEST_HOOK: Duration = Duration::from_hours(48);

pub(super) fn read(from: &Reader<'_>) -> Result<Policy, Refused> {
    let usual = Policy::default();
    Ok(Policy {
        max_departure: from.span("DECAMP_MAX_DEPARTURE", usual.max_departure)?,
        reserve: from.span("DECAMP_RESERVE", usual.reserve)?,
        on_timeout: from
            .choice("DECAMP_ON_TIMEOUT", &[("continue", LifecycleResult::Continue), ("abandon", LifecycleResult::Abandon)])?
            .unwrap_or(usual.on_timeout),
        never_force: from.flag("DECAMP_NEVER_FORCE", usual.never_force)?,
        ignore_system_jobs: from.flag("DECAMP_IGNORE_SYSTEM_JOBS", usual.ignore_system_jobs)?,
        overlap: from.flag("DECAMP_OVERLAP", usual.overlap)?,
        guard_alb: from.span("DECAMP_GUARD_ALB", usual.guard_alb)?,
        guard_nlb: from.span("DECAMP_GUARD_NLB", usual.guard_nlb)?,
        no_node_wait: from.span("DECAMP_NO_NODE_WAIT", usual.no_node_wait)?,
        without_nomad: from.list("DECAMP_WITHOUT_NOMAD"),
        agent_dead_wait: from.span("DECAMP_AGENT_DEAD_WAIT", usual.agent_dead_wait)?,
        leftover_wait: from.span("DECAMP_LEFTOVER_WAIT", usual.leftover_wait)?,
        unknown_target_wait: from.span("DECAMP_UNKNOWN_TARGET_WAIT", usual.unknown_target_wait)?,
        on_cancel: from
            .choice("DECAMP_ON_CANCEL", &[("respect", OnCancel::Respect), ("drain-again", OnCancel::DrainAgain)])?
            .unwrap_or(usual.on_cancel),
        last_target: from
            .choice("DECAMP_LAST_TARGET", &[("warn", LastTarget::Warn), ("hold", LastTarget::Hold)])?
            .unwrap_or(usual.last_target),
        local_data: from
            .choice("DECAMP_LOCAL_DATA", &[("warn", LocalData::Warn), ("hold", LocalData::Hold)])?
            .unwrap_or(usual.local_data),
        consul: from.flag("DECAMP_CONSUL", usual.consul)?,
        by_hand: by_hand(from)?,
        scan: from.flag("DECAMP_SCAN", usual.scan)?,
        target_groups: from.list_of("DECAMP_TARGET_GROUPS")?,
        hooks: from.list("DECAMP_HOOKS"),
        refuse_without_sight: from.flag("DECAMP_REFUSE_WITHOUT_SIGHT", usual.refuse_without_sight)?,
        max_kill_timeout: from.span("DECAMP_MAX_KILL_TIMEOUT", usual.max_kill_timeout)?,
        poststop: from.span("DECAMP_POSTSTOP", usual.poststop)?,
        longest_request: from.span("DECAMP_LONGEST_REQUEST", usual.longest_request)?,
        ingress_forgets: from.span("DECAMP_INGRESS_FORGETS", usual.ingress_forgets)?,
        ingress_margin: from.span("DECAMP_INGRESS_MARGIN", usual.ingress_margin)?,
    })
}

/// Reads what to do about services that were registered by hand, and about which of them.
fn by_hand(from: &Reader<'_>) -> Result<ByHand, Refused> {
    let waits = from.choice("DECAMP_BY_HAND", &[("name", false), ("wait", true)])?.unwrap_or(false);
    let names = from.list("DECAMP_BY_HAND_SERVICES");
    match (waits, names.is_empty()) {
        (true, false) => Ok(ByHand::Wait(names)),
        (true, true) => Ok(ByHand::Wait(vec!["*".into()])),
        (false, true) => Ok(ByHand::Name),
        (false, false) => {
            Err(Refused("DECAMP_BY_HAND_SERVICES: nothing is waited for; set DECAMP_BY_HAND=wait, or unset it".to_owned()))
        }
    }
}

/// Refuses a policy that cannot work: a departure without time, or one whose last call would come too late.
pub(super) fn check_fit(from: &Reader<'_>, policy: &Policy, call: Duration) -> Result<(), Refused> {
    let (whole, reserve) = (policy.max_departure, policy.reserve);
    if LONGEST_HOOK < whole {
        return Err(Refused(format!(
            "DECAMP_MAX_DEPARTURE: {} is longer than any lifecycle hook can wait; set at most 48h",
            plain(whole)
        )));
    }
    if whole <= reserve {
        return Err(Refused(format!(
            "DECAMP_RESERVE: {} leaves nothing of DECAMP_MAX_DEPARTURE, {}; make the reserve shorter or the departure longer",
            plain(reserve),
            plain(whole)
        )));
    }
    if reserve <= call {
        return Err(Refused(format!(
            "DECAMP_RESERVE: {} is no longer than one call may take (DECAMP_CALL_TIMEOUT, {}), so that the last call would not land; \
             make the reserve longer",
            plain(reserve),
            plain(call)
        )));
    }
    // A default wait is bounded by `end` anyway (ADR 0001). A wait that was set and does not fit is a mistake.
    let waits = [
        ("DECAMP_NO_NODE_WAIT", policy.no_node_wait),
        ("DECAMP_AGENT_DEAD_WAIT", policy.agent_dead_wait),
        ("DECAMP_LEFTOVER_WAIT", policy.leftover_wait),
        ("DECAMP_GUARD_ALB", policy.guard_alb),
        ("DECAMP_GUARD_NLB", policy.guard_nlb),
    ];
    for (name, wait) in waits {
        if from.text(name).is_some() && whole - reserve <= wait {
            return Err(Refused(format!(
                "{name}: {} does not fit into a departure of {} with a reserve of {}; make it shorter",
                plain(wait),
                plain(whole),
                plain(reserve)
            )));
        }
    }
    Ok(())
}
