//! Volumes: claims of CSI volumes, which Nomad releases some time after their allocation has ended if the node's plugin can still unmount
//! the volume, and an operator's leave to let local data go.

use std::sync::Arc;
use std::time::Duration;

use super::state::{AllocationState, GroupState, NodeNumber, NodeState};
use super::{Due, Nomad};
use crate::event::AllocationNumber;
use decamp_core::decide::snapshot::{Claims, LEAVE_LOCAL_DATA, LOCAL_DATA_KEY};
use decamp_core::time::Time;

/// How Nomad releases the claims of a group's allocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// This long after an allocation has ended.
    After(Duration),
    /// Never: a controller plugin fails.
    Never,
    /// The volume was deleted (`nomad volume deregister -force`), so that nothing claims it.
    Gone,
}

impl Nomad {
    /// From now on reads of CSI volumes are denied, as by a strict proxy.
    pub fn deny_volumes(&mut self) {
        self.volumes_denied = true;
    }

    /// Whether reads of CSI volumes are denied.
    #[must_use]
    pub fn denies_volumes(&self) -> bool {
        self.volumes_denied
    }

    /// An allocation has ended: its client unmounts its volumes, and the servers release their claims.
    pub(super) fn schedule_release(&mut self, number: AllocationNumber) {
        let group = &self.groups[self.allocations[number.index()].group.index()].spec;
        if let (true, Release::After(span)) = (group.group.claims_volumes(), group.behaviour.releases) {
            self.queue.put(self.now + span, Due::Released { allocation: number });
        }
    }

    /// The claims of an allocation are released, if a plugin on its node could unmount the volumes.
    pub(super) fn release_claims(&mut self, number: AllocationNumber) {
        let node = self.allocations[number.index()].node;
        let plugin = |a: &AllocationState| a.node == node && a.is_alive() && self.groups[a.group.index()].spec.group.csi_plugin;
        if !self.allocations.iter().any(plugin) || !self.nodes[node.index()].agent_alive {
            return;
        }
        let index = self.write();
        self.allocations[number.index()].released = Some(self.now);
        let state = &mut self.nodes[node.index()];
        state.claims_index = index;
        state.cached = None;
    }

    /// The volumes that an allocation claims, by id. Empty once they are released or gone.
    #[must_use]
    pub fn claims(&self, number: AllocationNumber) -> Vec<Arc<str>> {
        let state = &self.allocations[number.index()];
        claimed(state, &self.groups[state.group.index()])
    }

    /// When the claims of an allocation on this node are released if nothing prevents it. `Time::NEVER` if they never are, and `None` if
    /// there are none.
    #[must_use]
    pub fn release_due(&self, number: AllocationNumber) -> Option<Time> {
        let state = &self.allocations[number.index()];
        let spec = &self.groups[state.group.index()].spec;
        let ended = state.ended.filter(|_| spec.group.claims_volumes() && state.listed)?;
        match spec.behaviour.releases {
            Release::After(span) => Some(ended + span),
            Release::Never => Some(Time::NEVER),
            Release::Gone => None,
        }
    }

    /// The listed allocations that claim a volume. `None` if there is no such volume.
    #[must_use]
    pub fn claimants(&self, namespace: &str, volume: &str) -> Option<Vec<AllocationNumber>> {
        let numbers = (0_u32..).map(AllocationNumber).zip(&self.allocations);
        let mounts =
            |group: &GroupState| *group.spec.group.namespace == *namespace && group.spec.behaviour.releases != Release::Gone;
        let naming = numbers.filter(|(_, state)| {
            let group = &self.groups[state.group.index()];
            mounts(group) && group.spec.group.csi_volumes(Some(state.index)).any(|id| *id == *volume)
        });
        let naming: Vec<_> = naming.collect();
        let claims = |state: &AllocationState| state.listed && !claimed(state, &self.groups[state.group.index()]).is_empty();
        (!naming.is_empty()).then(|| naming.into_iter().filter(|(_, state)| claims(state)).map(|(number, _)| number).collect())
    }

    /// An operator lets the local data of a node go: the agent registers again some seconds later, with the new metadata.
    pub fn let_local_data_go(&mut self, node: NodeNumber) {
        let at = self.soon(5_000, 10_000);
        let state = &mut self.nodes[node.index()];
        if !state.agent_alive {
            return;
        }
        state.agents_metadata.retain(|(key, _)| **key != *LOCAL_DATA_KEY);
        state.agents_metadata.push((LOCAL_DATA_KEY.into(), LEAVE_LOCAL_DATA.into()));
        if !std::mem::replace(&mut state.metadata_due, true) {
            let epoch = state.agent_epoch;
            self.queue.put(at, Due::Metadata { node, epoch });
        }
    }
}

impl NodeState {
    /// Whether its metadata lets local data go, as the servers know it.
    #[must_use]
    pub fn leaves_local_data(&self) -> bool {
        self.metadata.iter().any(|(key, value)| **key == *LOCAL_DATA_KEY && **value == *LEAVE_LOCAL_DATA)
    }
}

/// The volumes that an allocation claims: from its start until they are released.
fn claimed(state: &AllocationState, group: &GroupState) -> Vec<Arc<str>> {
    let spec = &group.spec;
    let claims = state.started.is_some() && state.released.is_none() && spec.group.claims_volumes();
    if !claims || spec.behaviour.releases == Release::Gone {
        return Vec::new();
    }
    let mut all: Vec<_> = spec.group.csi_volumes(Some(state.index)).collect();
    all.sort();
    all.dedup();
    all
}

/// What Nomad shows of the claims of an allocation, as decamp's adapter reads it.
pub(super) fn shown(state: &AllocationState, group: &GroupState, denied: bool) -> Claims {
    if !state.client.is_over() || !group.spec.group.claims_volumes() {
        return Claims::default();
    }
    if denied {
        let unread = group.spec.group.csi_volumes(Some(state.index)).collect();
        return Claims { held: Arc::default(), unread, denied: Some("Permission denied".into()) };
    }
    Claims { held: claimed(state, group).into(), ..Claims::default() }
}
