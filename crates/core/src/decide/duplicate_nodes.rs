//! Several nodes that know themselves to be one instance: which of them are set aside (ADR 0005).

use super::NodeStatus;
use crate::ids::NodeId;

/// A node that knows itself to be the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Twin {
    /// Its id.
    pub id: NodeId,
    /// What Nomad says of it.
    pub status: NodeStatus,
    /// Whether its last drain was decamp's.
    pub drained_by_us: bool,
}

/// Those that are the instance, and those that are set aside: they are down while another is ready.
///
/// A node that decamp itself drains stays in sight although its agent dies. Its processes may still run, and another node with the
/// instance's id may only look alive.
#[must_use]
pub fn set_aside(twins: &[Twin]) -> (Vec<NodeId>, Vec<NodeId>) {
    let one_is_ready = twins.iter().any(|twin| twin.status == NodeStatus::Ready);
    let aside = |twin: &Twin| one_is_ready && twin.status == NodeStatus::Down && !twin.drained_by_us;
    let ids = |is_aside: bool| twins.iter().filter(|twin| aside(twin) == is_aside).map(|twin| twin.id).collect();
    (ids(false), ids(true))
}
