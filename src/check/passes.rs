//! Whether a pass of the Lambda is long enough for the waits that no later pass can continue (ADR 0002).

use decamp_core::decide::{Layer, guard, keeps_notes};
use decamp_core::lambda_budget::{KEPT_FOR_HANDING_BACK, Numbers, Rule};
use decamp_core::time::plain;

use super::Inspection;
use super::rules::{Notice, Verdict, notice};

/// If a target's delay is shorter than its load balancer's guard, the target disappears from the list while the load balancer may still
/// send to it. The next pass reads the time of the deregistration from a note on the node, which Nomad keeps since 1.5. Without that
/// note every pass waits the whole guard again.
pub(super) fn lambda_pass_notice(read: &Inspection<'_>) -> Option<Notice> {
    let settings = read.settings;
    if settings.function_timeout.is_zero() {
        return None;
    }
    let nodes = read.looks.iter().filter_map(|(_, seen)| seen.nomad.last()).flat_map(|nomad| &nomad.nodes);
    let old = nodes.filter(|node| !keeps_notes(&node.version)).map(|node| &node.version).next()?;
    let groups = read.looks.iter().flat_map(|(_, seen)| &seen.balancers).filter_map(|balancer| balancer.sight.last());
    let guards = groups.map(|group| (guard(group, &settings.policy), group));
    let longest = guards.filter(|(guard, group)| group.delay.is_none_or(|delay| delay < *guard)).max_by_key(|(guard, _)| *guard);
    let (guard, group) = longest?;
    let now = Numbers { function_timeout: settings.function_timeout, guard, ..Numbers::default() };
    if now.holds(Rule::PassBelowGuard) {
        return None;
    }
    let fits = Numbers::that_outlast(guard);
    let pass = settings.function_timeout.saturating_sub(KEPT_FOR_HANDING_BACK);
    let value = format!("a pass of {} for a guard of {}", plain(pass), plain(guard));
    let needed = format!("Nomad 1.5, or a function_timeout of {}", plain(fits.function_timeout));
    let why = format!(
        "Nomad {old} cannot store when a target was deregistered, so each pass waits the whole guard again and no departure gets past it"
    );
    let line = format!(
        "function_timeout = {}, visibility_timeout = {}, heartbeat_timeout = {} # or DECAMP_FUNCTION_TIMEOUT=0s for decamp serve",
        fits.function_timeout.as_secs(),
        fits.visibility_timeout.as_secs(),
        fits.heartbeat_timeout.as_secs()
    );
    Some(notice(Verdict::WouldNotWork, Layer::LoadBalancer, group.arn.name(), [&value, &needed, &why, &line]))
}
