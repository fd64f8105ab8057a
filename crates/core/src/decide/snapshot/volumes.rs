//! The volumes that a task group mounts, and the claims of CSI volumes that an allocation holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::Snapshot;
use super::jobs::{JobKind, TaskGroup};
use super::nomad::{Allocation, ClientStatus, Disk, Node};
use crate::time::Time;

/// The key of a node's metadata by which an operator answers a hold for local data.
pub const LOCAL_DATA_KEY: &str = "decamp.local_data";
/// Its value that lets the instance go without the data.
pub const LEAVE_LOCAL_DATA: &str = "leave";

/// A volume that a task group mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// Its name in the group.
    pub name: Arc<str>,
    /// The host volume's name on the node, or the CSI volume's id.
    pub source: Arc<str>,
    /// Whether the group mounts it read-only.
    pub read_only: bool,
    /// Its kind.
    pub kind: VolumeKind,
}

/// The kind of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum VolumeKind {
    /// A directory of the node, static or dynamic. Its data stays on the machine.
    Host {
        /// Whether the allocation comes back to this volume only (`sticky`).
        sticky: bool,
    },
    /// A volume that a CSI plugin attaches to the node.
    Csi {
        /// Whether each allocation has its own volume, whose id ends with the allocation's number (`per_alloc`).
        per_alloc: bool,
    },
}

/// The claims of CSI volumes that an allocation holds although it is over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// The ids of the volumes that Nomad has not released.
    pub held: Arc<[Arc<str>]>,
    /// The ids of the volumes that Nomad does not show to decamp's token.
    pub unread: Arc<[Arc<str>]>,
    /// What Nomad answered about those.
    pub denied: Option<Arc<str>>,
}

impl TaskGroup {
    /// The host volumes that it may write to.
    pub fn local_volumes(&self) -> impl Iterator<Item = &Volume> {
        self.volumes.iter().filter(|volume| matches!(volume.kind, VolumeKind::Host { .. }) && !volume.read_only)
    }

    /// Whether its allocations may hold data in a host volume.
    #[must_use]
    pub fn holds_local_data(&self) -> bool {
        !self.csi_plugin && self.local_volumes().next().is_some()
    }

    /// The ids of the CSI volumes that the allocation with this number claims. `None`: the number is not known.
    pub fn csi_volumes(&self, number: Option<u32>) -> impl Iterator<Item = Arc<str>> {
        self.volumes.iter().filter_map(move |volume| match (volume.kind, number) {
            (VolumeKind::Csi { per_alloc: true }, Some(number)) => Some(format!("{}[{number}]", volume.source).into()),
            (VolumeKind::Csi { .. }, _) => Some(Arc::clone(&volume.source)),
            (VolumeKind::Host { .. }, _) => None,
        })
    }

    /// Whether it mounts CSI volumes. A plugin serves volumes, and mounts none.
    #[must_use]
    pub fn claims_volumes(&self) -> bool {
        !self.csi_plugin && self.volumes.iter().any(|volume| matches!(volume.kind, VolumeKind::Csi { .. }))
    }
}

impl Allocation {
    /// Whether it uses data in a host volume now. What is lost may run on.
    #[must_use]
    pub fn uses_local_data(&self) -> bool {
        let may_run = match self.client {
            ClientStatus::Pending | ClientStatus::Running | ClientStatus::Lost | ClientStatus::Unknown => true,
            ClientStatus::Complete | ClientStatus::Failed => false,
        };
        may_run && self.group.holds_local_data()
    }
}

impl Node {
    /// How many more calls a look needs for the data that is waited for: one for each replacement without its disk, for each service job
    /// whose disks nobody copies, and for each volume that is claimed. Nothing waits for the disks of batch jobs that nobody copies.
    #[must_use]
    pub fn data_reads(&self) -> u32 {
        let copying = self.allocations.iter().filter(|a| matches!(a.disk, Disk::Copying(_))).count();
        let unplaced = self.allocations.iter().filter(|a| a.disk == Disk::Unplaced && a.group.kind == JobKind::Service);
        let jobs: BTreeSet<_> = unplaced.map(|a| (&a.group.namespace, &a.group.job)).collect();
        let volumes: BTreeSet<_> = self.allocations.iter().flat_map(claimed).collect();
        u32::try_from(copying + jobs.len() + volumes.len()).unwrap_or(u32::MAX)
    }
}

fn claimed(allocation: &Allocation) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
    allocation.claims.held.iter().map(|volume| (&allocation.group.namespace, volume))
}

impl Snapshot {
    /// The allocations that use data in host volumes, by the last look, on nodes where no operator lets it go. One that was lost before this
    /// run does not count while its agent is there, as elsewhere (ADR 0005).
    pub fn local_data(&self) -> impl Iterator<Item = (&Node, &Allocation)> {
        let nodes = self.nomad.last().into_iter().flat_map(|nomad| &nomad.nodes).filter(|node| !node.leaves_local_data);
        nodes.flat_map(move |node| {
            let given_up = |a: &Allocation| !node.status.is_lost() && self.history.was_lost_before(a.id);
            node.allocations.iter().filter(move |a| a.uses_local_data() && !given_up(a)).map(move |a| (node, a))
        })
    }

    /// Records whether an answer of Nomad, or the one before it, showed data in host volumes in use. The first answer that shows it no longer
    /// counts too: Nomad may have been away for hours before it.
    pub(super) fn see_local_data(&mut self, asked: Time, before: bool) {
        if self.nomad.at() == Some(asked) && (before || self.local_data().next().is_some()) {
            let since = self.history.local_data.map_or(asked, |(since, _)| since);
            self.history.local_data = Some((since, asked));
        }
    }
}
