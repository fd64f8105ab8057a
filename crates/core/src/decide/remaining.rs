//! What is left on the instance: which allocations count, which are over, and which only vanished.

use super::beginnings;
use super::case::Case;
use super::snapshot::{Allocation, DrainMeta, JobKind, Node, Provider, TargetGroup, TaskGroup};
use crate::ids::AllocationId;
use crate::time::Time;
use std::time::Duration;

/// An agent that lives finds its row gone at its next heartbeat, and registers anew: eligible, with what it still runs.
const REJOIN: Duration = Duration::from_secs(60);

/// A client hears within this that an allocation of its is to stop.
const LEARNS_WITHIN: Duration = Duration::from_secs(2);

/// What vanished from the list before anybody saw it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Vanished {
    /// Since when it has not been listed, at the latest.
    pub(super) since: Time,
    /// Until when it counts as running.
    pub(super) until: Time,
    /// Which, if this run saw it.
    pub(super) allocation: Option<AllocationId>,
}

/// What counts as left (ADR 0005, 0006).
impl Case<'_> {
    /// Whether an allocation must be over before the instance may go. What was lost before we came is given up only while its
    /// agent is there, which then has stopped it (ADR 0005).
    fn counts(&self, node: &Node, allocation: &Allocation) -> bool {
        let given_up = !node.status.is_lost() && self.seen.history.was_lost_before(allocation.id);
        !self.is_exempt(allocation) && !given_up
    }

    /// Whether an allocation is left running by intent: CSI plugins, and system jobs where the policy leaves them.
    pub(super) fn is_exempt(&self, allocation: &Allocation) -> bool {
        self.exempts(&allocation.group)
    }

    /// Whether allocations of this group are.
    pub(super) fn exempts(&self, group: &TaskGroup) -> bool {
        group.csi_plugin || group.kind == JobKind::System && self.leaves_system_jobs()
    }

    /// Whether system jobs stay: only if the policy says so and none of them serves a target (ADR 0006).
    pub(super) fn leaves_system_jobs(&self) -> bool {
        self.policy.ignore_system_jobs && !self.a_system_job_serves()
    }

    fn a_system_job_serves(&self) -> bool {
        // Others' targets tell a group's port as well: ours are gone from the list some time, and the job must not stay then.
        let groups = self.seen.balancers.iter().filter_map(|b| b.sight.last());
        let ports: Vec<u16> = groups.flat_map(TargetGroup::listed).map(|t| t.port).collect();
        self.nodes()
            .iter()
            .flat_map(|n| n.allocations.iter())
            .any(|a| a.group.kind == JobKind::System && !a.client.is_over() && a.ports.iter().any(|port| ports.contains(port)))
    }

    /// What counts and is not over, on one node.
    pub(super) fn remaining<'n>(&'n self, node: &'n Node) -> impl Iterator<Item = &'n Allocation> {
        node.allocations.iter().filter(|a| !a.client.is_over() && self.counts(node, a))
    }

    /// What counts and is not over, on all nodes.
    pub(super) fn all_remaining(&self) -> impl Iterator<Item = &Allocation> {
        self.nodes().iter().flat_map(|node| self.remaining(node))
    }

    /// Until when something that vanished from the list without having been seen over counts as running, and which: a purged
    /// job's allocation (fault 61), one that Nomad had given up as lost before we came and whose agent is back, or one that an
    /// earlier worker counted on its drain and this run never saw (ADR 0002). It counts from the first look that did not show it: it may
    /// have been told to stop right before that, long after the last look that did.
    pub(super) fn vanished(&self) -> Option<Vanished> {
        let history = &self.seen.history;
        let first = history.first_nomad?;
        let rejoin = if self.node_row_is_gone() { REJOIN } else { Duration::ZERO };
        let stops_in = |group: &super::snapshot::TaskGroup| self.policy.longest_stop(group) + LEARNS_WITHIN;
        let waits = |k: &&super::snapshot::Known| !k.over && !k.group.csi_plugin;
        let unlisted = history.known.iter().filter(waits).filter_map(|k| {
            let since = if k.lost_before { Some(beginnings::agents_back(self, first)) } else { k.vanished };
            since.map(|since| Vanished { since, until: since + stops_in(&k.group) + rejoin, allocation: Some(k.id) })
        });
        let noted = self.nodes().iter().filter_map(|node| {
            let meta = node.last_drain.as_ref()?.meta.as_ref()?;
            // A drain of this run carries the count of an earlier worker's on. What vanished since is known here, and has a wait of its own.
            let known_here = node.allocations.len() + history.known.iter().filter(|known| !known.listed).count();
            let another = u32::try_from(known_here).unwrap_or(u32::MAX) < meta.allocations;
            // The mark last: it has to be reckoned.
            (another && meta.action == *self.drain_marker()).then(|| {
                // Not since the drain: the purge may have come right before this look.
                let since = beginnings::vanished(self).map_or(first, |noted| noted.min(first));
                Vanished { since, until: since + meta.longest_stop + LEARNS_WITHIN, allocation: None }
            })
        });
        unlisted.chain(noted).max_by_key(|vanished| vanished.until)
    }

    /// Whether the node itself vanished, with allocations on it that were never seen over: purged by somebody, most likely.
    pub(super) fn node_row_is_gone(&self) -> bool {
        self.seen.nomad.last().is_some_and(|nomad| nomad.nodes.is_empty())
            && self.seen.history.known.iter().any(|k| !k.over && !k.group.csi_plugin)
    }

    /// What drains of this action wrote on the nodes, whichever worker sent them.
    pub(super) fn own_drains(&self) -> impl Iterator<Item = &DrainMeta> {
        let marks = self.nodes().iter().filter_map(|node| node.last_drain.as_ref()?.meta.as_ref());
        marks.filter(|meta| meta.action == *self.drain_marker())
    }

    /// Whether another worker has drained for this action, and this run has not.
    pub(super) fn was_drained_before_us(&self) -> bool {
        self.seen.history.drains.is_empty() && self.own_drains().next().is_some()
    }

    /// Whether Nomad tells of an agent of Consul on a node.
    pub(super) fn has_consul_agent(&self) -> bool {
        self.nodes().iter().any(|node| node.consul_name.is_some())
    }

    /// Whether anything on the nodes registers services with this provider.
    pub(super) fn declares(&self, provider: Provider) -> bool {
        // What is over already may have left a registration behind.
        let listed = self.nodes().iter().flat_map(|node| node.allocations.iter()).map(|a| &a.group);
        let known = self.seen.history.known.iter().map(|k| &k.group);
        // A purge takes what is over out of the list as well, and what it had registered may be left.
        let registered = match provider {
            Provider::Consul => self.seen.history.declared_in_consul || !self.seen.history.registered.is_empty(),
            Provider::Nomad => self.seen.nomad_services.last().is_some_and(|all| !all.services.is_empty()),
        };
        registered || known.chain(listed).any(|group| group.services.iter().any(|s| s.provider == provider))
    }
}
