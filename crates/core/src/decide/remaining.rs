//! The allocations that are left on the instance: which count, which are exempt, which are over, and which have vanished.

use super::beginnings;
use super::case::Case;
use super::snapshot::{Allocation, DrainMeta, JobKind, Node, Provider, TargetGroup, TaskGroup};
use crate::ids::{AllocationId, NodeId};
use crate::time::Time;
use std::time::Duration;

/// When a live agent finds that its node was removed, at its next heartbeat, it registers again: eligible, with everything that it still
/// runs.
const REJOIN: Duration = Duration::from_secs(60);

/// A client hears within this time that one of its allocations has to stop.
const LEARNS_WITHIN: Duration = Duration::from_secs(2);

/// An allocation that vanished from the list before anybody saw it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Vanished {
    /// Since when it has not been listed, at the latest.
    pub(super) since: Time,
    /// Until when it counts as running.
    pub(super) until: Time,
    /// Its id, if this run saw it.
    pub(super) allocation: Option<AllocationId>,
}

/// What counts as left (ADR 0005, 0006).
impl Case<'_> {
    /// Whether an allocation must be over before the instance may go. An allocation that was lost before this run does not count while its
    /// agent is there, because the agent has stopped it (ADR 0005).
    fn counts(&self, node: &Node, allocation: &Allocation) -> bool {
        let given_up = !node.status.is_lost() && self.seen.history.was_lost_before(allocation.id);
        !self.is_exempt(allocation) && !given_up
    }

    /// Whether an allocation is left running by intent: CSI plugins, and system jobs if the policy leaves them.
    pub(super) fn is_exempt(&self, allocation: &Allocation) -> bool {
        self.exempts(&allocation.group)
    }

    /// The same for all allocations of a group.
    pub(super) fn exempts(&self, group: &TaskGroup) -> bool {
        group.csi_plugin || group.kind == JobKind::System && self.leaves_system_jobs()
    }

    /// Whether system jobs stay: the policy says so, and none of them serves a target (ADR 0006).
    pub(super) fn leaves_system_jobs(&self) -> bool {
        self.policy.ignore_system_jobs && !self.a_system_job_serves()
    }

    fn a_system_job_serves(&self) -> bool {
        // Other instances' targets show a group's ports as well. Ours leave the list some time, and that must not change the answer.
        let groups = self.seen.balancers.iter().filter_map(|b| b.sight.last());
        let ports: Vec<u16> = groups.flat_map(TargetGroup::listed).map(|t| t.port).collect();
        self.allocations()
            .any(|a| a.group.kind == JobKind::System && !a.client.is_over() && a.ports.iter().any(|port| ports.contains(port)))
    }

    /// The allocations of a node that count and are not over.
    pub(super) fn remaining<'n>(&'n self, node: &'n Node) -> impl Iterator<Item = &'n Allocation> {
        node.allocations.iter().filter(|a| !a.client.is_over() && self.counts(node, a))
    }

    /// The same for all nodes.
    pub(super) fn all_remaining(&self) -> impl Iterator<Item = &Allocation> {
        self.nodes().iter().flat_map(|node| self.remaining(node))
    }

    /// The allocation that vanished before it was seen over, and until when it counts as running. It may be a purged job's (fault 61), one
    /// that was lost before this run and whose agent is back, or one that an earlier worker counted on its drain and this run never saw
    /// (ADR 0002). It counts from the first look that did not show it: it may have been stopped right before that, long after the last look
    /// that did.
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
            let (_, meta) = history.drain_metas.iter().find(|(id, _)| *id == node.id)?;
            // A drain of this run carries an earlier worker's count on. What has vanished since is known here, and has its own wait.
            let known_here = node.allocations.len() + history.known.iter().filter(|known| !known.listed).count();
            let another = u32::try_from(known_here).unwrap_or(u32::MAX) < meta.allocations;
            // An allocation that landed since hides one that vanished before this run looked. An earlier worker saw and noted that.
            let noted = beginnings::vanished(self);
            let noted_by_another = noted.is_some_and(|noted| noted < first);
            // The marker last, because it has to be computed.
            ((another || noted_by_another) && meta.action == *self.drain_marker()).then(|| {
                // Not from the drain on: the purge may have come right before this look.
                let since = noted.map_or(first, |noted| noted.min(first));
                Vanished { since, until: since + meta.longest_stop + LEARNS_WITHIN, allocation: None }
            })
        });
        unlisted.chain(noted).max_by_key(|vanished| vanished.until)
    }

    /// Whether the node itself vanished with allocations that were never seen over. Most likely somebody purged it.
    pub(super) fn node_row_is_gone(&self) -> bool {
        self.has_lost_a_row() && self.seen.history.known.iter().any(|k| !k.over && !k.group.csi_plugin)
    }

    /// Whether every node that is listed is lost, and one that this run saw is listed no more. Nomad lists a lost node until somebody
    /// purges it, or until a day has passed.
    pub(super) fn has_lost_a_row(&self) -> bool {
        let is_listed = |id: &NodeId| self.nodes().iter().any(|node| node.id == *id);
        self.nodes().iter().all(|node| node.status.is_lost()) && !self.seen.history.nodes.iter().all(is_listed)
    }

    /// Whether every node of the instance is lost, and neither it nor this run shows any allocation. It may be the row of an agent that
    /// registered again, or the allocations were collected. What runs on the instance is unknown.
    pub(super) fn shows_nothing_of_its_work(&self) -> bool {
        self.seen.history.agents_dead_since.is_some() && self.lists_no_allocation()
    }

    /// Whether the instance's node shows no allocation, and another node with its id was set aside. After a change of leader, Nomad lists a
    /// dead agent as ready for five minutes (`failover_heartbeat_ttl`). So the node that was set aside may be the one with the work.
    pub(super) fn work_may_be_set_aside(&self) -> bool {
        self.seen.nomad.last().is_some_and(|nomad| !nomad.set_aside.is_empty()) && self.lists_no_allocation()
    }

    /// Whether no look of this run showed an allocation, over or not.
    fn lists_no_allocation(&self) -> bool {
        self.nodes().iter().all(|node| node.allocations.is_empty()) && self.seen.history.known.is_empty()
    }

    /// The `Meta` of this action's drains, by any worker, as this run last read it.
    pub(super) fn own_drains(&self) -> impl Iterator<Item = &DrainMeta> {
        let metas = self.seen.history.drain_metas.iter().map(|(_, meta)| meta);
        metas.filter(|meta| meta.action == *self.drain_marker())
    }

    /// Whether another worker has drained for this action, and this run has not.
    pub(super) fn was_drained_before_us(&self) -> bool {
        self.seen.history.drains.is_empty() && self.own_drains().next().is_some()
    }

    /// Whether Nomad reports a Consul agent on a node.
    pub(super) fn has_consul_agent(&self) -> bool {
        self.nodes().iter().any(|node| node.consul_name.is_some())
    }

    /// Whether an allocation on the nodes registers services with this provider.
    pub(super) fn declares(&self, provider: Provider) -> bool {
        // An allocation that is over may have left a registration behind.
        let listed = self.allocations().map(|a| &a.group);
        let known = self.seen.history.known.iter().map(|k| &k.group);
        // A purge also removes allocations that are over from the list. Their registrations may be left.
        let registered = match provider {
            Provider::Consul => self.seen.history.last_in_consul.is_some() || !self.seen.history.registered.is_empty(),
            Provider::Nomad => self.seen.nomad_services.last().is_some_and(|all| !all.services.is_empty()),
        };
        registered || known.chain(listed).any(|group| group.services.iter().any(|s| s.provider == provider))
    }
}
