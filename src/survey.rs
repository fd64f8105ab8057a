//! Reads everything about an instance, whether or not it is leaving, and describes it as text.

use decamp_core::decide::{
    Balancer, BalancerKind, Departure, GroupToRead, Node, Part, Policy, Snapshot, System, Target, TargetGroup, TargetHealth,
    TokenAccess, Zones, addresses_to_ask, targets_of,
};
use decamp_core::describe::blindness;
use decamp_core::ids::TargetGroupArn;
use decamp_core::time::plain;
use decamp_core::world::World;
use decamp_live::Live;

use super::describe;

/// How many times a part is read until it is seen.
const TRIES: usize = 3;

/// Looks at all parts. `found` are target groups that a scan found, besides those attached and named.
pub(crate) async fn survey(live: &Live, departure: &Departure, policy: &Policy, found: &[TargetGroupArn]) -> Snapshot {
    let mut seen = Snapshot::begin(departure.instance, live.now());
    for _ in 0..TRIES {
        let parts = unseen_parts(&seen, policy);
        if parts.is_empty() {
            break;
        }
        look(live, departure, &mut seen, parts).await;
    }
    for _ in 0..TRIES {
        let groups: Vec<_> = (target_groups(&seen, policy, found).into_iter())
            .filter(|group| seen.balancers.iter().find(|b| b.arn == group.arn).is_none_or(|b| b.sight.last().is_none()))
            .collect();
        if groups.is_empty() {
            break;
        }
        look(live, departure, &mut seen, vec![Part::TargetGroups { groups, attributes_again: false }]).await;
    }
    // An allocation that runs and that Consul does not list may have been told to stop a moment ago. Nomad shows that.
    if seen.history.unlisted().next().is_some() {
        look(live, departure, &mut seen, vec![Part::Nomad]).await;
    }
    if let Some(part) = addresses_to_ask(departure, &seen) {
        look(live, departure, &mut seen, vec![part]).await;
    }
    seen
}

fn unseen_parts(seen: &Snapshot, policy: &Policy) -> Vec<Part> {
    let nodes = seen.nomad.last().map(|nomad| nomad.nodes.len());
    // Discovery is queried by node.
    let discovery = nodes != Some(0);
    let parts = [
        (Part::Lifecycle, seen.lifecycle.last().is_none()),
        (Part::Group { with_activity: false }, seen.group.last().is_none()),
        (Part::Nomad, nodes.is_none()),
        (Part::NomadToken, seen.nomad_token.last().is_none()),
        (Part::Consul, policy.consul && discovery && seen.consul.last().is_none()),
        (Part::NomadServices, discovery && seen.nomad_services.last().is_none()),
    ];
    parts.into_iter().filter_map(|(part, wanted)| wanted.then_some(part)).collect()
}

async fn look(live: &Live, departure: &Departure, seen: &mut Snapshot, parts: Vec<Part>) {
    let steady = live.steady();
    let showings = live.look(departure, seen, &parts).await;
    // The first answer may have corrected the clock, so the time of the request is computed back with the monotonic clock.
    let asked = live.now().before(live.steady().saturating_sub(steady));
    seen.history.began_by(asked);
    for showing in showings {
        seen.take(asked, showing);
    }
}

/// The attached, named and found target groups, and whether each is attached.
fn target_groups(seen: &Snapshot, policy: &Policy, found: &[TargetGroupArn]) -> Vec<GroupToRead> {
    let mut all: Vec<GroupToRead> = Vec::new();
    let group = seen.group.last();
    let named = group.into_iter().flat_map(|g| &g.hooks).flat_map(|hook| &hook.target_groups);
    let named = named.chain(&policy.target_groups).map(|arn| (arn, false));
    for (arn, attached) in group.into_iter().flat_map(|g| &g.attached).map(|arn| (arn, true)).chain(named) {
        match all.iter_mut().find(|known| known.arn == *arn) {
            // In a named group, targets by address count as this instance's too, attached or not (ADR 0009).
            Some(known) => known.attached &= attached,
            None => all.push(GroupToRead { arn: arn.clone(), attached }),
        }
    }
    // A scan does not show whether a group is attached.
    for arn in found {
        if all.iter().all(|known| known.arn != *arn) {
            all.push(GroupToRead { arn: arn.clone(), attached: false });
        }
    }
    all
}

/// The targets of a target group that are this instance.
pub(crate) fn ours<'a>(departure: &Departure, seen: &Snapshot, group: &'a TargetGroup) -> Vec<&'a Target> {
    targets_of(departure, seen, group)
}

/// Whether Consul listed every service that the allocations declare in it. Then an empty answer counts as empty (ADR 0011), whatever the
/// token may see.
pub(crate) fn is_controlled(seen: &Snapshot) -> bool {
    seen.history.known.iter().all(|known| seen.history.lists_all_of(known))
}

