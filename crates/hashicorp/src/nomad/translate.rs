//! Translates Nomad's nodes and allocations. An unknown status never means that an allocation has ended.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::jobs::Groups;
use super::{drain_meta, stops, wire};
use decamp_core::decide::{
    Allocation, Claims, ClientStatus, Disk, Drain, DrainStatus, LEAVE_LOCAL_DATA, LOCAL_DATA_KEY, LastDrain, Node, NodeStatus,
    OwnNetwork, Stop, TaskEnd,
};
use decamp_core::ids::NodeId;
use decamp_core::time::Time;
use decamp_net::http::RequestFailure;

/// The least difference of clocks, in milliseconds, for which times are corrected. The server's `Date` header has whole seconds only.
const CLOCKS_AGREE: u64 = 2_000;

/// Nomad keeps some times in whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// How far decamp's clock is ahead of the answering server's, in milliseconds. The last difference (`last`) is kept while it is about
/// right, so that a deadline does not seem to move from one answer to the next.
pub(super) fn ahead(date: Option<Time>, now: Time, last: i64) -> i64 {
    let Some(date) = date else { return last };
    let signed = |time: Time| i64::try_from(time.0).unwrap_or(i64::MAX);
    // The header omits half a second on average.
    let found = signed(now).saturating_sub(signed(date)).saturating_sub(500);
    if found.abs_diff(last) <= CLOCKS_AGREE { last } else { found }
}

/// A node with its allocations. `ahead` is how far decamp's clock is ahead of the server's.
///
/// # Errors
///
/// An allocation has no id, so the answer is not a list of allocations.
pub(super) fn node(id: NodeId, node: &wire::Node, allocations: &[wire::Allocation], ahead: i64) -> Result<Node, RequestFailure> {
    let mut groups = Groups::default();
    let by_our_clock = |time: Time| Time(time.0.saturating_add_signed(ahead));
    let ours = |text: &str| Time::read(text).map(by_our_clock);
    let allocations: Arc<[Allocation]> = (allocations.iter())
        .map(|one| {
            allocation(one, &mut groups).map(|read| Allocation {
                told: stop_requested(one, &read).map(by_our_clock),
                ended: ended(one, read.client).map(by_our_clock),
                started: started(one).map(by_our_clock),
                ends: ends(one, &read, by_our_clock),
                ..read
            })
        })
        .collect::<Result<_, _>>()?;
    let drain = node.strategy.as_ref().map(|strategy| Drain {
        // A deadline of zero never comes. A negative one has passed, and Nomad stores no time for it.
        force_deadline: match strategy.deadline {
            ..0 => Some(Time(0)),
            0 => None,
            1.. => ours(&strategy.force_deadline),
        },
        ignore_system_jobs: strategy.ignore_system_jobs,
    });
    Ok(Node {
        id,
        name: node.name.as_str().into(),
        status: status(&node.status),
        status_since: whole_seconds(node.status_updated).map(by_our_clock),
        eligible: is_eligible(&node.eligibility),
        drain,
        last_drain: node.last_drain.as_ref().map(|last| LastDrain {
            status: drain_status(&last.status),
            started: ours(&last.started),
            updated: ours(&last.updated).map(|at| at + SECOND),
            meta: drain_meta::read(&last.meta),
        }),
        addresses: addresses(node),
        consul_name: node.attribute("unique.consul.name").map(Arc::from),
        notes: drain_meta::notes(&node.meta),
        leaves_local_data: node.meta.get(LOCAL_DATA_KEY).is_some_and(|value| value == LEAVE_LOCAL_DATA),
        version: node.attribute("nomad.version").unwrap_or_default().into(),
        allocations,
    })
}

/// Whether Nomad may place new work on a node with this `SchedulingEligibility`.
pub(super) fn is_eligible(text: &str) -> bool {
    text != "ineligible"
}

pub(super) fn status(text: &str) -> NodeStatus {
    match text {
        "ready" => NodeStatus::Ready,
        "down" => NodeStatus::Down,
        "disconnected" => NodeStatus::Disconnected,
        _ => NodeStatus::Other,
    }
}

fn drain_status(text: &str) -> DrainStatus {
    match text {
        "draining" => DrainStatus::Draining,
        "complete" => DrainStatus::Complete,
        "canceled" => DrainStatus::Canceled,
        _ => DrainStatus::Other,
    }
}

/// An allocation's own network. Nomad reports an address only for such allocations. A network that is not known to be reachable counts as
/// behind a bridge.
fn own_network(from: &wire::Allocation) -> Option<OwnNetwork> {
    let addresses = [&from.network.address, &from.network.address_v6];
    let address = addresses.into_iter().find_map(|text| text.parse().ok())?;
    let reachable = from.resources.shared.networks.iter().any(|network| network.mode.starts_with("cni/"));
    let shared = &from.resources.shared;
    let of_networks = shared.networks.iter().flat_map(|network| network.reserved.iter().chain(&network.dynamic));
    // Without a mapping the port is the same inside the network.
    let inside = shared.ports.iter().chain(of_networks).map(|port| if port.to == 0 { port.value } else { port.to });
    let ports = inside.filter(|&port| port != 0).collect::<BTreeSet<u16>>();
    Some(OwnNetwork { address, bridge: !reachable, ports: ports.into_iter().collect() })
}

