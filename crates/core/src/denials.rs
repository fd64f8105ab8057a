//! Denials: calls that a departure needs and that are denied. An outage ends by itself. A denial ends only when a person changes a policy
//! (ADR 0019).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::decide::{EffectKind, Observed, Refusal, Snapshot, Unseen};
use crate::time::Time;

/// A denial that lasts is reported again after this time.
const AGAIN_AFTER: Duration = Duration::from_hours(1);
/// How many pairs of group and call are remembered. Names of groups come from events, so their number needs a limit.
const MOST_REMEMBERED: usize = 10_000;

/// A call that was denied the last time it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The call, for metrics and searches.
    pub call: &'static str,
    /// What the system answered.
    pub why: Arc<str>,
}

impl Denial {
    /// Every call that can be denied.
    pub const CALLS: [&'static str; 14] = [
        "look-instance",
        "look-group",
        "look-target-groups",
        "scan-target-groups",
        "look-node",
        "look-volumes",
        "look-nomad-token",
        "look-nomad-services",
        "look-consul",
        "heartbeat",
        "make-ineligible",
        "deregister",
        "drain",
        "complete",
    ];
}

/// The calls that are denied now, by the last look at each part and the last write of each kind.
#[must_use]
pub fn denied_now(seen: &Snapshot) -> Vec<Denial> {
    let mut all = Vec::new();
    look(&mut all, "look-instance", &seen.lifecycle);
    look(&mut all, "look-group", &seen.group);
    seen.balancers.iter().for_each(|balancer| look(&mut all, "look-target-groups", &balancer.sight));
    look(&mut all, "scan-target-groups", &seen.scan);
    look(&mut all, "look-node", &seen.nomad);
    let of_nodes = seen.allocations();
    let unread = of_nodes.filter_map(|allocation| allocation.claims.denied.clone()).next();
    all.extend(unread.map(|why| Denial { call: "look-volumes", why }));
    look(&mut all, "look-nomad-token", &seen.nomad_token);
    look(&mut all, "look-nomad-services", &seen.nomad_services);
    look(&mut all, "look-consul", &seen.consul);
    for (kind, row) in &seen.history.failures {
        if let Refusal::Denied(why) = &row.why {
            let call = match kind {
                // Not needed: without notes a warm process remembers.
                EffectKind::Note => continue,
                EffectKind::Heartbeat
                | EffectKind::MakeIneligible
                | EffectKind::Deregister
                | EffectKind::Drain
                | EffectKind::Complete => kind.word(),
            };
            all.push(Denial { call, why: Arc::clone(why) });
        }
    }
    all
}

fn look<T>(all: &mut Vec<Denial>, call: &'static str, sight: &Observed<T>) {
    if let Some(Unseen::Denied(why)) = sight.blind().map(|blind| &blind.why)
        && !all.iter().any(|denial| denial.call == call)
    {
        all.push(Denial { call, why: Arc::clone(why) });
    }
}

/// Which denials were reported, and when. All departures of a process share it.
#[derive(Debug, Default)]
pub struct Denials(Mutex<HashMap<(Arc<str>, &'static str), Time>>);

impl Denials {
    /// The denials to report now for a departure of this group: each when it first occurs, and then once an hour.
    #[must_use]
    pub fn news(&self, asg: &Arc<str>, seen: &Snapshot, now: Time) -> Vec<Denial> {
        let denied = denied_now(seen);
        if denied.is_empty() {
            return denied;
        }
        let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if MOST_REMEMBERED <= reported.len() {
            reported.clear();
        }
        let mut is_news = |denial: &Denial| {
            let last = reported.entry((Arc::clone(asg), denial.call)).or_default();
            let news = last.0 == 0 || *last + AGAIN_AFTER <= now;
            if news {
                *last = now;
            }
            news
        };
        denied.into_iter().filter(|denial| is_news(denial)).collect()
    }
}