/// The facts about an instance, one per line.
pub(crate) fn lines(departure: &Departure, seen: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    lines.push(match seen.lifecycle.last() {
        Some(lifecycle) => format!("{} of {}: {}", departure.instance, departure.asg, describe::lifecycle(lifecycle)),
        None => format!("{} of {}: {}", departure.instance, departure.asg, cannot_see(seen, System::AutoScaling)),
    });
    if let Some(group) = seen.group.last() {
        for hook in &group.hooks {
            let (beat, whole) = (plain(hook.heartbeat_timeout), plain(hook.global_timeout));
            lines.push(format!("hook {}: heartbeat time-out {beat}, at most {whole}", hook.name));
            lines.extend(
                hook.misnamed.iter().map(|fault| format!("  decamp cannot read the target groups in its metadata: {fault}")),
            );
        }
        if group.hooks.is_empty() {
            lines.push("no terminating lifecycle hook".to_owned());
        }
        let unhandled = group.unhandled.iter();
        lines.extend(unhandled.map(|source| format!("attached, and decamp cannot deregister from it: {source}")));
        if group.held {
            lines.push("held by the tag decamp:hold".to_owned());
        }
    }
    lines.extend(seen.balancers.iter().map(|balancer| balancer_line(departure, seen, balancer)));
    match seen.nomad.last() {
        Some(nomad) if nomad.nodes.is_empty() => lines.push("no Nomad node is this instance".to_owned()),
        Some(nomad) => lines.extend(nomad.nodes.iter().flat_map(node_lines)),
        None => lines.push(cannot_see(seen, System::Nomad)),
    }
    lines.push(match seen.nomad_token.last() {
        Some(TokenAccess::Full) => "the Nomad token can read everything that is needed".to_owned(),
        Some(TokenAccess::Insufficient(missing)) => format!("the Nomad token cannot see enough: {missing}"),
        None => cannot_see(seen, System::Nomad),
    });
    if let Some(registered) = seen.consul.last() {
        let whole = if registered.whole || is_controlled(seen) { "" } else { "; it may not show all" };
        lines.push(format!("Consul: {} of its services are registered{whole}", registered.services.len()));
        let text = registered.said_of_hands();
        if !text.is_empty() {
            lines.push(format!("Consul: {text}"));
        }
    } else if seen.consul.blind().is_some() {
        lines.push(cannot_see(seen, System::Consul));
    }
    if let Some(registered) = seen.nomad_services.last().filter(|r| !r.services.is_empty()) {
        lines.push(format!("Nomad's own discovery: {} of its services are registered", registered.services.len()));
    }
    lines
}

fn cannot_see(seen: &Snapshot, system: System) -> String {
    match blindness(system, seen) {
        Some(why) => format!("{system} cannot be seen: {why}"),
        None => format!("{system} was not read"),
    }
}

fn balancer_line(departure: &Departure, seen: &Snapshot, balancer: &Balancer) -> String {
    let name = balancer.arn.name();
    let Some(group) = balancer.sight.last() else {
        let why = balancer.sight.blind().map_or_else(String::new, |blind| format!(": {}", blind.why));
        return format!("target group {name}: cannot be seen{why}");
    };
    let Some(targets) = &group.targets else { return format!("target group {name}: does not exist") };
    let ours: Vec<String> =
        ours(departure, seen, group).iter().map(|target| format!("port {} {}", target.port, health(target.health))).collect();
    let ours = if ours.is_empty() { "none is this instance".to_owned() } else { ours.join(", ") };
    format!("target group {name} ({}): {} targets, {ours}", balancer_kind(group, seen), targets.len())
}

/// A target group's kind and delay, and whether it is attached, as text.
pub(crate) fn balancer_kind(group: &TargetGroup, seen: &Snapshot) -> String {
    let kind = match group.kind {
        BalancerKind::Alb => "ALB",
        BalancerKind::Nlb => "NLB",
        BalancerKind::Classic => "Classic Load Balancer",
    };
    let delay = group.delay.map_or_else(|| "delay unreadable".to_owned(), |delay| format!("delay {}", plain(delay)));
    let attached = match seen.group.last() {
        Some(asg) if asg.attached.contains(&group.arn) => "attached",
        Some(_) => "not attached",
        None => "attached or not is unknown",
    };
    let zones = match group.zones {
        Zones::Crossed => "",
        Zones::Apart(_) => ", does not cross zones",
        Zones::Unknown => ", across zones or not is unknown",
    };
    format!("{kind}, {attached}, {delay}{zones}")
}

fn health(health: TargetHealth) -> &'static str {
    match health {
        TargetHealth::Healthy => "healthy",
        TargetHealth::Registered => "registered",
        TargetHealth::RegisteredUnused => "registered, not in use",
        TargetHealth::Draining => "draining",
        TargetHealth::NotRegistered => "not registered",
    }
}

fn node_lines(node: &Node) -> Vec<String> {
    let status = format!("{:?}", node.status).to_lowercase();
    let eligible = if node.eligible { "eligible" } else { "ineligible" };
    let draining = if node.drain.is_some() { ", draining" } else { "" };
    let mut lines = vec![format!("node {} ({}): {status}, {eligible}{draining}, Nomad {}", node.name, node.id, node.version)];
    for allocation in node.allocations.iter().filter(|a| !a.client.is_over()) {
        let stopping = if allocation.wanted { "" } else { ", told to stop" };
        let client = format!("{:?}", allocation.client).to_lowercase();
        lines.push(format!("  {} {}: {client}{stopping}", allocation.group.title(), allocation.id));
    }
    lines
}