/// The node's advertised address, its private addresses, and those of the interfaces in its fingerprint.
pub(super) fn addresses(node: &wire::Node) -> Vec<IpAddr> {
    let advertised = node.http_address.parse::<SocketAddr>().ok().map(|address| address.ip());
    let names = ["unique.platform.aws.local-ipv4", "unique.platform.aws.public-ipv6", "unique.network.ip-address"];
    let attributes = names.iter().filter_map(|name| node.attribute(name)?.parse().ok());
    // Bridges have the same address on every node.
    let bridges = ["docker", "nomad", "cni", "podman", "br-", "virbr"];
    let is_own =
        |network: &&wire::NodeNetwork| network.mode == "host" && !bridges.iter().any(|bridge| network.device.starts_with(bridge));
    let interfaces = node.resources.networks.iter().filter(is_own).flat_map(|network| &network.addresses);
    let interfaces =
        interfaces.filter_map(|address| address.address.parse().ok()).filter(|address: &IpAddr| !address.is_loopback());
    let mut found: Vec<IpAddr> = Vec::new();
    for address in advertised.into_iter().chain(attributes).chain(interfaces) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

fn allocation(from: &wire::Allocation, groups: &mut Groups) -> Result<Allocation, RequestFailure> {
    let id = from.id.parse().map_err(|why| RequestFailure::Nonsense(format!("listed an allocation whose id is {why}").into()))?;
    Ok(Allocation {
        id,
        group: groups.of(from),
        wanted: !matches!(from.desired.as_str(), "stop" | "evict"),
        client: client_status(&from.client),
        ports: ports(&from.resources),
        own: own_network(from),
        started: None,
        told: None,
        ended: None,
        ends: Arc::default(),
        moved: from.transition.migrate,
        disk: Disk::Stays,
        claims: Claims::default(),
    })
}

/// A time from whole seconds, rounded up so that it is never too early; `None` if it was never set.
fn whole_seconds(seconds: i64) -> Option<Time> {
    let seconds = u64::try_from(seconds).ok().filter(|&seconds| 0 < seconds)?;
    Some(Time(seconds.saturating_mul(1_000)) + SECOND)
}

/// When the last of the running tasks of an allocation started, if all of them have a start time.
fn started(from: &wire::Allocation) -> Option<Time> {
    let running = from.states.values().filter(|task| task.state == "running");
    running.map(|task| Time::read(&task.started)).collect::<Option<Vec<Time>>>()?.into_iter().max()
}

/// A time at or before which an ended allocation was told to stop. Nomad records `Killing` when it begins to stop a task: after the group's
/// `shutdown_delay` (recorded: task-ignores-its-signal), and before the task's own (Nomad's `client/allocrunner/taskrunner`).
fn stop_requested(from: &wire::Allocation, read: &Allocation) -> Option<Time> {
    let told = from.states.values().filter_map(stops::told).map(|told| told - read.group.shutdown_delay);
    told.min().filter(|_| read.client.is_over())
}

/// How the tasks of an ended allocation ended that were told to stop.
fn ends(from: &wire::Allocation, read: &Allocation, by_our_clock: impl Fn(Time) -> Time) -> Arc<[TaskEnd]> {
    if !read.client.is_over() {
        return Arc::default();
    }
    let ends = stops::ends(&from.states, Some(&read.group), from.transition.no_shutdown_delay).into_iter();
    let by_our_clock = |end: TaskEnd| match end {
        TaskEnd::Stopped(stop) => TaskEnd::Stopped(Stop { signalled: by_our_clock(stop.signalled), ..stop }),
        TaskEnd::Unreadable { .. } => end,
    };
    ends.map(by_our_clock).collect()
}

/// When the last task of an allocation ended, if all of its tasks have ended.
fn ended(from: &wire::Allocation, client: ClientStatus) -> Option<Time> {
    if !client.is_over() || from.states.values().any(|task| task.state != "dead") {
        return None;
    }
    let ends = from.states.values().map(|task| Time::read(&task.finished));
    // A task that never started has no end time.
    ends.flatten().max()
}

pub(super) fn client_status(text: &str) -> ClientStatus {
    match text {
        "pending" => ClientStatus::Pending,
        "running" => ClientStatus::Running,
        "complete" => ClientStatus::Complete,
        "failed" => ClientStatus::Failed,
        "lost" => ClientStatus::Lost,
        _ => ClientStatus::Unknown,
    }
}

/// All host ports: of the group, and of its tasks in older jobs.
fn ports(from: &wire::AllocatedResources) -> Arc<[u16]> {
    let resources = std::iter::once(&from.shared).chain(from.tasks.values());
    let ports = resources.flat_map(|r| {
        let networks = r.networks.iter().flat_map(|n| n.reserved.iter().chain(&n.dynamic));
        r.ports.iter().chain(networks)
    });
    ports.map(|port| port.value).filter(|&port| port != 0).collect::<BTreeSet<u16>>().into_iter().collect()
}

#[cfg(test)]
mod tests;
